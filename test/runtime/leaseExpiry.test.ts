import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Layer, Scope, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Audit, AuditMemory } from "../../src/runtime/index.js"
import { Store } from "../../src/store/Store.js"
import { backends } from "./backends.js"
import { reopened } from "./mortal.js"
import { bodies, calls, leaseAgents, ran, seen } from "./leaseWorld.js"
import { allFeatures, barrier, eventsOf, hello, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(() => {
  resetGates()
  ran.length = 0
})

// The tests let much time pass, in which nobody answers pings.
const features = allFeatures.filter((one) => one !== "heartbeat")
const limits = { sweepEvery: 10_000_000_000 }
const lease_request = { "fs.read": ["/data/**"], "tool.call": ["*"], "model.use": ["**"] }
const at = (seconds: number) => ({
  lease_request,
  lease_constraints: { expires_at: new Date(seconds * 1000).toISOString() }
})
const open = (name: string) => Deferred.succeed(gate(name), undefined)

const expired = { final_status: "error", code: "LEASE_EXPIRED", retryable: false }

describe.each(backends)("expiry of leases over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), limits, agents: leaseAgents, ...options })
  const main = over()

  it.scoped("§9.5 an operation is allowed up to expires_at and refused at it; the refusal ends the job at once", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      for (const [n, operation, tool] of [
        [0, { authorize: ["fs.read", "/data/x"] }, "fs.read"],
        [1, { authorize: ["fs.read", "/elsewhere"] }, "fs.read"],
        [2, { authorize: ["fs.read", "relative"] }, "fs.read"],
        [3, { tool: ["anything"] }, "anything"],
        [4, { tool: ["not.covered"] }, "not.covered"],
        [5, { call: ["mcp:github/search", {}] }, "mcp:github/search"],
        [6, { model: "any" }, "model.use"]
      ] as const) {
        const now = yield* Clock.currentTimeMillis
        const steps = [
          { wait: `before ${n}` },
          { authorize: ["fs.read", "/data/x"] },
          { log: "still covered" },
          { wait: `after ${n}` },
          operation,
          { log: "went on" }
        ]
        const { job_id: jobId } = yield* submit(peer, "script", { steps }, at(now / 1000 + 60))
        yield* TestClock.adjust(59_999)
        yield* open(`before ${n}`)
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "still covered")
        yield* TestClock.adjust(1)
        yield* open(`after ${n}`)
        const end = yield* peer.terminal(jobId!)
        expect(end.payload).toMatchObject(expired)
        expect(end.payload.message).toContain("the lease expired at 1970-01-01T00:0")
        expect(calls(peer, jobId!)).toMatchObject([{ tool, error: { code: "LEASE_EXPIRED", retryable: false } }])
        expect(bodies(peer, jobId!).at(-1)!.kind).toBe("tool_result")
      }
      expect(ran).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.5 a job that does nothing is stopped within the grace, one that does not unwind within its own", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const idle = yield* submit(peer, "idle", null, at(60))
      const stubborn = yield* submit(peer, "stubborn", null, at(60))
      yield* peer.next("job.event", (frame) => frame.job_id === stubborn.job_id)
      yield* TestClock.adjust(60_999)
      yield* barrier(peer)
      expect(peer.seen.filter(({ type }) => type === "job.error")).toEqual([])
      yield* TestClock.adjust(1)
      const end = yield* peer.terminal(idle.job_id!)
      expect(end.payload).toMatchObject({ ...expired, completed_at: "1970-01-01T00:01:01.000Z" })
      yield* TestClock.adjust(29_999)
      yield* barrier(peer)
      expect(peer.seen.filter(({ type }) => type === "job.error").length).toBe(1)
      yield* TestClock.adjust(1)
      expect((yield* peer.terminal(stubborn.job_id!)).payload).toMatchObject(expired)
      // Both are gone from the running jobs, and their status stays.
      const list = yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
      expect(list.payload.jobs.map((job: { status: string }) => job.status)).toEqual(["error", "error"])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.5 a call that runs when the lease expires is closed with LEASE_EXPIRED", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const { job_id: jobId } = yield* submit(peer, "script", { steps: [{ tool: ["slow", "never"] }] }, at(60))
      yield* peer.next("job.event", (frame) => frame.payload.kind === "tool_call")
      yield* TestClock.adjust(61_000)
      expect((yield* peer.terminal(jobId!)).payload).toMatchObject(expired)
      expect(calls(peer, jobId!)).toMatchObject([{ tool: "slow", error: { code: "LEASE_EXPIRED" } }])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§9.5 a pending job whose lease expires ends without having run, and others take its turn", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const first = yield* submit(peer, "queued")
      const second = yield* submit(peer, "queued", null, at(60))
      const third = yield* submit(peer, "queued")
      yield* TestClock.adjust(61_000)
      expect((yield* peer.terminal(second.job_id!)).payload).toMatchObject(expired)
      expect(eventsOf(peer, second.job_id!).map(({ type }) => type)).toEqual(["job.error"])
      yield* peer.send("job.cancel", { job_id: first.job_id })
      yield* peer.next("job.event", (frame) => frame.job_id === third.job_id)
      expect(bodies(peer, third.job_id!)).toEqual([])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.3 expiry, cancel, timeout and the result at the same moment make one end", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const outcomes = new Set<string>()
      const actions = ["time", "cancel", "finish", "operation"] as const
      let n = 0
      for (const first of actions) {
        for (const second of actions.filter((one) => one !== first)) {
          const last = actions.filter((one) => one !== first && one !== second)
          const now = yield* Clock.currentTimeMillis
          const finish = `finish ${n}`
          const operation = `operation ${n++}`
          const steps = [{ wait: operation }, { authorize: ["fs.read", "/data/x"] }, { wait: finish }]
          const accepted = yield* submit(peer, "script", { steps }, { ...at(now / 1000 + 60), max_runtime_sec: 60 })
          const jobId = accepted.job_id!
          const perform = {
            time: TestClock.adjust(60_000),
            cancel: peer.send("job.cancel", { job_id: jobId }),
            finish: open(finish),
            operation: open(operation)
          }
          for (const action of [first, second, ...last]) yield* perform[action]
          const end = yield* peer.terminal(jobId)
          yield* TestClock.adjust("1 minute")
          yield* barrier(peer)
          outcomes.add(end.payload.code ?? end.payload.final_status)
          const events = eventsOf(peer, jobId)
          expect(events.filter(({ type }) => type !== "job.event")).toEqual([end])
          expect(events.at(-1)).toBe(end)
        }
      }
      for (const outcome of outcomes) expect(["success", "CANCELLED", "TIMEOUT", "LEASE_EXPIRED"]).toContain(outcome)
      expect(outcomes.size).toBeGreaterThan(1)
      const seqs = peer.events().map((frame) => frame.event_seq)
      expect(seqs).toEqual(seqs.map((_, i) => i + 1))
    }).pipe(Effect.provide(over({ limits: { ...limits, leaseGrace: 0 } })))
  )

  it.scoped("§14 an expiry is told to the audit trail, once and by whose job it was", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const job = yield* submit(peer, "idle", null, at(60))
      const cancelled = yield* submit(peer, "idle", null, at(60))
      yield* peer.send("job.cancel", { job_id: cancelled.job_id })
      yield* peer.terminal(cancelled.job_id!)
      yield* TestClock.adjust(61_000)
      yield* peer.terminal(job.job_id!)
      const records = yield* Effect.flatMap(AuditMemory, (audit) => audit.kept)
      expect(records.filter(({ type }) => type === "lease.expired")).toMatchObject([
        { job_id: job.job_id, principal: "alice", expires_at: "1970-01-01T00:01:00.000Z" }
      ])
    }).pipe(Effect.provide(Layer.provideMerge(main, Audit.layerMemory())))
  )

  it.scoped("§9.5 an expiry that is further away than a timer can count neither comes at once nor never", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const days = 86_400
      const steps = [{ wait: "a month" }, { authorize: ["fs.read", "/data/x"] }]
      const lasting = yield* submit(peer, "script", { steps }, at(30 * days))
      const idle = yield* submit(peer, "idle", null, at(30 * days))
      yield* TestClock.adjust("29 days")
      yield* open("a month")
      expect(seen(yield* peer.terminal(lasting.job_id!))).toEqual([{ ok: null }, { ok: "/data/x" }])
      yield* TestClock.adjust("1 day")
      yield* TestClock.adjust("1 second")
      expect((yield* peer.terminal(idle.job_id!)).payload).toMatchObject({
        ...expired,
        completed_at: "1970-01-31T00:00:01.000Z"
      })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§13.4 the figure: progress, the refused operation as a tool_result, the agent unwinds, job.error", () => {
    const indexer = Agent.untyped("indexer", () =>
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.ignore(Job.log("index closed")))
        yield* Job.progress({ current: 42_000, total: 100_000, units: "files" })
        yield* Deferred.await(gate("20:00"))
        yield* Job.authorize("fs.read", "/data/42001")
        yield* Job.log("never said")
      })
    )
    const grants = { "fs.read": ["/data/**"], "fs.write": ["/index/**"] }
    const lease_constraints = { expires_at: "2026-05-13T20:00:00Z" }
    return Effect.zipRight(
      TestClock.setTime(Date.parse("2026-05-13T19:42:00Z")),
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "indexer", null, { lease_request: grants, lease_constraints })
        expect(accepted.payload).toMatchObject({ lease: grants, lease_constraints })
        const progress = yield* peer.next("job.event", (frame) => frame.payload.kind === "progress")
        yield* TestClock.setTime(Date.parse("2026-05-13T20:00:00Z"))
        yield* open("20:00")
        const end = yield* peer.terminal(accepted.job_id!)
        const after = eventsOf(peer, accepted.job_id!).filter((frame) => frame.event_seq! >= progress.event_seq!)
        expect(after.map((frame) => [frame.type, frame.payload.kind])).toEqual([
          ["job.event", "progress"],
          ["job.event", "tool_call"],
          ["job.event", "tool_result"],
          ["job.event", "log"],
          ["job.error", undefined]
        ])
        expect(after[0]!.payload.body).toEqual({ current: 42_000, total: 100_000, units: "files" })
        expect(after[2]!.payload.body).toMatchObject({
          call_id: after[1]!.payload.body.call_id,
          error: { code: "LEASE_EXPIRED", retryable: false }
        })
        expect(after[3]!.payload.body.message).toBe("index closed")
        expect(end.payload).toMatchObject({ final_status: "error", code: "LEASE_EXPIRED" })
        const first = progress.event_seq!
        expect(after.map((frame) => frame.event_seq)).toEqual([0, 1, 2, 3, 4].map((n) => first + n))
      }).pipe(Effect.provide(over({ agents: indexer })))
    )
  })

  it.scoped("§9.5 after a restart a lease that is over starts nothing, one that is not ends when it did before", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = yield* Effect.map(Layer.build(options.store!), (context) => reopened(Context.get(context, Store)))
      const started: Array<string> = []
      const agents = Agent.untyped(
        "again",
        (input) =>
          Effect.zipRight(
            Effect.sync(() => started.push(input as string)),
            Effect.never
          ),
        { onRestart: "rerun", maxRunning: 2 }
      )
      const start = Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Effect.addFinalizer(() => Effect.zipRight(Effect.forkDaemon(Scope.close(scope, Exit.void)), Effect.void))
        return yield* Layer.build(world({ ...options, store, agents, limits })).pipe(Scope.extend(scope))
      })
      // The first process's time stands still: as far as the store knows, it has died.
      const clock = yield* Effect.clock
      const frozen: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
        unsafeCurrentTimeMillis: () => 0,
        currentTimeMillis: Effect.succeed(0),
        sleep: () => Effect.never
      })
      const first = yield* Effect.withClock(start, frozen)
      const { jobs, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const jobs = [
          yield* submit(peer, "again", "over", at(60)),
          yield* submit(peer, "again", "not over", at(90)),
          yield* submit(peer, "again", "over while pending", at(60))
        ]
        yield* peer.next("job.event", (frame) => frame.job_id === jobs[1]!.job_id)
        return { peer, jobs: jobs.map((frame) => frame.job_id!) }
      }).pipe(Effect.provide(first))
      expect(started).toEqual(["over", "not over"])
      yield* TestClock.adjust("1 minute")
      const second = yield* start
      yield* Effect.gen(function* () {
        const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        const again = yield* hello({ features, resume })
        for (const n of [0, 2]) {
          const end = yield* again.terminal(jobs[n]!)
          expect(end.payload).toMatchObject({ ...expired, completed_at: "1970-01-01T00:01:00.000Z" })
        }
        yield* again.next("job.event", (frame) => frame.payload.body.message?.startsWith("attempt 2"))
        yield* barrier(again)
        expect(started).toEqual(["over", "not over", "not over"])
        yield* TestClock.adjust("31 seconds")
        expect((yield* again.terminal(jobs[1]!)).payload).toMatchObject(expired)
      }).pipe(Effect.provide(second))
    })
  )
})
