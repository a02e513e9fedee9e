/**
 * Shows that the gate of `npm run lint:effect` sees what it is there for, in code that imports modules as `src` does: each line
 * below breaks a rule and says so, and a comment that excuses nothing is an error. When the diagnostics go blind, this fails.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

class Answer extends Context.Tag("test/Answer")<Answer, number>() {}

export const floating = (): void => {
  // @effect-diagnostics-next-line floatingEffect:off
  Effect.void
}

// @ts-expect-error the type checker sees it too
// @effect-diagnostics-next-line missingEffectContext:off
export const missingService: Effect.Effect<number> = Answer

// @ts-expect-error the type checker sees it too
// @effect-diagnostics-next-line missingEffectError:off
export const missingError: Effect.Effect<never, "one"> = Effect.fail("two")

// @ts-expect-error the type checker sees it too
// @effect-diagnostics-next-line missingLayerContext:off
export const missingLayer: Layer.Layer<never> = Layer.effectDiscard(Answer)

export const inGenerators = Effect.gen(function* () {
  // @effect-diagnostics-next-line globalDateInEffect:off
  const started = Date.now()
  // @effect-diagnostics-next-line globalTimersInEffect:off
  setTimeout(() => undefined, 0)
  // @effect-diagnostics-next-line globalRandomInEffect:off
  yield* Effect.log(started + Math.random())
  // @effect-diagnostics-next-line globalConsoleInEffect:off
  console.log(started)
  // @effect-diagnostics-next-line missingReturnYieldStar:off
  yield* Effect.fail("no return before this")
})
