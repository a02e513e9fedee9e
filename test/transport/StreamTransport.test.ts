/** Connections made of Streams: what the Streams of a program do to them, and a client and a runtime over them. */
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Mailbox,
  Option,
  Queue,
  Redacted,
  Ref,
  Schema,
  Sink,
  Stream,
  TestClock
} from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import { ArcpRuntime } from "../../src/runtime/index.js"
import { Strangers } from "../../src/runtime/sessions/internal/strangers.js"
import { defaults } from "../../src/runtime/kernel/Limits.js"
import { MemoryStore } from "../../src/store/index.js"
import {
  BadFrame,
  type CloseInfo,
  Connection,
  ConnectionClosed,
  type ConnectionStreams,
  Connector,
  type Inbound,
  MemoryTransport,
  Server,
  StreamTransport,
  TransportError
} from "../../src/transport/index.js"
import { asItIs, overLines, rechunked, type Shape, slow } from "./streamPairs.js"
import { accept, expectBad, Reader } from "./suite.js"

const peer = { transport: "mine", secure: false, remoteAddress: "192.0.2.1" }

/** A Stream that a test feeds, a Sink that it reads, and what `close` was told. */
const scripted = Effect.gen(function* () {
  const inbound = yield* Mailbox.make<Inbound, unknown>()
  const sent: Array<string> = []
  const closes: Array<CloseInfo> = []
  const streams: ConnectionStreams<unknown> = {
    inbound: Mailbox.toStream(inbound),
    outbound: Sink.forEach((text: string) => Effect.sync(() => void sent.push(text))),
    close: (info) => Effect.sync(() => void closes.push(info)),
    peer
  }
  return { inbound, sent, closes, streams }
})

const never: ConnectionStreams = { inbound: Stream.never, outbound: Sink.drain, peer }

/** How a connection over these Streams ends. */
const endOf = (streams: Partial<ConnectionStreams<unknown>>) =>
  Effect.scoped(Effect.flatMap(Connection.fromStreams({ ...never, ...streams }), ({ closed }) => closed))

const boom = new Proxy(
  {},
  {
    get: () => {
      throw new Error("a getter of an error")
    }
  }
)

/** A pair of whom one part throws when it is read. */
const throwing = (name: keyof ConnectionStreams): ConnectionStreams => {
  const get = (): never => {
    throw new Error("a getter of a pair")
  }
  return Object.defineProperty({ ...never }, name, { get, enumerable: true })
}

/** Pairs that are none. */
const unreadable: ReadonlyArray<readonly [string, () => ConnectionStreams]> = [
  ["has a Stream that cannot be read", () => throwing("inbound")],
  ["has a Sink that cannot be read", () => throwing("outbound")],
  ["has a close that cannot be read", () => throwing("close")],
  ["has facts that cannot be read", () => throwing("peer")],
  ["has no facts", () => ({ ...never, peer: undefined as unknown as ConnectionStreams["peer"] })],
  ["has no Stream", () => ({ ...never, inbound: 3 as unknown as ConnectionStreams["inbound"] })],
  ["has no Sink", () => ({ ...never, outbound: 3 as unknown as ConnectionStreams["outbound"] })],
  ["is null", () => null as unknown as ConnectionStreams],
  ["is a value of which nothing can be read", () => boom as ConnectionStreams]
]

