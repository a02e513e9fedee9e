/** ARCP 1.1 §14 What is kept of ended jobs: every store counts the same, before a restart and after it, with a key and without. */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, FastCheck as fc, Layer, Redacted, Scope } from "effect"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { type Batch, emptyBatch, MemoryStore, Store, type StoreError } from "../../src/store/index.js"
import type { JobRecord, Retention } from "../../src/store/Store.js"
import { SqlStore } from "../../src/store/sql.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { runs, within } from "../support/properties.js"
import { jobRecord, jobState } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { storeKey, weaklySealed } from "../support/storeKeys.js"
import { fixtures, keyOf } from "./fixtures/list.js"
import { withFile } from "./fixtures/open.js"

const folder = scratch("arcp-kept-")
let files = 0
const file = () => join(folder, `${files++}.db`)

type Service = Context.Tag.Service<Store>

/** A place of each kind; what is opened there again has what was written before. */
const places: Readonly<Record<string, () => Layer.Layer<Store, StoreError>>> = {
  memory: () => {
    const store = Effect.runSync(
      Effect.scoped(Effect.map(Layer.build(MemoryStore.layer), (built) => Context.get(built, Store)))
    )
    return Layer.succeed(Store, store)
  },
  "a SQLite file": () => {
    const filename = file()
    return Layer.suspend(() => SqliteStore.layer({ filename }))
  },
  "an encrypted SQLite file": () => {
    const filename = file()
    return Layer.suspend(() => SqliteStore.layer({ filename, encryptionKey: storeKey() }))
  },
  "the client of another package": () => {
    const filename = file()
    return Layer.suspend(() =>
      SqlStore.layer().pipe(
        Layer.provide(Layer.scoped(SqlClient, SqliteClient.make({ filename }))),
        Layer.provide(reactivity),
        Layer.fresh
      )
    )
  }
}

const text = fc.oneof(
  fc.string({ maxLength: 20, unit: "binary" }),
  fc.string({ maxLength: 20 }),
  fc.constantFrom("é", "日本語", "🙂", "\ud800", "\u0000")
)
const json = text.map((value) => JSON.stringify(value))
const maybe = <A>(one: fc.Arbitrary<A>) => fc.option(one, { nil: undefined })

const ids = ["a", "b"] as const
const id = fc.constantFrom(...ids)

/** What is written of a job after its submit, up to its end. */
const act = fc.oneof(
  fc.record({
    kind: fc.constant("step" as const),
    jobId: id,
    name: fc.oneof(text, fc.constantFrom("one", "é")),
    value: json
  }),
  fc.record({
    kind: fc.constant("events" as const),
    jobId: id,
    payloads: fc.array(json, { minLength: 1, maxLength: 4 })
  }),
  fc.record({ kind: fc.constant("state" as const), jobId: id }),
  fc.record({ kind: fc.constant("restart" as const) })
)

const record: fc.Arbitrary<Partial<JobRecord>> = fc.record({
  input: json,
  lease: json,
  accepted: json,
  leaseConstraints: maybe(json),
  idempotencyKey: maybe(text),
  traceContext: maybe(json)
})

const history = fc.record({
  records: fc.tuple(record, record),
  acts: fc.array(act, { maxLength: 25 }),
  /** Whether it is restarted between the end of the one and that of the other. */
  between: fc.boolean()
})

type History = typeof history extends fc.Arbitrary<infer A> ? A : never

const bytes = (...texts: ReadonlyArray<string | undefined>): number => Buffer.byteLength(texts.join(""), "utf8")

const keep: Retention = { endedBefore: 0, maxJobs: 1_000, maxBytes: 0 }

/** What the store counts of all ended jobs: the least bound over which it takes none. */
const countedBy = (store: Service) =>
  Effect.gen(function* () {
    let [low, high] = [0, 1 << 30]
    while (low < high) {
      const maxBytes = Math.floor((low + high) / 2)
      if ((yield* store.expiredJobs({ ...keep, maxBytes }, 1)).length === 0) high = maxBytes
      else low = maxBytes + 1
    }
    return low
  })

/** What a history leaves, counted from its texts alone. */
const expected = ({ acts, records }: History): number => {
  const steps = new Map<string, number>()
  let sum = 0
  for (const { accepted, idempotencyKey, input, lease, leaseConstraints, traceContext } of records) {
    for (const each of [accepted, idempotencyKey, input, lease, leaseConstraints, traceContext]) sum += bytes(each)
  }
  for (const each of acts) {
    if (each.kind === "events") sum += Buffer.byteLength(each.payloads.join("\n"))
    if (each.kind === "step") steps.set(JSON.stringify([each.jobId, each.name]), bytes(each.name) + bytes(each.value))
  }
  return [...steps.values()].reduce((all, size) => all + size, sum)
}

