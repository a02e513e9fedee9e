/** Waiting in a finalizer. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/**
 * Runs an effect that bounds its own time, in a finalizer. There nothing can be interrupted, so that no time-out would count;
 * and where the fiber that closes the scope was itself interrupted, as by SIGTERM, whatever can be is so at once. A fiber of
 * its own is neither.
 */
export const atEnd = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), Fiber.join)
