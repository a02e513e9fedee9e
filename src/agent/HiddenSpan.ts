/**
 * Spans and causes as they may be exported (ARCP 1.1 §11, §14): texts without secrets, and URLs without user information, query and fragment.
 *
 * A span is a stand-in in front of the tracer's own: attributes, events and the cause of its end are cleaned on their way there. The tracer
 * gets causes of plain errors, with messages, names, stacks and causes as texts. Total: errors are user code's values.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import type * as Tracer from "effect/Tracer"
import * as Text from "../protocol/Text.js"
import { isCredential } from "./internal/crossing.js"

/** A text as it may be shown. */
export type Hide = (text: string) => string

/** How a span is cleaned. */
export interface Hiding {
  /** What the program says: names, attributes and events. */
  readonly text: Hide
  /** Texts of failures, which HTTP clients write whole URLs into. */
  readonly failure: Hide
}

/** A text whose URLs have neither user information nor query nor fragment. */
export const withoutQueries: Hide = (text) =>
  text.replace(/\bhttps?:\/\/[^\s"'<>()]+/gi, (url) =>
    url.replace(/[?#].*$/, "?…").replace(/^(https?:\/\/)[^/]*@/i, "$1…@")
  )

const unshown = "an error that cannot be shown"

const maxDepth = 8

/** A plain error of cleaned texts. No stack is captured for it. */
const plainError = (error: unknown, hide: Hide, depth: number): Error => {
  const shown = (key: string) => {
    const text = Text.property(error, key)
    return typeof text === "string" ? Text.attempt(() => hide(text), unshown) : undefined
  }
  const inner = Text.property(error, "cause")
  const fields: Readonly<Record<string, unknown>> = {
    message: shown("message") ?? unshown,
    name: shown("name") ?? "Error",
    stack: shown("stack"),
    cause: inner === undefined || depth >= maxDepth ? undefined : plainError(inner, hide, depth + 1)
  }
  const made = Object.create(Error.prototype) as Error
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) Object.defineProperty(made, key, { value, configurable: true, writable: true })
  }
  return made
}

/** As Effect shows a failure, cleaned. */
const shownError =
  (hide: Hide) =>
  (error: unknown): Error => {
    const pretty = Text.attempt(() => Cause.prettyErrors(Cause.fail(error))[0], undefined)
    // One whose causes are a circle cannot be printed.
    return plainError(pretty ?? { message: Text.ofUnknown(error) }, hide, 0)
  }

/** The cause, of plain errors whose texts are cleaned. */
export const hiddenCause = (cause: Cause.Cause<unknown>, hide: Hide): Cause.Cause<Error> => {
  const shown = shownError(hide)
  return Cause.match(cause, {
    onEmpty: Cause.empty as Cause.Cause<Error>,
    onFail: (error) => Cause.fail(shown(error)),
    onDie: (defect) => Cause.die(shown(defect)),
    onInterrupt: Cause.interrupt,
    onSequential: Cause.sequential,
    onParallel: Cause.parallel
  })
}

const shownIn = (value: unknown, hide: Hide): unknown => {
  if (typeof value === "string") return hide(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value) && value.every((part) => typeof part === "string")) return value.map(hide)
  // As exporters show it. What holds no secret stays the value that it is.
  const text = Inspectable.toStringUnknown(value)
  const shown = hide(text)
  return shown === text ? value : shown
}

/** A value as it may be shown: texts are cleaned, and an object that holds what must be hidden becomes a text. */
export const hiddenValue = (value: unknown, hide: Hide): unknown => Text.attempt(() => shownIn(value, hide), unshown)

const header = /^http\.(?:request|response)\.header\./
/** Attributes of a client's spans that hold a whole URL, or a part of one with its query. */
const urls = new Set(["url.full", "http.url", "http.target", "url.original"])
const urlHeaders = new Set(["location", "content-location", "referer", "refresh", "link"])

/** An attribute of an HTTP client's span; undefined where it is left out. Others as they are. */
const ofHttp = (key: string, value: unknown): unknown => {
  if (key === "url.query" || key === "url.fragment") return undefined
  const name = header.test(key) ? key.replace(header, "").toLowerCase() : undefined
  if (name !== undefined && (isCredential(name) || name === "set-cookie")) return "<redacted>"
  if (typeof value !== "string" || !(urls.has(key) || (name !== undefined && urlHeaders.has(name)))) return value
  return value.replace(/^(https?:\/\/)[^/?#]*@/i, "$1").replace(/[?#].*$/s, "")
}

const fieldsOf = (fields: Readonly<Record<string, unknown>>, hide: Hide): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [hide(key), hiddenValue(value, hide)]))

/** The span, which passes on what may be exported. `of` is asked each time: credentials change while a span is open. */
export const hiddenSpan = (span: Tracer.Span, of: () => Hiding): Tracer.Span => {
  const attribute = (key: string, value: unknown): void => {
    const { text } = of()
    const shown = ofHttp(key, value)
    if (shown !== undefined || value === undefined) span.attribute(text(key), hiddenValue(shown, text))
  }
  const event = (name: string, at: bigint, fields?: Record<string, unknown>): void => {
    const { text } = of()
    span.event(text(name), at, fields === undefined ? undefined : Text.attempt(() => fieldsOf(fields, text), {}))
  }
  const end = (at: bigint, exit: Exit.Exit<unknown, unknown>): void =>
    span.end(at, Exit.isSuccess(exit) ? exit : Exit.failCause(hiddenCause(exit.cause, of().failure)))
  const own: Readonly<Record<PropertyKey, unknown>> = { attribute, event, end }
  const methods = new Map<PropertyKey, unknown>()
  return new Proxy(span, {
    get: (target, key) => {
      if (Object.hasOwn(own, key)) return own[key]
      const found: unknown = Reflect.get(target, key, target)
      if (typeof found !== "function") return found
      // A span's own class may keep its state where no stand-in reaches.
      if (!methods.has(key)) methods.set(key, found.bind(target))
      return methods.get(key)
    }
  })
}
