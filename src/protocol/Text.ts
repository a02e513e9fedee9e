/**
 * Text of any value, by total functions: whatever user code fails with, returns or passes, none of these functions throws.
 *
 * Values from user code are hostile: getters and proxies that throw, cycles, BigInts, symbols, revoked proxies, values without a
 * prototype, strings of 100 MB. Every property is read once, inside a guard, and every text is cut before it is worked on.
 */
import * as Cause from "effect/Cause"
import * as Redacted from "effect/Redacted"

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

const isHalf = (unit: number): boolean => unit >= 0xd800 && unit < 0xe000

/** The most UTF-8 bytes that a code unit takes in JSON; half of a surrogate pair counts two of its four. */
const unitBytes = (unit: number): number => {
  if (unit < 0x20) return 6
  if (unit < 0x80) return unit === 0x22 || unit === 0x5c ? 2 : 1
  return unit < 0x800 || isHalf(unit) ? 2 : 3
}

/** The most UTF-8 bytes that a well-formed text takes in JSON, without the quotes. */
const jsonBytes = (text: string): number => {
  let bytes = 0
  for (let i = 0; i < text.length; i++) bytes += unitBytes(text.charCodeAt(i))
  return bytes
}

/** Room for the sign that a text was cut. */
const ellipsisBytes = 3

/** A well-formed text of at most `bytes` bytes of UTF-8 once it is JSON; a longer one ends with "…". */
export const fitting = (text: string, bytes: number): string => {
  // Every unit takes at least one byte, so the rest cannot fit and is not read.
  const whole = wellFormed(text.length > bytes ? text.slice(0, Math.max(0, bytes) + 1) : text)
  if (whole.length * 6 <= bytes) return whole
  let used = 0
  let end = 0
  for (let i = 0; i < whole.length; i++) {
    used += unitBytes(whole.charCodeAt(i))
    if (used <= bytes - ellipsisBytes) end = i + 1
    if (used <= bytes) continue
    if (bytes < ellipsisBytes) return ""
    const last = whole.charCodeAt(end - 1)
    return `${whole.slice(0, last >= 0xd800 && last < 0xdc00 ? end - 1 : end)}…`
  }
  return whole
}

/** What {@link bounded} keeps of a value. */
export interface Bounds {
  /** Bytes of UTF-8 of the copy as JSON, at most. */
  readonly bytes: number
  /** Levels of objects and arrays; what is deeper is "…". */
  readonly depth: number
  /** An object with a prototype of its own: `shown` copies what its `toJSON` returns, or its fields; `omitted` leaves it out. */
  readonly instances: "shown" | "omitted"
  /** Returns what to show of a text, or of a name. */
  readonly text: (text: string) => string
  /** Names of fields whose texts and objects are shown as "<redacted>". */
  readonly hidden?: RegExp | undefined
}

/** Longer texts are cut before {@link Bounds.text} gets them. One unit more than a filter of credentials reads, so that it sees the cut. */
const maxShown = 131_073

/** The most elements and fields that are visited: more than are kept, and few enough to be quick where none is kept. */
const maxVisits = 16_384

/** A larger bigint is not converted to text, which can take seconds. */
const maxBigint = 1n << 512n

/** Makes one copy. */
class Copy {
  private left: number
  private visits = maxVisits
  private readonly bounds: Bounds
  private readonly above = new Set<object>()

  constructor(bounds: Bounds) {
    this.bounds = bounds
    // The `null` that replaces an element may exceed the bound by so many bytes.
    this.left = bounds.bytes - 4
  }

