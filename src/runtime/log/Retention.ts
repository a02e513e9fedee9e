/**
 * Retention: deletes what has been kept long enough, ended jobs with their events, and idempotency keys that have expired.
 *
 * Order: a job is deleted in one change with the floors of the sessions that were given its events. A session that has not been sent
 * them is refused a resume from before its floor; its replay is never silently short.
 *
 * Races: a sweep deletes a few jobs in a step and then gives the event loop a turn, so that it holds up no other change of the log. What
 * a process leaves when it stops in the middle of a sweep, the first sweep of the next one purges.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Store, type StoreError } from "../../store/Store.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { nextTurn } from "../kernel/Turn.js"
import { EventLog } from "./EventLog.js"
import { Limits } from "../kernel/Limits.js"

/** Jobs that the store is asked for at a time: it counts all that have ended for each answer. */
const askedFor = 512
/** Jobs that one step removes; a sweep goes on until none is left to remove. */
const stepSize = 32

/** Sweeps in the background. A sweep that fails is logged and tried again at the next time. */
export const layer: Layer.Layer<never, never, Store | EventLog | Deadlines> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const store = yield* Store
    const eventLog = yield* EventLog
    const deadlines = yield* Deadlines
    const limits = yield* Limits
    const removeSome = (jobIds: ReadonlyArray<string>): Effect.Effect<void, StoreError> =>
      Effect.gen(function* () {
        const gone = (yield* Effect.forEach(jobIds, (jobId) => store.deliveredTo(jobId))).flat()
        yield* eventLog.transact((batch) => {
          batch.removeJobs(jobIds)
          for (const { lastSeq, sessionId } of gone) {
            const session = eventLog.session(sessionId)
            if (session !== undefined) batch.raiseFloor(session, lastSeq)
          }
        })
        yield* nextTurn
      })
    const removeJobs: Effect.Effect<number, StoreError> = Effect.gen(function* () {
      let removed = 0
      for (;;) {
        const expired = yield* store.expiredJobs(
          {
            endedBefore: deadlines.now() - limits.retainEndedFor,
            maxJobs: limits.retainEndedJobs,
            maxBytes: limits.retainEndedBytes
          },
          askedFor
        )
        // What has ended stays so: they may go in several steps.
        yield* Effect.forEach(Arr.chunksOf(expired, stepSize), removeSome, { discard: true })
        removed += expired.length
        if (expired.length < askedFor) return removed
      }
    })
    let begun = false
    const sweep = Effect.gen(function* () {
      const jobs = yield* removeJobs
      const keys = yield* store.removeExpiredKeys(deadlines.now())
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
