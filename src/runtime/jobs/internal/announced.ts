/** How a delegated job is announced to the sessions that own it (ARCP 1.1 §10). */
import type * as Context from "effect/Context"
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import type { Accepted } from "../../../protocol/Job.js"
import * as Message from "../../../protocol/Message.js"
import type { Credentials } from "../../credentials/Credentials.js"
import { acceptedFor } from "../../credentials/View.js"
import { hearsOfChildren } from "../../kernel/Peers.js"
import type { JobLog } from "../../log/JobLog.js"
import type { SessionLog } from "../../log/SessionLog.js"

/**
 * Its `job.accepted`; undefined for a session that is not told. `credentials` shows the job's (§9.8.2); `id` is the
 * envelope's.
 */
export const announcement = (
  owner: SessionLog,
  live: JobLog,
  accepted: Accepted,
  credentials: Pick<Context.Tag.Service<Credentials>, "wire">,
  id: () => string
): RawEnvelope | undefined =>
  hearsOfChildren(owner)
    ? Message.runtime(
        "job.accepted",
        { id: id(), session_id: owner.sessionId, job_id: live.jobId, trace_id: live.traceId },
        acceptedFor(credentials, owner, live.record, accepted)
      )
    : undefined