  /** Undefined for what is left out. */
  of(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case "string":
        return this.text(value)
      case "number":
        return Number.isFinite(value) ? this.whole(value, 24) : this.text(String(value))
      case "boolean":
        return this.whole(value, 5)
      case "bigint":
        return this.text(value < maxBigint && value > -maxBigint ? String(value) : "a bigint")
      case "symbol":
        return this.text(ofUnknown(value))
      case "object":
        return value === null ? this.whole(null, 4) : this.object(value, depth)
      default:
        return undefined
    }
  }

  private whole<A>(value: A, bytes: number): A | undefined {
    if (this.left < bytes) return undefined
    this.left -= bytes
    return value
  }

  private text(text: string): string | undefined {
    if (this.left < ellipsisBytes + 2) return undefined
    const shown = attempt(() => this.bounds.text(text.slice(0, maxShown)), "…")
    const cut = fitting(shown, this.left - 2)
    this.left -= jsonBytes(cut) + 2
    return cut
  }

  private object(value: object, depth: number): unknown {
    if (attempt(() => Redacted.isRedacted(value), false)) return this.text("<redacted>")
    if (attempt(() => ArrayBuffer.isView(value) || value instanceof ArrayBuffer, false)) return this.text("bytes")
    if (isInstance(value, Date)) return this.text(attempt(() => value.toISOString(), "an invalid date"))
    if (isInstance(value, Error)) return this.text(ofUnknown(value, maxShown))
    if (depth >= this.bounds.depth || this.above.has(value)) return this.text("…")
    this.above.add(value)
    const copy = attempt(() => this.structure(value, depth), undefined)
    this.above.delete(value)
    return copy
  }

  private structure(value: object, depth: number): unknown {
    if (this.left < ellipsisBytes + 4) return undefined
    if (Array.isArray(value)) return this.array(value, depth)
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) {
      if (this.bounds.instances === "omitted") return undefined
      const toJson = property(value, "toJSON")
      // The result counts as one level deeper, so that an endless chain of `toJSON` results ends at the bound.
      if (typeof toJson === "function") return this.of(Reflect.apply(toJson, value, []), depth + 1)
    }
    return this.fields(value, depth)
  }

  private array(value: ReadonlyArray<unknown>, depth: number): ReadonlyArray<unknown> {
    const copy: Array<unknown> = []
    this.left -= 2
    for (let i = 0; i < value.length && this.left > 5 && this.visits-- > 0; i++) {
      this.left--
      copy.push(
        this.of(
          attempt(() => value[i], undefined),
          depth + 1
        ) ??
          this.whole(null, 4) ??
          null
      )
    }
    return copy
  }

  private fields(value: object, depth: number): object {
    const copy: Array<[string, unknown]> = []
    this.left -= 2
    for (const key of this.visits > 0 ? Object.keys(value) : []) {
      if (this.visits-- <= 0) break
      // The name, its quotes, a colon, a comma, and a value.
      const room = this.left - 12
      if (room < ellipsisBytes) break
      const name = fitting(
        attempt(() => this.bounds.text(key.slice(0, maxShown)), "…"),
        Math.min(room, 256)
      )
      const before = this.left
      this.left -= jsonBytes(name) + 4
      const kept = this.field(value, key, depth + 1)
      if (kept === undefined) this.left = before
      else copy.push([name, kept])
    }
    return Object.fromEntries(copy)
  }

  private field(value: object, key: string, depth: number): unknown {
    const found = property(value, key)
    const isHidden = (typeof found === "string" || typeof found === "object") && this.bounds.hidden?.test(key) === true
    return isHidden && found !== null ? this.text("<redacted>") : this.of(found, depth)
  }
}

/**
 * A copy of any value as plain JSON of at most so many bytes, without references to the original; undefined where nothing of it is
 * kept. Total: values that throw when they are read are left out, cycles and values that are too deep become "…", and what exceeds the
 * bound is cut or left out. Elements and fields after the first {@link maxVisits} are left out too, since a value that shares its parts
 * may have any number of them.
 * A `Redacted` stays redacted.
 */
export const bounded = (value: unknown, bounds: Bounds): unknown =>
  attempt(() => new Copy(bounds).of(value, 0), undefined)
