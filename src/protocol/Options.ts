/**
 * Numbers and durations that a program passes as options. `NaN`, negative numbers and fractions of countable things are mistakes that
 * would otherwise mean "no limit" or "at once" (`Duration` reads `NaN` and `-5` as zero): they are named and refused.
 */
import * as Duration from "effect/Duration"
import * as Text from "./Text.js"

/**
 * What an option may be:
 *
 * - `duration`: zero or more, infinite included
 * - `interval`: a duration that is more than zero
 * - `count`: a whole number, 1 or greater, or infinite
 * - `countOrZero`: a whole number, 0 or greater, or infinite
 * - `size`: a number, 0 or greater, or infinite
 */
export type Kind = keyof typeof kinds

const isCount = (value: unknown, least: number): boolean =>
  typeof value === "number" && (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= least))

const isAmount = (value: unknown): boolean =>
  typeof value === "bigint" ? value >= 0n : typeof value === "number" && value >= 0

const isDuration = (value: unknown): value is Duration.DurationInput => {
  if (typeof value === "number" || typeof value === "bigint") return isAmount(value)
  if (typeof value === "string" && value.trimStart().startsWith("-")) return false
  if (Array.isArray(value) && !value.every(isAmount)) return false
  return Text.attempt(() => Duration.decodeUnknown(value)._tag === "Some", false)
}

const kinds = {
  duration: { words: "a duration of zero or more", is: isDuration },
  interval: {
    words: "a duration of more than zero",
    is: (value: unknown) => isDuration(value) && Duration.toMillis(value) > 0
  },
  count: { words: "a whole number, 1 or greater", is: (value: unknown) => isCount(value, 1) },
  countOrZero: { words: "a whole number, 0 or greater", is: (value: unknown) => isCount(value, 0) },
  size: { words: "a number, 0 or greater", is: (value: unknown) => typeof value === "number" && value >= 0 }
} as const

const longestTimer = 2_147_483_647

/** A duration as drivers' timers take it: whole milliseconds from 1 on that fit 32 bits. An endless one becomes the longest, not none. */
export const timerMillis = (duration: Duration.DurationInput): number =>
  Math.min(longestTimer, Math.max(1, Math.ceil(Duration.toMillis(duration))))

/** What an option of a kind must be, such as "a whole number, 1 or greater". */
export const wordsOf = (kind: Kind): string => kinds[kind].words

/** An option's name and what it must be. */
export interface Problem {
  readonly name: string
  /** Such as "a whole number, 1 or greater". */
  readonly expected: string
  readonly value: unknown
}

/** The first option that is not what it must be; absent ones are fine. Total: options are a program's own values. */
export const problem = (options: object, of: Readonly<Record<string, Kind>>): Problem | undefined => {
  for (const name of Object.keys(of)) {
    const value = Text.property(options, name)
    const { is, words } = kinds[of[name]!]
    if (value !== undefined && !is(value)) return { name, expected: words, value }
  }
  return undefined
}

/** Throws a `RangeError` that names the first option that is not what it must be. `owner` is what takes the options. */
export const check = (owner: string, options: object, of: Readonly<Record<string, Kind>>): void => {
  const wrong = problem(options, of)
  if (wrong === undefined) return
  // edge: a layer that is made from a wrong number is a mistake of its program, not a failure of the running one
  throw new RangeError(`${owner}: ${wrong.name} must be ${wrong.expected}; it is ${Text.ofUnknown(wrong.value, 64)}`)
}
