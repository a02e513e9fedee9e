/** What every `CredentialLedger` must do (ARCP 1.1 §14), as {@link Law}s. */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import { CredentialLedger, type LedgerState, unrevoked } from "../store/CredentialLedger.js"
import * as MemoryStore from "../store/MemoryStore.js"
import type { StoreError } from "../store/Store.js"
import { ensure, laws, type Rule, rule, same } from "./internal/check.js"
import { ledgerRecord } from "./internal/rows.js"
import type { Law } from "./Law.js"
import type { StoreLawOptions } from "./StoreLaws.js"

/**
 * The options of the laws of ledgers.
 *
 * @since 0.1.0
 * @category options
 */
export interface LedgerLawOptions<E> extends StoreLawOptions<CredentialLedger, E> {
  /** What `durable` of the ledger must say. Default: either. */
  readonly durable?: boolean | undefined
}

const all: ReadonlyArray<LedgerState> = [...unrevoked, "revoked"]

const rowsComeBack = (durable: boolean | undefined): Rule<CredentialLedger> =>
  rule(
    "§14 the ledger says whether it is durable, and rows come back as they were written",
    Effect.gen(function* () {
      const ledger = yield* CredentialLedger
      yield* same("durable", ledger.durable, durable ?? ledger.durable)
      const rows = [
        ledgerRecord("a", { state: "issuing", handle: undefined, endpoint: undefined, profile: undefined }),
        ledgerRecord("b", { state: "failed", attempts: 3, lastError: "refused", updatedAt: 9 }),
        ledgerRecord("c", { state: "revoked", revokedAt: 7 })
      ]
      yield* ledger.put(rows)
      yield* same("all rows", yield* ledger.list({ states: all, limit: 10 }), rows)
      yield* ledger.put([])
      yield* ledger.put([{ ...rows[0]!, state: "live", handle: "h", endpoint: "https://other" }])
      const live = yield* ledger.list({ states: ["live"], limit: 10 })
      yield* same(
        "the row that was replaced",
        live.map((r) => [r.handle, r.endpoint]),
        [["h", "https://other"]]
      )
    })
  )

const lists: Rule<CredentialLedger> = rule(
  "§14 the ledger lists what is unrevoked and what failed, by job and in pages",
  Effect.gen(function* () {
    const ledger = yield* CredentialLedger
    const rows = Array.from({ length: 25 }, (_, i) =>
      ledgerRecord(String(i).padStart(2, "0"), { state: all[i % all.length]!, jobId: `job_${i % 2}` })
    )
    yield* ledger.put(rows.toReversed())
    const expected = rows.filter((r) => r.state !== "revoked").map((r) => r.reference)
    const seen: Array<string> = []
    for (let pages = 0; pages < rows.length; pages++) {
      const page = yield* ledger.list({ states: unrevoked, limit: 7, after: seen.at(-1) })
      yield* ensure(page.length <= 7, "a page of at most 7 rows", `one of ${page.length}`)
      if (page.length === 0) break
      seen.push(...page.map((r) => r.reference))
    }
    yield* same("the references in pages of 7", seen, expected)
    const failed = yield* ledger.list({ states: ["failed"], jobId: "job_1", limit: 99 })
    yield* same(
      "the failed rows of one job",
      failed.map((r) => r.reference),
      rows.filter((r) => r.state === "failed" && r.jobId === "job_1").map((r) => r.reference)
    )
    yield* same("the rows in no state", yield* ledger.list({ states: [], limit: 99 }), [])
  })
)

const revokedStays: Rule<CredentialLedger> = rule(
  "§14 a revoked row stays revoked, whatever is written later",
  Effect.gen(function* () {
    const ledger = yield* CredentialLedger
    yield* ledger.put([ledgerRecord("a", { state: "revoked", revokedAt: 5 })])
    yield* ledger.put([ledgerRecord("a", { state: "revoking", attempts: 9 }), ledgerRecord("b")])
    const rows = yield* ledger.list({ states: all, limit: 9 })
    yield* same(
      "the rows",
      rows.map((r) => [r.reference, r.state, r.attempts]),
      [
        ["a", "revoked", 0],
        ["b", "live", 0]
      ]
    )
  })
)

