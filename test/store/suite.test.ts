import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Fiber, Layer, Option, Redacted } from "effect"
import { readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  type Batch,
  emptyBatch,
  type JobRecord,
  type JobState,
  MemoryStore,
  Store,
  StoreError
} from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { runs } from "../support/properties.js"
import { jobRecord, jobState, sessionRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-store-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const stores: ReadonlyArray<readonly [string, () => Layer.Layer<Store, StoreError>]> = [
  ["memory", () => MemoryStore.layer],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" })],
  ["a SQLite file", () => SqliteStore.layer({ filename: file() })],
  [
    "an encrypted SQLite file",
    () => SqliteStore.layer({ filename: file(), encryptionKey: Redacted.make("k".repeat(32)) })
  ]
]

const job = (jobId: string, more: Partial<JobRecord> = {}) =>
  jobRecord(jobId, { input: '{"secret":"swordfish"}', ...more })
const state = (jobId: string, more: Partial<JobState> = {}) => jobState(jobId, { ownerSessionId: "s1", ...more })

const segment = (jobId: string, firstSeq: number, lastSeq: number) => ({
  jobId,
  firstSeq,
  lastSeq,
  class: "event" as const,
  payloads: Array.from({ length: lastSeq - firstSeq + 1 }, (_, i) => `{"n":${firstSeq + i}}`)
})

const commit = (batch: Partial<Batch>) => Effect.flatMap(Store, (store) => store.commit({ ...emptyBatch, ...batch }))

describe.each(stores)("the store in %s", (_name, make) => {
  it.scoped("jobs, states and keys come back as they were written", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const record = job("job_1", { idempotencyKey: "k", maxRuntimeSec: 5, traceContext: "{}" })
      yield* commit({
        jobs: [record],
        jobStates: [state("job_1", { budget: '{"USD":"1.5"}' })],
        keys: [{ principalId: "alice", key: "k", jobId: "job_1", parametersHash: "p", expiresAt: 10 }]
      })
      expect(Option.getOrThrow(yield* store.job("job_1"))).toEqual({
        record,
        state: state("job_1", { budget: '{"USD":"1.5"}' })
      })
      expect(Option.getOrThrow(yield* store.key("alice", "k")).parametersHash).toBe("p")
      expect(Option.isNone(yield* store.key("bob", "k"))).toBe(true)
      expect(yield* store.removeExpiredKeys(9)).toBe(0)
      expect(yield* store.removeExpiredKeys(10)).toBe(1)
      expect(Option.isNone(yield* store.key("alice", "k"))).toBe(true)
      expect(Option.isNone(yield* store.job("job_2"))).toBe(true)
    }).pipe(Effect.provide(make()))
  )

  it.scoped("a number that was assigned stays assigned when its event is trimmed or its job removed", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const deliver = (sessionId: string, jobId: string, firstSeq: number, lastSeq: number, firstJobSeq: number) => ({
        sessionId,
        jobId,
        firstSeq,
        lastSeq,
        firstJobSeq
      })
      yield* commit({
        sessions: [sessionRecord("s1"), sessionRecord("s2"), { ...sessionRecord("s3"), lastSeq: 40 }],
        jobs: [job("a"), job("b")],
        jobStates: [state("a"), state("b")],
        segments: [segment("a", 1, 9), segment("b", 1, 2)],
        deliveries: [
          deliver("s1", "a", 1, 9, 1),
          deliver("s1", "b", 10, 11, 1),
          deliver("s2", "a", 1, 5, 1),
          deliver("s3", "a", 1, 3, 1)
        ]
      })
      const last = Effect.map(store.recover, ({ sessions }) =>
        Object.fromEntries(sessions.map(({ lastSeq, sessionId }) => [sessionId, lastSeq]))
      )
      const delivered = (jobId: string) =>
        Effect.map(store.deliveredTo(jobId), (rows) =>
          Object.fromEntries(rows.map(({ lastSeq, sessionId }) => [sessionId, lastSeq]))
        )
      expect(yield* delivered("a")).toEqual({ s1: 9, s2: 5, s3: 3 })
      yield* commit({ trims: [{ jobId: "a", upTo: 9 }] })
      expect(yield* last).toEqual({ s1: 11, s2: 5, s3: 40 })
      expect(yield* delivered("a")).toEqual({})
      yield* commit({ jobsRemoved: ["b", "a"] })
      expect(yield* delivered("b")).toEqual({})
      expect(yield* last).toEqual({ s1: 11, s2: 5, s3: 40 })
    }).pipe(Effect.provide(make()))
  )

  it.scoped("segments that overlap a range come back in order, bounded by bytes but never none", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit({
        jobs: [job("j")],
        jobStates: [state("j")],
        segments: [segment("j", 1, 3), segment("j", 4, 4), segment("j", 5, 9)]
      })
      const ranges = (list: ReadonlyArray<{ firstSeq: number; lastSeq: number }>) =>
        list.map((s) => [s.firstSeq, s.lastSeq])
      expect(ranges(yield* store.segments("j", 3, 5, 1e6))).toEqual([
        [1, 3],
        [4, 4],
        [5, 9]
      ])
      expect(ranges(yield* store.segments("j", 4, 4, 1e6))).toEqual([[4, 4]])
      expect(ranges(yield* store.segments("j", 1, 9, 1))).toEqual([[1, 3]])
      expect(ranges(yield* store.segments("j", 10, 20, 1e6))).toEqual([])
      expect((yield* store.segments("j", 5, 5, 1e6))[0]!.payloads).toEqual(segment("j", 5, 9).payloads)
      expect(ranges(yield* store.segmentHeads("j", 2, 4))).toEqual([
        [1, 3],
        [4, 4]
      ])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("trims take whole segments and the deliveries whose events are all among them", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit({
        jobs: [job("j"), job("k")],
        jobStates: [state("j"), state("k")],
        segments: [segment("j", 1, 3), segment("j", 4, 6), segment("k", 1, 1)],
        deliveries: [
          { sessionId: "s", firstSeq: 1, lastSeq: 3, jobId: "j", firstJobSeq: 1 },
          { sessionId: "s", firstSeq: 4, lastSeq: 4, jobId: "k", firstJobSeq: 1 },
          { sessionId: "s", firstSeq: 5, lastSeq: 7, jobId: "j", firstJobSeq: 4 }
        ]
      })
      yield* commit({ trims: [{ jobId: "j", upTo: 4 }] })
      expect((yield* store.segmentHeads("j", 1, 9)).map((s) => s.firstSeq)).toEqual([4])
      expect((yield* store.deliveries("s", 0, 9)).map((d) => d.firstSeq)).toEqual([4, 5])
      expect((yield* store.deliveries("s", 4, 9)).map((d) => d.firstSeq)).toEqual([5])
      expect((yield* store.deliveriesOfJob("s", "j")).map((d) => d.firstSeq)).toEqual([5])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("recovery answers sessions, unfinished jobs and subscriptions with the numbers of their events", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit({
        sessions: [sessionRecord("s1")],
        jobs: [job("j1"), job("j2")],
        jobStates: [state("j1"), state("j2", { status: "success", endedAt: 5 })],
        segments: [segment("j1", 1, 4)],
        deliveries: [{ sessionId: "s1", firstSeq: 1, lastSeq: 4, jobId: "j1", firstJobSeq: 1 }],
        subscriptions: [
          { sessionId: "s1", jobId: "j1" },
          { sessionId: "s1", jobId: "j1" }
        ]
      })
      const recovered = yield* store.recover
      expect(recovered.sessions).toEqual([{ ...sessionRecord("s1"), lastSeq: 4 }])
      expect(recovered.jobs.map((j) => [j.record.jobId, j.state.lastJobSeq, j.state.lastOwnerSeq])).toEqual([
        ["j1", 4, 4]
      ])
      expect(recovered.subscriptions).toEqual([{ sessionId: "s1", jobId: "j1" }])
      yield* commit({ sessionsRemoved: ["s1"] })
      const after = yield* store.recover
      expect(after.sessions).toEqual([])
      expect(after.subscriptions).toEqual([])
      expect((yield* store.deliveriesOfJob("s1", "j1")).length).toBe(1)
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§6.6 listings filter and page by id", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const all = Array.from({ length: 9 }, (_, i) => `job_${i}`)
      yield* commit({
        jobs: all.map((id, i) =>
          job(id, { principalId: i % 3 === 0 ? "bob" : "alice", createdAt: i, agent: i < 5 ? "a" : "b" })
        ),
        jobStates: all.map((id, i) =>
          state(id, { status: i % 2 === 0 ? "running" : "error", endedAt: i % 2 === 0 ? undefined : i })
        )
      })
      const none = {
        principalIds: undefined,
        statuses: undefined,
        agent: undefined,
        version: undefined,
        createdAfter: undefined,
        afterJobId: undefined,
        limit: 100
      }
      const ids = (query: object) =>
        Effect.map(store.jobs({ ...none, ...query }), (jobs) => jobs.map((j) => j.record.jobId))
      expect(yield* ids({})).toEqual(all)
      expect(yield* ids({ principalIds: ["bob"] })).toEqual(["job_0", "job_3", "job_6"])
      expect(yield* ids({ principalIds: [] })).toEqual([])
      expect(yield* ids({ statuses: ["error"], agent: "b" })).toEqual(["job_5", "job_7"])
      expect(yield* ids({ createdAfter: 6 })).toEqual(["job_7", "job_8"])
      expect(yield* ids({ afterJobId: "job_2", limit: 2 })).toEqual(["job_3", "job_4"])
      expect(yield* ids({ version: "9" })).toEqual([])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("retention lets go of the oldest ends by age, count and bytes, and removal takes everything", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const all = ["a", "b", "c", "d"]
      yield* commit({
        jobs: all.map((id) => job(id, { idempotencyKey: id })),
        jobStates: all.map((id) => state(id)),
        segments: all.map((id) => segment(id, 1, 10)),
        keys: all.map((id) => ({ principalId: "alice", key: id, jobId: id, parametersHash: "", expiresAt: 99 })),
        steps: [{ jobId: "a", name: "one", fingerprint: "f", value: "1" }],
        deliveries: [{ sessionId: "s", firstSeq: 1, lastSeq: 10, jobId: "a", firstJobSeq: 1 }]
      })
      yield* commit({ jobStates: ["a", "b", "c"].map((id, i) => state(id, { status: "success", endedAt: 10 + i })) })
      const keep = { endedBefore: 0, maxJobs: 100, maxBytes: 1e9 }
      expect(yield* store.expiredJobs(keep, 10)).toEqual([])
      expect(yield* store.expiredJobs({ ...keep, endedBefore: 12 }, 10)).toEqual(["a", "b"])
      expect(yield* store.expiredJobs({ ...keep, maxJobs: 1 }, 10)).toEqual(["a", "b"])
      expect(yield* store.expiredJobs({ ...keep, maxBytes: 10 }, 2)).toEqual(["a", "b"])
      expect(Option.getOrThrow(yield* store.step("a", "one"))).toEqual({
        jobId: "a",
        name: "one",
        fingerprint: "f",
        value: "1"
      })
      yield* commit({ jobsRemoved: ["a"] })
      expect(Option.isNone(yield* store.job("a"))).toBe(true)
      expect(Option.isNone(yield* store.key("alice", "a"))).toBe(true)
      expect(Option.isNone(yield* store.step("a", "one"))).toBe(true)
      expect(yield* store.segments("a", 1, 10, 1e6)).toEqual([])
      expect(yield* store.deliveries("s", 0, 10)).toEqual([])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("a batch that breaks an invariant leaves nothing, and the next one works", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit({ jobs: [job("j")], jobStates: [state("j")], segments: [segment("j", 1, 2)] })
      const error = yield* Effect.flip(
        commit({
          sessions: [sessionRecord("s9")],
          jobs: [job("new")],
          jobStates: [state("new")],
          segments: [segment("j", 2, 2)]
        })
      )
      expect(error._tag).toBe("StoreError")
      expect(Option.isNone(yield* store.job("new"))).toBe(true)
      expect((yield* store.recover).sessions).toEqual([])
      yield* commit({ jobs: [job("new")], jobStates: [state("new")] })
      expect(Option.isSome(yield* store.job("new"))).toBe(true)
    }).pipe(Effect.provide(make()))
  )
})

