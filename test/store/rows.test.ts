/** Rows over every backend: intact ones come with their values, damaged ones are a typed error that names table, key and field. */
import { describe, expect, it, vi } from "@effect/vitest"
import { BigDecimal, type Context, Effect, Layer, Option } from "effect"
import {
  ArtifactStore,
  CredentialLedger,
  decorate,
  emptyBatch,
  type LedgerRecord,
  MemoryStore,
  Store
} from "../../src/store/index.js"
import * as Rows from "../../src/store/Rows.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import type { JobRecord, JobState, SessionRecord, StoreError } from "../../src/store/Store.js"
import { jobRecord, jobState, sessionRecord } from "../support/records.js"

const job = jobRecord("job_1", {
  input: '{"q":1}',
  lease: '{"fs.read":["/data/**"]}',
  leaseConstraints: '{"expires_at":"2030-01-01T00:00:00Z"}',
  maxRuntimeSec: 5,
  traceContext: '{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","parentSpanId":"00f067aa0ba902b7","sampled":true}',
  accepted: '{"priority":"high","job_id":"job_1","agent":"echo@1.0.0","lease":{},"of_another_version":[1]}'
})

const state = jobState("job_1", { budget: '{"USD":"-1.50"}' })
const session = sessionRecord("sess_1")

const credential: LedgerRecord = {
  reference: "ref_1",
  credentialId: "cred_1",
  jobId: "job_1",
  principalId: "alice",
  handle: "h",
  endpoint: undefined,
  profile: undefined,
  state: "live",
  attempts: 0,
  lastError: undefined,
  createdAt: 1,
  updatedAt: 1,
  revokedAt: undefined
}

type Odd<A> = { readonly [K in keyof A]?: unknown }

const stores: ReadonlyArray<readonly [string, Layer.Layer<Store | CredentialLedger | ArtifactStore, StoreError>]> = [
  ["memory", MemoryStore.layer],
  ["SQLite", SqliteStore.layer({ filename: ":memory:" })]
]

/** The store, with one job as changed. */
const holding = (record: Odd<JobRecord> = {}, changed: Odd<JobState> = {}) =>
  Effect.gen(function* () {
    const store = yield* Store
    yield* store.commit({
      ...emptyBatch,
      jobs: [{ ...job, ...record } as JobRecord],
      jobStates: [{ ...state, ...changed } as JobState]
    })
    return Rows.decoded(store)
  })

const everything = {
  principalIds: undefined,
  statuses: undefined,
  agent: undefined,
  version: undefined,
  createdAfter: undefined,
  afterJobId: undefined,
  limit: 10
}

const message = (row: string, table: string, field: string) =>
  `the row ${row} of ${table} is damaged in its field ${field}: restore the database from a backup, or delete the row`

const rejected = <A>(read: Effect.Effect<A, StoreError>, row: string, table: string, field: string) =>
  Effect.map(Effect.flip(read), (error) => {
    expect(error).toMatchObject({ _tag: "StoreError", operation: "read", message: message(row, table, field) })
  })

