/** ARCP 1.1 §14 Which ended jobs go: a store in memory and a SQLite file name the same, and a sweep ends. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, FastCheck as fc, Layer } from "effect"
import { join } from "node:path"
import { type Batch, emptyBatch, MemoryStore, Store, type StoreError } from "../../src/store/index.js"
import type { Retention } from "../../src/store/Store.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { runs, within } from "../support/properties.js"
import { jobRecord, jobState } from "../support/records.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-agreement-")
let files = 0

type Service = Context.Tag.Service<Store>

const job = fc.record({
  principal: fc.constantFrom("alice", "anonymous:1", "anonymous:2", "Anonymous:3", "anonymousx"),
  size: fc.oneof(fc.nat(20), fc.nat(400)),
  events: fc.array(fc.nat(60), { maxLength: 3 }),
  step: fc.option(fc.nat(50), { nil: undefined }),
  trimmed: fc.boolean(),
  /** How much later than the one before it it ends; undefined: it does not. */
  later: fc.option(fc.constantFrom(0, 1, 5), { nil: undefined, freq: 8 }),
  /** It is owed to a session that is connected. */
  stays: fc.constantFrom(false, false, false, true)
})

const history = fc.record({
  jobs: fc.array(job, { maxLength: 40 }),
  restart: fc.nat(40),
  endedBefore: fc.constantFrom(0, 0, 5, 12, 60),
  maxJobs: fc.oneof(fc.nat(30), fc.constant(Number.POSITIVE_INFINITY)),
  maxBytes: fc.oneof(fc.nat(4_000), fc.constant(Number.POSITIVE_INFINITY)),
  anonymous: fc.option(
    fc.record({
      maxJobs: fc.oneof(fc.nat(10), fc.constant(Number.POSITIVE_INFINITY)),
      maxBytes: fc.oneof(fc.nat(1_000), fc.constant(Number.POSITIVE_INFINITY))
    }),
    { nil: undefined }
  ),
  limit: fc.oneof(fc.constantFrom(1, 2, 5, 512), fc.integer({ min: 1, max: 12 }))
})

type History = typeof history extends fc.Arbitrary<infer A> ? A : never

const idOf = (n: number): string => `job_${String(n).padStart(4, "0")}`

/** Writes the jobs from one number on. */
const write = (store: Service, { jobs }: History, from: number, to: number) =>
  Effect.gen(function* () {
    const commit = (more: Partial<Batch>) => store.commit({ ...emptyBatch, ...more })
    let at = jobs.slice(0, from).reduce((sum, { later }) => sum + (later ?? 0), 1)
    for (const [i, { events, later, principal, size, step, trimmed }] of jobs.slice(from, to).entries()) {
      const jobId = idOf(from + i)
      yield* commit({
        jobs: [jobRecord(jobId, { principalId: principal, input: JSON.stringify("x".repeat(size)) })],
        jobStates: [jobState(jobId)],
        segments: events.map((length, n) => ({
          jobId,
          firstSeq: n + 1,
          lastSeq: n + 1,
          class: "event",
          payloads: [JSON.stringify("y".repeat(length))]
        })),
        steps: step === undefined ? [] : [{ jobId, name: "one", fingerprint: "f", value: `"${"z".repeat(step)}"` }]
      })
      if (trimmed) yield* commit({ trims: [{ jobId, upTo: 1 }] })
      if (later === undefined) continue
      at += later
      yield* commit({ jobStates: [jobState(jobId, { status: "success", endedAt: at })] })
    }
  })

/** As the runtime sweeps: what is owed stays. Returns what went. */
const swept = (store: Service, { anonymous, endedBefore, jobs, limit, maxBytes, maxJobs }: History) =>
  Effect.gen(function* () {
    const retention: Retention = { endedBefore, maxJobs, maxBytes, anonymous }
    const staying = new Set<string>()
    const gone = new Set<string>()
    for (let asked = 0; ; asked++) {
      expect(asked).toBeLessThanOrEqual(jobs.length)
      const expired = yield* store.expiredJobs(retention, limit + staying.size)
      expect(new Set(expired).size).toBe(expired.length)
      const some = expired.filter((jobId) => !staying.has(jobId))
      if (some.length === 0) return [...gone].sort()
      for (const jobId of some) {
        expect(gone.has(jobId)).toBe(false)
        if (jobs[Number(jobId.slice(4))]!.stays) staying.add(jobId)
        else gone.add(jobId)
      }
      yield* store.commit({ ...emptyBatch, jobsRemoved: some.filter((jobId) => gone.has(jobId)) })
    }
  })

const inMemory = (each: History) =>
  Effect.gen(function* () {
    const store = Context.get(yield* Layer.build(MemoryStore.layer), Store)
    yield* write(store, each, 0, each.jobs.length)
    return yield* swept(store, each)
  }).pipe(Effect.scoped)

const inFile = (each: History) =>
  Effect.gen(function* () {
    const filename = join(folder, `${files++}.db`)
    const opened = <A>(use: (store: Service) => Effect.Effect<A, StoreError>) =>
      Effect.flatMap(Store, use).pipe(Effect.provide(Layer.fresh(SqliteStore.layer({ filename }))))
    yield* opened((store) => write(store, each, 0, each.restart))
    return yield* opened((store) =>
      Effect.zipRight(write(store, each, each.restart, each.jobs.length), swept(store, each))
    )
  })

describe("ARCP 1.1 §14 which ended jobs go", () => {
  it.effect(
    "is the same in memory and in a SQLite file, with jobs that stay since they are owed, and a sweep ends",
    () =>
      Effect.gen(function* () {
        for (const each of fc.sample(history, { numRuns: runs(80), seed: 7 })) {
          const memory = yield* inMemory(each)
          expect([yield* inFile(each), each]).toEqual([memory, each])
        }
      }),
    within(60_000)
  )
})
