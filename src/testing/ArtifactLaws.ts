/** What every `ArtifactStore` must do (ARCP 1.1 §8.2), as {@link Law}s. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type ArtifactRecord, ArtifactStore } from "../store/ArtifactStore.js"
import { ensure, failsWith, laws, type Rule, rule, same, sameSet } from "./internal/check.js"
import type { Law } from "./Law.js"
import type { StoreLawOptions } from "./StoreLaws.js"

const id = (n: number) => `art_${String(n).padStart(26, "0")}`

const bytesOf = (size: number, seed = 7) => Uint8Array.from({ length: size }, (_, i) => (i * seed + (i >> 8)) & 255)

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex")

const record = (n: number, data: Uint8Array, more: Partial<ArtifactRecord> = {}): ArtifactRecord => ({
  artifactId: id(n),
  principalId: "alice",
  contentType: "text/plain; charset=utf-8",
  byteSize: data.length,
  sha256: sha256(data),
  createdAt: 1000,
  expiresAt: 2000,
  jobId: undefined,
  ...more
})

const put = (n: number, data: Uint8Array, more: Partial<ArtifactRecord> = {}) =>
  Effect.flatMap(ArtifactStore, (store) => store.put(record(n, data, more), data))

const absent = (what: string, found: Option.Option<unknown>) =>
  ensure(Option.isNone(found), `${what} to be absent`, "it was found")

const bytesComeBack = (size: number): Rule<ArtifactStore> =>
  rule(
    `§8.2 ${size} bytes come back as they were`,
    Effect.gen(function* () {
      const store = yield* ArtifactStore
      const data = bytesOf(size)
      yield* put(1, data, { jobId: "job_1" })
      const found = Option.getOrUndefined(yield* store.get(id(1)))
      yield* same("the record", found?.record, record(1, data, { jobId: "job_1" }))
      yield* same("the bytes", found?.data, data)
      yield* same("what is known of it", Option.getOrUndefined(yield* store.info(id(1))), found?.record)
    })
  )

const bytesAreTheCallers: Rule<ArtifactStore> = rule(
  "§8.2 what is read or put is the caller's own, a view into a larger buffer too",
  Effect.gen(function* () {
    const store = yield* ArtifactStore
    const data = bytesOf(100).subarray(10, 20)
    const before = [...data]
    yield* put(1, data)
    data.fill(0)
    const first = Option.getOrUndefined(yield* store.get(id(1)))?.data
    yield* same("the bytes after the caller has changed its own", first === undefined ? [] : [...first], before)
    first?.fill(1)
    const again = Option.getOrUndefined(yield* store.get(id(1)))?.data
    yield* same("the bytes after a reader has changed its own", again === undefined ? [] : [...again], before)
  })
)

const oneReleaseTakes: Rule<ArtifactStore> = rule(
  "§8.2 exactly one of many releases takes an artifact, and nothing of it stays",
  Effect.gen(function* () {
    const store = yield* ArtifactStore
    yield* put(1, bytesOf(2_000_000))
    yield* put(2, bytesOf(10))
    const answers = yield* Effect.all(
      Array.from({ length: 8 }, () => store.release(id(1))),
      { concurrency: "unbounded" }
    )
    yield* same("releases that took it", answers.filter((gone) => gone).length, 1)
    yield* absent("a released artifact", yield* store.get(id(1)))
    yield* absent("what is known of a released artifact", yield* store.info(id(1)))
    yield* same("the totals", yield* store.totals, [{ principalId: "alice", count: 1, bytes: 10 }])
    // the id is free again: no part was left behind
    yield* put(1, bytesOf(5))
    yield* same("the new bytes", Option.getOrUndefined(yield* store.get(id(1)))?.data, bytesOf(5))
  })
)

const badPutsAreRefused: Rule<ArtifactStore> = rule(
  "§8.2 an id that exists, an id that is none and a wrong size are refused and harm nothing",
  Effect.gen(function* () {
    const store = yield* ArtifactStore
    const data = bytesOf(1_500_000)
    yield* put(1, data)
    for (const [what, bad] of [
      ["a put under an id that exists", put(1, bytesOf(3))],
      ["a put under a path", put(2, data, { artifactId: "art_../../../../etc/passwd0000" })],
      ["a put without an id", put(3, data, { artifactId: "" })],
      ["a put with a wrong size", put(4, data, { byteSize: 1 })]
    ] as const) {
      yield* failsWith(what, bad, "StoreError")
    }
    yield* same("the bytes that were there", Option.getOrUndefined(yield* store.get(id(1)))?.data, data)
    yield* same("the totals", yield* store.totals, [{ principalId: "alice", count: 1, bytes: data.length }])
    for (const odd of ["", "art_", "../x", `${id(1)}.bin`, id(9)]) {
      yield* absent(`an artifact ${JSON.stringify(odd)}`, yield* store.get(odd))
      yield* absent(`what is known of ${JSON.stringify(odd)}`, yield* store.info(odd))
      yield* same(`the release of ${JSON.stringify(odd)}`, yield* store.release(odd), false)
    }
  })
)

const oneOfTwoPuts: Rule<ArtifactStore> = rule(
  "§8.2 several puts of one id at once leave one artifact, whole",
  Effect.gen(function* () {
    const store = yield* ArtifactStore
    const exits = yield* Effect.all(
      [1, 2, 3].map((seed) => Effect.exit(put(1, bytesOf(1_200_000, seed)))),
      { concurrency: "unbounded" }
    )
    yield* same("puts that succeeded", exits.filter(Exit.isSuccess).length, 1)
    const found = Option.getOrUndefined(yield* store.get(id(1)))
    yield* same("the digest of the bytes", found === undefined ? undefined : sha256(found.data), found?.record.sha256)
  })
)

const expiredAndTotals: Rule<ArtifactStore> = rule(
  "§8.2 expired artifacts are told by their time, the earliest first, and totals by principal",
  Effect.gen(function* () {
    const store = yield* ArtifactStore
    yield* put(1, bytesOf(1), { expiresAt: 30 })
    yield* put(2, bytesOf(2), { expiresAt: 10, principalId: "bob" })
    yield* put(3, bytesOf(3), { expiresAt: 20 })
    yield* put(4, bytesOf(4), { expiresAt: 20 })
    const ids = (now: number, limit: number) =>
      Effect.map(store.expired(now, limit), (list) => list.map(({ artifactId }) => artifactId))
    yield* same("what has expired at 9", yield* ids(9, 10), [])
    yield* same("what has expired at 10", yield* ids(10, 10), [id(2)])
    yield* same("what has expired at 30", yield* ids(30, 10), [id(2), id(3), id(4), id(1)])
    yield* same("the first two of it", yield* ids(30, 2), [id(2), id(3)])
    yield* same("an entry", yield* store.expired(10, 1), [{ artifactId: id(2), principalId: "bob", byteSize: 2 }])
    yield* sameSet("the totals", yield* store.totals, [
      { principalId: "alice", count: 3, bytes: 8 },
      { principalId: "bob", count: 1, bytes: 2 }
    ])
  })
)

interface Step {
  readonly act: "put" | "get" | "release" | "expired"
  readonly n: number
  readonly size: number
  readonly principalId: string
  readonly expiresAt: number
}

const histories = FastCheck.array(
  FastCheck.record({
    act: FastCheck.constantFrom("put", "get", "release", "expired"),
    n: FastCheck.integer({ min: 0, max: 5 }),
    size: FastCheck.constantFrom(0, 1, 17, 1_048_577),
    principalId: FastCheck.constantFrom("alice", "bob"),
    expiresAt: FastCheck.integer({ min: 1, max: 9 })
  }),
  { maxLength: 20 }
) as FastCheck.Arbitrary<ReadonlyArray<Step>>

/** One step in the store and in the model. */
const take = Effect.fnUntraced(function* (model: Map<string, ArtifactRecord>, step: Step) {
  const store = yield* ArtifactStore
  const { act, expiresAt, n, principalId, size } = step
  const known = model.get(id(n))
  const what = `after ${model.size} puts that stayed, a ${act} of ${id(n)}`
  if (act === "put") {
    const data = bytesOf(size, n + 1)
    const exit = yield* Effect.exit(put(n, data, { principalId, expiresAt }))
    yield* same(what, exit._tag, known === undefined ? "Success" : "Failure")
    if (known === undefined) model.set(id(n), record(n, data, { principalId, expiresAt }))
  } else if (act === "get") {
    yield* same(what, Option.getOrUndefined(yield* store.get(id(n)))?.record, known)
  } else if (act === "release") {
    yield* same(what, yield* store.release(id(n)), model.delete(id(n)))
  } else {
    const gone = [...model.values()].filter((r) => r.expiresAt <= expiresAt).map((r) => r.artifactId)
    const found = yield* store.expired(expiresAt, 100)
    yield* sameSet(
      what,
      found.map((r) => r.artifactId),
      gone
    )
  }
})

