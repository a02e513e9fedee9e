/** The priority of envelopes (ARCP 1.0 §5.1 lets them carry more fields): set by clients and agents, kept by the runtime. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Layer, Schema, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { Envelope, Event, InvalidRequest } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"
import { allFeatures, eventsOf, hello, submit, withoutAck } from "./peer.js"
import { backends } from "./backends.js"
import { makeStore, start } from "./mortal.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const agents = Layer.mergeAll(
  Agent.untyped("urgent", (input) =>
    Effect.gen(function* () {
      yield* Job.log("plain")
      yield* Job.withPriority(
        "critical",
        Effect.gen(function* () {
          yield* Job.log("one")
          yield* Job.progress({ current: 1 })
          yield* Effect.zipRight(Job.spend("cost.x", 0.5, "USD"), Job.tool("t.u", {}, Effect.succeed(1)))
          yield* Effect.fork(Job.log("forked")).pipe(Effect.flatMap((fiber) => fiber.await))
          yield* Job.withPriority("low", Job.log("inner"))
        })
      )
      yield* Job.log("plain again")
      if (input !== null) yield* Deferred.await(gate("go"))
      return (yield* Job).priority ?? "none"
    })
  ),
  Agent.untyped("wrong", () => Effect.flip(Job.withPriority("urgent" as never, Job.log("not run"))))
)

const lease = { "tool.call": ["**"], "cost.budget": ["USD:1"] }

/** What the job of `urgent` emits, each with its envelope's priority. */
const expected = [
  ["status", undefined],
  ["plain", undefined],
  ["one", "critical"],
  ["progress", "critical"],
  ["cost.x", "critical"],
  ["cost.budget.remaining", undefined],
  ["tool_call", "critical"],
  ["tool_result", "critical"],
  ["forked", "critical"],
  ["inner", "low"],
  ["plain again", undefined]
]

const told = (frames: ReadonlyArray<any>) =>
  frames
    .filter(({ type }) => type === "job.event")
    .map(({ payload, priority }) => [
      payload.kind === "log" ? payload.body.message : payload.kind === "metric" ? payload.body.name : payload.kind,
      priority
    ])

describe.each(backends)("priority over %s", (_name, backend) => {
  it.scoped("§5 an agent's is in the envelopes of its events, live, in a replay and for observers; nowhere else", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: withoutAck })
      const accepted = yield* submit(peer, "urgent", 1, { lease_request: lease })
      yield* peer.next("job.event", (f) => f.payload.body.message === "plain again")
      expect(told(eventsOf(peer, accepted.job_id!))).toEqual(expected)
      for (const { payload } of eventsOf(peer, accepted.job_id!)) {
        expect(Object.keys(payload)).toEqual(["kind", "ts", "body"])
      }
      yield* peer.drop
      const again = yield* hello({
        features: withoutAck,
        resume: {
          session_id: peer.welcome.session_id,
          resume_token: peer.welcome.payload.resume_token,
          last_event_seq: 0
        }
      })
      yield* again.next("job.event", (f) => f.payload.body.message === "plain again")
      expect(told(eventsOf(again, accepted.job_id!))).toEqual(expected)
      const observer = yield* hello({ features: withoutAck })
      yield* observer.send("job.subscribe", { job_id: accepted.job_id, history: true })
      yield* observer.next("job.event", (f) => f.payload.body.message === "plain again")
      expect(told(eventsOf(observer, accepted.job_id!))).toEqual(expected)
      yield* Deferred.succeed(gate("go"), undefined)
      const end = yield* again.terminal(accepted.job_id!)
      expect(end.priority).toBeUndefined()
      expect(end.payload.result).toBe("none")
    }).pipe(Effect.provide(world({ ...backend(), agents })))
  )

  it.scoped("§5, §7.2 a submit's is echoed by job.accepted, also again, and the agent sees it", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: allFeatures })
      for (const priority of Envelope.priorities) {
        const body = { agent: "urgent", input: null, lease_request: lease, idempotency_key: `key-${priority}` }
        const accepted = yield* Effect.flatMap(peer.send("job.submit", body, { priority }), peer.reply)
        expect(accepted.priority).toBe(priority)
        expect(accepted.payload).not.toHaveProperty("priority")
        // It is no parameter of the job: another one is the same submit.
        const again = yield* Effect.flatMap(peer.send("job.submit", body, { priority: "low" }), peer.reply)
        expect(again).toMatchObject({ type: "job.accepted", job_id: accepted.job_id, priority })
        expect((yield* peer.terminal(accepted.job_id!)).payload.result).toBe(priority)
      }
    }).pipe(Effect.provide(world({ ...backend(), agents })))
  )

  it.scoped("§5 one that is not known is INVALID_REQUEST naming the field, and the session goes on", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: allFeatures })
      for (const priority of ["urgent", "HIGH", "", 1, true, {}, ["high"]]) {
        const refused = yield* Effect.flatMap(peer.send("session.list_jobs", {}, { priority }), peer.reply)
        expect(refused).toMatchObject({ type: "session.error", payload: { code: "INVALID_REQUEST" } })
        expect(refused.payload.message).toMatch(/^priority: must be one of low, normal, high, critical$/)
        const listed = yield* Effect.flatMap(peer.send("session.list_jobs", {}, { priority: null }), peer.reply)
        expect(listed.type).toBe("session.jobs")
      }
    }).pipe(Effect.provide(world({ ...backend(), agents })))
  )
})

