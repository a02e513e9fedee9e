/** Commits in one step on the SQLite driver: the rows, the faults, and what else writes meanwhile. */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, FastCheck as fc, Fiber, Layer, Scope } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { type Batch, emptyBatch, Store, StoreError } from "../../src/store/index.js"
import { JobSizes } from "../../src/store/internal/jobSizes.js"
import { recordSize } from "../../src/store/internal/kept.js"
import { SqlStore } from "../../src/store/sql.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { storeLaws } from "../../src/testing/index.js"
import { atOnce, atOnceOf, commitAtOnce } from "../support/atOnce.js"
import { runs, within } from "../support/properties.js"
import { jobRecord, jobState, ledgerRecord, sessionRecord } from "../support/records.js"
import { scratch } from "../support/scratch.js"
import { openSqlite, rowsOf } from "./fixtures/rows.js"
import { storeKey } from "../support/storeKeys.js"

const folder = scratch("arcp-direct-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const batch = (more: Partial<Batch>): Batch => ({ ...emptyBatch, ...more })
const segment = (jobId: string, firstSeq: number, payloads: ReadonlyArray<string> = ["{}"]) => ({
  jobId,
  firstSeq,
  lastSeq: firstSeq + payloads.length - 1,
  class: "event" as const,
  payloads
})
const key = (name: string) => ({ principalId: "alice", key: name, jobId: "j", parametersHash: "p", expiresAt: 1 })
const newJob = (jobId: string) => batch({ jobs: [jobRecord(jobId)], jobStates: [jobState(jobId)] })

/** A store over the client of another package: its commits go statement by statement over a connection. */
const overConnection = SqlStore.layer().pipe(
  Layer.provideMerge(Layer.scoped(SqlClient, SqliteClient.make({ filename: ":memory:" }))),
  Layer.provide(reactivity)
)

const stores: ReadonlyArray<readonly [string, () => Layer.Layer<Store, StoreError>]> = [
  ["SQLite in memory", () => atOnce(SqliteStore.layer({ filename: ":memory:" }))],
  ["an encrypted SQLite file", () => atOnce(SqliteStore.layer({ filename: file(), encryptionKey: storeKey() }))],
  ["the client of another package, as an effect", () => Layer.fresh(overConnection)]
]

describe.each(stores)("the store in %s, committed to in one step", (name, make) => {
  const options = { runs: runs(name === "SQLite in memory" ? 50 : 5), timeout: within(100_000) }
  for (const law of storeLaws(Layer.suspend(make), options)) it.scopedLive(law.name, () => law.check)
})

const ids = fc.constantFrom("a", "b", "c")
const sessionIds = fc.constantFrom("s1", "s2")
const mapped = <A, B>(one: fc.Arbitrary<A>, to: (value: A) => B): fc.Arbitrary<B> => one.map(to)
const list = <A>(one: fc.Arbitrary<A>) => fc.array(one, { maxLength: 3 })
const names = { sessionId: sessionIds, jobId: ids }

/** Any batch, sensible or not: numbers that are taken, jobs that are there already or nowhere, two states of a job. */
const batches: fc.Arbitrary<Batch> = fc.record({
  sessions: list(mapped(fc.record({ id: sessionIds, n: fc.nat(9) }), ({ id, n }) => sessionRecord(id, { lastSeq: n }))),
  jobs: list(mapped(fc.record({ id: ids }), ({ id }) => jobRecord(id))),
  jobStates: list(
    mapped(fc.record({ id: ids, ended: fc.boolean(), budget: fc.boolean() }), ({ budget, ended, id }) =>
      jobState(id, {
        ...(ended ? { status: "success", endedAt: 9 } : {}),
        ...(budget ? { budget: '{"USD":"1"}' } : {})
      })
    )
  ),
  keys: list(
    mapped(fc.record({ name: fc.constantFrom("k", "l"), id: ids }), ({ id, name }) => ({ ...key(name), jobId: id }))
  ),
  segments: list(
    mapped(
      fc.record({
        id: ids,
        first: fc.nat(30),
        texts: fc.array(fc.string({ maxLength: 9 }), { minLength: 1, maxLength: 3 })
      }),
      ({ first, id, texts }) =>
        segment(
          id,
          first,
          texts.map((text) => JSON.stringify(text))
        )
    )
  ),
  deliveries: list(
    mapped(
      fc.record({ ...names, first: fc.nat(99), more: fc.nat(2), from: fc.nat(30) }),
      ({ first, from, more, ...of }) => ({
        ...of,
        firstSeq: first,
        lastSeq: first + more,
        firstJobSeq: from
      })
    )
  ),
  subscriptions: list(fc.record(names)),
  owners: list(fc.record(names)),
  steps: list(
    mapped(fc.record({ id: ids, name: fc.constantFrom("x", "y"), n: fc.nat(9) }), ({ id, n, name }) => ({
      jobId: id,
      name,
      fingerprint: "f",
      value: String(n)
    }))
  ),
  subscriptionsRemoved: list(fc.record(names)),
  ownersRemoved: list(fc.record(names)),
  trims: fc.array(fc.record({ jobId: ids, upTo: fc.nat(30) }), { maxLength: 1 }),
  sessionsRemoved: fc.array(sessionIds, { maxLength: 1 }),
  jobsRemoved: fc.constant([])
})

/** Batches of which most can be committed: those with one kind of thing only, among others. */
const histories = fc.array(
  fc.oneof(
    batches,
    mapped(
      fc.tuple(batches, fc.subarray(Object.keys(emptyBatch) as Array<keyof Batch>, { maxLength: 3 })),
      ([all, kept]) => batch(Object.fromEntries(kept.map((field) => [field, all[field]])))
    ),
    mapped(ids, newJob),
    mapped(ids, (id) => batch({ jobStates: [jobState(id, { status: "success", endedAt: 3 })] })),
    mapped(ids, (id) => batch({ jobsRemoved: [`${id}-gone`] }))
  ),
  { minLength: 1, maxLength: 20 }
)

const outcomeOf = (outcome: StoreError | "busy" | undefined) =>
  outcome instanceof StoreError ? outcome.message : outcome

describe("a commit in one step", () => {
  it.scoped(
    "leaves the same rows and reports the same failures as the statements over a connection, after any batches",
    () =>
      Effect.gen(function* () {
        let committed = 0
        let failed = 0
        for (const history of fc.sample(histories, { numRuns: runs(150), seed: 1 })) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const there = yield* Layer.build(Layer.fresh(overConnection))
              const here = yield* openSqlite({ filename: ":memory:" })
              const now = atOnceOf(here.store)
              const created = new Set<string>()
              for (const any of history) {
                // Every store may take it that a job's events and steps come with it or after it.
                const fresh = any.jobs.map(({ jobId }) => jobId)
                const each = {
                  ...any,
                  segments: any.segments.filter(({ jobId }) => created.has(jobId) || fresh.includes(jobId)),
                  steps: any.steps.filter(({ jobId }) => created.has(jobId) || fresh.includes(jobId))
                }
                const expected = yield* Effect.either(Context.get(there, Store).commit(each))
                const outcome = now(each)
                expect(outcomeOf(outcome)).toBe(expected._tag === "Left" ? expected.left.message : undefined)
                if (outcome === undefined) {
                  committed++
                  for (const jobId of fresh) created.add(jobId)
                } else failed++
              }
              expect(yield* here.rows).toEqual(yield* rowsOf(Context.get(there, SqlClient)))
            })
          )
        }
        expect(committed).toBeGreaterThan(300)
        expect(failed).toBeGreaterThan(100)
      }),
    within(100_000)
  )

  it.scoped("deletes a removed job like the statements over a connection", () =>
    Effect.gen(function* () {
      const there = yield* Layer.build(Layer.fresh(overConnection))
      const here = yield* openSqlite({ filename: ":memory:" })
      const history = [
        newJob("a"),
        newJob("b"),
        batch({
          sessions: [sessionRecord("s")],
          keys: [key("k")],
          segments: [segment("a", 1), segment("b", 1)],
          deliveries: [{ sessionId: "s", jobId: "a", firstSeq: 1, lastSeq: 1, firstJobSeq: 1 }],
          subscriptions: [{ sessionId: "s", jobId: "a" }],
          owners: [{ sessionId: "s", jobId: "a" }],
          steps: [{ jobId: "a", name: "n", fingerprint: "f", value: "1" }]
        }),
        batch({ jobsRemoved: ["a", "b"] })
      ]
      for (const each of history) {
        yield* Context.get(there, Store).commit(each)
        expect(atOnceOf(here.store)(each)).toBeUndefined()
      }
      const rows = yield* here.rows
      expect(rows).toEqual(yield* rowsOf(Context.get(there, SqlClient)))
      expect(rows["removed"]).toHaveLength(2)
    })
  )
})

