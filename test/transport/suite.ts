/**
 * What every transport must do (the contract of `Connection`), run over each of them.
 */
import { randomBytes } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Layer, Option, Ref, Scope, Stream } from "effect"
import {
  BadFrame,
  type Connection,
  ConnectionClosed,
  Connector,
  type Frame,
  type Inbound,
  Server,
  TransportError
} from "../../src/transport/index.js"

export interface Harness {
  readonly name: string
  /** A fresh server and a connector to it. */
  readonly layer: () => Layer.Layer<Server | Connector, TransportError>
  /** Runs on the TestClock: nothing in it may need real time. */
  readonly testClock: boolean
  /** Whether close codes and reasons reach the peer; if not, a clean end is 1000. */
  readonly codes: boolean
  /** The code that the server sees when the client closes with this one. */
  readonly clientCode?: (code: number) => number
  /** Whether a peer can be held back (the global WebSocket cannot). */
  readonly clientHoldsBack?: boolean
  /** Whether the transport takes one connection only. */
  readonly single?: boolean
  /** Whether object frames arrive as the same object. */
  readonly byReference?: boolean
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

/** Waits until `ref` has stopped changing: for seeing that something does not go on, which no event tells. */
export const settled = (ref: Ref.Ref<number>): Effect.Effect<number> =>
  Effect.gen(function* () {
    let last = yield* Ref.get(ref)
    for (let same = 0; same < 8; ) {
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 10)))
      const now = yield* Ref.get(ref)
      same = now === last ? same + 1 : 0
      last = now
    }
    return last
  })

const texts = (prefix: string, count: number): Array<string> =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ [prefix]: i, text: "häβ€😀\u2028".slice(0, 1 + (i % 7)) }))

const envelope = (id: string) => ({ arcp: "1.1", id, type: "session.ping", payload: { nonce: id, text: "a\nb" } })

const inBatches = <A>(items: ReadonlyArray<A>): Array<Array<A>> => {
  const batches: Array<Array<A>> = []
  for (let at = 0, size = 1; at < items.length; at += size, size = ((size * 3) % 97) + 1) {
    batches.push(items.slice(at, at + size))
  }
  return batches
}

