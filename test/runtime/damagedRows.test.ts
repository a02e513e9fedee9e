/** A store that returns texts that are not what was written, under a runtime: typed errors, and everything else goes on. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Option, Schema } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Store, type StoredJob } from "../../src/store/Store.js"
import { makeStore, start, stores } from "./mortal.js"
import { hello, run, submit } from "./peer.js"

type Damage = (job: StoredJob) => StoredJob

const inRecord =
  (field: keyof StoredJob["record"], text: string): Damage =>
  (job) => ({ ...job, record: { ...job.record, [field]: text } })

const damages: ReadonlyArray<readonly [table: string, field: string, damage: Damage]> = [
  ["arcp_jobs", "lease", inRecord("lease", "{")],
  ["arcp_jobs", "leaseConstraints", inRecord("leaseConstraints", "[7]")],
  ["arcp_jobs", "traceContext", inRecord("traceContext", "sword{fish}")],
  ["arcp_jobs", "accepted", inRecord("accepted", "")],
  ["arcp_job_states", "budget", (job) => ({ ...job, state: { ...job.state, budget: '{"USD":"much"}' } })]
]

/** What a {@link damaging} store does to what it returns. */
interface Faults {
  jobs?: Damage | undefined
  payload?: string | undefined
  step?: string | undefined
}

/** A store over another one, which damages what it returns once it is told to. */
const damaging = (layer: Layer.Layer<Store, unknown>) =>
  Effect.map(makeStore(layer), (made) => {
    const faults: Faults = {}
    const damaged = (job: StoredJob): StoredJob => faults.jobs?.(job) ?? job
    const over = Layer.map(made.layer, (context) => {
      const inner = Context.get(context, Store)
      return Context.make(Store, {
        ...inner,
        job: (jobId) => Effect.map(inner.job(jobId), Option.map(damaged)),
        jobs: (query) => Effect.map(inner.jobs(query), (jobs) => jobs.map(damaged)),
        recover: Effect.map(inner.recover, (found) => ({ ...found, jobs: found.jobs.map(damaged) })),
        segments: (jobId, from, to, bytes) =>
          Effect.map(inner.segments(jobId, from, to, bytes), (found) =>
            found.map((segment) =>
              faults.payload === undefined || segment.class === "event"
                ? segment
                : { ...segment, payloads: segment.payloads.map(() => faults.payload!) }
            )
          ),
        step: (jobId, name) =>
          Effect.map(
            inner.step(jobId, name),
            Option.map((step) => ({ ...step, value: faults.step ?? step.value }))
          )
      })
    })
    return { ...made, faults, layer: over }
  })

const unavailable = { code: "INTERNAL_ERROR", retryable: true }

describe.each(stores)("damaged rows of a store of %s", (_name, layer) => {
  it.scoped.each(damages)(
    "§6.6 in %s, field %s: requests that need it are refused, and the others go on",
    ([, , damage]) =>
      Effect.gen(function* () {
        const { faults, layer: store } = yield* damaging(layer())
        yield* Effect.gen(function* () {
          const peer = yield* hello({ features: ["list_jobs", "subscribe"] })
          const job = yield* submit(peer, "echo", 1, { idempotency_key: "k" })
          yield* peer.terminal(job.job_id!)
          faults.jobs = damage
          const ask = (type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)
          expect((yield* ask("session.list_jobs", {})).payload).toMatchObject(unavailable)
          expect((yield* ask("job.subscribe", { job_id: job.job_id })).payload).toMatchObject(unavailable)
          const again = { agent: "echo", input: 1, idempotency_key: "k" }
          expect((yield* ask("job.submit", again)).payload).toMatchObject(unavailable)
          expect((yield* run(peer, "echo", "alive")).payload.result).toBe("alive")
          faults.jobs = undefined
          expect((yield* ask("job.submit", again)).job_id).toBe(job.job_id)
        }).pipe(Effect.provide(yield* start(store)))
      })
  )

  it.scoped.each([...damages, ["arcp_jobs", "input", inRecord("input", '{"secret":"sword')] as const])(
    "§6.3 in %s, field %s: the next process refuses to start, and names the row",
    ([table, field, damage]) =>
      Effect.gen(function* () {
        const { die, faults, layer: store } = yield* damaging(layer())
        const jobId = yield* Effect.gen(function* () {
          const peer = yield* hello({ features: [] })
          return (yield* submit(peer, "never")).job_id!
        }).pipe(Effect.provide(yield* start(store)))
        yield* die
        faults.jobs = damage
        const exit = yield* Effect.exit(start(store))
        const told = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it has started"
        expect(told).toContain(`StoreError: the row ${jobId} of ${table} is damaged in its field ${field}: restore`)
        expect(told).not.toContain("sword")
        faults.jobs = undefined
        yield* start(store)
      })
  )

  it.scoped("§7.6 a terminal message in the log that is no JSON ends what reads it, and no other session", () =>
    Effect.gen(function* () {
      const { faults, layer: store } = yield* damaging(layer())
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: [] })
        const { job_id } = yield* submit(peer, "echo", 1)
        yield* peer.terminal(job_id!)
        faults.payload = '{"final_status":"success","result_id":}'
        const observer = yield* hello({ features: ["subscribe"] })
        yield* observer.send("job.subscribe", { job_id, history: true })
        expect(yield* observer.ended).toMatchObject({ code: 1013 })
        expect((yield* run(peer, "echo", "alive")).payload.result).toBe("alive")
      }).pipe(Effect.provide(yield* start(store)))
    })
  )

  it.scoped("a recorded step that is no JSON is an error of its job, and of no other", () =>
    Effect.gen(function* () {
      const { die, faults, layer: store } = yield* damaging(layer())
      const agents = Agent.untyped(
        "steps",
        () =>
          Effect.gen(function* () {
            const { attempt } = yield* Job
            const recalled = yield* Effect.either(Job.step("one", Schema.Number, Effect.succeed(1)))
            yield* Job.log("recorded")
            return attempt === 1 ? yield* Effect.never : recalled
          }),
        { onRestart: "rerun" }
      )
      const jobId = yield* Effect.gen(function* () {
        const peer = yield* hello()
        const { job_id } = yield* submit(peer, "steps")
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "recorded")
        return job_id!
      }).pipe(Effect.provide(yield* start(store, agents)))
      yield* die
      faults.step = '{"secret":"sword'
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features: ["subscribe"] })
        yield* peer.send("job.subscribe", { job_id: jobId, history: true })
        const end = yield* peer.terminal(jobId)
        expect(end.payload.result).toMatchObject({
          _tag: "Left",
          left: { message: 'step "one": the store could not be read; try again' }
        })
      }).pipe(Effect.provide(yield* start(store, agents)))
    })
  )
})