interface Fault {
  /** What makes a batch fail. */
  readonly refuse: (sql: SqlClient) => Effect.Effect<unknown, unknown>
  /** A batch that fails, which names the session `lost` in its first rows. */
  readonly refused: Batch
  readonly says: RegExp
  readonly heal: (sql: SqlClient) => Effect.Effect<unknown, unknown>
}

const large = segment("j", 2, [JSON.stringify("x".repeat(200_000))])
const lost = { sessions: [sessionRecord("lost")], segments: [segment("j", 2)] }

const faults: Readonly<Record<string, Fault>> = {
  "the disk is full": {
    refuse: (sql) => sql.unsafe("PRAGMA max_page_count = 1"),
    refused: batch({ ...lost, segments: [large] }),
    says: /refused to commit: database or disk is full \(make room on the disk; nothing was written\)/,
    heal: (sql) => sql.unsafe("PRAGMA max_page_count = 1073741823")
  },
  "a row in the middle breaks a constraint": {
    refuse: () => Effect.void,
    refused: batch({ ...lost, segments: [segment("j", 2), segment("j", 1)], keys: [key("lost")] }),
    says: /refused to commit: UNIQUE constraint failed: arcp_segments.job_id, arcp_segments.last_seq/,
    heal: () => Effect.void
  },
  "the COMMIT itself fails": {
    refuse: (sql) =>
      Effect.all([
        sql.unsafe("PRAGMA foreign_keys = ON"),
        sql.unsafe("CREATE TABLE parent (id TEXT PRIMARY KEY)"),
        sql.unsafe("CREATE TABLE child (id TEXT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"),
        sql.unsafe(
          "CREATE TRIGGER dangling AFTER INSERT ON arcp_sessions BEGIN INSERT INTO child (id) VALUES ('nowhere'); END"
        )
      ]),
    refused: batch(lost),
    says: /refused to commit: FOREIGN KEY constraint failed/,
    heal: (sql) => sql.unsafe("DROP TRIGGER dangling")
  }
}

