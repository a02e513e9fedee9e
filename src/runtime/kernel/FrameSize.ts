/**
 * What a frame of the runtime may have, in encoded bytes of UTF-8 (ARCP 1.1 §14): no frame is larger than
 * `Limits.maxFrameBytes`, its envelope included.
 *
 * Whatever becomes a frame is measured before it is queued, so that the request or the agent's call that made it is what fails.
 * {@link smaller} and {@link event} are for what cannot fail any more: a reply whose request has had its effect, and an event that
 * was stored under other limits.
 */
import { Buffer } from "node:buffer"
import { type InternalError, permanentError, toWire } from "../../protocol/Errors.js"
import { frameHeadroom, type LimitsShape } from "./Limits.js"

/** At most so many bytes are around the payload of an event in its frame. */
export const envelopeBytes = 512

/** At most so many bytes has the summary of a result, which is one line. */
export const summaryBytes = 1_600

/** Whether a text has at most so many bytes of UTF-8. Most texts are measured by their length alone. */
export const fits = (text: string, bytes: number): boolean =>
  text.length * 3 <= bytes || (text.length <= bytes && Buffer.byteLength(text) <= bytes)

/** At most so many bytes are around what a reply shows of a job; the `id` of a request may be long once it is escaped. */
const replyBytes = 2_560

/** Bytes of what a reply shows of a job: its lease, its budget, its credentials. */
export const replyRoom = ({ maxFrameBytes }: LimitsShape): number => maxFrameBytes - replyBytes

/** Bytes of the payload of an event's frame. */
export const payloadRoom = ({ maxFrameBytes }: LimitsShape): number => maxFrameBytes - envelopeBytes

/** Bytes of the body of an event, as JSON. */
export const bodyRoom = ({ eventPayload, maxFrameBytes }: LimitsShape): number =>
  Math.min(eventPayload, maxFrameBytes - frameHeadroom)

/** Bytes of an inline result, as JSON, where the frame has so many beside it. */
export const resultRoom = ({ inlineResult, maxFrameBytes }: LimitsShape, beside = 0): number =>
  Math.min(inlineResult, maxFrameBytes - frameHeadroom - beside)

/** Bytes of the data of a chunk, as JSON without its quotes. */
export const chunkRoom = ({ maxFrameBytes }: LimitsShape): number => maxFrameBytes - frameHeadroom

interface Parsed {
  readonly type: string
  readonly payload: Readonly<Record<string, unknown>>
}

const omitted = (what: string, bytes: number) => ({
  omitted: `${what} would make the frame larger than ${bytes} bytes`
})

/** The refusal of a job whose acceptance, a JSON text, could not show its credentials as well. */
export const tooManyCredentials = (
  accepted: string,
  credentials: ReadonlyArray<unknown>,
  limits: LimitsShape
): InternalError | undefined =>
  credentials.length === 0 || fits(accepted + JSON.stringify(credentials), replyRoom(limits))
    ? undefined
    : permanentError("the job's credentials are larger than a frame may be", { reason: "frame_too_large" })

const isPermanent = (details: unknown): boolean =>
  (details as { readonly permanent?: unknown } | null | undefined)?.permanent === true

/** What a payload can do without, one after the other; a lease that is left out is marked. */
const without = (payload: Parsed["payload"]): Parsed["payload"] | undefined =>
  payload.reason !== undefined
    ? { ...payload, reason: undefined }
    : payload.lease !== undefined && payload.lease_omitted === undefined
      ? { ...payload, lease: {}, lease_omitted: true }
      : undefined

/**
 * The text of a frame that is no event, as it may be sent: what does not fit loses what can be left out (details of an error, the
 * reason of a cancel, a lease), else an error takes its place. Bytes of artifacts are exempt: their messages are negotiated, with a
 * bound of their own (`Limits.artifactBytes`).
 */
export const smaller = (text: string, bytes: number): string => {
  if (fits(text, bytes)) return text
  const frame = JSON.parse(text) as Parsed
  const { payload, type } = frame
  if (type.startsWith("artifact.")) return text
  if (type === "session.error") {
    const details = { ...omitted("the details", bytes), ...(isPermanent(payload.details) ? { permanent: true } : {}) }
    return JSON.stringify({ ...frame, payload: { ...payload, details } })
  }
  const less = without(payload)
  if (less !== undefined) return smaller(JSON.stringify({ ...frame, payload: less }), bytes)
  const { request_id } = payload
  const message = `the ${type} has ${Buffer.byteLength(text)} bytes, at most ${bytes} are sent in a frame`
  return JSON.stringify({
    ...frame,
    type: "session.error",
    payload: {
      ...toWire(permanentError(message, { reason: "frame_too_large" })),
      ...(request_id === undefined ? {} : { request_id })
    }
  })
}

/** A row of a listing that may be sent: the lease of one that was stored under other limits is left out, and marked. */
export const row = (text: string, bytes: number): string =>
  fits(text, bytes)
    ? text
    : JSON.stringify({ ...(JSON.parse(text) as Parsed["payload"]), lease: {}, lease_omitted: true })

/** An event as it is sent. */
export interface EventFrame {
  readonly type: string
  readonly payload: string
}

/**
 * What is sent in the place of an event whose payload is larger than `bytes`, under its number: a result becomes the error that says
 * so, an error loses its details, any other event becomes a warning in the log.
 */
export const event = (type: string, payload: string, bytes: number): EventFrame => {
  const size = Buffer.byteLength(payload)
  const parsed = JSON.parse(payload) as Readonly<Record<string, unknown>>
  if (type === "job.error") {
    const details = { ...omitted("the details", bytes), ...(isPermanent(parsed.details) ? { permanent: true } : {}) }
    return { type, payload: JSON.stringify({ ...parsed, details }) }
  }
  if (type === "job.result") {
    const message = `the result's message has ${size} bytes, at most ${bytes} are sent in a frame: stream the result`
    return {
      type: "job.error",
      payload: JSON.stringify({
        final_status: "error",
        ...toWire(permanentError(message, { reason: "frame_too_large" })),
        completed_at: parsed.completed_at
      })
    }
  }
  const message = `an event of kind ${String(parsed.kind)} with ${size} bytes was left out: at most ${bytes} are sent in a frame`
  return { type, payload: JSON.stringify({ kind: "log", ts: parsed.ts, body: { level: "warn", message } }) }
}
