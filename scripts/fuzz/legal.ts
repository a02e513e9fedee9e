/**
 * Whether a frame is one that its sender may send: by a check of the envelope that is written here from the specification's words and shares
 * nothing with the package, and by the package's own Schemas.
 */
import { Schema } from "effect"
import * as Either from "effect/Either"
import { Envelope, Event, Message } from "effect-arcp/protocol"

/** A frame that was read. */
export interface Frame {
  readonly id: string
  readonly type: string
  readonly session_id?: string
  readonly job_id?: string
  readonly trace_id?: string
  readonly event_seq?: number
  readonly payload: Readonly<Record<string, unknown>>
}

/** A frame, or why it is none. */
export type Read = Frame | string

const ulid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
const traceId = /^(?!0{32}$)[0-9a-f]{32}$/
const fields = new Set([
  "arcp",
  "id",
  "type",
  "session_id",
  "job_id",
  "trace_id",
  "event_seq",
  "priority",
  "extensions",
  "payload"
])
/** Messages about a job, whose envelope names it. */
const aboutJobs = new Set([
  "job.accepted",
  "job.cancelled",
  "job.event",
  "job.result",
  "job.subscribed",
  "job.unsubscribed"
])
const numbered = new Set(["job.event", "job.result", "job.error"])
const never = new Set(["LEASE_EXPIRED", "BUDGET_EXHAUSTED"])

const isText = (value: unknown, longest: number): value is string =>
  typeof value === "string" && value.length > 0 && value.length <= longest

type Json = Readonly<Record<string, unknown>>

/** What is wrong with an envelope, whoever sent it. */
const envelopeProblem = (frame: Json): string | undefined => {
  for (const [field, value] of Object.entries(frame)) {
    if (!fields.has(field)) return `a field ${field}`
    if (value === null) return `${field} is null`
  }
  const { arcp, event_seq, extensions, id, job_id, payload, session_id, trace_id, type } = frame
  if (arcp !== "1.1" && arcp !== "1") return "its arcp"
  if (!isText(id, 256)) return "its id"
  if (!isText(type, 256)) return "its type"
  if (session_id !== undefined && !isText(session_id, 256)) return "its session_id"
  if (job_id !== undefined && !isText(job_id, 256)) return "its job_id"
  if (trace_id !== undefined && !(typeof trace_id === "string" && traceId.test(trace_id))) return "its trace_id"
  if (event_seq !== undefined && !(Number.isSafeInteger(event_seq) && Number(event_seq) > 0)) return "its event_seq"
  for (const part of [payload, extensions]) {
    if (part !== undefined && (typeof part !== "object" || Array.isArray(part))) return "its payload or extensions"
  }
  return payload === undefined ? "no payload" : undefined
}

/** What is wrong with an error, on one line with its rules of §12. */
const errorProblem = ({ code, message, retryable }: Json): string | undefined => {
  if (!isText(code, 128)) return "its code"
  if (typeof message !== "string" || message.length > 512 || /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(message))
    return "its message"
  if (/secret-of-|rt_[0-9A-Za-z_-]{20}/.test(message)) return "its message, with a secret"
  if (typeof retryable !== "boolean") return "its retryable"
  if (code === "INTERNAL_ERROR" && !retryable) return "an INTERNAL_ERROR that is not retryable"
  return never.has(code) && retryable ? "a code that is never retryable" : undefined
}

const bodies = new Map(
  Object.entries(Event.bodies).map(([kind, schema]) => [kind, Schema.is(schema as Schema.Schema<unknown>)])
)

const parsed = (text: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

/** What is wrong with a message of a runtime beyond its envelope. */
const runtimeProblem = (frame: Frame): string | undefined => {
  const { event_seq, id, job_id, payload, session_id, type } = frame
  if (session_id === undefined) return "no session_id"
  if (aboutJobs.has(type) && job_id === undefined) return "no job_id"
  if (payload["job_id"] !== undefined && payload["job_id"] !== job_id) return "two jobs"
  // The refusal that a Java client reads has the request's id, and no number.
  const refusal = type === "job.error" && event_seq === undefined
  if (!refusal && !ulid.test(id)) return "an id that is no ULID"
  if (numbered.has(type) !== (event_seq !== undefined) && !refusal) return "a number that it may not have, or none"
  if (type === "session.error" || type === "job.error") return errorProblem(payload)
  if (type !== "job.event") return undefined
  const isBody = bodies.get(String(payload["kind"]))
  return isBody === undefined || isBody(payload["body"]) ? undefined : `a body that is no ${String(payload["kind"])}`
}

const told = (text: string): string => (text.length > 600 ? `${text.slice(0, 500)} … ${text.slice(-80)}` : text)

/** Reads frames of one side: `problemOf` says what is wrong beyond the envelope, before the frame is decoded by its Schema. */
const reading =
  (
    problemOf: (frame: Frame, isLarge: boolean) => string | undefined,
    decode: (envelope: Envelope.RawEnvelope) => Either.Either<unknown, { readonly message: string }>
  ) =>
  (text: string, maxBytes: number): Read => {
    const wrong = (what: string): string => `an illegal frame (${what}): ${told(text)}`
    if (/\p{Surrogate}/u.test(text)) return wrong("half a character")
    const json = parsed(text)
    if (json === undefined) return wrong("no JSON object")
    const problem = envelopeProblem(json)
    if (problem !== undefined) return wrong(problem)
    const frame = json as unknown as Frame
    const beyond = problemOf(frame, Buffer.byteLength(text) > maxBytes)
    if (beyond !== undefined) return wrong(beyond)
    const envelope = Envelope.fromText(text)
    if (Either.isLeft(envelope)) return wrong(envelope.left.error.message)
    const decoded = decode(envelope.right)
    return Either.isLeft(decoded) ? wrong(decoded.left.message) : frame
  }

/** A frame of a runtime, of at most so many bytes. */
export const readRuntime = reading(
  (frame, isLarge) => (isLarge && frame.type !== "artifact.data" ? "too large" : runtimeProblem(frame)),
  Message.decodeRuntime
)

/** A frame of a client, of at most so many bytes. */
export const readClient = reading(
  (frame, isLarge) =>
    isLarge
      ? "too large"
      : frame.event_seq !== undefined
        ? "a number"
        : ulid.test(frame.id)
          ? undefined
          : "an id that is no ULID",
  Message.decodeClient
)