describe.each(Object.entries(faults))("where %s", (_name, { heal, refuse, refused, says }) => {
  for (const form of ["in one step", "as an effect"] as const) {
    it.scoped(`a commit ${form} is a StoreError, nothing of it is there, and the next one succeeds`, () =>
      Effect.gen(function* () {
        const { rows, sql, store } = yield* openSqlite({ filename: file() })
        const commit = (each: Batch) =>
          form === "as an effect" ? store.commit(each) : Effect.suspend(() => commitAtOnce(store)(each))
        yield* commit(newJob("j"))
        yield* commit(batch({ segments: [segment("j", 1, ['"first"'])] }))
        yield* refuse(sql)
        const before = yield* rows
        const error = yield* Effect.flip(commit(refused))
        expect(error.operation).toBe("commit")
        expect(error.message).toMatch(says)
        expect(error.cause).toMatchObject({ _tag: "SqlError" })
        expect(yield* rows).toEqual(before)
        yield* heal(sql)
        yield* commit(
          batch({
            segments: [segment("j", 2, ['"second"'])],
            jobStates: [jobState("j", { status: "success", endedAt: 5 })]
          })
        )
        // What was not written does not count.
        expect(yield* sql.unsafe("SELECT bytes FROM arcp_job_states")).toEqual([
          { bytes: '"first""second"'.length + recordSize(jobRecord("j")) }
        ])
        expect(yield* sql.unsafe("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }])
      })
    )
  }
})

it.effect("a closed database is a StoreError in both forms", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const { store } = yield* Scope.extend(openSqlite({ filename: file() }), scope)
    yield* Scope.close(scope, Exit.void)
    const says = "the database refused to commit: The database connection is not open"
    expect(atOnceOf(store)(newJob("j"))).toMatchObject({ _tag: "StoreError", operation: "commit", message: says })
    expect(yield* Effect.flip(store.commit(newJob("j")))).toMatchObject({ operation: "commit", message: says })
  })
)

