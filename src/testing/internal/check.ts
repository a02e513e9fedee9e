/** How laws check and report: comparison and text of any values, by total functions, and the run of one law. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Text from "../../protocol/Text.js"
import { type Law, LawBroken, type LawOptions } from "../Law.js"

/** A check of a law has failed; the law's name is added where it is run. */
export class Broken extends Data.TaggedError("Broken")<{ readonly expected: string; readonly actual: string }> {}

const maxShown = 400

const cut = (text: string): string => (text.length <= maxShown ? text : `${text.slice(0, maxShown)}…`)

/** A value in a message. */
export const show = (value: unknown): string => {
  if (value instanceof Uint8Array) return `${value.length} bytes`
  // an instance of a class, such as an error, is shown by what it says
  const isClass =
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Text.textProperty(value, "message") !== undefined
  if (isClass) return cut(`${Text.textProperty(value, "_tag") ?? "an error"}: ${Text.ofUnknown(value, maxShown)}`)
  const json = Text.toJson(value)
  return json._tag === "Json" ? cut(json.text) : Text.ofUnknown(value, maxShown)
}

/** Properties without a value are as if they were not there, as in JSON. */
const keysOf = (value: object): ReadonlyArray<string> =>
  Object.keys(value)
    .filter((key) => Text.property(value, key) !== undefined)
    .toSorted()

const alike = (a: unknown, b: unknown, depth: number): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || depth > 32) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length && a.every((x, i) => x === b[i])
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => alike(item, b[i], depth + 1))
  }
  const keys = keysOf(a)
  const others = keysOf(b)
  return (
    keys.length === others.length &&
    keys.every((key, i) => key === others[i] && alike(Text.property(a, key), Text.property(b, key), depth + 1))
  )
}

/** Whether two values are the same data. */
export const isSame = (a: unknown, b: unknown): boolean => Text.attempt(() => alike(a, b, 0), false)

/** `condition`, or else what was expected and what was instead. */
export const ensure = (condition: boolean, expected: string, actual: unknown): Effect.Effect<void, Broken> =>
  condition
    ? Effect.void
    : Effect.fail(new Broken({ expected, actual: typeof actual === "string" ? actual : show(actual) }))

/** The first place where two lists differ says more than both lists. */
const difference = (actual: unknown, expected: unknown): readonly [expected: string, actual: string] => {
  if (!Array.isArray(actual) || !Array.isArray(expected) || expected.length < 8) return [show(expected), show(actual)]
  const at = expected.findIndex((item, i) => !isSame(item, actual[i]))
  return at < 0
    ? [`${expected.length} items`, `${actual.length} items`]
    : [`item ${at} of ${expected.length}: ${show(expected[at])}`, `${show(actual[at])} of ${actual.length} items`]
}

/** That `actual` is the same data as `expected`. `what` names it. */
export const same = (what: string, actual: unknown, expected: unknown): Effect.Effect<void, Broken> => {
  if (isSame(actual, expected)) return Effect.void
  const [wanted, got] = difference(actual, expected)
  return Effect.fail(new Broken({ expected: `${what} to be ${wanted}`, actual: got }))
}

/** That two lists have the same members, in whatever order. */
export const sameSet = (
  what: string,
  actual: ReadonlyArray<unknown>,
  expected: ReadonlyArray<unknown>
): Effect.Effect<void, Broken> => {
  const sorted = (list: ReadonlyArray<unknown>) => list.toSorted((a, b) => (show(a) < show(b) ? -1 : 1))
  return same(what, sorted(actual), sorted(expected))
}

/** The error of what must fail. */
export const failing = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<E, Broken, R> =>
  Effect.flatMap(Effect.either(effect), (either) =>
    either._tag === "Left"
      ? Effect.succeed(either.left)
      : Effect.fail(new Broken({ expected: `${what} to fail`, actual: `it succeeded with ${show(either.right)}` }))
  )

/** That what fails does so with an error of this tag. */
export const failsWith = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  tag: string
): Effect.Effect<E, Broken, R> =>
  Effect.tap(failing(what, effect), (error) =>
    ensure(Text.property(error, "_tag") === tag, `${what} to fail with ${tag}`, error)
  )

/** A body of a law: what it needs is the implementation and a scope. */
export interface Rule<S> {
  readonly name: string
  readonly body: Effect.Effect<void, unknown, S | Scope.Scope>
}

export const rule = <S>(name: string, body: Effect.Effect<void, unknown, S | Scope.Scope>): Rule<S> => ({ name, body })

/** Waits for so long by the real clock, whatever the test's. */
export const sleepLive = (duration: Duration.DurationInput): Effect.Effect<void> =>
  Effect.withClock(Effect.sleep(duration), Clock.make())

const brokenBy = (law: string, cause: Cause.Cause<unknown>): LawBroken => {
  const failure = Option.getOrUndefined(Cause.failureOption(cause))
  return failure instanceof Broken
    ? new LawBroken({ law, expected: failure.expected, actual: failure.actual })
    : new LawBroken({ law, expected: "no failure", actual: cut(Text.ofCause(cause, maxShown)) })
}

/** A list of laws about what a layer provides. */
export const laws = <S, E>(
  layer: Layer.Layer<S, E>,
  options: LawOptions,
  rules: ReadonlyArray<Rule<S>>
): ReadonlyArray<Law> => {
  const timeout = options.timeout ?? "30 seconds"
  return rules.map(({ body, name }) => ({
    name,
    check: Effect.scoped(Effect.suspend(() => body)).pipe(
      Effect.provide(Layer.fresh(layer)),
      // what cannot be interrupted is left behind
      Effect.disconnect,
      Effect.raceFirst(
        Effect.zipRight(
          sleepLive(timeout),
          Effect.fail(
            new Broken({ expected: `an end within ${Duration.format(timeout)}`, actual: "it has not ended by then" })
          )
        )
      ),
      // an interruption of the implementation's own is a failure too; one from outside does not come here
      Effect.catchAllCause((cause) => Effect.fail(brokenBy(name, cause)))
    )
  }))
}