describe("Connection.fromStreams", () => {
  it.scoped("§4 has the peer's facts, reads the Stream and writes the Sink, objects as JSON", () =>
    Effect.gen(function* () {
      const { closes, inbound, sent, streams } = yield* scripted
      const connection = yield* Connection.fromStreams(streams)
      expect([connection.transport, connection.secure, connection.remoteAddress]).toEqual(["mine", false, "192.0.2.1"])
      const bad = new BadFrame("not text")
      yield* inbound.offerAll(["1", bad, "2"])
      const reader = yield* Reader.make(connection)
      expect(yield* reader.take(3)).toEqual(["1", bad, "2"])
      yield* connection.send(["a", { arcp: "1.1", id: "1", type: "x", payload: {} }])
      yield* connection.close(1008, "enough")
      expect(sent).toEqual(["a", '{"arcp":"1.1","id":"1","type":"x","payload":{}}'])
      expect(closes).toEqual([{ code: 1008, reason: "enough" }])
    })
  )

  it.effect("§4 a Stream or a Sink that fails, dies or ends is a typed end, whatever it fails with", () =>
    Effect.gen(function* () {
      const refused = new ConnectionClosed({ code: 1008, reason: "who are you" })
      for (const [part, streams] of [
        ["the inbound stream", (cause: Cause.Cause<unknown>) => ({ inbound: Stream.failCause(cause) })],
        ["the outbound sink", (cause: Cause.Cause<unknown>) => ({ outbound: Sink.failCause(cause) })]
      ] as const) {
        expect(yield* endOf(streams(Cause.fail("reset")))).toEqual({ code: 1006, reason: `${part} failed: reset` })
        expect(yield* endOf(streams(Cause.die(new Error("a bug"))))).toEqual({
          code: 1011,
          reason: `${part} died: a bug`
        })
        expect(yield* endOf(streams(Cause.fail(refused)))).toEqual({ code: 1008, reason: "who are you" })
        expect((yield* endOf(streams(Cause.fail(boom)))).code).toBe(1006)
        expect((yield* endOf(streams(Cause.die(boom)))).code).toBe(1011)
        expect((yield* endOf(streams(Cause.interrupt(yield* Effect.fiberId)))).code).toBe(1006)
      }
      expect(yield* endOf({ outbound: Sink.succeed(1) })).toEqual({ code: 1006, reason: "the outbound sink has ended" })
    })
  )

  it.scoped("§4 a Sink that fails on a frame fails the senders that wait, and the Stream is interrupted", () =>
    Effect.gen(function* () {
      const stopped = yield* Deferred.make<void>()
      const connection = yield* Connection.fromStreams(
        {
          ...never,
          inbound: Stream.ensuring(Stream.never, Deferred.succeed(stopped, undefined)),
          outbound: Sink.forEach((text: string) => (text === "2" ? Effect.fail("broken pipe") : Effect.void))
        },
        { highWaterBytes: 1 }
      )
      const sends = yield* Effect.forEach(["1", "2", "3", "4"], (text) => Effect.fork(connection.send([text])))
      expect(Exit.isFailure(yield* Fiber.await(sends[3]!))).toBe(true)
      expect(yield* Effect.flip(connection.send(["5"]))).toEqual(
        new ConnectionClosed({ code: 1006, reason: "the outbound sink failed: broken pipe" })
      )
      yield* Deferred.await(stopped)
    })
  )

  it.scoped("§4 what a Sink works on counts: a sender waits until the Sink asks for more", () =>
    Effect.gen(function* () {
      const asked = yield* Queue.unbounded<string>()
      const go = yield* Queue.unbounded<void>()
      const connection = yield* Connection.fromStreams(
        {
          ...never,
          outbound: Sink.forEach((text: string) => Effect.zipRight(Queue.offer(asked, text), Queue.take(go)))
        },
        { highWaterBytes: 1 }
      )
      yield* connection.send(["1"])
      expect(yield* Queue.take(asked)).toBe("1")
      const second = yield* Effect.fork(connection.send(["2"]))
      const third = yield* Effect.fork(connection.send(["3"]))
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
      expect([second.unsafePoll(), third.unsafePoll()]).toEqual([null, null])
      // Interrupted while it waits, it has sent nothing.
      yield* Fiber.interrupt(second)
      yield* Queue.offer(go, undefined)
      yield* Fiber.join(third)
      expect(yield* Queue.take(asked)).toBe("3")
      yield* Queue.offer(go, undefined)
    })
  )

  it.scoped("§4 pulls no more of the Stream than its bound and one chunk, and goes on once it is read", () =>
    Effect.gen(function* () {
      const pulled = yield* Ref.make(0)
      const connection = yield* Connection.fromStreams(
        { ...never, inbound: Stream.repeatEffect(Ref.updateAndGet(pulled, (n) => n + 1)).pipe(Stream.map(String)) },
        { inboundBytes: 650 }
      )
      for (let i = 0; i < 2_000; i++) yield* Effect.yieldNow()
      expect(yield* Ref.get(pulled)).toBe(10)
      const reader = yield* Reader.make(connection)
      expect(yield* reader.take(100)).toEqual(Array.from({ length: 100 }, (_, i) => String(i + 1)))
    })
  )

  it.scoped("§14 a frame over the limit ends the connection with 1009, measured in UTF-8", () =>
    Effect.gen(function* () {
      for (const [frame, code] of [
        ["12345678", undefined],
        ["€€1234", 1009],
        ["😀😀", undefined],
        ["😀😀1", 1009],
        ["éééé", undefined],
        ["ééééé", 1009]
      ] as const) {
        const { inbound, streams } = yield* scripted
        const connection = yield* Connection.fromStreams(streams, { maxFrameBytes: 8 })
        yield* inbound.offerAll(["before", frame])
        yield* inbound.end
        const reader = yield* Reader.make(connection)
        expect(yield* reader.rest).toEqual(code === undefined ? ["before", frame] : ["before"])
        expect((yield* connection.closed).code, frame).toBe(code ?? 1000)
      }
    })
  )

  it.scoped("§4 the end of the Stream closes with 1000 once it is read, so that what was asked is answered", () =>
    Effect.gen(function* () {
      const { closes, inbound, sent, streams } = yield* scripted
      const connection = yield* Connection.fromStreams(streams)
      yield* inbound.offer("question")
      yield* inbound.end
      for (let i = 0; i < 50; i++) yield* Effect.yieldNow()
      yield* connection.send(["answer"])
      const reader = yield* Reader.make(connection)
      expect(yield* reader.rest).toEqual(["question"])
      expect(yield* connection.closed).toEqual({ code: 1000, reason: "" })
      expect([sent, closes]).toEqual([["answer"], [{ code: 1000, reason: "" }]])
    })
  )

  it.scoped("§4 and within the close time-out where nobody reads", () =>
    Effect.gen(function* () {
      const connection = yield* Connection.fromStreams(
        { ...never, inbound: Stream.make("unread") },
        { closeTimeout: 700 }
      )
      const ended = yield* Effect.fork(connection.closed)
      yield* TestClock.adjust(699)
      expect(ended.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(ended)).toEqual({ code: 1000, reason: "" })
    })
  )

  it.effect(
    "§4 a Sink, a Stream and a close that hang and cannot be interrupted hold nothing up for longer than bounded",
    () =>
      Effect.gen(function* () {
        const hang = Effect.uninterruptible(Effect.never)
        const using = yield* Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* Connection.fromStreams(
              {
                inbound: Stream.fromEffect(hang),
                outbound: Sink.forEach((_: string) => hang),
                close: () => hang,
                peer
              },
              { closeTimeout: 1000 }
            )
            yield* connection.send(["stuck"])
            yield* connection.close(1000, "enough")
            return yield* connection.closed
          })
        ).pipe(Effect.fork)
        for (let i = 0; i < 3; i++) yield* TestClock.adjust(1000)
        expect(yield* Fiber.join(using)).toEqual({ code: 1000, reason: "enough" })
      })
  )

  it.effect("§4 a close that throws or dies changes nothing, and is called once", () =>
    Effect.gen(function* () {
      let calls = 0
      for (const close of [
        () => Effect.dieMessage(String(calls++)),
        (): Effect.Effect<void> => {
          calls++
          throw boom
        }
      ]) {
        const connection = yield* Effect.scoped(
          Effect.tap(Connection.fromStreams({ ...never, close }), (_) =>
            Effect.all([_.close(1000, "first"), _.close(1011, "second")], { concurrency: 2 })
          )
        )
        expect(yield* connection.closed).toEqual({ code: 1000, reason: "first" })
      }
      expect(calls).toBe(2)
    })
  )

  it.effect(
    "§4 the scope's end interrupts Stream and Sink and waits for their finalizers, however the connection ended",
    () =>
      Effect.gen(function* () {
        for (const kill of [false, true]) {
          const { inbound, streams } = yield* scripted
          const done: Array<string> = []
          const release = (what: string) =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => void done.push(what))
            )
          yield* Effect.scoped(
            Effect.gen(function* () {
              const connection = yield* Connection.fromStreams({
                ...streams,
                inbound: Stream.ensuring(streams.inbound, release("stream")),
                outbound: Sink.ensuring(streams.outbound, release("sink")),
                close: () => release("close")
              })
              yield* connection.send(["1"])
              if (kill) yield* Effect.zipRight(inbound.fail("gone"), connection.closed)
            })
          )
          expect(done.toSorted()).toEqual(["close", "sink", "stream"])
        }
      })
  )
})

