/** Connections that have nothing to read have no fiber, and what takes one step is answered without one. */
import { describe, expect, it } from "@effect/vitest"
import { type Context, Effect, type Exit, type Fiber, Layer, Option, Supervisor, Tracer } from "effect"
import { Agent } from "../../src/agent/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { pipes, webSocket } from "./backends.js"
import { hello, type Peer, run } from "./peer.js"
import { world, type WorldOptions } from "./world.js"

/** The fibers that are alive, and how many have begun. */
class Fibers extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  readonly alive = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  begun = 0

  override onStart<A, E, R>(
    _context: Context.Context<R>,
    _effect: Effect.Effect<A, E, R>,
    _parent: Option.Option<Fiber.RuntimeFiber<unknown, unknown>>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    this.begun++
    this.alive.add(fiber)
  }

  override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.alive.delete(fiber)
  }
}

const agents = Agent.untyped("echo", (input) => Effect.succeed(input))

const turns = Effect.repeatN(
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
  5
)

const pings = (peer: Peer, count: number) =>
  Effect.repeatN(
    Effect.zipRight(peer.send("session.ping", { nonce: "n", sent_at: "now" }), peer.next("session.pong")),
    count - 1
  )

describe.each<readonly [string, () => WorldOptions]>([
  ["memory", () => ({ transport: MemoryTransport.layerEncoded })],
  ["WebSocket", () => ({ transport: webSocket })],
  ["pipes", () => ({ transport: pipes })]
])("a connection over %s that has nothing to read", (_name, options) => {
  it.scopedLive("§6.4 has no fiber: a ping and an ack begin none, a submit its handler's alone", () =>
    Effect.gen(function* () {
      const fibers = new Fibers()
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        yield* run(peer, "echo", 1)
        yield* turns
        const alive = fibers.alive.size
        const second = yield* hello()
        yield* turns
        // Those of its client, which reads a stream.
        expect(fibers.alive.size - alive).toBe(2)
        const before = fibers.begun
        yield* pings(peer, 20)
        yield* peer.send("session.ack", { last_processed_seq: 2 })
        yield* Effect.repeatN(run(peer, "echo", 2), 9)
        // Ten handlers; and where the machine is so busy that a turn is over, a frame begins one.
        expect(fibers.begun - before).toBeLessThan(20)
        // A request that reads the store begins one that reads, and one for itself; both end.
        yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
        yield* turns
        expect(fibers.alive.size - alive).toBe(2)
        yield* second.drop
        yield* second.ended
        yield* turns
        expect(fibers.alive.size).toBe(alive)
      }).pipe(Effect.provide(Layer.provide(world({ agents, ...options() }), Supervisor.addSupervisor(fibers))))
    })
  )

  it.scopedLive("§5 answers in the order of the requests, those of one step, bad ones and large ones alike", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const ping = (nonce: string) =>
        JSON.stringify({ arcp: "1.1", id: nonce, type: "session.ping", payload: { nonce, sent_at: "now" } })
      const large = JSON.stringify({
        arcp: "1.1",
        id: "large",
        type: "session.ping",
        payload: { nonce: "large", sent_at: "x".repeat(90_000) }
      })
      const bad = JSON.stringify({ arcp: "1.1", id: "bad", type: "session.ping", payload: { nonce: 1 } })
      const frames = [ping("1"), large, ping("2"), bad, ping("3"), ping("4")]
      for (const frame of frames) yield* peer.raw(frame)
      yield* Effect.ignore(peer.connection.send(frames))
      yield* peer.next("session.pong", ({ payload }) => payload.ping_nonce === "4")
      yield* peer.next("session.pong", ({ payload }) => payload.ping_nonce === "4")
      const order = peer.seen.slice(1).map(({ payload }) => payload.ping_nonce ?? payload.request_id)
      expect(order).toEqual(["1", "large", "2", "bad", "3", "4", "1", "large", "2", "bad", "3", "4"])
    }).pipe(Effect.provide(world({ agents, ...options() })))
  )

  it.scopedLive("§11 ends its span with the connection, and with the runtime", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        context: native.context,
        span: (...args) => {
          const span = native.span(...args)
          if (span.name === "arcp.session") spans.push(span)
          return span
        }
      })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const first = yield* hello()
          yield* hello()
          yield* pings(first, 1)
          yield* first.drop
          yield* first.ended
          yield* turns
          expect(spans.map(({ status }) => status._tag)).toEqual(["Ended", "Started"])
          expect(spans[0]!.attributes.get("arcp.session_id")).toBe(first.sessionId)
        }).pipe(Effect.provide(Layer.provide(world({ agents, ...options() }), Layer.setTracer(tracer))))
      )
      expect(spans.map(({ status }) => status._tag)).toEqual(["Ended", "Ended"])
    })
  )
})
