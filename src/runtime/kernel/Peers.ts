/**
 * Clients of other SDKs, known by the shape of their hello, and what is sent to them otherwise.
 *
 * The shape is advisory: it decides on fields that every other client ignores, and never on what a client may do. `RuntimeOptions.peers:
 * "strict"` switches it off. A terminal message is translated here when it is sent, so that one stored text serves every session.
 */
import { Buffer } from "node:buffer"
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { type ArcpError, type ErrorPayload, fromWire, isErrorCode, toWire } from "../../protocol/Errors.js"
import { agentErrors, coreFeatures } from "../../protocol/Features.js"
import * as Message from "../../protocol/Message.js"

/** An SDK whose clients need something of their own; undefined for every other client. */
export type PeerKind = "go" | "java" | undefined

/** What decides of a session how it is spoken to. */
interface Spoken {
  readonly sessionId: string
  readonly peer: PeerKind
  readonly features: ReadonlySet<string>
}

const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i
const bareUlid = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
const known: ReadonlySet<string> = new Set(coreFeatures)

const isText = (u: unknown): u is string => typeof u === "string"

/** What the names of a hello are: ascending, and of the specification. One name alone is in every order. */
const isSorted = (names: ReadonlyArray<unknown>): boolean =>
  names.every((name, i) => isText(name) && known.has(name) && (i === 0 || (names[i - 1] as string) < name))

/**
 * Whose hello it is. Go: the envelope's id is a UUIDv7. Java: it is a bare ULID, there is no `timestamp`, the features are core ones in
 * ascending order, and a resume is flat and names no session.
 */
export const peerKind = ({ id, payload, timestamp }: RawEnvelope): PeerKind => {
  if (uuid7.test(id)) return "go"
  if (!bareUlid.test(id) || timestamp !== undefined) return undefined
  if (payload.resume !== undefined && payload.resume !== null) return undefined
  const features = (payload.capabilities as { readonly features?: unknown } | null | undefined)?.features
  if (!Array.isArray(features) || features.length === 0 || !isSorted(features)) return undefined
  const isFlat = isText(payload.resume_token) && !isText(payload.session_id)
  return features.length > 1 || isFlat ? "java" : undefined
}

/** Requests whose refusal a Java client takes from a `job.error` alone; not those that it sends without waiting for an answer. */
const awaited: ReadonlySet<string> = new Set([
  "job.submit",
  "job.subscribe",
  "job.unsubscribe",
  "session.list_jobs",
  "artifact.put",
  "artifact.fetch",
  "artifact.release"
])

/**
 * What follows the `session.error` of a refused request to a Java client: a `job.error` under the request's id, without `job_id` and
 * `event_seq`, where only a subscription's names its job. Undefined for every other client, and for a refused cancel, which would end the
 * job in that client's eyes.
 */
export const refusalFor = (
  { peer, sessionId }: Pick<Spoken, "peer" | "sessionId">,
  { id, job_id, payload, type }: RawEnvelope,
  error: ArcpError
): RawEnvelope | undefined => {
  if (peer !== "java" || !awaited.has(type)) return undefined
  const jobId = isText(payload.job_id) ? payload.job_id.slice(0, 256) : job_id
  const { code, message, retryable } = toWire(error)
  return Message.runtime(
    "job.error",
    { id, session_id: sessionId, job_id: type === "job.subscribe" ? jobId : undefined },
    { final_status: "error", code, message, retryable }
  )
}

/** Whether a session is sent the `job.accepted` of delegated jobs: a Java client takes it for the answer to a pending submit. */
export const hearsOfChildren = ({ peer }: Pick<Spoken, "peer">): boolean => peer !== "java"

/** A result in both spellings; where that has over `bytes` bytes, in the one that a Go client reads. */
const withOutput = (payload: string, bytes: number): string => {
  const result = JSON.parse(payload) as { readonly [key: string]: unknown }
  if (!Object.hasOwn(result, "result") || Object.hasOwn(result, "output")) return payload
  const { result: output, ...rest } = result
  const both = JSON.stringify({ ...result, output })
  return Buffer.byteLength(both) <= bytes ? both : JSON.stringify({ ...rest, output })
}

type Ended = ErrorPayload & { readonly [key: string]: unknown }

/** An agent's own failure for a session that did not offer to take its codes: peers drop codes that they do not know. */
const translated = (payload: string): string => {
  const error = JSON.parse(payload) as Ended
  if (isErrorCode(error.code)) return payload
  const { code, details, message, retryable, ...rest } = error
  return JSON.stringify({
    ...rest,
    code: "INTERNAL_ERROR",
    message,
    retryable: true,
    details: { agent_error: { code, message, retryable, ...(details === undefined ? {} : { details }) } }
  })
}

/** An `INTERNAL_ERROR` that an earlier version stored with `retryable: false`: §12 has it true. */
const retried = (payload: string): string => {
  if (!payload.includes('"retryable":false') || !payload.includes('"INTERNAL_ERROR"')) return payload
  const { completed_at, final_status, ...error } = JSON.parse(payload) as Ended
  if (error.code !== "INTERNAL_ERROR") return payload
  return JSON.stringify({ final_status, ...toWire(fromWire(error)), completed_at })
}

/** The payload of a job's terminal message as a session is to see it, of at most `bytes` bytes where that was so before. */
export const terminalFor = (
  session: Pick<Spoken, "features" | "peer">,
  type: string,
  payload: string,
  bytes: number
): string =>
  type === "job.result"
    ? session.peer === "go"
      ? withOutput(payload, bytes)
      : payload
    : type !== "job.error"
      ? payload
      : session.features.has(agentErrors)
        ? retried(payload)
        : translated(retried(payload))