describe.each(stores)("rows of a store in %s", (_name, layer) => {
  it.scoped("§6.6 a job comes with the values of its texts, and its texts as they were", () =>
    Effect.gen(function* () {
      const store = yield* holding()
      const found = Option.getOrThrow(yield* store.job("job_1"))
      expect(found.record).toEqual(job)
      expect(found.state).toEqual(state)
      expect(found.values).toEqual({
        lease: { "fs.read": ["/data/**"] },
        leaseConstraints: { expires_at: "2030-01-01T00:00:00Z" },
        traceContext: { traceId: job.traceId, parentSpanId: "00f067aa0ba902b7", sampled: true },
        accepted: JSON.parse(job.accepted)
      })
      expect([...found.counters].map(([currency, value]) => [currency, BigDecimal.format(value)])).toEqual([
        ["USD", "-1.5"]
      ])
      expect((yield* store.jobs(everything)).map(({ values }) => values)).toEqual([found.values])
      expect((yield* store.recover).jobs.map(({ input, values }) => ({ input, values }))).toEqual([
        { input: { q: 1 }, values: found.values }
      ])
    }).pipe(Effect.provide(layer))
  )

  it.scoped("§6.6 each text of a job is parsed once for each read, though the backend decodes its rows itself", () =>
    Effect.gen(function* () {
      const store = yield* holding()
      const parse = vi.spyOn(JSON, "parse")
      yield* Effect.addFinalizer(() => Effect.sync(() => parse.mockRestore()))
      const parsed = (text: string) => parse.mock.calls.filter(([given]) => given === text).length
      for (const [read, input] of [
        [store.job("job_1"), 0],
        [store.jobs(everything), 0],
        [store.recover, 1]
      ] as const) {
        parse.mockClear()
        yield* read
        expect(parsed(job.input)).toBe(input)
        for (const text of [job.lease, job.leaseConstraints!, job.traceContext!, job.accepted, state.budget!]) {
          expect(parsed(text), text).toBe(1)
        }
      }
    }).pipe(Effect.provide(layer))
  )

  it.scoped("what earlier versions left out of a text is taken from its row", () =>
    Effect.gen(function* () {
      const bare = { lease: "{}", leaseConstraints: undefined, traceContext: "{}", accepted: "{}" }
      const store = yield* holding(bare, { budget: undefined })
      const { counters, values } = Option.getOrThrow(yield* store.job("job_1"))
      expect(values).toEqual({
        lease: {},
        leaseConstraints: undefined,
        traceContext: { traceId: job.traceId },
        accepted: { job_id: "job_1" }
      })
      expect(counters.size).toBe(0)
    }).pipe(Effect.provide(layer))
  )

  const texts: ReadonlyArray<
    readonly [field: "lease" | "leaseConstraints" | "traceContext" | "accepted", text: string]
  > = [
    ["lease", "{"],
    ["lease", "[]"],
    ["lease", '{"fs.read":7}'],
    ["lease", '{"fs.read":[7]}'],
    ["leaseConstraints", "null"],
    ["leaseConstraints", '{"expires_at":7}'],
    ["traceContext", '"4bf9"'],
    ["traceContext", '{"sampled":"yes"}'],
    ["accepted", ""],
    ["accepted", '{"job_id":7}'],
    ["accepted", '{"priority":"odd"}']
  ]

  it.effect.each(texts)(
    "§6.6 a job whose %s is %s is rejected by name when it is read, listed and recovered",
    ([field, text]) =>
      Effect.gen(function* () {
        const store = yield* holding({ [field]: text })
        for (const read of [store.job("job_1"), store.jobs(everything), store.recover]) {
          yield* rejected<unknown>(read, "job_1", "arcp_jobs", field)
        }
      }).pipe(Effect.provide(layer), Effect.scoped)
  )

  const states: ReadonlyArray<readonly [field: keyof JobState, value: unknown]> = [
    ["status", "odd"],
    ["budget", "{"],
    ["budget", "[]"],
    ["budget", '{"USD":1.5}'],
    ["budget", '{"USD":"much"}'],
    ["attempt", 1.5],
    ["lastJobSeq", "many"]
  ]

  it.effect.each(states)("§9.6 a job whose state says that its %s is %s is rejected by name", ([field, value]) =>
    Effect.gen(function* () {
      const store = yield* holding({}, { [field]: value })
      yield* rejected<unknown>(store.job("job_1"), "job_1", "arcp_job_states", field)
      yield* rejected<unknown>(store.jobs(everything), "job_1", "arcp_job_states", field)
    }).pipe(Effect.provide(layer), Effect.scoped)
  )

  it.scoped("§7.2 a job comes with its other owners, in their order", () =>
    Effect.gen(function* () {
      const store = yield* holding()
      const owner = (sessionId: string) => ({ sessionId, jobId: "job_1" })
      yield* store.commit({ ...emptyBatch, owners: [owner("sess_3"), owner("sess_2")] })
      const expected = ["sess_3", "sess_2"]
      expect(Option.getOrThrow(yield* store.job("job_1")).otherOwners).toEqual(expected)
      expect((yield* store.jobs(everything)).map(({ otherOwners }) => otherOwners)).toEqual([expected])
      expect((yield* store.recover).jobs.map(({ otherOwners }) => otherOwners)).toEqual([expected])
    }).pipe(Effect.provide(layer))
  )

  it.scoped("an input that is not JSON is rejected at recovery only: a listing does not decode it", () =>
    Effect.gen(function* () {
      const store = yield* holding({ input: '{"secret":"sword' })
      yield* rejected<unknown>(store.recover, "job_1", "arcp_jobs", "input")
      expect((yield* store.jobs(everything)).length).toBe(1)
    }).pipe(Effect.provide(layer))
  )

  const sessions: ReadonlyArray<readonly [field: keyof SessionRecord, value: unknown]> = [
    ["principal", { id: "alice", anonymous: "no", claims: {} }],
    ["principal", { id: "alice", anonymous: false, claims: [] }],
    ["client", { name: 7 }],
    ["features", [7]],
    ["features", undefined],
    ["lastSeq", 0.5]
  ]

  it.effect.each(sessions)("§6.3 a session whose %s is %s is rejected by name at recovery", ([field, value]) =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* store.commit({ ...emptyBatch, sessions: [{ ...session, [field]: value } as SessionRecord] })
      yield* rejected<unknown>(Rows.decoded(store).recover, "sess_1", "arcp_sessions", field)
    }).pipe(Effect.provide(layer), Effect.scoped)
  )

  it.scoped("the result of a step is decoded; one that is not JSON is rejected by name, and a step may have none", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const step = (name: string, value: string) => ({ jobId: "job_1", name, fingerprint: "f", value })
      yield* store.commit({
        ...emptyBatch,
        jobs: [job],
        jobStates: [state],
        steps: [step("whole", '{"n":1}'), step("none", ""), step("text", '""'), step("half", '{"secret":"sword')]
      })
      const rows = Rows.decoded(store)
      const result = (name: string) => Effect.map(rows.step("job_1", name), (found) => Option.getOrThrow(found).result)
      expect(yield* result("whole")).toEqual({ n: 1 })
      expect(yield* result("none")).toBe(undefined)
      expect(yield* result("text")).toBe("")
      yield* rejected(result("half"), "half", "arcp_steps", "value")
    }).pipe(Effect.provide(layer))
  )

  const credentials: ReadonlyArray<readonly [field: keyof LedgerRecord, value: unknown]> = [
    ["attempts", 0.5],
    ["createdAt", "today"]
  ]

  it.effect.each(credentials)("§14 a credential whose %s is %s is rejected by name", ([field, value]) =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      yield* ledger.put([{ ...credential, [field]: value } as LedgerRecord])
      yield* rejected<unknown>(
        Rows.decodedLedger(ledger).list({ states: ["live"], limit: 1 }),
        "ref_1",
        "arcp_credentials",
        field
      )
    }).pipe(Effect.provide(layer), Effect.scoped)
  )
})