const agrees = <E>(layer: Layer.Layer<ArtifactStore, E>, runs: number, seed: number): Rule<never> =>
  rule<never>(
    "§8.2 agrees with a model over random puts, reads, releases and expiries",
    Effect.forEach(
      FastCheck.sample(histories, { numRuns: runs, seed }),
      (steps) =>
        Effect.gen(function* () {
          const store = yield* ArtifactStore
          const model = new Map<string, ArtifactRecord>()
          for (const step of steps) yield* take(model, step)
          const totals = yield* store.totals
          const sum = (of: ReadonlyArray<number>) => of.reduce((a, b) => a + b, 0)
          yield* same(
            "bytes in all totals",
            sum(totals.map(({ bytes }) => bytes)),
            sum([...model.values()].map(({ byteSize }) => byteSize))
          )
          yield* same("artifacts in all totals", sum(totals.map(({ count }) => count)), model.size)
        }).pipe(Effect.provide(Layer.fresh(layer))),
      { discard: true }
    )
  )

const outlives = <E>(place: Effect.Effect<Layer.Layer<ArtifactStore, E>>): Rule<never> =>
  rule<never>(
    "§8.2 bytes, records and totals are there when the store is opened again, and released ones are not",
    Effect.gen(function* () {
      const layer = yield* place
      const data = bytesOf(2_500_000)
      yield* Effect.gen(function* () {
        yield* put(1, data, { jobId: "job_1" })
        yield* put(2, bytesOf(3))
        yield* (yield* ArtifactStore).release(id(2))
      }).pipe(Effect.provide(Layer.fresh(layer)))
      yield* Effect.gen(function* () {
        const store = yield* ArtifactStore
        yield* ensure(store.durable, "a store with a place to say that it is durable", "it says that it is not")
        const found = Option.getOrUndefined(yield* store.get(id(1)))
        yield* same("the record", found?.record, record(1, data, { jobId: "job_1" }))
        yield* same("the bytes", found?.data, data)
        yield* absent("a released artifact", yield* store.get(id(2)))
        yield* same("the totals", yield* store.totals, [{ principalId: "alice", count: 1, bytes: data.length }])
      }).pipe(Effect.provide(Layer.fresh(layer)))
    })
  )

/**
 * The laws of an artifact store. Each builds `layer` anew and expects it to be empty.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { ArtifactStore } from "effect-arcp/store"
 * import { artifactLaws } from "effect-arcp/testing"
 *
 * for (const law of artifactLaws(ArtifactStore.layerMemory)) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category laws
 */
export const artifactLaws = <E>(
  layer: Layer.Layer<ArtifactStore, E>,
  options: StoreLawOptions<ArtifactStore, E> = {}
): ReadonlyArray<Law> => [
  ...laws(layer, options, [
    // around the size of a chunk, in which large ones may be kept
    ...[0, 1, 1_048_575, 1_048_576, 1_048_577, 3_000_000].map(bytesComeBack),
    bytesAreTheCallers,
    oneReleaseTakes,
    badPutsAreRefused,
    oneOfTwoPuts,
    expiredAndTotals
  ]),
  ...laws(Layer.empty, options, [
    agrees(layer, options.runs ?? 15, options.seed ?? 1),
    ...(options.place === undefined ? [] : [outlives(options.place)])
  ])
]
