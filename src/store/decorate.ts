/** Something around every operation of a store: faults, time-outs, counts. */
import * as Effect from "effect/Effect"
import { membersOf } from "./internal/members.js"
import type { StoreError } from "./Store.js"

type Operation = (...args: ReadonlyArray<never>) => Effect.Effect<unknown, StoreError>

/**
 * The service with `around` about each of its operations; what is not an operation, such as `durable`, stays as it is.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { decorate, MemoryStore, Store } from "effect-arcp/store"
 *
 * const Traced = Layer.effect(
 *   Store,
 *   Effect.map(Store, (store) => decorate(store, (operation, run) => Effect.withSpan(run, `store.${operation}`)))
 * ).pipe(Layer.provide(MemoryStore.layer))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const decorate = <S extends object>(
  service: S,
  around: <A>(operation: keyof S & string, run: Effect.Effect<A, StoreError>) => Effect.Effect<A, StoreError>
): S => {
  const out: Record<string, unknown> = { instance: service }
  for (const [name, value] of Object.entries(membersOf(service))) {
    const operation = name as keyof S & string
    out[name] = Effect.isEffect(value)
      ? around(operation, value as Effect.Effect<unknown, StoreError>)
      : typeof value === "function"
        ? (...args: ReadonlyArray<never>) => around(operation, (value as Operation)(...args))
        : value
  }
  return out as S
}