describe("memory and SQLite agree", () => {
  it.effect("on every read after random batches", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              job: fc.integer({ min: 0, max: 3 }),
              events: fc.integer({ min: 1, max: 5 }),
              session: fc.integer({ min: 0, max: 1 }),
              act: fc.constantFrom("emit", "end", "trim")
            }),
            { maxLength: 30 }
          ),
          (steps) => {
            const next = new Map<number, number>()
            const seqs = [0, 0]
            const endedJobs = new Set<number>()
            const batches: Array<Partial<Batch>> = [
              {
                jobs: [0, 1, 2, 3].map((i) => job(`j${i}`)),
                jobStates: [0, 1, 2, 3].map((i) => state(`j${i}`))
              }
            ]
            for (const step of steps) {
              const at = next.get(step.job) ?? 0
              if (step.act === "end") {
                endedJobs.add(step.job)
                batches.push({ jobStates: [state(`j${step.job}`, { status: "success", endedAt: batches.length })] })
              } else if (step.act === "trim") batches.push({ trims: [{ jobId: `j${step.job}`, upTo: at - 1 }] })
              else {
                next.set(step.job, at + step.events)
                const first = seqs[step.session]! + 1
                seqs[step.session] = first + step.events - 1
                batches.push({
                  segments: [segment(`j${step.job}`, at + 1, at + step.events)],
                  deliveries: [
                    {
                      sessionId: `s${step.session}`,
                      firstSeq: first,
                      lastSeq: first + step.events - 1,
                      jobId: `j${step.job}`,
                      firstJobSeq: at + 1
                    }
                  ]
                })
              }
            }
            const read = (layer: Layer.Layer<Store, StoreError>) =>
              Effect.gen(function* () {
                const store = yield* Store
                for (const batch of batches) yield* commit(batch)
                const covered = (
                  list: ReadonlyArray<{ firstSeq: number; lastSeq: number; jobId: string; firstJobSeq: number }>
                ) =>
                  list.flatMap((d) =>
                    Array.from({ length: d.lastSeq - d.firstSeq + 1 }, (_, i) => [
                      d.firstSeq + i,
                      d.jobId,
                      d.firstJobSeq + i
                    ])
                  )
                return {
                  segments: yield* Effect.forEach([0, 1, 2, 3], (i) => store.segments(`j${i}`, 2, 7, 1e6)),
                  recovered: (yield* store.recover).jobs,
                  ended: yield* store.expiredJobs({ endedBefore: 1e9, maxJobs: 0, maxBytes: 0 }, 100),
                  // Memory joins runs that continue each other, so events are compared, not rows; trims may differ inside a joined run.
                  last: (yield* Effect.forEach([0, 1], (i) => store.deliveries(`s${i}`, 0, 100))).map((list) =>
                    covered(list).at(-1)
                  )
                }
              }).pipe(Effect.provide(layer), Effect.runPromise)
            return Promise.all([read(MemoryStore.layer), read(SqliteStore.layer({ filename: ":memory:" }))]).then(
              ([a, b]) => {
                expect(a.segments).toEqual(b.segments)
                expect(a.recovered).toEqual(b.recovered)
                expect(new Set(a.ended)).toEqual(new Set(b.ended))
              }
            )
          }
        ),
        { numRuns: runs(100) }
      )
    )
  )
})

