/** A fiber of the client's connection that fails ends the connection: the client never looks connected with a dead one. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Logger, Redacted, Stream, TestClock } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import { type Connection, ConnectionClosed, Connector, type Frame } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { webSocket } from "../runtime/backends.js"
import { world } from "../runtime/world.js"
import { thrown } from "./hostile.js"

/** What a test may break in the next connections. */
interface Breaks {
  connect?: Effect.Effect<never> | undefined
  send?: ((frames: ReadonlyArray<Frame>) => Effect.Effect<never, ConnectionClosed> | undefined) | undefined
  inbound?: ((inbound: Connection["inbound"]) => Connection["inbound"]) | undefined
  close?: Effect.Effect<never> | undefined
}

/** A connector whose connections do what `breaks` says at the time. */
const breaking = (breaks: Breaks) =>
  Layer.effect(
    Connector,
    Effect.map(Connector, (inner) => ({
      address: inner.address,
      connect: Effect.suspend(() =>
        breaks.connect !== undefined
          ? breaks.connect
          : Effect.map(
              inner.connect,
              (connection): Connection => ({
                ...connection,
                inbound: breaks.inbound === undefined ? connection.inbound : breaks.inbound(connection.inbound),
                send: (frames) => Effect.suspend(() => breaks.send?.(frames) ?? connection.send(frames)),
                close: (code, reason) => Effect.suspend(() => breaks.close ?? connection.close(code, reason))
              })
            )
      )
    }))
  )

const client = (breaks: Breaks, options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(breaking(breaks)),
    Layer.provideMerge(MemoryTransport.layer),
    Layer.provideMerge(Ids.layerSeeded(9)),
    Layer.provideMerge(Logger.remove(Logger.defaultLogger))
  )

const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

const features = ["ack", "heartbeat", "list_jobs", "subscribe"]

const greet = <R>(next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>) =>
  Effect.gen(function* () {
    const peer = yield* next
    yield* peer.expect("session.hello")
    const capabilities = { features, agents: ["a"] }
    yield* peer.send("session.welcome", { resume_token: "rt", capabilities }, { session_id: "s" })
    return peer
  })

const accept = (peer: ScriptedPeer.ScriptedPeer, submit: { readonly id: string }) =>
  peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, { session_id: "s", job_id: "j" })

/** The client is back, and what it was asked for is accepted now. */
const acceptedAgain = <R, A, E>(
  next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>,
  submitting: Fiber.Fiber<A, E>
) =>
  Effect.gen(function* () {
    const peer = yield* greet(next)
    yield* accept(peer, yield* peer.expect("job.submit"))
    return yield* Fiber.join(submitting)
  })

/** Resolves once the client has this status. */
const when = (tag: string) =>
  Effect.flatMap(ArcpClient, ({ status }) => Stream.runHead(Stream.filter(status, ({ _tag }) => _tag === tag)))

/** The fates of a send that the transport does not keep. */
const fates: ReadonlyArray<readonly [string, () => Effect.Effect<never, ConnectionClosed>]> = [
  ...thrown.map(([what, make]) => [`dies of ${what}`, () => Effect.die(make())] as const),
  ["interrupts itself", () => Effect.interrupt],
  ["says that the connection is closed", () => new ConnectionClosed({ code: 1006, reason: "gone" })]
]

describe("the writer of a connection", () => {
  it.scoped.each(fates.map(([what, fate]) => ({ what, fate })))(
    "§6.3 a send that $what ends the connection; the client resumes, and the call is answered",
    ({ fate }) => {
      const breaks: Breaks = {}
      return Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const first = yield* greet(next)
        yield* arcp.connected
        breaks.send = () => {
          breaks.send = undefined
          return fate()
        }
        const disconnected = yield* Effect.fork(when("Disconnected"))
        yield* Effect.yieldNow()
        const submitting = yield* Effect.fork(arcp.submit("a", 1))
        yield* first.ended
        expect(yield* Fiber.join(disconnected)).toMatchObject({ value: { _tag: "Disconnected" } })
        yield* TestClock.adjust("1 second")
        expect((yield* acceptedAgain(next, submitting)).jobId).toBe("j")
      }).pipe(Effect.provide(client(breaks)))
    }
  )

  it.scoped("§6.3 a connection that cannot even be closed is left after a second", () => {
    const breaks: Breaks = {}
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      yield* greet(next)
      yield* arcp.connected
      breaks.send = () => {
        breaks.send = undefined
        return Effect.dieMessage("broken")
      }
      breaks.close = Effect.never
      const submitting = yield* Effect.fork(arcp.submit("a", 1))
      yield* Effect.repeatN(Effect.yieldNow(), 50)
      breaks.close = undefined
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 second")
      expect((yield* acceptedAgain(next, submitting)).jobId).toBe("j")
    }).pipe(Effect.provide(client(breaks)))
  })

  it.scoped("§6.1 what came before the connection closed under the writer is still read", () => {
    const breaks: Breaks = {}
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next)
      yield* arcp.connected
      const submitting = yield* Effect.fork(Effect.flip(arcp.submit("a", 1)))
      yield* peer.expect("job.submit")
      breaks.send = () => new ConnectionClosed({ code: 1006, reason: "gone" })
      yield* Effect.fork(arcp.submit("a", 2))
      yield* peer.send(
        "session.error",
        { code: "PERMISSION_DENIED", message: "m", details: { reason: "taken_over" } },
        { session_id: "s" }
      )
      expect(yield* Fiber.join(submitting)).toMatchObject({ _tag: "SessionEnded", reason: "taken_over" })
    }).pipe(Effect.provide(client(breaks)))
  })

  it.scopedLive("§6.3 over a WebSocket a defect in a send is survived by every job and call", () => {
    const breaks: Breaks = {}
    const layer = ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, backoff: 10 }).pipe(
      Layer.provideMerge(breaking(breaks)),
      Layer.provideMerge(world({ transport: webSocket })),
      Layer.provideMerge(Logger.remove(Logger.defaultLogger))
    )
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const running = yield* arcp.submit("never")
      for (const [, make] of thrown) {
        breaks.send = () => {
          breaks.send = undefined
          return Effect.die(make())
        }
        expect(yield* (yield* arcp.submit("echo", "through")).result).toBe("through")
      }
      yield* running.cancel()
      expect(yield* Effect.flip(running.result)).toMatchObject({ _tag: "Cancelled" })
    }).pipe(Effect.provide(layer))
  })
})