describe("a backend of another program", () => {
  const other = (stored: unknown) =>
    Effect.map(Store, (store) => Rows.decoded({ ...store, job: () => Effect.succeed(Option.some(stored)) as never }))
  const hostile = new Proxy(
    {},
    {
      get: () => {
        throw new Error("swordfish")
      }
    }
  )

  it.scoped("whose rows throw when they are read fails with a typed error, not with a defect", () =>
    Effect.gen(function* () {
      const store = yield* other({ record: hostile, state })
      yield* rejected<unknown>(store.job("job_1"), "without a key", "arcp_jobs", "data")
      const half = yield* other({ record: { ...job, accepted: undefined }, state })
      yield* rejected<unknown>(half.job("job_1"), "job_1", "arcp_jobs", "accepted")
      const stateless = yield* other({ record: job, state: null })
      yield* rejected<unknown>(stateless.job("job_1"), "without a key", "arcp_job_states", "data")
      for (const otherOwners of [undefined, "sess_2", [7]]) {
        const odd = yield* other({ record: job, state, otherOwners })
        yield* rejected<unknown>(odd.job("job_1"), "job_1", "arcp_job_owners", "otherOwners")
      }
      const torn = yield* other({
        record: job,
        state,
        get otherOwners() {
          throw new Error("swordfish")
        }
      })
      yield* rejected<unknown>(torn.job("job_1"), "job_1", "arcp_job_owners", "data")
    }).pipe(Effect.provide(MemoryStore.layer))
  )

  it.scoped("§14 whose ledger has a credential in an unknown state fails with a typed error", () =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      const odd = { ...ledger, list: () => Effect.succeed([{ ...credential, state: "odd" as never }]) }
      const list = Rows.decodedLedger(odd).list({ states: ["live"], limit: 1 })
      yield* rejected<unknown>(list, "ref_1", "arcp_credentials", "state")
    }).pipe(Effect.provide(MemoryStore.layer))
  )

  it.effect("payloads that the runtime itself reads are decoded, and named by their job", () =>
    Effect.gen(function* () {
      expect(
        yield* Rows.chunk("job_1", '{"kind":"result_chunk","body":{"result_id":"r","data":"x","encoding":"utf8"}}')
      ).toEqual({ body: { result_id: "r", data: "x", encoding: "utf8" } })
      yield* rejected<unknown>(Rows.chunk("job_1", '{"body":{}}'), "job_1", "arcp_segments", "payload")
      yield* rejected<unknown>(Rows.streamedResult("job_1", "{half}"), "job_1", "arcp_segments", "payload")
      yield* rejected<unknown>(Rows.payload("job_1", "{half}"), "job_1", "arcp_segments", "payload")
    })
  )
})

