/** What the laws of transports send, and how they read it. */
import type * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Connection, Connector, type Inbound, Server } from "../../transport/Connection.js"
import { Broken, ensure, show, sleepLive } from "./check.js"

/** Reads exactly so many frames; fails if the connection ends before. */
export interface Reader {
  readonly take: (count: number) => Effect.Effect<ReadonlyArray<Inbound>, Broken>
  /** All that is left until the end. */
  readonly rest: Effect.Effect<ReadonlyArray<Inbound>>
}

export const readerOf = (connection: Connection): Effect.Effect<Reader, never, Scope.Scope> =>
  Effect.map(Stream.toPull(connection.inbound), (pull: Effect.Effect<Chunk.Chunk<Inbound>, Option.Option<never>>) => {
    const waiting: Array<Inbound> = []
    const keep = (chunk: Chunk.Chunk<Inbound>): void => {
      for (const item of chunk) waiting.push(item)
    }
    const take = (count: number): Effect.Effect<ReadonlyArray<Inbound>, Broken> =>
      Effect.suspend(() =>
        waiting.length >= count
          ? Effect.succeed(waiting.splice(0, count))
          : Effect.matchEffect(pull, {
              onFailure: () =>
                Effect.fail(
                  new Broken({
                    expected: `${count} frames`,
                    actual: `the connection ended after ${waiting.length} of them`
                  })
                ),
              onSuccess: (chunk) => {
                keep(chunk)
                return take(count)
              }
            })
      )
    const rest: Effect.Effect<ReadonlyArray<Inbound>> = Effect.suspend(() =>
      Effect.matchEffect(pull, {
        onFailure: () => Effect.sync(() => waiting.splice(0)),
        onSuccess: (chunk) => {
          keep(chunk)
          return rest
        }
      })
    )
    return { take, rest }
  })

/** The next so many frames of a connection that is not read elsewhere. */
export const takeFrom = (connection: Connection, count: number) =>
  Effect.flatMap(readerOf(connection), (reader) => reader.take(count))

/** That a connection receives these frames, in this order. Fails at the first that is another, without a wait for those behind it. */
export const receives = Effect.fnUntraced(function* (
  who: string,
  connection: Connection,
  expected: ReadonlyArray<string>
) {
  const reader = yield* readerOf(connection)
  for (const [i, frame] of expected.entries()) {
    const [got] = yield* reader.take(1)
    if (got !== frame) {
      return yield* new Broken({
        expected: `frame ${i} of ${expected.length} at the ${who} to be ${frame}`,
        actual: show(got)
      })
    }
  }
})

/** The next connection of the server. */
export const accept = Effect.flatMap(Server, (server) =>
  Effect.flatMap(
    Stream.runHead(server.connections),
    Option.match({
      onNone: () => Effect.fail(new Broken({ expected: "a connection", actual: "the server's connections ended" })),
      onSome: (connection) => Effect.succeed(connection)
    })
  )
)

/** A client's connection and the server's end of it. */
export const pair = Effect.gen(function* () {
  const { connect } = yield* Connector
  const client = yield* connect
  const server = yield* accept
  return { client, server }
})

/** Waits until `ref` has stopped changing: to see that a sender has stopped, which no event reports. */
export const settled = (ref: Ref.Ref<number>): Effect.Effect<number> =>
  Effect.gen(function* () {
    let last = yield* Ref.get(ref)
    for (let same = 0; same < 8; ) {
      yield* sleepLive(10)
      const now = yield* Ref.get(ref)
      same = now === last ? same + 1 : 0
      last = now
    }
    return last
  })

/** Frames of one prefix, each different, with characters of every length in UTF-8. */
export const texts = (prefix: string, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ [prefix]: i, text: "häβ€😀\u2028".slice(0, 1 + (i % 7)) }))

export const envelope = (id: string) => ({
  arcp: "1.1",
  id,
  type: "session.ping",
  payload: { nonce: id, text: "a\nb" }
})

/** In batches of every size from 1 on. */
export const inBatches = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> => {
  const batches: Array<ReadonlyArray<A>> = []
  for (let at = 0, size = 1; at < items.length; at += size, size = ((size * 3) % 97) + 1) {
    batches.push(items.slice(at, at + size))
  }
  return batches
}

/** Text that does not compress: compressed, all of it would fit in the pipes. */
const noise = (length: number): string => {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  const out: Array<string> = []
  for (let i = 0, state = 0x9e3779b9; i < length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    out.push(digits[state & 63]!)
  }
  return out.join("")
}

/** How many frames of 64 KiB are more than any transport holds. */
export const flood = 400

let kept: string | undefined

/** One of them. */
export const floodFrame = (i: number): string => {
  kept ??= noise(128 * 1024)
  return JSON.stringify({ i, data: kept.slice(i * 97, i * 97 + 64 * 1024) })
}

/** That these are the first frames of a flood. */
export const isFlood = (frames: ReadonlyArray<Inbound>): Effect.Effect<void, Broken> => {
  const wrong = frames.findIndex((frame, i) => frame !== floodFrame(i))
  return ensure(wrong < 0, "each frame in its place", `frame ${wrong} is another, or another text`)
}
