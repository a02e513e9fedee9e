/**
 * A job as one session is shown it: in a listing (ARCP 1.1 §6.6) and in the answer to a subscribe (§7.6).
 *
 * A job that runs is shown as it is now; the stored row counts once it has ended. Which credentials a session is shown is
 * decided in `credentials/View.ts`.
 */
import type * as Context from "effect/Context"
import { formatTimestamp, type WireLease, type WireLeaseConstraints } from "../../../protocol/Fields.js"
import type { Subscribed } from "../../../protocol/Job.js"
import type { JobInfo } from "../../../protocol/Session.js"
import type { StoredJob } from "../../../store/Store.js"
import type { Credentials } from "../../credentials/Credentials.js"
import { type Shown, shownTo } from "../../credentials/View.js"
import { wireBudget } from "../../jobs/Budgets.js"
import type { LiveJob, LiveSession } from "../../log/Model.js"
import { lastSeqFor, type Replay, replayedFrom } from "./numbers.js"

const parse = <A>(text: string | undefined): A | undefined => (text === undefined ? undefined : (JSON.parse(text) as A))

/** The views of one runtime's jobs; `liveJob`: a job that has not ended. */
export const jobViews = (
  liveJob: (jobId: string) => LiveJob | undefined,
  credentials: Pick<Context.Tag.Service<Credentials>, "wire">
) => {
  /** `replay` tells what follows; undefined: nothing does. */
  const descriptor = (
    session: LiveSession,
    stored: StoredJob,
    live: LiveJob | undefined,
    replay: Replay | undefined
  ): Subscribed => {
    const { record, state } = stored
    const constraints = parse<WireLeaseConstraints>(record.leaseConstraints)
    const budget = wireBudget(live?.budget ?? state.budget)
    return {
      job_id: record.jobId,
      current_status: live?.status ?? state.status,
      agent: `${record.agent}@${record.version}`,
      lease: JSON.parse(record.lease) as WireLease,
      ...(constraints === undefined ? {} : { lease_constraints: constraints }),
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
  const info = (session: LiveSession, { record, state }: StoredJob): JobInfo & Shown => {
    const live = liveJob(record.jobId)
    const constraints = parse<WireLeaseConstraints>(record.leaseConstraints)
    const budget = wireBudget(live?.budget ?? state.budget)
    const createdAt = formatTimestamp(record.createdAt)
    return {
      job_id: record.jobId,
      agent: `${record.agent}@${record.version}`,
      status: live?.status ?? state.status,
      lease: JSON.parse(record.lease) as WireLease,
      ...(constraints === undefined ? {} : { lease_constraints: constraints }),
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
