/**
 * A store that breaks on command: wraps the store, the ledger and the artifacts below it, and lets their operations fail or
 * hang. Nothing happens by itself; a test asks for each fault through {@link StoreFaults}.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ArtifactStore } from "../store/ArtifactStore.js"
import { CredentialLedger } from "../store/CredentialLedger.js"
import { decorate } from "../store/decorate.js"
import { Store, StoreError } from "../store/Store.js"

/**
 * Which operations: commits of the store, every other operation of it, those of the ledger, those on artifacts.
 *
 * @since 0.1.0
 * @category models
 */
export type StorePart = "commit" | "read" | "credentials" | "artifacts"

/**
 * The faults that a test can ask for.
 *
 * @since 0.1.0
 * @category services
 */
export interface StoreFaultsService {
  /** Operations of these parts fail from now on, before they do anything; without a part, all. */
  readonly fail: (...parts: ReadonlyArray<StorePart>) => Effect.Effect<void>
  /** Operations of these parts do not answer from now on; without a part, all. After {@link heal} they go on. */
  readonly stall: (...parts: ReadonlyArray<StorePart>) => Effect.Effect<void>
  /** Ends every fault. */
  readonly heal: Effect.Effect<void>
  /** How many operations of a part have failed, and how many have hung (those that do so now among them). */
  readonly counts: (part: StorePart) => Effect.Effect<{ readonly failed: number; readonly stalled: number }>
}

/**
 * Controls the faults of the stores beside it.
 *
 * @since 0.1.0
 * @category services
 */
export class StoreFaults extends Context.Tag("effect-arcp/testing/StoreFaults")<StoreFaults, StoreFaultsService>() {}

const everyPart: ReadonlyArray<StorePart> = ["commit", "read", "credentials", "artifacts"]

const make = Effect.gen(function* () {
  const store = yield* Store
  const ledger = yield* CredentialLedger
  const artifacts = yield* ArtifactStore
  const faults = new Map<StorePart, "fail" | Deferred.Deferred<void>>()
  const counts = new Map(everyPart.map((part) => [part, { failed: 0, stalled: 0 }]))

  const around =
    (partOf: (operation: string) => StorePart) =>
    <A>(operation: string, run: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
      Effect.suspend(() => {
        const part = partOf(operation)
        const fault = faults.get(part)
        if (fault === undefined) return run
        if (fault === "fail") {
          counts.get(part)!.failed++
          return Effect.fail(new StoreError({ operation, message: "the faulty store was asked to fail" }))
        }
        counts.get(part)!.stalled++
        return Effect.zipRight(Deferred.await(fault), run)
      })

  const chosen = (parts: ReadonlyArray<StorePart>) => (parts.length === 0 ? everyPart : parts)

  const faulty = decorate(
    store,
    around((operation) => (operation === "commit" ? "commit" : "read"))
  )

  return Context.make(Store, { ...faulty, immediate: false }).pipe(
    Context.add(
      CredentialLedger,
      decorate(
        ledger,
        around(() => "credentials")
      )
    ),
    Context.add(
      ArtifactStore,
      decorate(
        artifacts,
        around(() => "artifacts")
      )
    ),
    Context.add(StoreFaults, {
      fail: (...parts) =>
        Effect.sync(() => {
          for (const part of chosen(parts)) faults.set(part, "fail")
        }),
      stall: (...parts) =>
        Effect.map(Deferred.make<void>(), (healed) => {
          for (const part of chosen(parts)) faults.set(part, healed)
        }),
      heal: Effect.suspend(() => {
        const ended = [...faults.values()]
        faults.clear()
        return Effect.forEach(ended, (fault) => (fault === "fail" ? Effect.void : Deferred.succeed(fault, undefined)), {
          discard: true
        })
      }),
      counts: (part) => Effect.sync(() => ({ ...counts.get(part)! }))
    })
  )
})

/**
 * Puts faults between a runtime and the stores below it.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { MemoryStore } from "effect-arcp/store"
 * import { FaultyStore } from "effect-arcp/testing"
 *
 * const StoreLive = FaultyStore.layer.pipe(Layer.provide(MemoryStore.layer))
 *
 * const outage = Effect.gen(function* () {
 *   const faults = yield* FaultyStore.StoreFaults
 *   yield* faults.stall("commit")
 *   yield* Effect.sleep("5 seconds")
 *   yield* faults.heal
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  Store | CredentialLedger | ArtifactStore | StoreFaults,
  never,
  Store | CredentialLedger | ArtifactStore
> = Layer.effectContext(make)