export const suite = (harness: Harness): void => {
  const test = (name: string, body: Effect.Effect<void, unknown, Server | Connector | Scope.Scope>): void => {
    const run = harness.testClock ? it.scoped : it.scopedLive
    run(name, () => Effect.provide(body, harness.layer()))
  }
  const clientCode = harness.clientCode ?? ((code: number) => code)

  describe(`${harness.name}: §4 carries frames`, () => {
    test(
      "in order, both ways at once, whatever the batches",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        const up = texts("up", 1000)
        const down = texts("down", 1000)
        yield* Effect.forEach(inBatches(up), client.send, { discard: true }).pipe(Effect.fork)
        yield* Effect.forEach(inBatches(down), server.send, { discard: true }).pipe(Effect.fork)
        const [atServer, atClient] = yield* Effect.all(
          [
            Effect.flatMap(Reader.make(server), (reader) => reader.take(up.length)),
            Effect.flatMap(Reader.make(client), (reader) => reader.take(down.length))
          ],
          { concurrency: 2 }
        )
        expect(atServer).toEqual(up)
        expect(atClient).toEqual(down)
      })
    )

    test(
      "in the order of the calls when several fibers send",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* Effect.forEach(
          [0, 1, 2, 3],
          (lane) => Effect.forEach(texts(`lane${lane}`, 200), (text) => client.send([text, text]), { discard: true }),
          {
            concurrency: "unbounded",
            discard: true
          }
        ).pipe(Effect.fork)
        const reader = yield* Reader.make(server)
        const all = yield* reader.take(4 * 200 * 2)
        for (const lane of [0, 1, 2, 3]) {
          const own = all.filter((frame) => String(frame).includes(`lane${lane}`))
          expect(own).toEqual(texts(`lane${lane}`, 200).flatMap((text) => [text, text]))
        }
        for (let i = 0; i < all.length; i += 2) expect(all[i]).toBe(all[i + 1])
      })
    )

    test(
      "that the client sends before anyone has taken the connection",
      Effect.gen(function* () {
        const connector = yield* Connector
        const client = yield* connector.connect
        yield* client.send(['"first"'])
        yield* client.send(['"second"', '"third"'])
        const server = yield* accept
        yield* server.send(['"welcome"'])
        const atServer = yield* Effect.flatMap(Reader.make(server), (reader) => reader.take(3))
        expect(atServer).toEqual(['"first"', '"second"', '"third"'])
        const atClient = yield* Effect.flatMap(Reader.make(client), (reader) => reader.take(1))
        expect(atClient).toEqual(['"welcome"'])
      })
    )

    test(
      "that are objects",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        const sent = [envelope("1"), envelope("2")]
        yield* client.send(sent)
        const got = yield* Effect.flatMap(Reader.make(server), (reader) => reader.take(2))
        if (harness.byReference === true) {
          expect(got[0]).toBe(sent[0])
          expect(got[1]).toBe(sent[1])
        } else {
          expect(got).toEqual(sent.map((frame) => JSON.stringify(frame)))
        }
      })
    )

    test(
      "of 1 MiB and more, both ways",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        // a chunk of 1 MiB in base64 with its envelope, and one of multi-byte characters
        const large = [JSON.stringify({ data: "QUJD".repeat(350_000) }), JSON.stringify({ data: "€".repeat(400_000) })]
        const atServer = yield* Effect.flatMap(Reader.make(server), (reader) => reader.take(2)).pipe(Effect.fork)
        const atClient = yield* Effect.flatMap(Reader.make(client), (reader) => reader.take(2)).pipe(Effect.fork)
        yield* client.send(large)
        yield* server.send(large)
        // not toEqual: a difference of megabytes is no message
        expect((yield* Fiber.join(atServer)).every((frame, i) => frame === large[i])).toBe(true)
        expect((yield* Fiber.join(atClient)).every((frame, i) => frame === large[i])).toBe(true)
      })
    )

    test(
      "and an empty batch is nothing",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* client.send([])
        yield* client.send(["1"])
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(1)).toEqual(["1"])
      })
    )

    if (harness.single !== true) {
      test(
        "of many connections apart from each other",
        Effect.gen(function* () {
          const connector = yield* Connector
          const { connections } = yield* Server
          yield* Stream.runForEach(connections, (server) =>
            Effect.forkScoped(
              Stream.runForEachChunk(server.inbound, (frames) =>
                Effect.ignore(server.send(Chunk.toReadonlyArray(frames) as ReadonlyArray<Frame>))
              )
            )
          ).pipe(Effect.forkScoped)
          yield* Effect.forEach(
            Array.from({ length: 8 }, (_, i) => i),
            (i) =>
              Effect.gen(function* () {
                const client = yield* connector.connect
                yield* client.send(texts(`own${i}`, 50))
                const reader = yield* Reader.make(client)
                expect(yield* reader.take(50)).toEqual(texts(`own${i}`, 50))
              }),
            { concurrency: "unbounded", discard: true }
          )
        })
      )
    }
  })

  describe(`${harness.name}: §4 back-pressure`, () => {
    const total = 400
    // does not compress: compressed, all of it would fit in the pipes
    const noise = randomBytes(96 * 1024).toString("base64")
    const frameOf = (i: number): string => JSON.stringify({ i, data: noise.slice(i * 97, i * 97 + 64 * 1024) })

    const holdsBack = (
      choose: (both: { client: Connection; server: Connection }) => readonly [Connection, Connection]
    ) =>
      Effect.gen(function* () {
        const [from, to] = choose(yield* pair)
        const sent = yield* Ref.make(0)
        const sender = yield* Effect.fork(
          Effect.forEach(
            Array.from({ length: total }, (_, i) => i),
            (i) =>
              Effect.zipRight(
                from.send([frameOf(i)]),
                Ref.update(sent, (n) => n + 1)
              ),
            { discard: true }
          )
        )
        const stopped = yield* settled(sent)
        expect(stopped).toBeLessThan(total)
        // still there, though nobody reads
        expect(Option.isNone(yield* Fiber.poll(sender))).toBe(true)
        const reader = yield* Reader.make(to)
        const got = yield* reader.take(total)
        expect(got.every((frame, i) => frame === frameOf(i))).toBe(true)
        yield* Fiber.join(sender)
      })

    test(
      "suspends a client whose server does not read, then loses nothing",
      holdsBack((both) => [both.client, both.server])
    )
    if (harness.clientHoldsBack !== false) {
      test(
        "suspends a server whose client does not read, then loses nothing",
        holdsBack((both) => [both.server, both.client])
      )
    }

    const suspended = Effect.gen(function* () {
      const { client, server } = yield* pair
      const sent = yield* Ref.make(0)
      const sender = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: total }, (_, i) => i),
          (i) =>
            Effect.zipRight(
              client.send([frameOf(i)]),
              Ref.update(sent, (n) => n + 1)
            ),
          { discard: true }
        )
      )
      const stopped = yield* settled(sent)
      expect(stopped).toBeLessThan(total)
      return { client, server, sender, stopped }
    })

    test(
      "sends nothing of a send that was interrupted while it waited",
      Effect.gen(function* () {
        const { client, server, sender, stopped } = yield* suspended
        yield* Fiber.interrupt(sender)
        const last = yield* Effect.fork(client.send(['"last"']))
        const reader = yield* Reader.make(server)
        const got = yield* reader.take(stopped + 1)
        expect(got.slice(0, stopped).every((frame, i) => frame === frameOf(i))).toBe(true)
        expect(got[stopped]).toBe('"last"')
        yield* Fiber.join(last)
      })
    )

    test(
      "fails a suspended send when this side closes",
      Effect.gen(function* () {
        const { client, sender, server } = yield* suspended
        yield* Effect.fork(Stream.runDrain(server.inbound))
        yield* client.close(1000, "enough")
        const exit = yield* Fiber.await(sender)
        expect(Exit.isFailure(exit)).toBe(true)
        expect(yield* client.closed).toEqual({ code: 1000, reason: "enough" })
      })
    )

    test(
      "fails a suspended send when the other side closes",
      Effect.gen(function* () {
        const { sender, server } = yield* suspended
        yield* server.close(1000, "enough")
        const failure = yield* Effect.flip(Fiber.join(sender))
        expect(failure).toBeInstanceOf(ConnectionClosed)
      })
    )
  })

  describe(`${harness.name}: §4 ends`, () => {
    test(
      "with the client's code and reason",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        const reading = yield* Effect.fork(Stream.runDrain(server.inbound))
        yield* client.close(1008, "no entry: ünwanted")
        expect(yield* client.closed).toEqual({ code: 1008, reason: "no entry: ünwanted" })
        yield* Fiber.join(reading)
        const atServer = yield* server.closed
        if (harness.codes) expect(atServer).toEqual({ code: clientCode(1008), reason: "no entry: ünwanted" })
        else expect(atServer.code).toBe(1000)
      })
    )

    test(
      "with the server's code and reason",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        const reading = yield* Effect.fork(Stream.runDrain(client.inbound))
        yield* server.close(1013, "come back later")
        expect(yield* server.closed).toEqual({ code: 1013, reason: "come back later" })
        yield* Fiber.join(reading)
        const atClient = yield* client.closed
        if (harness.codes) expect(atClient).toEqual({ code: 1013, reason: "come back later" })
        else expect(atClient.code).toBe(1000)
      })
    )

    test(
      "after the frames that were sent before",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* server.send(texts("last", 500))
        yield* Effect.fork(server.close(1000, "done"))
        const reader = yield* Reader.make(client)
        expect(yield* reader.rest).toEqual(texts("last", 500))
        expect((yield* client.closed).code).toBe(1000)
      })
    )

    test(
      "once: the first close counts, later ones are harmless",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* Effect.fork(Stream.runDrain(server.inbound))
        yield* Effect.all([client.close(1000, "first"), client.close(1011, "second")], { concurrency: 2 })
        yield* client.close(1008, "third")
        expect(yield* client.closed).toEqual({ code: 1000, reason: "first" })
        yield* server.closed
        yield* server.close(1011, "too late")
        expect((yield* server.closed).code).toBe(1000)
      })
    )

    test(
      "and then sending fails on both sides, at once",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* Effect.fork(Stream.runDrain(server.inbound))
        yield* client.close(1000, "bye")
        const failure = yield* Effect.flip(client.send(["1"]))
        expect(failure).toEqual(new ConnectionClosed({ code: 1000, reason: "bye" }))
        yield* server.closed
        expect(yield* Effect.flip(server.send(["1"]))).toBeInstanceOf(ConnectionClosed)
      })
    )

    test(
      "in bounded time though nobody reads",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        yield* server.send(texts("unread", 100))
        yield* client.close(1000, "")
        expect((yield* client.closed).code).toBe(1000)
        yield* server.close(1000, "")
        yield* server.closed
      })
    )

    test(
      "when the connector's scope closes",
      Effect.gen(function* () {
        const connector = yield* Connector
        const scope = yield* Scope.make()
        const client = yield* Scope.extend(connector.connect, scope)
        const server = yield* accept
        const reading = yield* Effect.fork(Stream.runDrain(server.inbound))
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(reading)
        expect((yield* server.closed).code).toBe(1000)
        expect((yield* client.closed).code).toBe(1000)
      })
    )
  })

  describe(`${harness.name}: §4 the server`, () => {
    const run = harness.testClock ? it.scoped : it.scopedLive

    run("closes what is open with 1001 when its scope closes, and its connections end", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const context = yield* Scope.extend(Layer.build(harness.layer()), scope)
        const { client, server } = yield* Effect.provide(pair, context)
        const rest = yield* Effect.fork(
          Effect.provide(
            Effect.flatMap(Server, (_) => Stream.runCount(_.connections)),
            context
          )
        )
        const reading = yield* Effect.fork(Stream.runDrain(client.inbound))
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(reading)
        const atClient = yield* client.closed
        if (harness.codes) expect(atClient.code).toBe(1001)
        else expect(atClient.code).toBe(1000)
        expect((yield* server.closed).code).toBe(1001)
        expect(yield* Fiber.join(rest)).toBe(0)
        if (harness.single !== true) {
          const failure = yield* Effect.flip(
            Effect.provide(
              Effect.flatMap(Connector, (_) => _.connect),
              context
            )
          )
          expect(failure).toBeInstanceOf(TransportError)
          expect(failure.operation).toBe("connect")
        }
      })
    )

    test(
      "stops accepting: what is open stays, what is new is refused",
      Effect.gen(function* () {
        const { client, server } = yield* pair
        const service = yield* Server
        yield* service.stopAccepting
        yield* service.stopAccepting
        expect(yield* Stream.runCount(service.connections)).toBe(0)
        yield* client.send(['"still here"'])
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(1)).toEqual(['"still here"'])
        yield* server.send(['"so am I"'])
        expect(yield* Effect.flatMap(Reader.make(client), (_) => _.take(1))).toEqual(['"so am I"'])
        if (harness.single !== true) {
          const connector = yield* Connector
          const failure = yield* Effect.flip(Effect.scoped(connector.connect))
          expect(failure).toBeInstanceOf(TransportError)
        }
      })
    )

    test(
      "keeps a connection that came and went before anyone took it, with its frames",
      Effect.gen(function* () {
        const connector = yield* Connector
        yield* Effect.scoped(Effect.flatMap(connector.connect, (client) => client.send(['"quick"'])))
        const server = yield* accept
        const reader = yield* Reader.make(server)
        expect(yield* reader.rest).toEqual(['"quick"'])
      })
    )
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
