/** Runs the laws of transports (`transportLaws`) over each of them, and helps their own tests. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Layer, Option, Stream } from "effect"
import { type TransportLawOptions, transportLaws } from "../../src/testing/index.js"
import {
  BadFrame,
  type Connection,
  Connector,
  type Inbound,
  Server,
  type TransportError
} from "../../src/transport/index.js"

export { settled } from "../../src/testing/internal/frames.js"

export interface Harness extends TransportLawOptions {
  readonly name: string
  /** A fresh server and a connector to it. */
  readonly layer: () => Layer.Layer<Server | Connector, TransportError>
  /** Runs on the TestClock: nothing in it may need real time. */
  readonly testClock: boolean
}

/** Reads exactly `count` frames; fails if the connection ends before. */
export class Reader {
  private readonly waiting: Array<Inbound> = []
  private readonly pull: Effect.Effect<Chunk.Chunk<Inbound>, Option.Option<never>>
  private constructor(pull: Effect.Effect<Chunk.Chunk<Inbound>, Option.Option<never>>) {
    this.pull = pull
  }
  static make = (connection: Connection) => Effect.map(Stream.toPull(connection.inbound), (pull) => new Reader(pull))
  take = (count: number): Effect.Effect<Array<Inbound>> =>
    Effect.suspend(() =>
      this.waiting.length >= count
        ? Effect.succeed(this.waiting.splice(0, count))
        : Effect.matchEffect(this.pull, {
            onFailure: () =>
              Effect.dieMessage(`the connection ended; ${count} frames wanted, got ${this.waiting.length}`),
            onSuccess: (chunk) => {
              for (const item of chunk) this.waiting.push(item)
              return this.take(count)
            }
          })
    )
  /** All that is left until the end. */
  rest: Effect.Effect<Array<Inbound>> = Effect.suspend(() =>
    Effect.matchEffect(this.pull, {
      onFailure: () => Effect.sync(() => this.waiting.splice(0)),
      onSuccess: (chunk) => {
        for (const item of chunk) this.waiting.push(item)
        return this.rest
      }
    })
  )
}

export const accept = Effect.flatMap(Server, (server) =>
  Effect.flatMap(
    Stream.runHead(server.connections),
    Option.match({
      onNone: () => Effect.dieMessage("the server stopped before a connection came"),
      onSome: Effect.succeed
    })
  )
)

/** A client connection and the server's end of it. */
export const pair = Effect.gen(function* () {
  const connector = yield* Connector
  const client = yield* connector.connect
  const server = yield* accept
  return { client, server }
})

/** Runs the laws of every transport over one. */
export const suite = ({ layer, name, testClock, ...options }: Harness): void => {
  const run = testClock ? it.scoped : it.scopedLive
  describe(`${name}: laws`, () => {
    for (const law of transportLaws(Layer.suspend(layer), { ...options, timeout: "60 seconds" })) {
      run(law.name, () => law.check)
    }
  })
}

/** That a frame is a {@link BadFrame} which says why. */
export const expectBad = (frame: Inbound | undefined, reason: RegExp): void => {
  expect(frame).toBeInstanceOf(BadFrame)
  expect((frame as BadFrame).reason).toMatch(reason)
}

/** A deferred that a callback completes. */
export const signal = Effect.map(Deferred.make<void>(), (deferred) => ({
  done: () => Deferred.unsafeDone(deferred, Effect.void),
  wait: Deferred.await(deferred)
}))
