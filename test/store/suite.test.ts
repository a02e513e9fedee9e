import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs"
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
import { storeLaws } from "../../src/testing/index.js"
import { runs, within } from "../support/properties.js"
import { jobRecord, jobState, sessionRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { withFile } from "./fixtures/open.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-store-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const lawTime = within(100_000)

/** Each history makes a store of its own, which takes longest in a file. */
const runsOf = (name: string): number => runs(name === "SQLite in memory" ? 100 : 10)

const stores: ReadonlyArray<readonly [string, () => Layer.Layer<Store, StoreError>]> = [
  ["memory", () => MemoryStore.layer],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" })],
  ["a SQLite file", () => SqliteStore.layer({ filename: file() })],
  ["an encrypted SQLite file", () => SqliteStore.layer({ filename: file(), encryptionKey: storeKey() })]
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

/** Files of one place: built again, the layer opens what is there. */
const places = new Map<string, Effect.Effect<Layer.Layer<Store, StoreError>>>([
  ["a SQLite file", Effect.sync(() => SqliteStore.layer({ filename: file() }))],
  ["an encrypted SQLite file", Effect.sync(() => SqliteStore.layer({ filename: file(), encryptionKey: storeKey() }))]
])

describe.each(stores)("the store in %s", (name, make) => {
  for (const law of storeLaws(Layer.suspend(make), { place: places.get(name), runs: runsOf(name), timeout: lawTime })) {
    it.scopedLive(law.name, () => law.check)
  }
})

describe("a SQLite file", () => {
  it.scoped("outlives its process, is 0600, and holds nothing in clear when encrypted", () =>
    Effect.gen(function* () {
      const filename = file()
      const key = storeKey()
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
      for (const encryptionKey of [undefined, storeKey(1)]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(SqliteStore.layer({ filename, encryptionKey }))))
        expect(error.message).toContain("encrypt")
      }
    })
  )

  it.effect("§7.2 has no row of an owner of a job or a session that is gone, and none of a job with one owner", () =>
    Effect.gen(function* () {
      const filename = file()
      const owner = (jobId: string, sessionId: string) => ({ jobId, sessionId })
      const during = (batch: Partial<Batch>) =>
        Effect.zipRight(
          commit(batch).pipe(Effect.provide(SqliteStore.layer({ filename }))),
          withFile(filename, "SELECT job_id || ' ' || session_id AS row FROM arcp_job_owners ORDER BY job_id, place")
        )
      expect(
        yield* during({
          jobs: [job("a"), job("b"), job("c")],
          jobStates: [state("a"), state("b"), state("c")],
          owners: [owner("a", "s3"), owner("a", "s2"), owner("b", "s2")]
        })
      ).toEqual([{ row: "a s3" }, { row: "a s2" }, { row: "b s2" }])
      expect(yield* during({ sessionsRemoved: ["s2"] })).toEqual([{ row: "a s3" }])
      expect(yield* during({ jobsRemoved: ["a"] })).toEqual([])
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

  it.effect("is whole without its log after an orderly stop: a copy of it alone has everything", () =>
    Effect.gen(function* () {
      const [filename, copy] = [file(), file()]
      const opened = <A, E>(path: string, use: Effect.Effect<A, E, Store>) =>
        Effect.provide(use, SqliteStore.layer({ filename: path }))
      const logged = yield* opened(
        filename,
        Effect.map(commit({ jobs: [job("kept")], jobStates: [state("kept")] }), () => statSync(`${filename}-wal`).size)
      )
      expect(logged).toBeGreaterThan(0)
      copyFileSync(filename, copy)
      const found = yield* opened(
        copy,
        Effect.flatMap(Store, (store) => store.job("kept"))
      )
      expect(Option.map(found, ({ record }) => record)).toEqual(Option.some(job("kept")))
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

it.scopedLive(
  "a removed job is gone at once; its events are deleted in steps, and by the next process where one stopped",
  () =>
    Effect.gen(function* () {
      const filename = file()
      const text = JSON.stringify("x".repeat(300_000))
      const count = 120
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
        for (let n = 0; n < 2; n++) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
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