describe("a SQLite file", () => {
  it.scoped("outlives its process, is 0600, and holds nothing in clear when encrypted", () =>
    Effect.gen(function* () {
      const filename = file()
      const key = Redacted.make("a".repeat(40))
      const batch = {
        sessions: [sessionRecord("s")],
        jobs: [job("j", { idempotencyKey: "invoice-of-swordfish" })],
        jobStates: [state("j", { budget: '{"USD":"12.34"}', cancelled: "swordfish is off" })],
        keys: [
          {
            principalId: "alice",
            key: "invoice-of-swordfish",
            jobId: "j",
            parametersHash: "hash",
            expiresAt: 1
          }
        ],
        steps: [{ jobId: "j", name: "cook swordfish", fingerprint: "f", value: '"swordfish"' }],
        segments: [{ ...segment("j", 1, 1), payloads: ['{"text":"swordfish"}'] }]
      }
      yield* commit(batch).pipe(Effect.provide(SqliteStore.layer({ filename, encryptionKey: key })))
      expect(statSync(filename).mode & 0o777).toBe(0o600)
      const bytes = readFileSync(filename).toString("latin1")
      expect(bytes).not.toContain("swordfish")
      expect(bytes).not.toContain("admin")
      expect(bytes).not.toContain("12.34")
      yield* Effect.gen(function* () {
        const store = yield* Store
        expect((yield* store.segments("j", 1, 1, 100))[0]!.payloads).toEqual(['{"text":"swordfish"}'])
        expect(Option.getOrThrow(yield* store.key("alice", "invoice-of-swordfish")).jobId).toBe("j")
        expect(Option.isNone(yield* store.key("bob", "invoice-of-swordfish"))).toBe(true)
        expect(Option.getOrThrow(yield* store.step("j", "cook swordfish")).value).toBe('"swordfish"')
        expect(Option.getOrThrow(yield* store.job("j")).state).toMatchObject({
          budget: '{"USD":"12.34"}',
          cancelled: "swordfish is off"
        })
      }).pipe(Effect.provide(SqliteStore.layer({ filename, encryptionKey: key })))
      for (const encryptionKey of [undefined, Redacted.make("b".repeat(40))]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(SqliteStore.layer({ filename, encryptionKey }))))
        expect(error.message).toContain("encrypt")
      }
    })
  )

  it.scoped("gives back what was removed: no byte of it is left in the file or its log, and the file is smaller", () =>
    Effect.gen(function* () {
      const filename = file()
      const marker = "swordfish-to-be-forgotten"
      const payloads = Array.from({ length: 2_000 }, (_, i) => JSON.stringify({ text: `${marker} ${i} `.repeat(20) }))
      const bytes = () => ["", "-wal"].map((suffix) => readFileSync(`${filename}${suffix}`, "latin1")).join("")
      const context = yield* Layer.build(SqliteStore.layer({ filename }))
      yield* Effect.gen(function* () {
        const store = yield* Store
        yield* commit({
          jobs: [job("gone", { input: `"${marker}"` }), job("stays")],
          jobStates: [state("gone"), state("stays")],
          segments: [{ ...segment("gone", 1, 2_000), payloads }]
        })
        expect(bytes()).toContain(marker)
        yield* store.purge
        const before = statSync(filename).size
        yield* commit({ jobsRemoved: ["gone"] })
        yield* store.purge
        expect(bytes()).not.toContain(marker)
        expect(statSync(filename).size).toBeLessThan(before / 4)
        expect(Option.isSome(yield* store.job("stays"))).toBe(true)
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped(
    "that another runtime holds, or that is damaged or missing its folder, is refused with what to do",
    () =>
      Effect.gen(function* () {
        const filename = file()
        yield* Layer.build(SqliteStore.layer({ filename }))
        const busy = yield* Effect.flip(Effect.scoped(Layer.build(SqliteStore.layer({ filename }))))
        expect(busy.message).toContain("in use by another runtime")
        const damaged = file()
        writeFileSync(damaged, "this is no database, whatever its name says".repeat(100))
        expect(
          (yield* Effect.flip(Effect.scoped(Layer.build(SqliteStore.layer({ filename: damaged }))))).message
        ).toContain("damaged")
        expect(
          (yield* Effect.flip(
            Effect.scoped(Layer.build(SqliteStore.layer({ filename: join(folder, "no", "such.db") })))
          )).message
        ).toContain("folder")
      }),
    120_000
  )
})

it.scoped(
  "a removed job is gone at once; its events are deleted in steps, and by the next process where one stopped",
  () =>
    Effect.gen(function* () {
      const filename = file()
      const text = JSON.stringify("x".repeat(300_000))
      const count = 40
      const layer = SqliteStore.layer({ filename })
      const turnsDuring = <A, E, R>(run: Effect.Effect<A, E, R>) =>
        Effect.gen(function* () {
          let turns = 0
          let handle = setImmediate(function look() {
            turns++
            handle = setImmediate(look)
          })
          yield* Effect.ensuring(
            run,
            Effect.sync(() => clearImmediate(handle))
          )
          return turns
        })
      yield* Effect.gen(function* () {
        const store = yield* Store
        yield* commit({
          sessions: [sessionRecord("s")],
          jobs: [job("big")],
          jobStates: [state("big", { status: "success", endedAt: 1 })]
        })
        for (let n = 1; n <= count; n++) {
          yield* commit({
            segments: [{ jobId: "big", firstSeq: n, lastSeq: n, class: "event", payloads: [text] }],
            deliveries: [{ sessionId: "s", firstSeq: n, lastSeq: n, jobId: "big", firstJobSeq: n }]
          })
        }
        yield* commit({ jobsRemoved: ["big"] })
        expect(Option.isNone(yield* store.job("big"))).toBe(true)
        // The process stops while it purges.
        const purging = yield* Effect.fork(store.purge)
        for (let n = 0; n < 3; n++) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        yield* Fiber.interrupt(purging)
      }).pipe(Effect.provide(layer), Effect.scoped)
      expect(statSync(filename).size).toBeGreaterThan(2_000_000)
      yield* Effect.gen(function* () {
        const store = yield* Store
        const recovered = yield* store.recover
        expect(recovered.jobs).toEqual([])
        expect(recovered.sessions.map(({ lastSeq }) => lastSeq)).toEqual([count])
        expect(yield* store.segmentHeads("big", 1, count)).toEqual([])
        expect(yield* store.segments("big", 1, count, 1e9)).toEqual([])
        expect(yield* store.deliveries("s", 0, count)).toEqual([])
        expect(yield* store.deliveriesOfJob("s", "big")).toEqual([])
        expect(yield* store.deliveredTo("big")).toEqual([])
        expect(yield* turnsDuring(store.purge)).toBeGreaterThan(5)
        expect(statSync(filename).size).toBeLessThan(1_000_000)
      }).pipe(Effect.provide(layer), Effect.scoped)
    })
)
