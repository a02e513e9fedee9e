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
 * Races: a sweep deletes a few jobs in a step and then gives the event loop a turn, so that it holds up no other change of the log. What
 * a process leaves when it stops in the middle of a sweep, the first sweep of the next one purges.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Store } from "../../store/Store.js"
import { anonymousShare } from "../kernel/AnonymousShare.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { nextTurn } from "../kernel/Turn.js"
import { EventLog } from "./EventLog.js"
import { Limits, type LimitsShape } from "../kernel/Limits.js"
import type { SessionLog } from "./SessionLog.js"

/** Jobs that one step removes; a sweep goes on until none is left to remove. */
const stepSize = 20

/** Jobs for which the store is asked at a time. */
const askSize = 400

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
    /** The ended jobs that may go next, besides those that stay. */
    const removable = (staying: ReadonlySet<string>) =>
      Effect.map(
        store.expiredJobs(
          {
            endedBefore: deadlines.wall() - limits.retainEndedFor,
            maxJobs: limits.retainEndedJobs,
            maxBytes: limits.retainEndedBytes,
            ...(limits.anonymousShare >= 100 ? {} : { anonymous: share })
          },
          askSize + staying.size
        ),
        (expired) => expired.filter((jobId) => !staying.has(jobId))
      )
    /** Removes a few jobs; how many. Those that stay are added to `staying`. */
    const removeStep = (jobIds: ReadonlyArray<string>, staying: Set<string>) =>
      Effect.gen(function* () {
        const gone: Array<{ readonly jobId: string; readonly given: ReadonlyArray<Given> }> = []
        for (const jobId of jobIds) {
          const given = yield* store.deliveredTo(jobId)
          if (given.some(({ lastSeq, sessionId }) => isOwed(eventLog.sessions.get(sessionId), lastSeq, limits))) {
            staying.add(jobId)
          } else gone.push({ jobId, given })
        }
        if (gone.length > 0) {
          yield* eventLog.transact((batch) => {
            batch.removeJobs(gone.map(({ jobId }) => jobId))
            for (const { lastSeq, sessionId } of gone.flatMap(({ given }) => given)) {
              const session = eventLog.sessions.get(sessionId)
              if (session !== undefined) batch.raiseFloor(session, lastSeq)
            }
          })
        }
        yield* nextTurn
        return gone.length
      })
    const removeJobs = Effect.gen(function* () {
      const staying = new Set<string>()
      let removed = 0
      for (;;) {
        const expired = yield* removable(staying)
        // A store may name fewer than go, but none only where none goes.
        if (expired.length === 0) return removed
        for (let at = 0; at < expired.length; at += stepSize) {
          removed += yield* removeStep(expired.slice(at, at + stepSize), staying)
        }
      }
    })
    let begun = false
    const sweep = Effect.gen(function* () {
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
