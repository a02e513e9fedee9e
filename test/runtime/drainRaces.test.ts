/** What comes while a runtime stops, and what would keep it from stopping. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Store, StoreError } from "../../src/store/Store.js"
import { TestGateway } from "../../src/testing/index.js"
import { makeStore, resumed, start, reopened } from "./mortal.js"
import { barrier, dial, eventsOf, hello, type Peer, submit } from "./peer.js"
import { eventually, leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const durable = () => SqliteStore.layer({ filename: ":memory:", durable: true })

const agents = Layer.mergeAll(
  Agent.untyped("deaf", () => Effect.zipRight(Job.log("in"), Effect.uninterruptible(Effect.never)), {
    onRestart: "rerun"
  }),
  Agent.untyped(
    "again",
    () =>
      Effect.gen(function* () {
        const { attempt } = yield* Job
        yield* Job.log(`attempt ${attempt}`)
        yield* Deferred.await(gate("again"))
        return attempt
      }),
    { onRestart: "rerun" }
  )
)

const closing = <A, I, E>(layer: Layer.Layer<A | I, E>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.build(layer).pipe(Scope.extend(scope))
    return { context, stop: Scope.close(scope, Exit.void) }
  })

/** Moves the clock on until the fiber has ended, ten minutes at most. */
const within = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) =>
  Effect.gen(function* () {
    for (let i = 0; i < 120 && Option.isNone(yield* Fiber.poll(fiber)); i++) yield* TestClock.adjust("5 seconds")
    expect(Option.isSome(yield* Fiber.poll(fiber))).toBe(true)
  })

const shutdown = { code: "INTERNAL_ERROR", retryable: true, details: { reason: "runtime_shutdown" } }

const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)

describe("while a runtime stops", () => {
  it.scoped("§9.8 a submit whose credentials come meanwhile is refused, and they are revoked", () =>
    Effect.gen(function* () {
      const [, backend] = provisionedBackends[0]!
      const { context, stop } = yield* closing(provisioned(backend()))
      yield* Effect.gen(function* () {
        const gateway = yield* TestGateway
        const peer = yield* hello()
        const stubborn = yield* submit(peer, "ends", { mode: "stubborn" })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "runs")
        yield* gateway.hangIssues(true)
        const id = yield* peer.send("job.submit", { agent: "keeper", input: { name: "late" }, ...leased })
        yield* barrier(peer)
        const stopping = yield* Effect.fork(stop)
        yield* TestClock.adjust("1 second")
        yield* gateway.hangIssues(false)
        expect((yield* peer.reply(id)).payload).toMatchObject(shutdown)
        yield* within(stopping)
        expect((yield* peer.terminal(stubborn.job_id!)).payload).toMatchObject(shutdown)
        yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 0))
        expect(peer.seen.filter((frame) => frame.type === "job.accepted").length).toBe(1)
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("a hello and a resume on a connection that was there are refused and told to come back", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* closing(world({ agents, runtime: { drainTime: "10 seconds" } }))
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "again")
        const [late, back] = [yield* dial, yield* dial]
        yield* barrier(peer)
        const stopping = yield* Effect.fork(stop)
        yield* TestClock.adjust("1 second")
        const auth = { scheme: "bearer", token: "alice-token" }
        yield* late.send("session.hello", { auth, capabilities: {} })
        yield* back.send("session.hello", {
          auth,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        })
        for (const refused of [late, back]) {
          expect((yield* refused.next("session.error")).payload).toMatchObject(shutdown)
          expect((yield* refused.ended).code).toBe(1013)
        }
        // The refused resume has harmed nothing: the session's own connection sees the end.
        yield* Deferred.succeed(gate("again"), undefined)
        expect((yield* peer.terminal(job_id!)).payload.result).toBe(1)
        yield* Fiber.join(stopping)
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("what is asked of a job that is left to the next process is refused for now, never answered as ended", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* Effect.map(Layer.build(durable()), (built) => {
        const store = Context.get(built, Store)
        return { store, layer: reopened(store) }
      })
      const first = yield* closing(world({ agents, store: layer }))
      const { jobs, owner, watcher } = yield* Effect.gen(function* () {
        const owner = yield* hello()
        const watcher = yield* hello()
        const other = yield* hello()
        const deaf = yield* submit(owner, "deaf", 1, { idempotency_key: "deaf" })
        const again = yield* submit(owner, "again", 1, { idempotency_key: "again" })
        const jobs = { deaf: deaf.job_id!, again: again.job_id! }
        yield* ask(watcher, "job.subscribe", { job_id: jobs.again, history: true })
        yield* barrier(owner)
        // The deaf one holds the end up for its grace; the other one is gone at once.
        const stopping = yield* Effect.fork(first.stop)
        yield* TestClock.adjust("1 second")
        for (const job_id of [jobs.deaf, jobs.again]) {
          expect((yield* ask(owner, "job.cancel", { job_id })).payload).toMatchObject(shutdown)
        }
        for (const [agent, job_id] of Object.entries(jobs)) {
          expect((yield* ask(other, "job.subscribe", { job_id, history: true })).payload).toMatchObject(shutdown)
          const repeated = yield* submit(other, agent, 1, { idempotency_key: agent })
          expect(repeated.payload).toMatchObject(shutdown)
        }
        const listed = yield* ask(other, "session.list_jobs", {})
        expect(listed.payload.jobs.map((job: { status: string }) => job.status)).toEqual(["running", "running"])
        yield* within(stopping)
        return { jobs, owner, watcher }
      }).pipe(Effect.provide(first.context))
      const state = Option.getOrThrow(yield* store.job(jobs.again)).state
      expect(state).toMatchObject({ status: "running", cancelled: undefined })
      const second = yield* closing(world({ agents, store: layer }))
      yield* Effect.gen(function* () {
        yield* Deferred.succeed(gate("again"), undefined)
        // §7.6: the observer goes on where it was, as the owner does.
        for (const peer of [owner, watcher]) {
          const back = yield* resumed(peer)
          expect((yield* back.terminal(jobs.again)).payload.result).toBe(2)
          const said = [...eventsOf(peer, jobs.again), ...eventsOf(back, jobs.again)].map(
            ({ payload, type }) => payload.body?.message ?? payload.body?.phase ?? type
          )
          expect(said).toEqual([
            "running",
            "attempt 1",
            "attempt 2, after a restart of the runtime",
            "attempt 2",
            "job.result"
          ])
          const numbers = [...peer.events(), ...back.events()].map((frame) => frame.event_seq)
          expect(numbers).toEqual(numbers.map((_, i) => i + 1))
        }
        const repeated = yield* submit(yield* hello(), "again", 1, { idempotency_key: "again" })
        expect(repeated.payload.job_id).toBe(jobs.again)
        const stopping = yield* Effect.fork(second.stop)
        yield* within(stopping)
      }).pipe(Effect.provide(second.context))
    })
  )

  it.scoped("a store that takes nothing any more does not keep it from stopping", () =>
    Effect.gen(function* () {
      let failing = false
      const store = Layer.effect(
        Store,
        Effect.map(Store, (inner) => ({
          ...inner,
          commit: (batch: Parameters<typeof inner.commit>[0]) =>
            failing
              ? Effect.fail(new StoreError({ operation: "commit", message: "the disk is full" }))
              : inner.commit(batch)
        }))
      ).pipe(Layer.provide(MemoryStore.layer))
      const { context, stop } = yield* closing(world({ agents, store }))
      const peer = yield* Effect.provide(hello(), context)
      yield* submit(peer, "again")
      yield* barrier(peer)
      failing = true
      const before = yield* Clock.currentTimeMillis
      const stopping = yield* Effect.fork(stop)
      yield* within(stopping)
      expect((yield* Clock.currentTimeMillis) - before).toBeLessThanOrEqual(120_000)
      expect((yield* peer.ended).code).toBe(1001)
      expect(peer.seen.some((frame) => frame.type === "job.error")).toBe(false)
    })
  )
})