describe("priority", () => {
  it.scoped("§5 outlives the runtime", () =>
    Effect.gen(function* () {
      const { SqliteStore } = yield* Effect.promise(() => import("../../src/store/sqlite.js"))
      const store = yield* makeStore(SqliteStore.layer({ filename: ":memory:" }))
      const first = yield* start(store.layer, agents)
      const body = { agent: "urgent", input: null, lease_request: lease, idempotency_key: "once" }
      const jobId = yield* Effect.gen(function* () {
        const peer = yield* hello({ features: withoutAck })
        const accepted = yield* Effect.flatMap(peer.send("job.submit", body, { priority: "high" }), peer.reply)
        yield* peer.terminal(accepted.job_id!)
        return accepted.job_id!
      }).pipe(Effect.provide(first))
      yield* store.die
      const second = yield* start(store.layer, agents)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: withoutAck })
        const again = yield* Effect.flatMap(peer.send("job.submit", body), peer.reply)
        expect(again).toMatchObject({ job_id: jobId, priority: "high" })
        yield* peer.send("job.subscribe", { job_id: jobId, history: true })
        yield* peer.next("job.event", (f) => f.payload.body.message === "plain again")
        expect(told(eventsOf(peer, jobId))).toEqual(expected)
      }).pipe(Effect.provide(second))
    })
  )

  it.scoped("§5, §8.2 calls that were told with one are known to be open, or closed, after a restart", () =>
    Effect.gen(function* () {
      const calling = Agent.untyped("calling", () =>
        Effect.gen(function* () {
          const closed = yield* Job.toolCall("closed", {})
          yield* Job.withPriority("high", Job.toolResult(closed, { result: 1 }))
          yield* Job.withPriority("high", Job.toolCall("open", {}))
          yield* Job.log("waiting")
          return yield* Effect.never
        })
      )
      const { SqliteStore } = yield* Effect.promise(() => import("../../src/store/sqlite.js"))
      const store = yield* makeStore(SqliteStore.layer({ filename: ":memory:" }))
      const jobId = yield* Effect.gen(function* () {
        const peer = yield* hello({ features: withoutAck })
        const accepted = yield* submit(peer, "calling")
        yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
        return accepted.job_id!
      }).pipe(Effect.provide(yield* start(store.layer, calling)))
      yield* store.die
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: withoutAck })
        yield* peer.send("job.subscribe", { job_id: jobId, history: true })
        yield* peer.terminal(jobId)
        const about = (kind: string) =>
          eventsOf(peer, jobId).flatMap(({ payload }) => (payload.kind === kind ? [payload.body.call_id] : []))
        expect(about("tool_call").length).toBe(2)
        expect(about("tool_result")).toEqual(about("tool_call"))
      }).pipe(Effect.provide(yield* start(store.layer, calling)))
    })
  )

  it.scoped("§5 a typed client sets it on a submit, and sees it on events", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("urgent", null, { lease, priority: "high" })
      expect(yield* job.result).toBe("high")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map(({ priority }) => priority)).toEqual(expected.map(([, priority]) => priority))
      expect(events.filter((event) => "priority" in event).length).toBe(7)
      const wrong = yield* client.submit("wrong")
      expect(yield* wrong.result).toMatchObject({ message: "priority: must be one of low, normal, high, critical" })
      for (const priority of ["urgent", "HIGH", null, 1]) {
        const refused = [
          client.submit("urgent", null, { priority: priority as never }),
          client.subscribe(job.jobId, { priority: priority as never })
        ]
        for (const call of refused) {
          const error = yield* Effect.flip(call as Effect.Effect<unknown, unknown>)
          expect(error).toBeInstanceOf(InvalidRequest)
          expect((error as InvalidRequest).message).toBe("priority: must be one of low, normal, high, critical")
        }
      }
      const observed = yield* client.subscribe(job.jobId, { history: true, priority: "low" })
      expect(yield* observed.result).toBe("high")
    }).pipe(Effect.provide(TestArcp.layer(agents)))
  )

  it("§5 has a Schema; what a runtime has there instead is ignored", () => {
    const decode = Schema.decodeUnknownSync(Envelope.Priority)
    for (const priority of Envelope.priorities) expect(decode(priority)).toBe(priority)
    expect(() => decode("urgent")).toThrow('Expected "low"')
    const payload = { kind: "thought", ts: "t", body: { text: "x" } }
    for (const priority of ["urgent", 3, null, {}, undefined]) {
      expect(Envelope.priorityOf({ priority })).toBeUndefined()
      expect(Event.fromWire("j", 1, payload, priority)).toEqual(Event.fromWire("j", 1, payload))
    }
    expect(Event.fromWire("j", 1, payload, "high")).toMatchObject({ _tag: "thought", priority: "high" })
  })
})