describe("Connection.toStreams", () => {
  it.scoped("§4 a connection of Streams of a connection has its codes and frames", () =>
    Effect.gen(function* () {
      for (const [code, reason] of [
        [1013, "come back later"],
        [1000, ""]
      ] as const) {
        const [left, right] = yield* MemoryTransport.makePair({ encoded: true })
        const over = yield* Connection.fromStreams(Connection.toStreams(right))
        expect(over.transport).toBe("memory")
        yield* left.send(["1", "2"])
        yield* over.send(["3"])
        const reader = yield* Reader.make(over)
        expect(yield* reader.take(2)).toEqual(["1", "2"])
        expect(yield* Effect.flatMap(Reader.make(left), (_) => _.take(1))).toEqual(["3"])
        yield* left.close(code, reason)
        expect(yield* reader.rest).toEqual([])
        expect(yield* over.closed).toEqual({ code, reason })
      }
    })
  )

  it.scoped("§4 its Stream fails where the connection did not end normally; its Sink fails once it has ended", () =>
    Effect.gen(function* () {
      const [left, right] = yield* MemoryTransport.makePair()
      const streams = Connection.toStreams(right)
      yield* Stream.run(Stream.make("1", "2"), streams.outbound)
      yield* left.close(1008, "no")
      const closed = new ConnectionClosed({ code: 1008, reason: "no" })
      expect(yield* Effect.flip(Stream.runDrain(streams.inbound))).toEqual(closed)
      expect(yield* Effect.flip(Stream.run(Stream.make("3"), streams.outbound))).toEqual(closed)
      expect(Array.from(yield* Stream.runCollect(left.inbound))).toEqual(["1", "2"])
    })
  )
})