const sweeps: Rule<CredentialLedger> = rule(
  "§14 a sweep takes the rows that were revoked before the time, and no others",
  Effect.gen(function* () {
    const ledger = yield* CredentialLedger
    yield* ledger.put([
      ledgerRecord("a", { state: "revoked", revokedAt: 5 }),
      ledgerRecord("b", { state: "revoked", revokedAt: 6 }),
      ledgerRecord("c", { state: "failed", updatedAt: 1 }),
      ledgerRecord("d", { createdAt: 1 })
    ])
    yield* same("rows swept before 5", yield* ledger.sweep(5), 0)
    yield* same("rows swept before 6", yield* ledger.sweep(6), 1)
    const rows = yield* ledger.list({ states: all, limit: 9 })
    yield* same(
      "the rows that stay",
      rows.map((r) => r.reference),
      ["b", "c", "d"]
    )
  })
)

interface Step {
  readonly reference: string
  readonly state: LedgerState
  readonly at: number
  readonly act: "put" | "sweep"
}

const histories = FastCheck.array(
  FastCheck.record({
    reference: FastCheck.constantFrom("a", "b", "c", "d"),
    state: FastCheck.constantFrom(...all),
    at: FastCheck.integer({ min: 0, max: 20 }),
    act: FastCheck.constantFrom("put", "put", "put", "sweep")
  }),
  { maxLength: 25 }
) as FastCheck.Arbitrary<ReadonlyArray<Step>>

const answersTo = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const ledger = yield* CredentialLedger
    const answers: Array<unknown> = []
    for (const { act, at, reference, state } of steps) {
      if (act === "sweep") answers.push(yield* ledger.sweep(at))
      else
        yield* ledger.put([
          ledgerRecord(reference, { state, updatedAt: at, revokedAt: state === "revoked" ? at : undefined })
        ])
      answers.push(yield* ledger.list({ states: unrevoked, limit: 3 }))
    }
    answers.push(yield* ledger.list({ states: all, limit: 9 }))
    return answers
  })

const agrees = <E>(layer: Layer.Layer<CredentialLedger, E>, runs: number, seed: number): Rule<never> =>
  rule<never>(
    "§14 the ledger agrees with the one in memory on every listing after random writes and sweeps",
    Effect.forEach(
      FastCheck.sample(histories, { numRuns: runs, seed }),
      (steps) => {
        const read = (of: Layer.Layer<CredentialLedger, E | StoreError>) =>
          Effect.provide(answersTo(steps), Layer.fresh(of))
        return Effect.flatMap(Effect.all([read(MemoryStore.layer), read(layer)]), ([expected, actual]) =>
          same(`the answers to ${JSON.stringify(steps)}`, actual, expected)
        )
      },
      { discard: true }
    )
  )

const outlives = <E>(place: Effect.Effect<Layer.Layer<CredentialLedger, E>>): Rule<never> =>
  rule<never>(
    "§14 rows are there when the ledger is opened again",
    Effect.gen(function* () {
      const layer = yield* place
      const rows = [
        ledgerRecord("a", { handle: "upstream-handle" }),
        ledgerRecord("b", { state: "revoked", revokedAt: 7 })
      ]
      yield* Effect.flatMap(CredentialLedger, (ledger) => ledger.put(rows)).pipe(Effect.provide(Layer.fresh(layer)))
      const again = yield* Effect.flatMap(CredentialLedger, (ledger) => ledger.list({ states: all, limit: 9 })).pipe(
        Effect.provide(Layer.fresh(layer))
      )
      yield* same("the rows", again, rows)
    })
  )

/**
 * The laws of a credential ledger. Each builds `layer` anew and expects it to be empty.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { MemoryStore } from "effect-arcp/store"
 * import { ledgerLaws } from "effect-arcp/testing"
 *
 * for (const law of ledgerLaws(MemoryStore.layer)) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category laws
 */
export const ledgerLaws = <E>(
  layer: Layer.Layer<CredentialLedger, E>,
  options: LedgerLawOptions<E> = {}
): ReadonlyArray<Law> => [
  ...laws(layer, options, [rowsComeBack(options.durable), lists, revokedStays, sweeps]),
  ...laws(Layer.empty, options, [
    agrees(layer, options.runs ?? 50, options.seed ?? 1),
    ...(options.place === undefined ? [] : [outlives(options.place)])
  ])
]