describe("a backend that is a class", () => {
  type Service = Context.Tag.Service<Store>
  /** Its operations are on its prototype, and its state is private. */
  class Backend {
    readonly durable = false
    readonly #inner: Service
    constructor(inner: Service) {
      this.#inner = inner
    }
    get recover() {
      return this.#inner.recover
    }
    get purge() {
      return this.#inner.purge
    }
    commit(...args: Parameters<Service["commit"]>) {
      return this.#inner.commit(...args)
    }
    job(...args: Parameters<Service["job"]>) {
      return this.#inner.job(...args)
    }
    jobs(...args: Parameters<Service["jobs"]>) {
      return this.#inner.jobs(...args)
    }
    key(...args: Parameters<Service["key"]>) {
      return this.#inner.key(...args)
    }
    segments(...args: Parameters<Service["segments"]>) {
      return this.#inner.segments(...args)
    }
    segmentHeads(...args: Parameters<Service["segmentHeads"]>) {
      return this.#inner.segmentHeads(...args)
    }
    deliveries(...args: Parameters<Service["deliveries"]>) {
      return this.#inner.deliveries(...args)
    }
    deliveriesOfJob(...args: Parameters<Service["deliveriesOfJob"]>) {
      return this.#inner.deliveriesOfJob(...args)
    }
    deliveredTo(...args: Parameters<Service["deliveredTo"]>) {
      return this.#inner.deliveredTo(...args)
    }
    step(...args: Parameters<Service["step"]>) {
      return this.#inner.step(...args)
    }
    expiredJobs(...args: Parameters<Service["expiredJobs"]>) {
      return this.#inner.expiredJobs(...args)
    }
    removeExpiredKeys(...args: Parameters<Service["removeExpiredKeys"]>) {
      return this.#inner.removeExpiredKeys(...args)
    }
  }

  it.scoped.each<readonly [string, (store: Service) => Service]>([
    ["decoded", Rows.decoded],
    ["decorated", (store) => decorate(store, (_, run) => run)],
    ["both", (store) => Rows.decoded(decorate(store, (_, run) => run))]
  ])("has all of its operations when it is %s", ([_how, made]) =>
    Effect.gen(function* () {
      const store = made(new Backend(yield* Store))
      const { commit, deliveredTo, deliveries, deliveriesOfJob, expiredJobs, key, purge, recover } = store
      const { job: one, jobs, removeExpiredKeys, segmentHeads, segments, step } = store
      yield* commit({ ...emptyBatch, jobs: [job], jobStates: [state] })
      expect(Option.isSome(yield* one("job_1"))).toBe(true)
      const query = { principalIds: undefined, statuses: undefined, agent: undefined, version: undefined }
      expect((yield* jobs({ ...query, createdAfter: undefined, afterJobId: undefined, limit: 1 })).length).toBe(1)
      expect((yield* recover).jobs.length).toBe(1)
      yield* Effect.all([
        key("alice", "k"),
        segments("job_1", 1, 1, 1),
        segmentHeads("job_1", 1, 1),
        deliveries("sess_1", 0, 1),
        deliveriesOfJob("sess_1", "job_1"),
        deliveredTo("job_1"),
        step("job_1", "s"),
        expiredJobs({ endedBefore: 0, maxJobs: 1, maxBytes: 1 }, 1),
        removeExpiredKeys(0),
        purge
      ])
      expect(store.durable).toBe(false)
    }).pipe(Effect.provide(MemoryStore.layer))
  )
})