describe("Connection.readLines", () => {
  const read = (bytes: ReadonlyArray<Uint8Array>, maxFrameBytes = 64) =>
    Effect.gen(function* () {
      const frames: Array<Inbound> = []
      const exit = yield* Connection.readLines(Stream.fromIterable(bytes), { maxFrameBytes }).pipe(
        Stream.runForEach((frame) => Effect.sync(() => void frames.push(frame))),
        Effect.either
      )
      return { frames, exit }
    })
  const encode = (text: string) => new TextEncoder().encode(text)

  it.effect("1.0 §4.2 cuts lines wherever bytes are cut, and takes what is behind the last line end", () =>
    Effect.gen(function* () {
      const bytes = encode('"é€😀"\r\n\n"2"\n"3"')
      const one = yield* read(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)))
      expect(one.frames).toEqual(['"é€😀"', '"2"', '"3"'])
      expect((yield* read([bytes])).frames).toEqual(one.frames)
    })
  )

  it.effect("1.0 §4.2 bytes that are no text are a bad frame, and a line without end fails with 1009", () =>
    Effect.gen(function* () {
      const { exit, frames } = yield* read([
        encode("1\n"),
        Uint8Array.of(0xff, 10),
        encode(`2\n${"x".repeat(65)}`),
        encode("\n3\n")
      ])
      expect(frames[0]).toBe("1")
      expectBad(frames[1], /not valid UTF-8/)
      expect(frames[2]).toBe("2")
      expectBad(frames[3], /longer than 64 bytes/)
      expect(frames).toHaveLength(4)
      expect(exit).toMatchObject({ left: { code: 1009 } })
    })
  )
})

