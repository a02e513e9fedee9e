/** Calling user code that returns an effect, and reporting what it throws. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Text from "../../protocol/Text.js"

/**
 * The effect that user code returns, or the defect that it throws. Effect itself looks into what is thrown, and a value that cannot
 * be looked into, such as a revoked proxy, would take its fiber out of Effect's hands: it is replaced by its text.
 */
export const called = <A, E, R>(code: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  try {
    return code()
  } catch (defect) {
    return Effect.die(Text.isInstance(defect, Error) ? defect : new Error(Text.ofUnknown(defect)))
  }
}

/**
 * Logs a defect for operators: as the cause of the line, which `log` events of the job leave out. The defect is logged as text, since a
 * logger of the program may throw on other values; a logger that throws is ignored.
 */
export const logDefect = (message: string, defect: unknown): Effect.Effect<void> =>
  Effect.logError(message, Cause.die(new Error(Text.ofUnknown(defect)))).pipe(Effect.catchAllDefect(() => Effect.void))
