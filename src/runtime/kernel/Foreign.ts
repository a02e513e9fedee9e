/**
 * Concerns that a program brought: they may throw, not end, or answer what their types do not allow. The runtime's own are not asked
 * through this.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Text from "../../protocol/Text.js"

/** Asks for an effect. What is thrown on the way is a defect of it, and where it is interrupted its end is not waited for. */
export const asked = <A, E>(ask: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.disconnect(Effect.suspend(ask))

/** Calls a function of a concern; what it throws is logged, and `otherwise` is its answer. */
export const called = <A>(
  what: string,
  fork: (effect: Effect.Effect<void>) => void,
  call: () => A,
  otherwise: A
): A => {
  try {
    return call()
  } catch (defect) {
    fork(Effect.logError(`${what} failed unexpectedly: ${Text.ofUnknown(defect)}`))
    return otherwise
  }
}

/** Whether a submit may wait for more than memory, because the scheduler is the program's: the connection is read on meanwhile. */
export class SubmitsWait extends Context.Reference<SubmitsWait>()("effect-arcp/runtime/SubmitsWait", {
  defaultValue: (): boolean => false
}) {}
