/**
 * A job as one session is shown it: in a listing (ARCP 1.1 §6.6) and in the answer to a subscribe (§7.6).
 *
 * A job that runs is shown as it is now; the stored row counts once it has ended. Which credentials a session is shown is
 * decided in `credentials/View.ts`.
 */
import type * as Context from "effect/Context"
import * as Amount from "../../../authority/Amount.js"
import { formatTimestamp } from "../../../protocol/Fields.js"
import type { Subscribed } from "../../../protocol/Job.js"
import type { JobInfo } from "../../../protocol/Session.js"
import type { DecodedJob } from "../../../store/Rows.js"
import type { Credentials } from "../../credentials/Credentials.js"
import { type Shown, shownTo } from "../../credentials/View.js"
import { wireBudget } from "../../jobs/Accounts.js"
import type { JobLog } from "../../log/JobLog.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { lastSeqFor, type Replay, replayedFrom } from "./numbers.js"

/** The counters of a job: as they are now where it has not ended. */
const budgetOf = ({ counters }: DecodedJob, live: JobLog | undefined) =>
  live?.budget !== undefined ? wireBudget(live.budget) : counters.size === 0 ? undefined : Amount.toWire(counters)

/** The views of one runtime's jobs; `liveJob`: a job that has not ended. */
export const jobViews = (
  liveJob: (jobId: string) => JobLog | undefined,
  credentials: Pick<Context.Tag.Service<Credentials>, "wire">
) => {
  /** `replay` tells what follows; undefined: nothing does. */
  const descriptor = (
    session: SessionLog,
    stored: DecodedJob,
    live: JobLog | undefined,
    replay: Replay | undefined
  ): Subscribed => {
    const { record, state, values } = stored
    const budget = budgetOf(stored, live)
    return {
      job_id: record.jobId,
      current_status: live?.status ?? state.status,
      agent: `${record.agent}@${record.version}`,
      lease: values.lease,
      ...(values.leaseConstraints === undefined ? {} : { lease_constraints: values.leaseConstraints }),
      ...(budget === undefined ? {} : { budget }),
      ...shownTo(credentials, session, record),
      parent_job_id: record.parentJobId ?? null,
      trace_id: record.traceId,
      subscribed_from:
        replay !== undefined
          ? replayedFrom(replay)
          : live === undefined
            ? state.lastOwnerSeq
            : lastSeqFor(session, live),
      replayed: replay !== undefined
    }
  }

  /** A row of a listing. */
  const info = (session: SessionLog, stored: DecodedJob): JobInfo & Shown => {
    const { record, state, values } = stored
    const live = liveJob(record.jobId)
    const budget = budgetOf(stored, live)
    const createdAt = formatTimestamp(record.createdAt)
    return {
      job_id: record.jobId,
      agent: `${record.agent}@${record.version}`,
      status: live?.status ?? state.status,
      lease: values.lease,
      ...(values.leaseConstraints === undefined ? {} : { lease_constraints: values.leaseConstraints }),
      ...(budget === undefined ? {} : { budget }),
      ...shownTo(credentials, session, record),
      parent_job_id: record.parentJobId ?? null,
      created_at: createdAt,
      // The same, as other clients read it.
      submitted_at: createdAt,
      trace_id: record.traceId,
      last_event_seq: live === undefined ? state.lastOwnerSeq : lastSeqFor(session, live)
    }
  }

  return { descriptor, info }
}

/** How jobs are shown. */
export type JobViews = ReturnType<typeof jobViews>
