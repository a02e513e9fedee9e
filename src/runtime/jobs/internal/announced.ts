/** How jobs are announced: to the session that submits one (ARCP 1.1 §7.1), and to the owners of one that is delegated (§10). */
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import type { Accepted, Credential } from "../../../protocol/Job.js"
import * as Message from "../../../protocol/Message.js"
import type { LiveJob, LiveSession } from "../../log/Model.js"
import { hearsOfChildren } from "../../log/Peers.js"

/** The reply with the job's credentials, where the session negotiated them: others are not shown them (§9.8.2, §14). */
export const shownTo = (
  session: LiveSession,
  accepted: Accepted,
  credentials: () => ReadonlyArray<Credential>
): Accepted => {
  const issued = session.features.has("provisioned_credentials") ? credentials() : []
  return issued.length === 0 ? accepted : { ...accepted, credentials: issued }
}

/**
 * The `job.accepted` of a delegated job; undefined for a session that does not get it. `credentials` are the job's, and shown where they were negotiated
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
  return Message.runtime(
    "job.accepted",
    { id: id(), session_id: owner.sessionId, job_id: jobId, trace_id: traceId },
    shownTo(owner, accepted, credentials)
  )
}
