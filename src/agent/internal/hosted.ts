/**
 * Registrations that travel in the context: a layer puts one under a key of its own, and a runtime collects those of the context in
 * which it is built.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

let made = 0

/**
 * A layer whose context holds the registration. The key has a number of its own beside the name, so that a second registration of
 * the same name is seen and refused, and not lost in a merge.
 */
export const layer = <A, E, R>(key: string, registration: Effect.Effect<A, E, R>): Layer.Layer<never, E, R> => {
  const own = `${key}/${++made}`
  return Layer.effectContext(
    Effect.map(registration, (service) => Context.unsafeMake(new Map([[own, service]])) as Context.Context<never>)
  )
}

/** The registrations under a prefix, in the order of the context. */
export const collect = <A>(context: Context.Context<never>, prefix: string): ReadonlyArray<A> => {
  const found: Array<A> = []
  for (const [key, service] of context.unsafeMap) if (key.startsWith(prefix)) found.push(service as A)
  return found
}