describe("a time-out that passed while no process ran", () => {
  it.scoped("§7.3 ends the job as timed out: it is not started again", () =>
    Effect.gen(function* () {
      const { die, layer } = yield* makeStore(durable())
      const { jobs, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const short = yield* submit(peer, "again", 1, { max_runtime_sec: 10 })
        const long = yield* submit(peer, "again", 1, { max_runtime_sec: 30 })
        yield* barrier(peer)
        return { peer, jobs: { short: short.job_id!, long: long.job_id! } }
      }).pipe(Effect.provide(yield* start(layer, agents)))
      yield* die
      yield* TestClock.adjust("20 seconds")
      yield* Effect.gen(function* () {
        const back = yield* resumed(peer)
        const end = yield* back.terminal(jobs.short)
        expect(end.payload).toMatchObject({ final_status: "timed_out", code: "TIMEOUT" })
        expect(eventsOf(back, jobs.short)).toEqual([end])
        // The other's counts from its first start, not from its second.
        yield* back.next("job.event", (frame) => frame.payload.body?.message === "attempt 2")
        yield* TestClock.adjust("9 seconds")
        yield* barrier(back)
        expect(back.seen.some((frame) => frame.type === "job.error" && frame.job_id === jobs.long)).toBe(false)
        yield* TestClock.adjust("1 second")
        expect((yield* back.terminal(jobs.long)).payload).toMatchObject({ final_status: "timed_out" })
      }).pipe(Effect.provide(yield* start(layer, agents)))
    })
  )
})

describe("a job that is left to the next process", () => {
  const spenders = Layer.mergeAll(
    Agent.untyped("deaf-child", () => Effect.zipRight(Job.log("in"), Effect.uninterruptible(Effect.never))),
    Agent.untyped(
      "family",
      () =>
        Effect.gen(function* () {
          for (let n = 0; n < 4; n++) {
            yield* Job.startChild("deaf-child", n, { lease: { "cost.budget": ["USD:0.25"] } })
          }
          yield* Job.spend("cost.own", "0.5 USD")
          yield* Job.log("all have started")
          return yield* Effect.never
        }),
      { onRestart: "rerun" }
    )
  )

  it.scoped("§9.6 keeps its budget, and what its children, which do not unwind, have left of theirs", () =>
    Effect.gen(function* () {
      const store = Context.get(yield* Layer.build(durable()), Store)
      const { context, stop } = yield* closing(world({ agents: spenders, store: reopened(store) }))
      const jobId = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const lease_request = { "cost.budget": ["USD:2"], "agent.delegate": ["**"] }
        const { job_id } = yield* submit(peer, "family", 1, { lease_request })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "all have started")
        yield* within(yield* Effect.fork(stop))
        return job_id!
      }).pipe(Effect.provide(context))
      const { state } = Option.getOrThrow(yield* store.job(jobId))
      expect([state.status, state.budget]).toEqual(["running", '{"USD":"1.5"}'])
    })
  )
})