describe("the other fibers of a connection", () => {
  it.scoped("§6.4 a heartbeat that cannot be sent ends the connection", () => {
    const breaks: Breaks = {}
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const first = yield* greet(next)
      yield* arcp.connected
      breaks.send = () => {
        breaks.send = undefined
        return Effect.dieMessage("broken")
      }
      yield* TestClock.adjust("15 seconds")
      yield* TestClock.adjust("15 seconds")
      yield* first.ended
      yield* TestClock.adjust("1 second")
      yield* greet(next)
      yield* when("Resumed")
    }).pipe(Effect.provide(client(breaks)))
  })

  it.scoped("§6.3 an inbound stream that dies ends the connection, and the client resumes", () => {
    const breaks: Breaks = {}
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      let dies = true
      breaks.inbound = (inbound) =>
        Stream.mapChunksEffect(inbound, (chunk) => {
          if (!dies || !JSON.stringify(Chunk.toReadonlyArray(chunk)).includes("job.accepted"))
            return Effect.succeed(chunk)
          dies = false
          return Effect.die(Object.create(null))
        })
      const submitting = yield* Effect.fork(arcp.submit("a", 1))
      const first = yield* greet(next)
      yield* accept(first, yield* first.expect("job.submit"))
      yield* first.ended
      yield* TestClock.adjust("1 second")
      expect((yield* acceptedAgain(next, submitting)).jobId).toBe("j")
    }).pipe(Effect.provide(client(breaks)))
  })

  it.scoped("a connect that dies is tried again, and counts as an attempt", () => {
    const breaks: Breaks = { connect: Effect.die(Object.create(null)) }
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      yield* Effect.fork(Effect.repeatN(Effect.zipRight(Effect.yieldNow(), TestClock.adjust("1 minute")), 20))
      expect(yield* Effect.flip(arcp.submit("a"))).toMatchObject({ _tag: "SessionEnded", reason: "gave_up" })
    }).pipe(Effect.provide(client(breaks, { maxAttempts: 3 })))
  })

  it.scoped("a logger that throws changes nothing", () => {
    const breaks: Breaks = {}
    const logger = Logger.replace(
      Logger.defaultLogger,
      Logger.make(() => {
        throw new Error("no disk")
      })
    )
    return Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const first = yield* greet(next)
      yield* arcp.connected
      breaks.send = () => {
        breaks.send = undefined
        return Effect.dieMessage("broken")
      }
      const submitting = yield* Effect.fork(arcp.submit("a", 1))
      yield* first.ended
      yield* TestClock.adjust("1 second")
      expect((yield* acceptedAgain(next, submitting)).jobId).toBe("j")
    }).pipe(Effect.provide(Layer.provideMerge(client(breaks), logger)))
  })
})

describe("a transport", () => {
  it.effect("§4 a frame that cannot be encoded fails who sent it, not who made room for it", () =>
    Effect.gen(function* () {
      const [one, other] = yield* MemoryTransport.makePair({ encoded: true, capacity: 1 })
      const frame = { arcp: "1.1", id: "i", type: "t", payload: {} }
      yield* one.send([frame])
      const bad = yield* Effect.fork(Effect.exit(one.send([{ ...frame, payload: { n: 1n } }])))
      const good = yield* Effect.fork(one.send([{ ...frame, id: "j" }]))
      yield* Effect.yieldNow()
      const received = yield* Effect.fork(Stream.runCollect(Stream.take(other.inbound, 2)))
      expect(yield* Fiber.join(bad)).toMatchObject({ _tag: "Failure", cause: { _tag: "Die" } })
      yield* Fiber.join(good)
      const ids = Chunk.toReadonlyArray(yield* Fiber.join(received)).map((text) => JSON.parse(text as string).id)
      expect(ids).toEqual(["i", "j"])
    })
  )
})