const played = (layer: Layer.Layer<Store, StoreError>, { acts, between, records }: History) =>
  Effect.gen(function* () {
    let scope = yield* Scope.make()
    const open = Effect.suspend(() =>
      Effect.map(Scope.extend(Layer.build(Layer.fresh(layer)), scope), (c) => Context.get(c, Store))
    )
    let store = yield* open
    const restart = Effect.gen(function* () {
      yield* Scope.close(scope, Exit.void)
      scope = yield* Scope.make()
      store = yield* open
    })
    const commit = (more: Partial<Batch>) => Effect.suspend(() => store.commit({ ...emptyBatch, ...more }))
    yield* commit({
      jobs: ids.map((jobId, i) => jobRecord(jobId, records[i]!)),
      jobStates: ids.map((jobId) => jobState(jobId))
    })
    const seqs = { a: 1, b: 1 }
    for (const each of acts) {
      if (each.kind === "restart") yield* restart
      else if (each.kind === "state") yield* commit({ jobStates: [jobState(each.jobId, { attempt: 2 })] })
      else if (each.kind === "step") {
        yield* commit({ steps: [{ jobId: each.jobId, name: each.name, fingerprint: "f", value: each.value }] })
      } else {
        const firstSeq = seqs[each.jobId]
        seqs[each.jobId] += each.payloads.length
        const lastSeq = seqs[each.jobId] - 1
        yield* commit({ segments: [{ jobId: each.jobId, firstSeq, lastSeq, class: "event", payloads: each.payloads }] })
      }
    }
    for (const jobId of ids) {
      yield* commit({ jobStates: [jobState(jobId, { status: "success", endedAt: 5 })] })
      if (between) yield* restart
    }
    const live = yield* countedBy(store)
    yield* restart
    const later = yield* countedBy(store)
    yield* Scope.close(scope, Exit.void)
    return [live, later]
  })

describe.each(Object.entries(places))("ARCP 1.1 §14: what is kept of ended jobs, over %s", (_name, make) => {
  it.effect(
    "is counted in bytes of their texts, and the same after a restart",
    () =>
      Effect.gen(function* () {
        for (const each of fc.sample(history, { numRuns: runs(25), seed: 1 })) {
          const size = expected(each)
          expect([yield* played(make(), each), each]).toEqual([[size, size], each])
        }
      }),
    within(60_000)
  )

  it.scoped("a trim before the end takes events away, and what ends in one batch counts whole", () =>
    Effect.gen(function* () {
      const store = Context.get(yield* Layer.build(make()), Store)
      const segment = (firstSeq: number, payload: string) => ({
        jobId: "a",
        firstSeq,
        lastSeq: firstSeq,
        class: "event" as const,
        payloads: [payload]
      })
      const empty = bytes("null{}{}")
      yield* store.commit({
        ...emptyBatch,
        jobs: [jobRecord("a")],
        jobStates: [jobState("a")],
        segments: [segment(1, '"é"')]
      })
      yield* store.commit({ ...emptyBatch, segments: [segment(2, '"second"')] })
      yield* store.commit({ ...emptyBatch, trims: [{ jobId: "a", upTo: 1 }] })
      yield* store.commit({ ...emptyBatch, jobStates: [jobState("a", { status: "success", endedAt: 5 })] })
      expect(yield* countedBy(store)).toBe(empty + bytes('"second"'))
      yield* store.commit({
        ...emptyBatch,
        jobs: [jobRecord("b", { input: '"日本"' })],
        jobStates: [jobState("b", { status: "success", endedAt: 6 })],
        segments: [{ ...segment(1, "{}"), jobId: "b" }],
        steps: [{ jobId: "b", name: "one", fingerprint: "f", value: "1" }]
      })
      expect(yield* countedBy(store)).toBe(empty + bytes('"second"') + bytes('"日本"{}{}') + bytes("{}one1"))
      yield* store.commit({ ...emptyBatch, jobsRemoved: ["a"] })
      expect(yield* countedBy(store)).toBe(bytes('"日本"{}{}') + bytes("{}one1"))
    })
  )
})

describe.each(fixtures.filter(({ schema }) => schema < 8))(
  "ARCP 1.1 §14: a database of $name",
  ({ name, schema, sealed }) => {
    it.effect("counts the inputs of jobs that have ended, and of those that end later", () =>
      Effect.gen(function* () {
        const filename = file()
        copyFileSync(new URL(`./fixtures/${name}.db`, import.meta.url), filename)
        const events =
          "SELECT SUM(s.bytes) AS bytes FROM arcp_segments s JOIN arcp_job_states j USING (job_id) WHERE ended_at IS NOT NULL"
        const bytesIn = (statement: string) =>
          Effect.map(withFile(filename, statement), (rows) =>
            Number((rows as ReadonlyArray<{ bytes: number }>)[0]!.bytes)
          )
        const before = yield* bytesIn(events)
        const layer = sealed
          ? weaklySealed(filename, Redacted.make(keyOf({ schema })))
          : SqliteStore.layer({ filename })
        const counted = Effect.provide(Effect.flatMap(Store, countedBy), layer)
        const first = yield* counted
        const records =
          "SELECT SUM(OCTET_LENGTH(j.data)) AS bytes FROM arcp_jobs j JOIN arcp_job_states s USING (job_id) WHERE s.ended_at IS NOT NULL"
        expect(first).toBeGreaterThanOrEqual(before + (yield* bytesIn(records)))
        // Those that run end, all of them.
        yield* Effect.gen(function* () {
          const store = yield* Store
          const { jobs } = yield* store.recover
          expect(jobs.length).toBeGreaterThan(0)
          yield* store.commit({
            ...emptyBatch,
            jobStates: jobs.map(({ state }) => ({ ...state, status: "error", endedAt: 9_000_000_000_000 }))
          })
        }).pipe(Effect.provide(layer))
        expect(yield* counted).toBeGreaterThanOrEqual((yield* bytesIn(events)) + (yield* bytesIn(records)))
      })
    )
  }
)