describe("StreamTransport", () => {
  it.scoped("§4 a connector's failure, defect and delay are a TransportError that names the address", () =>
    Effect.gen(function* () {
      const dial = (open: Effect.Effect<ConnectionStreams, unknown>) =>
        Effect.flatMap(Connector, (_) => Effect.flip(Effect.scoped(_.connect))).pipe(
          Effect.provide(StreamTransport.layerClient({ open, address: "serial:1", connectTimeout: 2000 }))
        )
      for (const open of [Effect.fail("busy"), Effect.dieMessage("busy")]) {
        const error = yield* dial(open)
        expect(error).toBeInstanceOf(TransportError)
        expect(error.message).toBe("could not connect to serial:1: busy")
      }
      const late = yield* Effect.fork(dial(Effect.never))
      yield* TestClock.adjust(2000)
      expect((yield* Fiber.join(late)).message).toContain("2000 ms")
      const own = new TransportError({ operation: "spawn", message: "own" })
      expect(yield* dial(Effect.fail(own))).toBe(own)
    })
  )

  it.scoped("§4 what opening acquires is released with the connection's scope", () =>
    Effect.gen(function* () {
      const released = yield* Ref.make(0)
      const open = Effect.as(
        Effect.acquireRelease(Effect.void, () => Ref.update(released, (n) => n + 1)),
        never
      )
      const layer = StreamTransport.layerClient({ open })
      yield* Effect.gen(function* () {
        yield* Effect.scoped(Effect.flatMap(Connector, (_) => _.connect))
        expect(yield* Ref.get(released)).toBe(1)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("§4 a server whose Stream of peers dies stops accepting and says so; what is open stays", () =>
    Effect.gen(function* () {
      const logs: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => void logs.push(String(message)))
      )
      const { inbound, streams } = yield* scripted
      const peers = Stream.concat(Stream.make(streams), Stream.die("a bug"))
      yield* Effect.gen(function* () {
        const { connections } = yield* Server
        const [only, ...others] = Array.from(yield* Stream.runCollect(connections))
        expect(others).toEqual([])
        yield* inbound.offer("1")
        const reader = yield* Reader.make(only!)
        expect(yield* reader.take(1)).toEqual(["1"])
        expect(logs.join()).toContain("the stream of peers has failed")
      }).pipe(Effect.provide(StreamTransport.layerServer({ peers }).pipe(Layer.provide(logger))))
    })
  )

  it.scoped("§14 takes no more peers than may be open; another is taken when one has ended", () =>
    Effect.gen(function* () {
      const all = yield* Effect.all([scripted, scripted, scripted])
      const taken = yield* Ref.make(0)
      const peers = Stream.fromIterable(all).pipe(
        Stream.rechunk(1),
        Stream.map(({ streams }) => streams),
        Stream.tap(() => Ref.update(taken, (n) => n + 1))
      )
      yield* Effect.gen(function* () {
        const seen = yield* Queue.unbounded<Connection>()
        yield* Effect.fork(Stream.runForEach((yield* Server).connections, (_) => Queue.offer(seen, _)))
        yield* Queue.takeN(seen, 2)
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow()
        expect(yield* Queue.size(seen)).toBe(0)
        yield* all[0].inbound.fail("gone")
        yield* Queue.take(seen)
      }).pipe(Effect.provide(StreamTransport.layerServer({ peers, maxConnections: 2 })))
      for (const { closes } of all) expect(closes).toHaveLength(1)
      expect(all[2].closes).toEqual([{ code: 1001, reason: "the server is shutting down" }])
    })
  )

  it.scoped("§14 a server restricts its peers: refused by address, and with small frames until they are admitted", () =>
    Effect.gen(function* () {
      const dialled = yield* Queue.unbounded<ConnectionStreams<unknown>>()
      const one = yield* scripted
      const two = yield* scripted
      const three = yield* scripted
      yield* Effect.gen(function* () {
        const server = yield* Server
        let refusal: string | undefined
        yield* server.restrict!({ frameBytes: 8, refusal: () => refusal })
        const taken = yield* Queue.unbounded<Connection>()
        yield* Effect.fork(Stream.runForEach(server.connections, (_) => Queue.offer(taken, _)))
        yield* Queue.offerAll(dialled, [one.streams, two.streams])
        const [first, second] = Array.from(yield* Queue.takeN(taken, 2))
        yield* one.inbound.offer("123456789")
        expect((yield* first!.closed).code).toBe(1009)
        yield* second!.admit!
        yield* two.inbound.offer("123456789")
        expect(yield* Effect.flatMap(Reader.make(second!), (_) => _.take(1))).toEqual(["123456789"])
        refusal = "too many"
        yield* Queue.offer(dialled, three.streams)
        for (let i = 0; i < 100; i++) yield* Effect.yieldNow()
        expect(three.closes).toEqual([{ code: 1013, reason: "too many" }])
        expect(yield* Queue.size(taken)).toBe(0)
      }).pipe(Effect.provide(StreamTransport.layerServer({ peers: Stream.fromQueue(dialled) })))
    })
  )

  it.scoped.each(unreadable)(
    "§4 a peer that %s ends its own connection within the close time-out, and the server takes the next",
    ([, make]) =>
      Effect.gen(function* () {
        const dialled = yield* Queue.unbounded<ConnectionStreams<unknown>>()
        yield* Effect.gen(function* () {
          const server = yield* Server
          yield* server.restrict!({ frameBytes: 64, refusal: (address) => address?.slice(1_000) || undefined })
          yield* Queue.offer(dialled, make())
          const bad = Option.getOrThrow(yield* Stream.runHead(server.connections))
          expect(yield* bad.closed).toMatchObject({ code: 1011 })
          yield* Queue.offer(dialled, never)
          expect(Option.getOrThrow(yield* Stream.runHead(server.connections))).toMatchObject({
            transport: "mine",
            remoteAddress: "192.0.2.1"
          })
        }).pipe(Effect.provide(StreamTransport.layerServer({ peers: Stream.fromQueue(dialled) })))
        const alone = yield* Effect.scoped(Effect.flatMap(Connection.fromStreams(make()), ({ closed }) => closed))
        expect(alone).toMatchObject({ code: 1011 })
      })
  )

  it.scoped("§4 serves connections of another transport as peers", () =>
    Effect.gen(function* () {
      const [client, server] = yield* MemoryTransport.makePair()
      yield* Effect.gen(function* () {
        const accepted = yield* accept
        yield* client.send(["1"])
        expect(yield* Effect.flatMap(Reader.make(accepted), (_) => _.take(1))).toEqual(["1"])
      }).pipe(Effect.provide(StreamTransport.layerServer({ peers: Stream.make(server) })))
      expect(yield* client.closed).toEqual({ code: 1001, reason: "the server is shutting down" })
    })
  )

  it("§14 peers of a transport that this package does not know count as strangers, those of this process do not", () => {
    const strangers = (transport: string) => {
      const meter = { reached: () => {} } as unknown as ConstructorParameters<typeof Strangers>[2]
      const table = new Strangers({ ...defaults, unauthenticatedPerAddress: 1 }, () => 0, meter)
      table.enter({ transport, remoteAddress: "192.0.2.1" })
      return table.enter({ transport, remoteAddress: "192.0.2.1" })
    }
    for (const transport of ["websocket", "quic"]) expect(strangers(transport)).toBeTypeOf("string")
    for (const transport of ["memory", "stdio"]) expect(strangers(transport)).toBe(undefined)
  })
})

class Count extends Agent.make("count", { input: Schema.Number, output: Schema.Number }) {}
const CountLive = Count.toLayer((n) =>
  Effect.as(
    Effect.forEach(
      Array.from({ length: n }, (_, i) => i),
      (i) => Job.log(`line ${i} é€😀`),
      { discard: true }
    ),
    n
  )
)

/** A client and a runtime over a transport. */
const arcp = (transport: Layer.Layer<Server | Connector>) =>
  ArcpClient.layerNoIds({ auth: { token: Redacted.make("t") }, backoff: 10 }).pipe(
    Layer.provideMerge(
      ArcpRuntime.layer({ drainTime: 0 }).pipe(
        Layer.provide(CountLive),
        Layer.provide(MemoryStore.layer),
        Layer.provide(Authenticator.layerBearer({ t: "alice" })),
        Layer.provideMerge(transport)
      )
    ),
    Layer.provideMerge(Ids.layer)
  )

const runs = Effect.gen(function* () {
  const client = yield* ArcpClient
  const job = yield* client.submit(Count, 500)
  const logs = yield* Effect.fork(Stream.runCollect(Stream.filter(job.events, (event) => event.kind === "log")))
  expect(yield* job.result).toBe(500)
  const texts = Array.from(yield* Fiber.join(logs), (event) => (event.body as { readonly message: string }).message)
  expect(texts).toEqual(Array.from({ length: 500 }, (_, i) => `line ${i} é€😀`))
})

describe("a client and a runtime over Streams", () => {
  for (const [name, shape] of [
    ["as they are", asItIs],
    ["cut anywhere", rechunked],
    ["with a slow Sink", slow]
  ] as const) {
    it.scopedLive(`§4 ${name}: a job's events arrive in order, and its result`, () =>
      Effect.provide(runs, arcp(overLines(shape, { closeTimeout: 300, highWaterBytes: 2_000, inboundBytes: 2_000 })))
    )
  }

  for (const [side, dies] of [
    [
      "Stream",
      (n: number): Shape =>
        (streams) => ({
          ...streams,
          inbound: Stream.mapAccum(streams.inbound, 0, (i, frame) => {
            if (i + 1 === n) throw new Error("the line is dead")
            return [i + 1, frame] as const
          })
        })
    ],
    [
      "Sink",
      (n: number): Shape =>
        (streams) => {
          let i = 0
          return {
            ...streams,
            outbound: Sink.mapInputEffect(streams.outbound, (text: string) =>
              ++i === n ? Effect.fail("the line is dead") : Effect.succeed(text)
            )
          }
        }
    ]
  ] as const) {
    it.scopedLive(
      `§6.3 a ${side} that dies again and again, on either side: the session resumes, and no event is lost`,
      () =>
        Effect.gen(function* () {
          let deaths = 0
          // the first three lines die after a while, on each end
          const shape: Shape = (streams) => (++deaths <= 6 ? dies(4 + 10 * deaths)(streams) : streams)
          yield* Effect.provide(runs, arcp(overLines(shape)))
          expect(deaths).toBeGreaterThan(2)
        })
    )
  }

  it.scopedLive("§4 a connection of another transport serves as a pair of Streams on both sides", () =>
    Effect.gen(function* () {
      const wrapped = Layer.scopedContext(
        Effect.gen(function* () {
          const context = yield* Layer.build(MemoryTransport.layerEncoded)
          return yield* Effect.provide(
            Effect.gen(function* () {
              const { connect } = yield* Connector
              const { connections } = yield* Server
              return yield* Layer.build(
                Layer.merge(
                  StreamTransport.layerServer({ peers: connections }),
                  StreamTransport.layerClient({ open: Effect.map(connect, Connection.toStreams) })
                )
              )
            }),
            context
          )
        })
      )
      yield* Effect.provide(runs, arcp(wrapped))
    })
  )
})
