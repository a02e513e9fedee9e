/**
 * The runtime's single writer: persist, then send.
 *
 * Responsibility: everything that changes durable state goes through one queue. While one batch commits the next
 * gathers (group commit); when a batch has committed its numbers become real, replies are posted and the sessions'
 * links are woken.
 *
 * Order: changes and events take effect in the order in which they were queued. Events of a job keep their order in
 * every session.
 *
 * Races closed here: assigning a number and queueing the event for sending are one step; a failed commit assigns no
 * number and sends nothing; a subscription's boundary is its place in the queue.
 *
 * When the store fails, changes that somebody waits for fail, and events and ends of jobs are written again until the
 * store recovers; emitters wait at their bound meanwhile. When it does not answer, the same holds for what is queued behind the
 * batch that it has; of that batch nothing is said until the answer comes.
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { type SegmentClass, Store, type StoreError } from "../../store/Store.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import type { Batch } from "./Batch.js"
import { type Change, Writer } from "./internal/writer.js"
import type { JobLog } from "./JobLog.js"
import type { SessionLog } from "./SessionLog.js"

export type { Change } from "./internal/writer.js"

/** Writes the log. */
export class EventLog extends Context.Tag("effect-arcp/runtime/EventLog")<
  EventLog,
  {
    /**
     * Queues an event, synchronously. Answers whether the job's queue has room for more; where it has not, wait for
     * {@link room}.
     */
    readonly emit: (job: JobLog, cls: SegmentClass, payload: string) => boolean
    /** Waits until the job's queue has room. */
    readonly room: (job: JobLog) => Effect.Effect<void>
    /** Queues a change, synchronously. */
    readonly change: (change: Change) => void
    /** Queues a change and waits until it is durable. */
    readonly transact: (write: (batch: Batch) => void) => Effect.Effect<void, StoreError>
    /** Waits until everything queued so far is durable. */
    readonly flush: Effect.Effect<void, StoreError>
    /** Whether the last commit succeeded. */
    readonly healthy: () => boolean
    /** A session whose numbers are kept here, until it is gone for good. */
    readonly session: (sessionId: string) => SessionLog | undefined
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
      const meter = yield* Meter
      const report = Runtime.runFork(yield* Effect.runtime<never>())
      const writer = new Writer({ store, deadlines, limits, meter, report })
      const sessions = new Map<string, SessionLog>()

      const transact = (write: (batch: Batch) => void): Effect.Effect<void, StoreError> =>
        Effect.async((resume) =>
          writer.change({
            write,
            committed: () => resume(Effect.void),
            failed: (error) => resume(Effect.fail(error))
          })
        )

      const room = (job: JobLog): Effect.Effect<void> =>
        Effect.async((resume) => {
          if (writer.hasRoom(job)) return resume(Effect.void)
          meter.reached(job.queuedEvents < limits.queuedEvents ? "queuedBytes" : "queuedEvents")
          const stopWaiting = job.wait(() => resume(Effect.void))
          return Effect.sync(stopWaiting)
        })

      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(writer.writing)), writer.finish)

      return {
        emit: (job, cls, payload) => {
          writer.emit(job, cls, payload)
          return writer.hasRoom(job)
        },
        room,
        change: writer.change,
        transact,
        flush: transact(() => {}),
        healthy: () => writer.healthy,
        session: (sessionId) => sessions.get(sessionId),
        keep: (session) => void sessions.set(session.sessionId, session),
        drop: (session) => void sessions.delete(session.sessionId)
      }
    })
  )
}
