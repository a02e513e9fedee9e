/** How a delegated job is announced to the sessions that own it (ARCP 1.1 §10). */
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import type { Accepted, Credential } from "../../../protocol/Job.js"
import * as Message from "../../../protocol/Message.js"
import type { LiveJob, LiveSession } from "../../log/Model.js"
import { hearsOfChildren } from "../../kernel/Peers.js"

/**
 * Its `job.accepted`; undefined for a session that is not told. `credentials` are the job's, and shown where they were negotiated
 * (§9.8.2); `id` is the envelope's.
 */
export const announcement = (
  owner: LiveSession,
  { jobId, traceId }: LiveJob,
  accepted: Accepted,
  credentials: () => ReadonlyArray<Credential>,
  id: () => string
): RawEnvelope | undefined => {
  if (!hearsOfChildren(owner)) return undefined
  const issued = owner.features.has("provisioned_credentials") ? credentials() : []
  return Message.runtime(
    "job.accepted",
    { id: id(), session_id: owner.sessionId, job_id: jobId, trace_id: traceId },
    { ...accepted, ...(issued.length === 0 ? {} : { credentials: issued }) }
  )
}