it.scoped("a batch that cannot be turned into rows is a StoreError, and changes nothing", () =>
  Effect.gen(function* () {
    const { rows, store } = yield* openSqlite({ filename: ":memory:" })
    const before = yield* rows
    const principal = { id: "alice", anonymous: false, claims: { n: 1n } }
    const bad = batch({ jobs: [jobRecord("j")], sessions: [sessionRecord("s", { principal })] })
    expect(atOnceOf(store)(bad)).toMatchObject({ operation: "commit", message: expect.stringContaining("BigInt") })
    expect((yield* Effect.flip(store.commit(bad))).message).toContain("BigInt")
    expect(yield* rows).toEqual(before)
  })
)

describe("while another operation is inside a transaction", () => {
  for (const ends of ["commits", "fails"] as const) {
    it.scoped(
      `a commit in one step is busy and does nothing; as an effect it waits, also where the other ${ends}`,
      () =>
        Effect.gen(function* () {
          const { rows, sql, store } = yield* openSqlite({ filename: file() })
          const before = yield* rows
          const [inside, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void, StoreError>()]
          const other = yield* Effect.fork(
            sql.withTransaction(
              sql
                .unsafe("INSERT INTO arcp_removed (job_id) VALUES ('other')")
                .pipe(Effect.zipRight(Deferred.succeed(inside, undefined)), Effect.zipRight(Deferred.await(leave)))
            )
          )
          yield* Deferred.await(inside)
          const waiting = yield* Effect.fork(store.commit(newJob("waits")))
          const stopped = yield* Effect.fork(store.commit(newJob("is given up")))
          yield* Effect.yieldNow()
          expect(atOnceOf(store)(newJob("j"))).toBe("busy")
          expect(yield* Fiber.poll(waiting)).toMatchObject({ _tag: "None" })
          yield* Fiber.interrupt(stopped)
          yield* Deferred.complete(
            leave,
            ends === "commits" ? Effect.void : new StoreError({ operation: "test", message: "fails" })
          )
          expect(Exit.isSuccess(yield* Fiber.await(other))).toBe(ends === "commits")
          yield* Fiber.join(waiting)
          expect(atOnceOf(store)(newJob("j"))).toBeUndefined()
          const after = yield* rows
          expect(after["jobs"]!.map((row) => JSON.parse(row).job_id as string)).toEqual(["j", "waits"])
          expect(after["removed"]).toEqual(ends === "commits" ? ['{"job_id":"other"}'] : before["removed"])
        })
    )
  }

  it.scoped("a transaction whose COMMIT fails is given up: the commits after it are not stuck", () =>
    Effect.gen(function* () {
      const { rows, sql, store } = yield* openSqlite({ filename: file() })
      yield* faults["the COMMIT itself fails"]!.refuse(sql)
      const other = sql.withTransaction(sql.unsafe("INSERT INTO child (id) VALUES ('nowhere')"))
      expect(Exit.isFailure(yield* Effect.exit(other))).toBe(true)
      expect(atOnceOf(store)(newJob("j"))).toBeUndefined()
      expect((yield* rows)["jobs"]).toHaveLength(1)
      expect(yield* sql.unsafe("SELECT * FROM child")).toEqual([])
    })
  )
})

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** What else writes to the file, each with what proves that it has. */
const writers: Readonly<
  Record<
    string,
    (open: Effect.Effect.Success<ReturnType<typeof openSqlite>>) => {
      readonly before?: ReadonlyArray<Batch>
      readonly run: Effect.Effect<unknown, unknown>
      readonly done: Effect.Effect<boolean, unknown>
      /** Whether it has transactions that last longer than a step. */
      readonly transactions: boolean
      /** Whether it waits for turns of the event loop. */
      readonly turns: boolean
    }
  >
