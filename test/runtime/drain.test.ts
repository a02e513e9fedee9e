/** A runtime that is told to stop: what happens to the jobs that run, and what their clients see of it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store } from "../../src/store/Store.js"
import { barrier, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { reopened } from "./mortal.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const durable = () => SqliteStore.layer({ filename: ":memory:", durable: true })

const waiting = (
  name: string,
  again: boolean,
  more: Effect.Effect<unknown, unknown, Job | Scope.Scope> = Effect.void
) =>
  Agent.untyped(
    name,
    () =>
      Effect.gen(function* () {
        const job = yield* Job
        yield* more
        yield* job.log(`attempt ${job.attempt}`)
        yield* Deferred.await(gate(name))
        return job.attempt
      }),
    again ? { onRestart: "rerun" } : {}
  )

/** Tells of its own end, in a finalizer. */
const noisy = Effect.flatMap(Job, (job) => Effect.addFinalizer(() => Effect.ignore(job.log("cleaning up"))))

const agents = Layer.mergeAll(
  waiting("once", false),
  waiting("again", true, noisy),
  waiting("caller", true, Job.toolCall("search", {})),
  Agent.untyped("single", () => Effect.zipRight(Job.log("in"), Deferred.await(gate("single"))), { maxRunning: 1 }),
  Agent.untyped("deaf", () => Effect.zipRight(Job.log("in"), Effect.uninterruptible(Effect.never)), {
    onRestart: "rerun"
  }),
  Agent.untyped(
    "parent",
    () =>
      Effect.gen(function* () {
        const { attempt } = yield* Job
        if (attempt > 1) return (yield* Job.remaining)["USD"]
        const child = yield* Job.startChild("once", null, { lease: { "cost.budget": ["USD:0.4"] } })
        return yield* child.result
      }),
    { onRestart: "rerun" }
  )
)

const started = (options: WorldOptions) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.build(world({ agents, ...options })).pipe(Scope.extend(scope))
    return { context, stop: Scope.close(scope, Exit.void) }
  })

const lasting = (layer: Layer.Layer<Store, unknown>) =>
  Effect.map(Layer.build(layer), (context) => {
    const store = Context.get(context, Store)
    return { store, layer: reopened(store) }
  })

const runtime = { drainTime: "10 seconds" } as const

const told = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).map(({ payload, type }: Frame) => payload.body?.message ?? payload.body?.phase ?? type)

