/** How a delegated job is announced to the sessions that own it (ARCP 1.1 §10). */
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import * as Message from "../../../protocol/Message.js"
import { acceptedFor } from "../../credentials/View.js"
import type { JobLog } from "../../log/JobLog.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { hearsOfChildren } from "../../log/SessionView.js"
import type { Engine } from "./engine.js"

/** Its `job.accepted` with the credentials that the session may see (§9.8.2); undefined for a session that gets none of children. */
export const announcement = (
  { credentials, deadlines, ids }: Pick<Engine, "credentials" | "deadlines" | "ids">,
  owner: SessionLog,
  { jobId, record, traceId, values }: JobLog
): RawEnvelope | undefined =>
  hearsOfChildren(owner)
    ? Message.runtime(
        "job.accepted",
        {
          id: ids.unsafeUlid(deadlines.wall()),
          session_id: owner.sessionId,
          job_id: jobId,
          trace_id: traceId
        },
        acceptedFor(credentials, owner, record, values.accepted)
      )
    : undefined
