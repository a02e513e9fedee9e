/** How long the runtime waits for a store. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { decorate } from "../../store/decorate.js"
import { Store, StoreError } from "../../store/Store.js"
import { Limits } from "./Limits.js"
import { Meter, type MeterShape } from "./Metrics.js"
import { atEnd } from "./AtEnd.js"
import { claim, instanceOf } from "./Claims.js"

/** The store has not answered. What it was asked to write may be there, and may come to be there. */
export const noAnswer = (operation: string, millis: number, meter: MeterShape): StoreError =>
  meter.reaching(
    "storeTime",
    new StoreError({
      operation: `${operation} within ${millis} ms`,
      message: `the store has not answered to ${operation} for ${millis} ms`
    })
  )

/**
 * The answer, where it comes in time, also where nothing can be interrupted. What answers at once costs a fiber and no timer.
 */
const answeredIn = <A>(millis: number, operation: string, run: Effect.Effect<A, StoreError>, meter: MeterShape) =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) => {
    const fiber = Runtime.runFork(runtime)(run)
    const exit = fiber.unsafePoll()
    return exit !== null
      ? exit
      : atEnd(
          Effect.timeoutFail(Fiber.join(fiber), {
            duration: millis,
            onTimeout: () => noAnswer(operation, millis, meter)
          }).pipe(
            // In the background: it may not let itself be interrupted.
            Effect.tapError(() => Effect.sync(() => fiber.unsafeInterruptAsFork(fiber.id())))
          )
        )
  })

/**
 * A service of the store whose operations fail when they have not ended after `storeTime`, also where nothing can be
 * interrupted. An operation that cannot be interrupted goes on in the background.
 */
export const patient = <S extends object>(
  service: S,
  limits: typeof Limits.Service,
  meter: MeterShape,
  unbounded: ReadonlyArray<keyof S & string> = []
): S =>
  limits.storeTime === Number.POSITIVE_INFINITY
    ? service
    : decorate(service, (operation, run) =>
        unbounded.includes(operation) ? run : answeredIn(limits.storeTime, operation, run, meter)
      )

/**
 * The store with a bound on its reads. A commit has none here: whether it took effect is known only when it answers, so the
 * log waits, and refuses meanwhile. A start and a purge take as long as they take. The store is the runtime's own.
 */
export const patientStore: Layer.Layer<Store, never, Store> = Layer.scoped(
  Store,
  Effect.gen(function* () {
    const store = yield* Store
    yield* claim("store", instanceOf(store))
    return store.immediate === true
      ? store
      : patient(store, yield* Limits, yield* Meter, ["commit", "recover", "purge"])
  })
)
