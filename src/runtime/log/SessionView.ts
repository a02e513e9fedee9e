/**
 * What a session is sent of what every session is sent: the one place where an event, a refusal or an announcement takes the form that this
 * session negotiated, and that its client reads.
 *
 * Rules
 * - A terminal message is stored once, in the form of the specification, and translated when it is sent ({@link ended}): codes of agents
 *   (1.0 §12), `output` for Go clients. A streamed result goes inline to a session without `result_chunk` (§6.2, §8.4): {@link isWanting} says
 *   which end needs its chunks, and {@link whole} reads them.
 * - An event whose text owners see otherwise has the value of a rotated credential (§9.8.2): {@link seesOwn}, {@link ownText}.
 * - Who is sent the `job.accepted` of children (§10): {@link hearsOfChildren}. What follows a refusal: {@link refusalFor}.
 * - Events of kinds that were not negotiated are not numbered in the session: `SessionLog.accepts`.
 *
 * It is the same live, replayed, as history and after a restart: the session's features and the shape of its last hello decide, and
 * nothing of how an event is found. Where a session is resumed otherwise, what it is sent from then on is other.
 *
 * Cost: a plain event is sent as it is stored. Only a job's end, and the events of a job that has texts for its owners, come here.
 */
import { Buffer } from "node:buffer"
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { type ArcpError, type ErrorPayload, fromWire, isErrorCode, toWire } from "../../protocol/Errors.js"
import { agentErrors } from "../../protocol/Features.js"
import * as Message from "../../protocol/Message.js"
import * as FrameSize from "../kernel/FrameSize.js"
import type { PeerKind } from "../kernel/Peers.js"
import { isStreamed } from "./internal/inlined.js"
import { isLive, type JobLog } from "./JobLog.js"
import type { EndedJob } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"

export { inlined as whole } from "./internal/inlined.js"

/** What decides of a session what it is sent. */
export interface Viewer {
  readonly sessionId: string
  readonly peer: PeerKind
  readonly features: ReadonlySet<string>
}

type Featured = Pick<Viewer, "features">

/** The feature of sessions that may be sent secrets (§9.8.1, §14). */
export const secrets = "provisioned_credentials"

/** Whether a session may be sent secrets at all. */
export const maySeeSecrets = ({ features }: Featured): boolean => features.has(secrets)

/**
 * Whether a session is sent another text of some events of a job. As negotiated now: it may have been resumed over a transport that must
 * not carry secrets (§14).
 */
export const seesOwn = (session: SessionLog, job: EndedJob): job is JobLog =>
  isLive(job) && job.hasOwnerPayloads && maySeeSecrets(session) && job.owners.includes(session)

/** An event's text for an owner that {@link seesOwn}. */
export const ownText = (job: JobLog, jobSeq: number, text: string): string => job.ownerPayload(jobSeq) ?? text

/** Whether a terminal message needs the chunks of its result to be sent. */
export const isWanting = ({ features }: Featured, type: string, payload: string): boolean =>
  type === "job.result" && !features.has("result_chunk") && isStreamed(payload)

/** An event with a payload of at most `bytes` bytes. */
export const cut = (type: string, payload: string, bytes: number): FrameSize.EventFrame =>
  FrameSize.fits(payload, bytes) ? { type, payload } : FrameSize.event(type, payload, bytes)

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
  { peer, sessionId }: Pick<Viewer, "peer" | "sessionId">,
  { id, job_id, payload, type }: RawEnvelope,
  error: ArcpError
): RawEnvelope | undefined => {
  if (peer !== "java" || !awaited.has(type)) return undefined
  const jobId = typeof payload.job_id === "string" ? payload.job_id.slice(0, 256) : job_id
  const { code, message, retryable } = toWire(error)
  return Message.runtime(
    "job.error",
    { id, session_id: sessionId, job_id: type === "job.subscribe" ? jobId : undefined },
    { final_status: "error", code, message, retryable }
  )
}

/** Whether a session is sent the `job.accepted` of delegated jobs: a Java client takes it for the answer to a pending submit. */
export const hearsOfChildren = ({ peer }: Pick<Viewer, "peer">): boolean => peer !== "java"

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

/** A job's terminal message as a session is sent it, with a payload of at most `bytes` bytes. */
export const ended = (
  { features, peer }: Pick<Viewer, "features" | "peer">,
  type: string,
  payload: string,
  bytes: number
): FrameSize.EventFrame => {
  if (type === "job.result") return cut(type, peer === "go" ? withOutput(payload, bytes) : payload, bytes)
  const error = retried(payload)
  return cut(type, features.has(agentErrors) ? error : translated(error), bytes)
}