> = {
  "a purge": ({ rows, sql, store }) => ({
    before: [
      newJob("gone"),
      ...Array.from({ length: 60 }, (_, n) =>
        batch({ segments: [segment("gone", n + 1, [JSON.stringify("x".repeat(20_000))])] })
      ),
      batch({ jobsRemoved: ["gone"] })
    ],
    run: store.purge,
    done: Effect.gen(function* () {
      const { removed } = yield* rows
      const [free] = yield* sql.unsafe<{ readonly freelist_count: number }>("PRAGMA freelist_count")
      return removed!.length === 0 && free!.freelist_count < 20
    }),
    transactions: true,
    turns: true
  }),
  "a sweep": ({ rows, store }) => ({
    before: [batch({ keys: Array.from({ length: 200 }, (_, n) => key(`old ${n}`)) })],
    run: store.removeExpiredKeys(5),
    done: Effect.map(rows, ({ keys }) => keys!.length === 0),
    transactions: false,
    turns: false
  }),
  "a write of an artifact": ({ artifacts }) => {
    const artifactId = "art_01JQZX5Y3N0000000000000000"
    const data = new Uint8Array(5_000_000).fill(7)
    const record = {
      artifactId,
      principalId: "alice",
      contentType: "text/plain",
      byteSize: data.length,
      sha256: createHash("sha256").update(data).digest("hex"),
      createdAt: 1,
      expiresAt: 2,
      jobId: undefined
    }
    return {
      run: artifacts.put(record, data),
      done: Effect.map(
        artifacts.get(artifactId),
        (found) => found._tag === "Some" && found.value.data.length === data.length
      ),
      transactions: false,
      turns: false
    }
  },
  "a write of credentials": ({ ledger, rows }) => ({
    run: ledger.put(Array.from({ length: 500 }, (_, n) => ledgerRecord(`ref_${n}`))),
    done: Effect.map(rows, ({ credentials }) => credentials!.length === 500),
    transactions: true,
    turns: false
  })
}

