/** The priority with which a fiber of an agent emits its events. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import type { Priority } from "../../../protocol/Envelope.js"

const current = FiberRef.unsafeMake<Priority | undefined>(undefined)

/** The priority of the fiber that runs now; undefined where it has none, or no fiber runs. */
export const currentPriority = (): Priority | undefined => {
  const fiber = Fiber.getCurrentFiber()
  return fiber._tag === "Some" ? fiber.value.getFiberRef(current) : undefined
}

/** Runs an effect, and the fibers that it forks, with a priority. */
export const withPriority = <A, E, R>(effect: Effect.Effect<A, E, R>, priority: Priority): Effect.Effect<A, E, R> =>
  Effect.locally(effect, current, priority)
