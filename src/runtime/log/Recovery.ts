/**
 * The logs of an earlier process: its sessions, and the jobs that it left unfinished, attached to the sessions that they had.
 *
 * Responsibility: numbers, attachments and gaps of history as the store has them. Who may come back to a session is for the sessions, which
 * adopt it; what becomes of a job is for the jobs.
 *
 * Order: logs first, then sessions, credentials and jobs. A job has all of its sessions before anything of it can go on, so that each is
 * sent what it emits next.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { DecodedRecovered, RecoveredJob } from "../../store/Rows.js"
import type { SegmentHead, Store, StoreError, SubscriptionRecord } from "../../store/Store.js"
import type { Run } from "../kernel/Runs.js"
import { pause } from "../kernel/Turn.js"
import { JobLog } from "./JobLog.js"
import { runsOf } from "./Replay.js"
import { SessionLog } from "./SessionLog.js"

/** An unfinished job. */
export interface RecoveredJobLog {
  readonly stored: RecoveredJob
  readonly live: JobLog
  /** Which of its events are stored, and of which class. */
  readonly heads: ReadonlyArray<SegmentHead>
}

/** What there was. */
export interface RecoveredLogs {
  readonly sessions: ReadonlyArray<SessionLog>
  readonly jobs: ReadonlyArray<RecoveredJobLog>
}

type Sessions = ReadonlyMap<string, SessionLog>

/** The observers of each job. */
const observersOf = (
  subscriptions: ReadonlyArray<SubscriptionRecord>,
  sessions: Sessions
): ReadonlyMap<string, ReadonlyArray<SessionLog>> => {
  const observing = new Map<string, Array<SessionLog>>()
  for (const { jobId, sessionId } of subscriptions) {
    const session = sessions.get(sessionId)
    const known = observing.get(jobId)
    if (session !== undefined && known !== undefined) known.push(session)
    else if (session !== undefined) observing.set(jobId, [session])
  }
  return observing
}

const jobLog = (
  store: Context.Tag.Service<Store>,
  stored: RecoveredJob,
  sessions: Sessions,
  observers: ReadonlyArray<SessionLog>
): Effect.Effect<RecoveredJobLog, StoreError> =>
  Effect.gen(function* () {
    const { otherOwners, record, state, values } = stored
    const owners = [state.ownerSessionId, ...otherOwners].flatMap((id) => sessions.get(id) ?? [])
    const attached = new Map<SessionLog, ReadonlyArray<Run>>()
    for (const session of new Set([...owners, ...observers])) {
      attached.set(session, yield* store.deliveriesOfJob(session.sessionId, record.jobId))
    }
    const heads = yield* store.segmentHeads(record.jobId, 1, state.lastJobSeq)
    const live = new JobLog(record, state, values)
    live.recover({
      attached,
      owners,
      observers,
      trimmedTo: (heads[0]?.firstSeq ?? 1) - 1,
      gated: runsOf(heads).filter((run) => run.class === "progress" || run.class === "chunk")
    })
    return { stored, live, heads }
  })

/** Recovers the logs; `now` is elapsed time. */
export const recoverLogs = (
  store: Context.Tag.Service<Store>,
  rows: DecodedRecovered,
  now: number
): Effect.Effect<RecoveredLogs, StoreError> =>
  Effect.gen(function* () {
    const sessions = new Map<string, SessionLog>()
    for (const record of rows.sessions) {
      // The time while the runtime was down does not count: clients could not come back.
      sessions.set(record.sessionId, new SessionLog(record, now))
      yield* pause
    }
    const observing = observersOf(rows.subscriptions, sessions)
    const jobs: Array<RecoveredJobLog> = []
    for (const stored of rows.jobs) {
      yield* pause
      jobs.push(yield* jobLog(store, stored, sessions, observing.get(stored.record.jobId) ?? []))
    }
    return { sessions: [...sessions.values()], jobs }
  })
