/**
 * Retention: deletes what has been kept long enough, ended jobs with their events, and idempotency keys that have expired.
 *
 * Order: a job is deleted in one change with the floors of the sessions that were given its events. A session that has not been sent
 * them is refused a resume from before its floor; its replay is never silently short.
 *
 * Of what is kept by number and bytes, jobs of anonymous principals have a part at least, and where they have more, they go first: however
 * many such jobs end, they take nothing of the others' part.
 *
 * What a connected session has not been sent yet stays until it has, whatever the bounds say, up to `Limits.bufferedEvents` and
 * `Limits.bufferedBytes` behind: a reader that never reads keeps no more than that.
 *
 * Races: an ended job that a subscribe is reading stays until the next sweep (`EndedReads`). A sweep deletes a few jobs in a step and then
 * gives the event loop a turn, so that it holds up no other change of the log. What a process leaves when it stops in the middle of a sweep,
 * the first sweep of the next one purges.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Store, type StoreError } from "../../store/Store.js"
import { anonymousShare } from "../kernel/AnonymousShare.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { nextTurn } from "../kernel/Turn.js"
import type { Batch } from "./Batch.js"
import { EventLog } from "./EventLog.js"
import { Limits, type LimitsShape } from "../kernel/Limits.js"
import type { SessionLog } from "./SessionLog.js"

/** Jobs that the store is asked for at a time: it counts all that have ended for each answer. */
const askedFor = 512
/** Jobs that one step removes; a sweep goes on until none is left to remove. */
const stepSize = 32

/** The last number of a session that is an event of a job. */
interface Given {
  readonly sessionId: string
  readonly lastSeq: number
}

/** Whether a session is connected, and an event of it that is kept for it has not been sent. */
const isOwed = (session: SessionLog | undefined, lastSeq: number, limits: LimitsShape): boolean => {
  const { link } = session ?? {}
  if (session === undefined || link === undefined || link.closing !== undefined || link.cursor >= lastSeq) return false
  return (
    lastSeq > session.seq - limits.bufferedEvents && lastSeq > session.seqAtBytes(session.bytes - limits.bufferedBytes)
  )
}

/** Sweeps in the background. A sweep that fails is logged and tried again at the next time. */
export const layer: Layer.Layer<never, never, Store | EventLog | Deadlines> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const store = yield* Store
    const eventLog = yield* EventLog
    const deadlines = yield* Deadlines
    const limits = yield* Limits
    const share = {
      maxJobs: anonymousShare(limits, limits.retainEndedJobs),
      maxBytes: anonymousShare(limits, limits.retainEndedBytes)
    }
    /** Removes those of a few ended jobs that no connected session is owed; the others join those that stay. Returns how many went. */
    const removeSome = (jobIds: ReadonlyArray<string>, staying: Set<string>): Effect.Effect<number, StoreError> =>
      Effect.gen(function* () {
        const { endedReads } = eventLog
        const since = endedReads.now
        const given = yield* Effect.forEach(jobIds, (jobId) => store.deliveredTo(jobId))
        let going: ReadonlyArray<string> = []
        const decided = () => endedReads.decided(jobIds)
        yield* eventLog
          .transact((batch) => {
            // Judged in the step that removes them: a session may have come back since they were read.
            going = jobIds.filter((jobId, i) => !stays(jobId, given[i]!, since, staying))
            for (const [i, jobId] of jobIds.entries()) if (!staying.has(jobId)) raise(batch, given[i]!)
            if (going.length > 0) batch.removeJobs(going)
            endedReads.removing(going)
          }, decided)
          .pipe(Effect.onError(() => Effect.sync(decided)))
        yield* nextTurn
        return going.length
      })
    const stays = (jobId: string, given: ReadonlyArray<Given>, since: number, staying: Set<string>): boolean => {
      // `given` was read before: a session that has subscribed since is not in it.
      const isRead = eventLog.endedReads.isRead(jobId, since)
      const owed =
        isRead || given.some(({ lastSeq, sessionId }) => isOwed(eventLog.sessions.get(sessionId), lastSeq, limits))
      if (owed) staying.add(jobId)
      return owed
    }
    const raise = (batch: Batch, given: ReadonlyArray<Given>): void => {
      for (const { lastSeq, sessionId } of given) {
        const session = eventLog.sessions.get(sessionId)
        if (session !== undefined) batch.raiseFloor(session, lastSeq)
      }
    }
    const removeJobs: Effect.Effect<number, StoreError> = Effect.gen(function* () {
      const staying = new Set<string>()
      let removed = 0
      for (;;) {
        const asked = askedFor + staying.size
        const expired = yield* store.expiredJobs(
          {
            endedBefore: deadlines.wall() - limits.retainEndedFor,
            maxJobs: limits.retainEndedJobs,
            maxBytes: limits.retainEndedBytes,
            ...(limits.anonymousShare >= 100 ? {} : { anonymous: share })
          },
          asked
        )
        // What has ended stays so: they may go in several steps. A store names as many as it is asked for, where so many go.
        const some = expired.filter((jobId) => !staying.has(jobId))
        if (some.length === 0) return removed
        for (const jobIds of Arr.chunksOf(some, stepSize)) removed += yield* removeSome(jobIds, staying)
      }
    })
    let begun = false
    const sweep = Effect.gen(function* () {
      eventLog.endedReads.forget()
      const jobs = yield* removeJobs
      const keys = yield* store.removeExpiredKeys(deadlines.wall())
      // The first one goes on where an earlier process was stopped.
      if (jobs + keys > 0 || !begun) yield* store.purge
      begun = true
    })
    yield* sweep.pipe(
      Effect.catchAllCause((cause) => Effect.logWarning("the retention sweep failed", cause)),
      Effect.schedule(Schedule.spaced(limits.sweepEvery)),
      Effect.forkScoped
    )
  })
)
