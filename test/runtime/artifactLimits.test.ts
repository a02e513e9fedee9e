import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, FastCheck as fc, Fiber, Layer, Option, TestClock, TestContext } from "effect"
import { Ids } from "../../src/protocol/index.js"
import * as KeptArtifacts from "../../src/runtime/artifacts/KeptArtifacts.js"
import { Deadlines } from "../../src/runtime/kernel/Deadlines.js"
import { Artifacts, Limits, type LimitsShape } from "../../src/runtime/index.js"
import { type ArtifactRecord, ArtifactStore } from "../../src/store/index.js"
import { runs } from "../support/properties.js"

/** The concern alone, under the test's clock. */
const concern = (
  limits: Partial<LimitsShape>,
  store: Layer.Layer<ArtifactStore, unknown> = ArtifactStore.layerMemory
) =>
  KeptArtifacts.layer.pipe(
    Layer.provideMerge(store),
    Layer.provide(Deadlines.layer),
    Layer.provide(Ids.layerSeeded(1)),
    Layer.provide(Limits.layer(limits))
  )

const bytes = (size: number) => new Uint8Array(size)
const small = { contentType: "text/plain", data: bytes(10) }

describe("artifacts: caps and retention", () => {
  it.scoped("§14 caps by principal and by runtime hold; what is released makes room", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      const first = yield* artifacts.put("alice", small)
      yield* artifacts.put("alice", small)
      expect(yield* Effect.flip(artifacts.put("alice", small))).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        details: { reason: "artifact_count" }
      })
      expect(yield* Effect.flip(artifacts.put("bob", { ...small, data: bytes(26) }))).toMatchObject({
        details: { reason: "artifact_bytes" }
      })
      yield* artifacts.put("bob", { ...small, data: bytes(25) })
      expect(yield* Effect.flip(artifacts.put("carol", { ...small, data: bytes(16) }))).toMatchObject({
        details: { reason: "artifacts_full" }
      })
      yield* artifacts.release("alice", first.artifact_id)
      yield* artifacts.put("carol", { ...small, data: bytes(16) })
      expect(artifacts.usage()).toEqual({ count: 3, bytes: 51 })
      expect(artifacts.usage("alice")).toEqual({ count: 1, bytes: 10 })
      expect(artifacts.usage("nobody")).toEqual({ count: 0, bytes: 0 })
      expect(yield* Effect.flip(artifacts.put("dora", { ...small, data: bytes(41) }))).toMatchObject({
        retryable: true,
        details: { reason: "artifact_too_large" }
      })
    }).pipe(
      Effect.provide(
        concern({
          artifactBytes: 40,
          artifactsPerPrincipal: 2,
          artifactBytesPerPrincipal: 25,
          artifacts: 4,
          artifactBytesTotal: 60
        })
      )
    )
  )

  it.scoped.each([
    ["how many", { artifacts: 4 }, 2],
    ["bytes", { artifactBytesTotal: 45 }, 2]
  ] as const)(
    "§14 anonymous principals have their share of %s together, and the rest is for others",
    ([, limits, most]) =>
      Effect.gen(function* () {
        const artifacts = yield* Artifacts
        const first = yield* artifacts.put("anonymous:1", small)
        for (let n = 2; n <= most; n++) yield* artifacts.put(`anonymous:${n}`, small)
        expect(yield* Effect.flip(artifacts.put("anonymous:9", small))).toMatchObject({
          code: "INTERNAL_ERROR",
          retryable: true,
          details: { reason: "artifacts_full" },
          message: "artifacts of anonymous clients have all the room that they may have; try again later"
        })
        yield* artifacts.put("alice", small)
        yield* artifacts.put("bob", small)
        expect(yield* Effect.flip(artifacts.put("carol", small))).toMatchObject({
          details: { reason: "artifacts_full" }
        })
        yield* artifacts.release("anonymous:1", first.artifact_id)
        yield* artifacts.put("anonymous:9", small)
      }).pipe(Effect.provide(concern(limits)))
  )

  it.scoped("§14 puts at once cannot pass a cap together, whatever the store takes its time for", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      const fibers = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.fork(Effect.exit(artifacts.put("alice", small)))
      )
      yield* TestClock.adjust("1 minute")
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      expect(exits.filter(Exit.isSuccess)).toHaveLength(7)
      expect(artifacts.usage("alice")).toEqual({ count: 7, bytes: 70 })
      expect(yield* Effect.flatMap(ArtifactStore, (store) => store.totals)).toEqual([
        { principalId: "alice", count: 7, bytes: 70 }
      ])
    }).pipe(
      Effect.provide(
        concern(
          { artifactBytesPerPrincipal: 79 },
          Layer.effect(
            ArtifactStore,
            Effect.map(ArtifactStore, (store) => ({
              ...store,
              put: (record: ArtifactRecord, data: Uint8Array) => Effect.delay(store.put(record, data), "1 second")
            }))
          ).pipe(Layer.provide(ArtifactStore.layerMemory))
        )
      )
    )
  )

  it.scoped("§14 room is given back when the store fails, and an interrupted put is counted right", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      const refused = yield* Effect.flip(artifacts.put("alice", { ...small, contentType: "x/fails" }))
      expect(refused).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
      expect(artifacts.usage()).toEqual({ count: 0, bytes: 0 })
      const fiber = yield* Effect.fork(artifacts.put("alice", small))
      yield* Effect.yieldNow()
      yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(fiber)
      const totals = yield* Effect.flatMap(ArtifactStore, (store) => store.totals)
      expect(artifacts.usage()).toEqual({ count: totals[0]?.count ?? 0, bytes: totals[0]?.bytes ?? 0 })
    }).pipe(
      Effect.provide(
        concern(
          {},
          Layer.effect(
            ArtifactStore,
            Effect.map(ArtifactStore, (store) => ({
              ...store,
              put: (record: ArtifactRecord, data: Uint8Array) =>
                record.contentType === "x/fails"
                  ? store.put({ ...record, artifactId: "no id" }, data)
                  : Effect.delay(store.put(record, data), "1 second")
            }))
          ).pipe(Layer.provide(ArtifactStore.layerMemory))
        )
      )
    )
  )

  it.scoped("§8.2 an artifact expires on time, is swept, and a cap does not count it", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      const store = yield* ArtifactStore
      const ref = yield* artifacts.put("alice", { ...small, retainSeconds: 20 })
      expect(ref.expires_at).toBe("1970-01-01T00:00:20.000Z")
      yield* TestClock.adjust("19999 millis")
      expect((yield* artifacts.fetch("alice", ref.artifact_id)).data).toHaveLength(10)
      yield* TestClock.adjust("1 millis")
      expect(yield* Effect.flip(artifacts.fetch("alice", ref.artifact_id))).toMatchObject({ code: "JOB_NOT_FOUND" })
      expect(yield* Effect.flip(artifacts.release("alice", ref.artifact_id))).toMatchObject({ code: "JOB_NOT_FOUND" })
      // Not swept yet, and still no reason to refuse.
      expect(Option.isSome(yield* store.info(ref.artifact_id))).toBe(true)
      const next = yield* artifacts.put("alice", { ...small, retainSeconds: 1 })
      expect(yield* store.info(ref.artifact_id)).toEqual(Option.none())
      yield* TestClock.adjust("30 seconds")
      expect(yield* store.info(next.artifact_id)).toEqual(Option.none())
      expect(artifacts.usage()).toEqual({ count: 0, bytes: 0 })
    }).pipe(Effect.provide(concern({ artifactsPerPrincipal: 1 })))
  )

  it.scoped("§8.2 retention has a default and a maximum, and nonsense is refused", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      expect((yield* artifacts.put("a", small)).expires_at).toBe("1970-01-01T00:01:00.000Z")
      for (const retainSeconds of [121, 1e300, Number.POSITIVE_INFINITY]) {
        expect((yield* artifacts.put("a", { ...small, retainSeconds })).expires_at).toBe("1970-01-01T00:02:00.000Z")
      }
      for (const retainSeconds of [0, -1, Number.NaN]) {
        expect(yield* Effect.flip(artifacts.put("a", { ...small, retainSeconds }))).toMatchObject({
          code: "INVALID_REQUEST"
        })
      }
    }).pipe(Effect.provide(concern({ retainArtifactsFor: 60_000, retainArtifactsAtMost: 120_000 })))
  )

  it.scoped("§8.2 bytes that do not have their digest any more are an error, not an answer", () =>
    Effect.gen(function* () {
      const artifacts = yield* Artifacts
      const ref = yield* artifacts.put("alice", small)
      expect(yield* Effect.flip(artifacts.fetch("alice", ref.artifact_id))).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true
      })
    }).pipe(
      Effect.provide(
        concern(
          {},
          Layer.effect(
            ArtifactStore,
            Effect.map(ArtifactStore, (store) => ({
              ...store,
              put: (record: ArtifactRecord, data: Uint8Array) =>
                store.put(
                  record,
                  data.map((byte) => byte ^ 1)
                )
            }))
          ).pipe(Layer.provide(ArtifactStore.layerMemory))
        )
      )
    )
  )

  it.effect("§14 random puts, fetches, releases and expiries agree with a model, and no cap is ever passed", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              act: fc.constantFrom("put", "put", "fetch", "release", "wait"),
              who: fc.constantFrom("alice", "bob"),
              n: fc.nat(9),
              size: fc.integer({ min: 0, max: 12 }),
              seconds: fc.integer({ min: 1, max: 40 })
            }),
            { maxLength: 60 }
          ),
          (steps) =>
            Effect.gen(function* () {
              const artifacts = yield* Artifacts
              const model: Array<{ who: string; id: string; size: number; expires: number; gone: boolean }> = []
              let now = 0
              const live = () => model.filter((m) => !m.gone && m.expires > now)
              const sum = (list: ReadonlyArray<{ size: number }>) => list.reduce((total, m) => total + m.size, 0)
              for (const { act, n, seconds, size, who } of steps) {
                const target = model[n % Math.max(1, model.length)]
                if (act === "put") {
                  const own = live().filter((m) => m.who === who)
                  const fits =
                    size <= 10 &&
                    own.length < 3 &&
                    sum(own) + size <= 20 &&
                    live().length < 5 &&
                    sum(live()) + size <= 32
                  const exit = yield* Effect.exit(
                    artifacts.put(who, { contentType: "a/b", data: bytes(size), retainSeconds: seconds })
                  )
                  expect(Exit.isSuccess(exit)).toBe(fits)
                  if (Exit.isSuccess(exit)) {
                    model.push({ who, id: exit.value.artifact_id, size, expires: now + seconds * 1000, gone: false })
                  }
                } else if (act === "wait") {
                  now += seconds * 500
                  yield* TestClock.adjust(seconds * 500)
                } else if (target !== undefined) {
                  const visible = target.who === who && !target.gone && target.expires > now
                  const exit = yield* Effect.exit(
                    act === "fetch"
                      ? Effect.map(artifacts.fetch(who, target.id), (found) => found.data.length)
                      : Effect.as(artifacts.release(who, target.id), target.size)
                  )
                  expect(exit).toEqual(visible ? Exit.succeed(target.size) : expect.anything())
                  expect(Exit.isSuccess(exit)).toBe(visible)
                  if (act === "release" && visible) target.gone = true
                }
                const all = artifacts.usage()
                expect(all.count).toBeGreaterThanOrEqual(live().length)
                expect(all.count).toBeLessThanOrEqual(5)
                expect(all.bytes).toBeLessThanOrEqual(32)
                for (const p of ["alice", "bob"]) {
                  expect(artifacts.usage(p).count).toBeLessThanOrEqual(3)
                  expect(artifacts.usage(p).bytes).toBeLessThanOrEqual(20)
                }
              }
              yield* TestClock.adjust("2 minutes")
              expect(artifacts.usage()).toEqual({ count: 0, bytes: 0 })
            }).pipe(
              Effect.provide(
                concern({
                  artifactBytes: 10,
                  artifactsPerPrincipal: 3,
                  artifactBytesPerPrincipal: 20,
                  artifacts: 5,
                  artifactBytesTotal: 32
                })
              ),
              Effect.scoped,
              Effect.provide(TestContext.TestContext),
              Effect.runPromise
            )
        ),
        { numRuns: runs(100) }
      )
    )
  )
})
