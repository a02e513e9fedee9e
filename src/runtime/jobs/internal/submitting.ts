/** A submit on its way through the engine. */
import * as Either from "effect/Either"
import type { KeptAccepted } from "../../../store/Rows.js"
import type { Reply } from "../../kernel/Reply.js"
import type { JobLog } from "../../log/JobLog.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { acceptedFor } from "../../credentials/View.js"
import type { JobAccepted, SubmitRequest } from "../JobScheduler.js"
import { Acceptance } from "../SubmitNow.js"
import type { Services } from "./engine.js"
import { JobId } from "../../../protocol/Ids.js"
import type { Accepted } from "../../../protocol/Job.js"

/** What is asked for, by which session of the log, and how it is answered. */
export interface Submitting {
  readonly session: SessionLog
  readonly request: SubmitRequest
  readonly reply: Reply<JobAccepted>
}

/** An idempotency key that is being used for the first time. */
export interface Key {
  readonly key: string
  readonly hash: string
  /** Called when the job's change is queued: from then on the change releases the key, whatever becomes of the request. */
  readonly queued: () => void
  readonly done: () => void
}

/** Answers with a job's acceptance, as the session that asks may see it; `text`: of the acceptance, where that is its JSON. */
export const accept = (
  { reply, session }: Submitting,
  { credentials }: Pick<Services, "credentials">,
  record: JobLog["record"],
  kept: KeptAccepted,
  text?: string
): void => {
  const { priority } = kept
  const accepted = priority === undefined ? kept : withoutPriority(kept)
  const payload = acceptedFor(credentials, session, record, accepted)
  const answer: JobAccepted = { jobId: JobId(record.jobId), traceId: record.traceId, payload, priority }
  reply(Either.right(payload === kept ? new Acceptance(answer, text) : answer))
}

const withoutPriority = ({ priority: _, ...accepted }: KeptAccepted): Accepted => accepted
