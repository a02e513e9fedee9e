/**
 * The log as the other rooms have it: events and changes are queued here, and {@link "./Writer.js"} writes them. Keeps the sessions whose
 * numbers it assigns.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { commitNowOf } from "../../store/CommitNow.js"
import type { Payload } from "../../store/Payload.js"
import { type SegmentClass, Store, type StoreError } from "../../store/Store.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { Limits } from "../kernel/Limits.js"
import * as Metrics from "../kernel/Metrics.js"
import { isTimed } from "../kernel/Turn.js"
import type { Batch } from "./Batch.js"
import { EndedReads } from "./EndedReads.js"
import type { JobLog } from "./JobLog.js"
import type { SessionLog } from "./SessionLog.js"
import { type Change, Writer } from "./Writer.js"

export type { Change } from "./Writer.js"

/** Writes the log. */
export class EventLog extends Context.Tag("effect-arcp/runtime/EventLog")<
  EventLog,
  {
    /**
     * Queues an event, synchronously. Answers whether the job's queue has room for more; where it has not, wait for
     * {@link room}.
     */
    readonly emit: (job: JobLog, cls: SegmentClass, payload: Payload) => boolean
    /** Waits until the job's queue has room. */
    readonly room: (job: JobLog) => Effect.Effect<void>
    /** Queues a change, synchronously. */
    readonly change: (change: Change) => void
    /** Queues a change and waits until it is durable; `committed` is called in the step in which it is. */
    readonly transact: (write: (batch: Batch) => void, committed?: () => void) => Effect.Effect<void, StoreError>
    /** Waits until everything queued so far is durable. */
    readonly flush: Effect.Effect<void, StoreError>
    /** Whether the last commit succeeded. */
    readonly healthy: () => boolean
    /** The reads of ended jobs, which retention does not remove meanwhile. */
    readonly endedReads: EndedReads
    /** The sessions whose numbers are kept here, by their ids, until they are gone for good. */
    readonly sessions: ReadonlyMap<string, SessionLog>
    /** Keeps a session, from before its first row is written. */
    readonly keep: (session: SessionLog) => void
    /** Keeps a session no more. */
    readonly drop: (session: SessionLog) => void
  }
>() {
  static readonly layer: Layer.Layer<EventLog, never, Store | Deadlines> = Layer.scoped(
    EventLog,
    Effect.gen(function* () {
      const store = yield* Store
      const deadlines = yield* Deadlines
      const limits = yield* Limits
      const meter = yield* Metrics.Meter
      const report = Runtime.runFork(yield* Effect.runtime<never>())
      const commitNow = commitNowOf(store.commit)
      const writer = new Writer({ store, commitNow, deadlines, limits, meter, timed: yield* isTimed, report })
      const sessions = new Map<string, SessionLog>()

      const transact = (write: (batch: Batch) => void, committed?: () => void): Effect.Effect<void, StoreError> =>
        Effect.async((resume) =>
          writer.change({
            write,
            committed: () => {
              try {
                committed?.()
              } finally {
                resume(Effect.void)
              }
            },
            failed: (error) => resume(Effect.fail(error))
          })
        )

      const room = (job: JobLog): Effect.Effect<void> =>
        Effect.async((resume) => {
          if (writer.hasRoom(job)) return resume(Effect.void)
          if (job.queuedEvents >= limits.queuedEvents) meter.reached("queuedEvents")
          else if (job.queuedBytes >= limits.queuedBytes) meter.reached("queuedBytes")
          const stopWaiting = job.wait(() => resume(Effect.void))
          return Effect.sync(stopWaiting)
        })

      yield* commitNow === undefined
        ? Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(writer.writing)), writer.finish)
        : Effect.addFinalizer(() => writer.finish(undefined))

      return {
        emit: writer.emit,
        room,
        change: writer.change,
        transact,
        flush: transact(() => {}),
        healthy: () => writer.healthy,
        endedReads: new EndedReads(),
        sessions,
        keep: (session) => void sessions.set(session.sessionId, session),
        drop: (session) => void sessions.delete(session.sessionId)
      }
    })
  )
}
