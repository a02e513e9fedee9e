/** Letting go of what has been kept long enough: ended jobs with their events, and idempotency keys. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { Store } from "../store/Store.js"
import { Deadlines } from "./Deadlines.js"
import { Journal } from "./Journal.js"
import { Limits } from "./Limits.js"

/** Jobs that one step removes; a sweep goes on until none is left to remove. */
const stepSize = 200

/** Sweeps in the background. A sweep that fails is logged and tried again at the next time. */
export const layer: Layer.Layer<never, never, Store | Journal | Deadlines> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const store = yield* Store
    const journal = yield* Journal
    const deadlines = yield* Deadlines
    const limits = yield* Limits
    const removeJobs: Effect.Effect<void, unknown> = Effect.gen(function* () {
      const expired = yield* store.expiredJobs(
        {
          endedBefore: deadlines.now() - limits.retainEndedFor,
          maxJobs: limits.retainEndedJobs,
          maxBytes: limits.retainEndedBytes
        },
        stepSize
      )
      if (expired.length === 0) return
      yield* journal.transact((builder) => {
        for (const jobId of expired) builder.jobsRemoved.push(jobId)
      })
      if (expired.length === stepSize) yield* removeJobs
    })
    yield* Effect.suspend(() => Effect.zipRight(removeJobs, store.removeExpiredKeys(deadlines.now()))).pipe(
      Effect.catchAllCause((cause) => Effect.logWarning("retention could not be looked after", cause)),
      Effect.schedule(Schedule.spaced(limits.sweepEvery)),
      Effect.forkScoped
    )
  })
)