describe("a runtime that stops", () => {
  it.scoped(
    "lets running jobs end: their clients stay connected and see the end; new jobs and sessions are refused",
    () =>
      Effect.gen(function* () {
        const { layer } = yield* lasting(MemoryStore.layer)
        const { context, stop } = yield* started({ store: layer, runtime })
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const { job_id } = yield* submit(peer, "once")
          yield* barrier(peer)
          const stopping = yield* Effect.fork(stop)
          yield* TestClock.adjust("9 seconds")
          const refused = yield* submit(peer, "once")
          expect(refused.payload).toMatchObject({
            code: "INTERNAL_ERROR",
            retryable: true,
            details: { reason: "runtime_shutdown" }
          })
          expect(Option.isNone(yield* Fiber.poll(stopping))).toBe(true)
          yield* Deferred.succeed(gate("once"), undefined)
          expect((yield* peer.terminal(job_id!)).payload).toMatchObject({ final_status: "success", result: 1 })
          expect((yield* peer.ended).code).toBe(1001)
          yield* Fiber.join(stopping)
        }).pipe(Effect.provide(context))
      })
  )

  it.scoped("without jobs stops at once, and closing twice is harmless", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* started({ runtime })
      const peer = yield* Effect.provide(hello(), context)
      yield* stop
      expect((yield* peer.ended).code).toBe(1001)
      yield* stop
    })
  )

  it.scoped(
    "when the time is over, leaves jobs that run again to the next process, and ends the others; all is told before the close",
    () =>
      Effect.gen(function* () {
        const { layer, store } = yield* lasting(durable())
        const first = yield* started({ store: layer, runtime })
        const { jobs, peer } = yield* Effect.gen(function* () {
          const peer = yield* hello()
          const jobs: Record<string, string> = {}
          for (const name of ["once", "again", "caller", "single", "deaf"]) {
            jobs[name] = (yield* submit(peer, name)).job_id!
          }
          jobs["pending"] = (yield* submit(peer, "single")).job_id!
          yield* barrier(peer)
          const stopping = yield* Effect.fork(first.stop)
          yield* TestClock.adjust("10 seconds")
          // The one that does not hear gets its grace, and no more.
          yield* TestClock.adjust("30 seconds")
          yield* Fiber.join(stopping)
          yield* peer.ended
          return { jobs, peer }
        }).pipe(Effect.provide(first.context))
        for (const name of ["once", "single"]) {
          expect((yield* peer.terminal(jobs[name]!)).payload).toMatchObject({
            code: "INTERNAL_ERROR",
            retryable: true,
            details: { reason: "runtime_shutdown" }
          })
        }
        // Nothing more was said of those that go on: no end, and not what their finalizers would have said.
        expect(told(peer, jobs["again"]!)).toEqual(["running", "attempt 1"])
        for (const [name, status] of [
          ["again", "running"],
          ["deaf", "running"],
          ["pending", "pending"]
        ] as const) {
          expect(Option.getOrThrow(yield* store.job(jobs[name]!)).state.status).toBe(status)
        }
        for (const name of ["again", "caller", "single"]) yield* Deferred.succeed(gate(name), undefined)
        const second = yield* started({ store: layer })
        yield* Effect.gen(function* () {
          const last = peer.events().at(-1)!.event_seq!
          const back = yield* hello({
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: last }
          })
          expect((yield* back.terminal(jobs["again"]!)).payload.result).toBe(2)
          expect(told(back, jobs["again"]!)).toEqual([
            "attempt 2, after a restart of the runtime",
            "attempt 2",
            "cleaning up",
            "job.result"
          ])
          yield* back.terminal(jobs["pending"]!)
          expect(told(back, jobs["pending"]!)).toEqual(["running", "in", "job.result"])
          yield* back.terminal(jobs["caller"]!)
          // The call that was open has its result before the agent starts again.
          const [closed, restarted] = eventsOf(back, jobs["caller"]!)
          expect(closed!.payload).toMatchObject({
            kind: "tool_result",
            body: { error: { code: "INTERNAL_ERROR", details: { reason: "runtime_restarted" } } }
          })
          expect(restarted!.payload.body.phase).toBe("running")
          expect(back.events().map((frame) => frame.event_seq)).toEqual(back.events().map((_, i) => last + 1 + i))
        }).pipe(Effect.provide(second.context))
        const stopping = yield* Effect.fork(second.stop)
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(stopping)
      })
  )

  it.scoped("ends the children of a job that is left: their budget is back with it when it runs again", () =>
    Effect.gen(function* () {
      const { layer } = yield* lasting(durable())
      const first = yield* started({ store: layer, runtime: { drainTime: 0 } })
      const { jobId, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "parent", null, {
          lease_request: { "agent.delegate": ["once"], "cost.budget": ["USD:1"] }
        })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "attempt 1")
        yield* first.stop
        yield* peer.ended
        return { peer, jobId: job_id! }
      }).pipe(Effect.provide(first.context))
      const child = peer.seen.find((frame) => frame.payload.parent_job_id === jobId)!
      expect((yield* peer.terminal(child.job_id!)).payload).toMatchObject({ details: { reason: "runtime_shutdown" } })
      const second = yield* started({ store: layer })
      yield* Effect.gen(function* () {
        const back = yield* hello({
          resume: {
            session_id: peer.sessionId,
            resume_token: peer.token,
            last_event_seq: peer.events().at(-1)!.event_seq!
          }
        })
        expect((yield* back.terminal(jobId)).payload.result).toBe("1")
      }).pipe(Effect.provide(second.context))
      yield* second.stop
    })
  )

  it.scoped("over a store that is not durable ends every job, since there is no next process for it", () =>
    Effect.gen(function* () {
      const { layer } = yield* lasting(MemoryStore.layer)
      const { context, stop } = yield* started({ store: layer, runtime: { drainTime: 0 } })
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "again")
        yield* barrier(peer)
        yield* stop
        expect((yield* peer.terminal(job_id!)).payload).toMatchObject({ details: { reason: "runtime_shutdown" } })
        expect(told(peer, job_id!)).toEqual(["running", "attempt 1", "cleaning up", "job.error"])
      }).pipe(Effect.provide(context))
    })
  )
})

describe("a cancel that was acknowledged", () => {
  it.scoped("§7.4 is kept by the next process: the job ends cancelled and is not run again", () =>
    Effect.gen(function* () {
      const { layer } = yield* lasting(durable())
      const first = yield* started({ store: layer })
      // The first runtime is left, not stopped, while its agent does not unwind.
      const { jobId, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "deaf")
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "in")
        const answer = yield* Effect.flatMap(peer.send("job.cancel", { job_id, reason: "enough" }), peer.reply)
        expect(answer.type).toBe("job.cancelled")
        return { peer, jobId: job_id! }
      }).pipe(Effect.provide(first.context))
      const second = yield* started({ store: layer })
      yield* Effect.gen(function* () {
        const back = yield* hello({
          resume: {
            session_id: peer.sessionId,
            resume_token: peer.token,
            last_event_seq: peer.events().at(-1)!.event_seq!
          }
        })
        expect((yield* back.terminal(jobId)).payload).toMatchObject({
          final_status: "cancelled",
          code: "CANCELLED",
          message: "cancelled: enough"
        })
        expect(told(back, jobId)).toEqual(["job.error"])
      }).pipe(Effect.provide(second.context))
      yield* second.stop
    })
  )
})