describe.each(Object.entries(writers))("beside %s", (_name, make) => {
  it.scopedLive(
    "commits in one step go in between: every one is there once, and the other operation is whole",
    () =>
      Effect.gen(function* () {
        const opened = yield* openSqlite({ filename: file() })
        const { before = [], done, run, transactions, turns } = make(opened)
        const { rows, store } = opened
        const now = atOnceOf(store)
        for (const each of before) expect(now(each)).toBeUndefined()
        // Other fibers run between any two of its steps.
        const other = yield* Effect.fork(Effect.withMaxOpsBeforeYield(run, 10))
        let busy = 0
        const jobs: Array<string> = []
        while ((yield* Fiber.poll(other))._tag === "None") {
          const jobId = `job_${String(jobs.length).padStart(6, "0")}`
          const outcome = now(
            batch({
              jobs: [jobRecord(jobId)],
              jobStates: [jobState(jobId, { status: "success", endedAt: 9 })],
              segments: [segment(jobId, 1)]
            })
          )
          if (outcome === undefined) jobs.push(jobId)
          else if (outcome === "busy") busy++
          else return yield* outcome
          expect(jobs.length).toBeLessThan(5_000)
          // Between steps of the other fiber, and now and then between turns of the event loop.
          yield* turns && jobs.length % 4 === 0 ? turn : Effect.yieldNow()
        }
        yield* Fiber.join(other)
        expect(yield* done).toBe(true)
        expect(jobs.length).toBeGreaterThan(3)
        expect(busy > 0).toBe(transactions)
        const after = yield* rows
        expect(after["jobs"]!.map((row) => JSON.parse(row).job_id as string)).toEqual(jobs)
        expect(after["segments"]).toHaveLength(jobs.length)
        expect(after["job_states"]!.map((row) => JSON.parse(row).bytes as number)).toEqual(
          jobs.map((jobId) => 2 + recordSize(jobRecord(jobId)))
        )
      }),
    within(60_000)
  )
})

describe("the sizes of running jobs", () => {
  const empty = recordSize(jobRecord("j"))
  const step = (name: string, value: string) => ({ jobId: "j", name, fingerprint: "f", value })

  it("are known for jobs that were created here, in bytes, with one between the payloads of a row", () => {
    const sizes = new JobSizes()
    sizes.add(batch({ jobs: [jobRecord("j", { input: '"é"', idempotencyKey: "k" })], jobStates: [jobState("j")] }))
    expect(sizes.of("j")).toBe(4 + "{}{}k".length)
    sizes.add(batch({ segments: [segment("j", 1, ["12", "345"]), segment("j", 3, ["é"]), segment("older", 1)] }))
    expect(sizes.of("j")).toBe(4 + "{}{}k".length + "12\n345".length + 2)
    // A step of the same name replaces the one before.
    sizes.add(
      batch({ steps: [step("one", "1234"), step("é", "1"), step("one", "1"), { ...step("one", "1"), jobId: "older" }] })
    )
    expect(sizes.of("j")).toBe(4 + "{}{}k".length + "12\n345".length + 2 + "one1".length + 3)
    expect(sizes.of("older")).toBeUndefined()
  })

  it("are not known after a commit that failed, a trim, a removal and the end", () => {
    const ended = batch({ jobStates: [jobState("j", { status: "success" })] })
    const made = () => {
      const sizes = new JobSizes()
      sizes.add(newJob("j"))
      sizes.committed(newJob("j"))
      expect(sizes.of("j")).toBe(empty)
      return sizes
    }
    for (const each of [ended, batch({ trims: [{ jobId: "j", upTo: 1 }] }), batch({ jobsRemoved: ["j"] })]) {
      const sizes = made()
      sizes.committed(each)
      expect(sizes.of("j")).toBeUndefined()
    }
    for (const each of [newJob("j"), batch({ segments: [segment("j", 1)] }), batch({ steps: [step("one", "1")] })]) {
      const sizes = made()
      sizes.failed(each)
      expect(sizes.of("j")).toBeUndefined()
    }
  })

  it("are bounded: of more jobs the oldest are no longer known", () => {
    const sizes = new JobSizes(2)
    for (const jobId of ["a", "b", "c"]) sizes.add(newJob(jobId))
    expect(["a", "b", "c"].map(sizes.of)).toEqual([undefined, empty, empty])
    const many = new JobSizes()
    many.add(newJob("j"))
    for (let n = 0; n < 64; n++) many.add(batch({ steps: [step(String(n), "1")] }))
    expect(many.of("j")).toBeGreaterThan(empty)
    many.add(batch({ steps: [step("more", "1")] }))
    expect(many.of("j")).toBeUndefined()
  })
})
