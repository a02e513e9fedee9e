/**
 * The envelope of every message (ARCP 1.1 §5, 1.0 §5.1): reading untrusted text into one, and writing one.
 *
 * Reading has two steps, so that proxies and logs can stop after the first: text to {@link RawEnvelope} (unknown fields
 * kept, payload undecoded), then `Message.decode` to a typed message. Both refuse in one clear line that names the
 * field and never echoes a value.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { InvalidRequest } from "./Errors.js"

/**
 * What is emitted as `arcp`.
 *
 * @since 0.1.0
 * @category constants
 */
export const version = "1.1"

/**
 * What an envelope's `priority` may be, the least urgent first.
 *
 * @since 0.1.0
 * @category constants
 */
export const priorities = ["low", "normal", "high", "critical"] as const

/**
 * How urgent a message is to its sender: a hint for people and programs that look at it. Nothing is scheduled by it (ARCP 1.1 §1.2
 * leaves that out). Absent means what `normal` means.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Priority = Schema.Literal(...priorities)

/**
 * How urgent a message is to its sender: a hint for people and programs that look at it. Nothing is scheduled by it (ARCP 1.1 §1.2
 * leaves that out). Absent means what `normal` means.
 *
 * @since 0.1.0
 * @category models
 */
export type Priority = typeof Priority.Type

/**
 * Whether a value is a {@link Priority}.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isPriority = (value: unknown): value is Priority => (priorities as ReadonlyArray<unknown>).includes(value)

/**
 * The priority of an envelope; undefined where it has none, or one that is not known.
 *
 * @since 0.1.0
 * @category functions
 */
export const priorityOf = (envelope: { readonly priority?: unknown }): Priority | undefined =>
  isPriority(envelope.priority) ? envelope.priority : undefined

/**
 * A JSON object, undecoded.
 *
 * @since 0.1.0
 * @category models
 */
export type Json = { readonly [key: string]: unknown }

/**
 * An envelope whose head has been checked and whose payload has not; unknown fields are kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface RawEnvelope {
  /** The protocol version, such as `1.1`. */
  readonly arcp: string
  /** The message's id, 1 to 256 characters; replies name it as `request_id`. */
  readonly id: string
  /** The message's type, such as `job.submit`. */
  readonly type: string
  /** The session; absent before the welcome. */
  readonly session_id?: string | undefined
  /** 32 hex digits or a `traceparent` (§11), as it came. */
  readonly trace_id?: string | undefined
  /** The job that the message is about. */
  readonly job_id?: string | undefined
  /** The number of the event in the session (§8.3). */
  readonly event_seq?: number | undefined
  /** A {@link Priority}, or what another implementation has there: see {@link priorityOf}. */
  readonly priority?: unknown
  /** Metadata by extension name, carried and never required. */
  readonly extensions?: Json | undefined
  /** The payload, undecoded. */
  readonly payload: Json
  readonly [key: string]: unknown
}

/**
 * Bounds of what is read from a peer.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReadLimits {
  /** How deep objects and arrays may nest. */
  readonly maxDepth: number
}

/**
 * {@link ReadLimits} where none are given: 64 levels.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultReadLimits: ReadLimits = { maxDepth: 64 }

/**
 * Why a frame is no envelope, with the sender's `id` where it could be read, to answer to.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unreadable {
  /** What is wrong: the field, and what it should be. */
  readonly error: InvalidRequest
  /** The `id` of the message that could not be read. */
  readonly requestId: string | undefined
}

const refuse = (message: string, requestId?: string): Either.Either<never, Unreadable> =>
  Either.left({ error: new InvalidRequest({ message }), requestId })

/** Whether `text` nests deeper than `maxDepth`; a text too short to do so is not looked at. */
const tooDeep = (text: string, maxDepth: number): boolean => {
  if (text.length <= maxDepth * 2) return false
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inString) {
      if (c === 92) i++
      else if (c === 34) inString = false
    } else if (c === 34) inString = true
    else if (c === 123 || c === 91) {
      if (++depth > maxDepth) return true
    } else if (c === 125 || c === 93) depth--
  }
  return false
}

/**
 * Reads JSON text from a peer. Duplicate keys: the last counts; `__proto__` is a plain key.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Envelope, Message } from "effect-arcp/protocol"
 *
 * const read = (text: string) =>
 *   Either.flatMap(
 *     Either.mapLeft(Envelope.fromText(text), ({ error }) => error),
 *     Message.decodeClient
 *   )
 * ```
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromText = (
  text: string,
  limits: ReadLimits = defaultReadLimits
): Either.Either<RawEnvelope, Unreadable> => {
  if (tooDeep(text, limits.maxDepth)) return refuse(`message: nests deeper than ${limits.maxDepth} levels`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return refuse("message: is not valid JSON")
  }
  return fromUnknown(value)
}

const stringField = (value: Json, field: string, maximum: number): "absent" | "ok" | "bad" => {
  const v = value[field]
  if (v === undefined || v === null) return "absent"
  return typeof v === "string" && v.length > 0 && v.length <= maximum ? "ok" : "bad"
}

/**
 * Whether `version` is one that this implementation speaks: `1` or any `1.x`.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSupportedVersion = (version: string): boolean => /^1(\.[0-9]{1,9})?$/.test(version)

/**
 * Checks the head of an already parsed message.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromUnknown = (value: unknown): Either.Either<RawEnvelope, Unreadable> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse("message: must be an object")
  const object = value as Json
  const id = typeof object.id === "string" && object.id.length > 0 && object.id.length <= 256 ? object.id : undefined
  if (id === undefined) return refuse("id: must be a string of 1 to 256 characters")
  if (typeof object.arcp !== "string") return refuse("arcp: must be the protocol version, a string", id)
  if (object.arcp !== version && !isSupportedVersion(object.arcp)) {
    return refuse(`arcp: this version is not supported, ${version} is`, id)
  }
  if (stringField(object, "type", 256) !== "ok") return refuse("type: must be a string of 1 to 256 characters", id)
  if (stringField(object, "session_id", 256) === "bad") {
    return refuse("session_id: must be a string of 1 to 256 characters", id)
  }
  if (stringField(object, "job_id", 256) === "bad") return refuse("job_id: must be a string of 1 to 256 characters", id)
  if (stringField(object, "trace_id", 512) === "bad") {
    return refuse("trace_id: must be a string of 1 to 512 characters", id)
  }
  const seq = object.event_seq
  if (seq !== undefined && seq !== null && !(Number.isSafeInteger(seq) && (seq as number) >= 0)) {
    return refuse("event_seq: must be a whole number, 0 or greater", id)
  }
  const { extensions, payload } = object
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) {
    return refuse("payload: must be an object", id)
  }
  if (
    extensions !== undefined &&
    extensions !== null &&
    (typeof extensions !== "object" || Array.isArray(extensions))
  ) {
    return refuse("extensions: must be an object", id)
  }
  for (const field of nullable) {
    if (object[field] === null) return Either.right(withoutNulls(object))
  }
  return Either.right(object as unknown as RawEnvelope)
}

const nullable = ["session_id", "job_id", "trace_id", "event_seq", "extensions"] as const

/** `null` in an optional head field counts as absent. */
const withoutNulls = (object: Json): RawEnvelope => {
  const copy: { [key: string]: unknown } = { ...object }
  for (const field of nullable) if (copy[field] === null) delete copy[field]
  return copy as unknown as RawEnvelope
}

/**
 * The text of an envelope; fields that are undefined are left out.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toText = (envelope: RawEnvelope): string => JSON.stringify(envelope)
