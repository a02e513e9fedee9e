/**
 * Text of any value, by total functions: whatever user code fails with, returns or passes, none of these functions throws.
 *
 * Values from user code are hostile: getters and proxies that throw, cycles, BigInts, symbols, revoked proxies, values without a
 * prototype, strings of 100 MB. Every property is read once, inside a guard, and every text is cut before it is worked on.
 */
import * as Cause from "effect/Cause"

/** The longest text that {@link ofUnknown} returns by default, in UTF-16 code units. */
export const maxLength = 4_096

const shown = (text: string, max: number): string => (text.length <= max ? text : `${text.slice(0, max - 1)}…`)

const surrogate = /[\ud800-\udfff]/
const lone = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Half a code point has no UTF-8: it becomes U+FFFD, as in every encoder. JSON would make six bytes of it. */
export const wellFormed = (text: string): string => (surrogate.test(text) ? text.replace(lone, "\ufffd") : text)

/** Runs `read`; `otherwise` where it throws. */
export const attempt = <A, B>(read: () => A, otherwise: B): A | B => {
  try {
    return read()
  } catch {
    return otherwise
  }
}

/** The property of any value; undefined where there is none or reading it throws. */
export const property = (value: unknown, key: string): unknown =>
  attempt(
    () =>
      (typeof value === "object" || typeof value === "function") && value !== null
        ? (value as Readonly<Record<string, unknown>>)[key]
        : undefined,
    undefined
  )

/** The property where it is a string that is not empty, at most `max` UTF-16 code units of it. */
export const textProperty = (value: unknown, key: string, max = maxLength): string | undefined => {
  const found = property(value, key)
  return typeof found === "string" && found !== "" ? shown(found, max) : undefined
}

/** `instanceof`, which throws for some proxies. */
export const isInstance = <A>(value: unknown, of: abstract new (...args: never) => A): value is A =>
  attempt(() => value instanceof of, false)

/** A short text of any value, at most `max` UTF-16 code units: a message where it has one, else its tag, its name or its type. */
export const ofUnknown = (value: unknown, max = maxLength): string => {
  switch (typeof value) {
    case "string":
      return shown(value, max)
    case "symbol":
    case "number":
    case "bigint":
    case "boolean":
    case "undefined":
      return shown(
        attempt(() => String(value), typeof value),
        max
      )
    case "function":
      return "a function"
    default: {
      if (value === null) return "null"
      const message = textProperty(value, "message", max)
      const tag = textProperty(value, "_tag", 128) ?? textProperty(value, "name", 128)
      return message ?? tag ?? "an object without a message"
    }
  }
}

/**
 * A cause as operators read it: pretty where that is possible, else the text of its first failure or defect. At most `max` UTF-16
 * code units.
 */
export const ofCause = (cause: Cause.Cause<unknown>, max = 65_536): string => {
  const pretty = attempt(() => Cause.pretty(cause, { renderErrorCause: true }), undefined)
  if (typeof pretty === "string" && pretty !== "") return shown(pretty, max)
  const first = attempt(() => Cause.squash(cause), undefined)
  return `${ofUnknown(first, max)} (the whole cause cannot be printed)`
}

/** JSON of a value, or why there is none, as the end of a sentence: "the result is not JSON: …". */
export type Json =
  | { readonly _tag: "Json"; readonly text: string }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "NotJson"; readonly why: string }

const absent: Json = { _tag: "Absent" }

/**
 * JSON of any value. `Absent` for what JSON leaves out (undefined, functions, symbols). User code runs here once (`toJSON`,
 * getters, proxies): what is to be read again is to be read from the text.
 */
export const toJson = (value: unknown): Json => {
  try {
    const text: unknown = JSON.stringify(value)
    return typeof text === "string" ? { _tag: "Json", text } : absent
  } catch (error) {
    return { _tag: "NotJson", why: whyNot(error) }
  }
}

const whyNot = (error: unknown): string => {
  const message = isInstance(error, TypeError) ? (textProperty(error, "message") ?? "") : ""
  if (/BigInt|circular/i.test(message)) return "it has a cycle or a bigint"
  return isInstance(error, RangeError) ? "it is nested too deep or too large" : "reading it throws"
}

/** A copy of any value as JSON has it, without getters, prototypes or references to the original; undefined where it is no JSON. */
export const snapshot = (value: unknown): unknown => {
  const json = toJson(value)
  return json._tag === "Json" ? (JSON.parse(json.text) as unknown) : undefined
}
