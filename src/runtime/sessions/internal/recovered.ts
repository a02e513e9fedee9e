/**
 * The jobs of an earlier process, attached to the sessions that they had: those of their owners, and of their observers.
 *
 * Order: a parent before its children. A job is attached to all of its sessions in one step with its start, so that each is sent what
 * the job emits next.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { DecodedRecovered } from "../../../store/Rows.js"
import type { Store, StoreError } from "../../../store/Store.js"
import type { JobRunner } from "../../jobs/JobRunner.js"
import type { Run } from "../../log/Run.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { runsOf } from "../../log/Replay.js"
import { openCallsOf, parentsFirst } from "../../jobs/Recovery.js"
import { pause } from "../../kernel/Turn.js"

/** Recovers the jobs; `sessions` has the sessions of the earlier process already. */
export const recoverJobs = (
  recovered: DecodedRecovered,
  sessions: ReadonlyMap<string, SessionLog>,
  store: Context.Tag.Service<Store>,
  runner: Pick<Context.Tag.Service<JobRunner>, "recover">
): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    const observing = new Map<string, Array<SessionLog>>()
    for (const { jobId, sessionId } of recovered.subscriptions) {
      const session = sessions.get(sessionId)
      const known = observing.get(jobId)
      if (session !== undefined && known !== undefined) known.push(session)
      else if (session !== undefined) observing.set(jobId, [session])
    }
    for (const stored of parentsFirst(recovered.jobs)) {
      yield* pause
      const { jobId } = stored.record
      const { otherOwners = [], ownerSessionId } = stored.state
      const owners = [ownerSessionId, ...otherOwners].flatMap((id) => sessions.get(id) ?? [])
      const observers = observing.get(jobId) ?? []
      const attached = new Map<SessionLog, ReadonlyArray<Run>>()
      for (const session of new Set([...owners, ...observers])) {
        attached.set(session, yield* store.deliveriesOfJob(session.sessionId, jobId))
      }
      const heads = yield* store.segmentHeads(jobId, 1, stored.state.lastJobSeq)
      const openCalls = yield* openCallsOf(store, jobId, heads)
      // From here on without a pause: what the job emits next must find every session attached.
      const live = runner.recover(stored, openCalls)
      live.recover({
        attached,
        owners,
        observers,
        trimmedTo: (heads[0]?.firstSeq ?? 1) - 1,
        gated: runsOf(heads).filter((run) => run.class === "progress" || run.class === "chunk")
      })
    }
  })
