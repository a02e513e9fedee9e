import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Layer, Redacted } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import {
  CredentialLedger,
  type LedgerRecord,
  type LedgerState,
  MemoryStore,
  type StoreError,
  unrevoked
} from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { runs } from "../support/properties.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-ledger-")
let files = 0
const file = () => join(folder, `${files++}.db`)

const ledgers: ReadonlyArray<readonly [string, () => Layer.Layer<CredentialLedger, StoreError>, boolean]> = [
  ["memory", () => MemoryStore.layer, false],
  ["SQLite in memory", () => SqliteStore.layer({ filename: ":memory:" }), false],
  ["a SQLite file", () => SqliteStore.layer({ filename: file() }), true],
  [
    "an encrypted SQLite file",
    () => SqliteStore.layer({ filename: file(), encryptionKey: Redacted.make("k".repeat(32)) }),
    true
  ]
]

const row = (reference: string, more: Partial<LedgerRecord> = {}): LedgerRecord => ({
  reference,
  credentialId: `cred_${reference}`,
  jobId: "job_1",
  principalId: "alice",
  handle: `handle-${reference}`,
  endpoint: "https://gateway.example/v1",
  profile: "openai",
  state: "live",
  attempts: 0,
  lastError: undefined,
  createdAt: 1,
  updatedAt: 2,
  revokedAt: undefined,
  ...more
})

const all: ReadonlyArray<LedgerState> = [...unrevoked, "revoked"]

describe.each(ledgers)("the credential ledger in %s", (_name, make, durable) => {
  it.scoped("§14 says whether it is durable, and rows come back as they were written", () =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      expect(ledger.durable).toBe(durable)
      const rows = [
        row("a", { state: "issuing", handle: undefined, endpoint: undefined, profile: undefined }),
        row("b", { state: "failed", attempts: 3, lastError: "refused", updatedAt: 9 }),
        row("c", { state: "revoked", revokedAt: 7 })
      ]
      yield* ledger.put(rows)
      expect(yield* ledger.list({ states: all, limit: 10 })).toEqual(rows)
      yield* ledger.put([])
      yield* ledger.put([{ ...rows[0]!, state: "live", handle: "h", endpoint: "https://other" }])
      expect((yield* ledger.list({ states: ["live"], limit: 10 })).map((r) => [r.handle, r.endpoint])).toEqual([
        ["h", "https://other"]
      ])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§14 lists what is unrevoked and what failed, by job and in pages", () =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      const rows = Array.from({ length: 25 }, (_, i) =>
        row(String(i).padStart(2, "0"), { state: all[i % all.length]!, jobId: `job_${i % 2}` })
      )
      yield* ledger.put(rows.toReversed())
      const expected = rows.filter((r) => r.state !== "revoked").map((r) => r.reference)
      const seen: Array<string> = []
      for (;;) {
        const page = yield* ledger.list({ states: unrevoked, limit: 7, after: seen.at(-1) })
        if (page.length === 0) break
        seen.push(...page.map((r) => r.reference))
      }
      expect(seen).toEqual(expected)
      expect((yield* ledger.list({ states: ["failed"], jobId: "job_1", limit: 99 })).map((r) => r.reference)).toEqual(
        rows.filter((r) => r.state === "failed" && r.jobId === "job_1").map((r) => r.reference)
      )
      expect(yield* ledger.list({ states: [], limit: 99 })).toEqual([])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("§14 a revoked row stays revoked, whatever is written later", () =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      yield* ledger.put([row("a", { state: "revoked", revokedAt: 5 })])
      yield* ledger.put([row("a", { state: "revoking", attempts: 9 }), row("b")])
      expect((yield* ledger.list({ states: all, limit: 9 })).map((r) => [r.reference, r.state, r.attempts])).toEqual([
        ["a", "revoked", 0],
        ["b", "live", 0]
      ])
    }).pipe(Effect.provide(make()))
  )

  it.scoped("a sweep takes the rows that were revoked before the time, and no others", () =>
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      yield* ledger.put([
        row("a", { state: "revoked", revokedAt: 5 }),
        row("b", { state: "revoked", revokedAt: 6 }),
        row("c", { state: "failed", updatedAt: 1 }),
        row("d", { createdAt: 1 })
      ])
      expect(yield* ledger.sweep(5)).toBe(0)
      expect(yield* ledger.sweep(6)).toBe(1)
      expect((yield* ledger.list({ states: all, limit: 9 })).map((r) => r.reference)).toEqual(["b", "c", "d"])
    }).pipe(Effect.provide(make()))
  )
})

describe("memory and SQLite agree", () => {
  it.effect("on every listing after random writes and sweeps", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              reference: fc.constantFrom("a", "b", "c", "d"),
              state: fc.constantFrom(...all),
              at: fc.integer({ min: 0, max: 20 }),
              act: fc.constantFrom("put", "put", "put", "sweep")
            }),
            { maxLength: 25 }
          ),
          (steps) => {
            const read = (layer: Layer.Layer<CredentialLedger, StoreError>) =>
              Effect.gen(function* () {
                const ledger = yield* CredentialLedger
                const answers: Array<unknown> = []
                for (const { act, at, reference, state } of steps) {
                  if (act === "sweep") answers.push(yield* ledger.sweep(at))
                  else {
                    yield* ledger.put([
                      row(reference, { state, updatedAt: at, revokedAt: state === "revoked" ? at : undefined })
                    ])
                  }
                  answers.push(yield* ledger.list({ states: unrevoked, limit: 3 }))
                }
                answers.push(yield* ledger.list({ states: all, limit: 9 }))
                return answers
              }).pipe(Effect.provide(layer), Effect.runPromise)
            return Promise.all([read(MemoryStore.layer), read(SqliteStore.layer({ filename: ":memory:" }))]).then(
              ([a, b]) => {
                expect(a).toEqual(b)
              }
            )
          }
        ),
        { numRuns: runs(60) }
      )
    )
  )
})

describe("the ledger in a SQLite file", () => {
  it.scoped("§14 outlives its process, and its handles are sealed with the store's key", () =>
    Effect.gen(function* () {
      const filename = file()
      const options = { filename, encryptionKey: Redacted.make("e".repeat(32)) }
      const use = <A>(f: (ledger: typeof CredentialLedger.Service) => Effect.Effect<A, StoreError>) =>
        Effect.flatMap(CredentialLedger, f).pipe(Effect.provide(SqliteStore.layer(options)))
      yield* use((ledger) => ledger.put([row("a", { handle: "upstream-handle" })]))
      expect(readFileSync(filename).toString("latin1")).not.toContain("upstream-handle")
      const again = yield* use((ledger) => ledger.list({ states: unrevoked, limit: 9 }))
      expect(again).toEqual([row("a", { handle: "upstream-handle" })])
    })
  )
})
