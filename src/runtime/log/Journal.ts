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
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type { SegmentClass } from "../../store/Store.js"
import { Store, StoreError } from "../../store/Store.js"
import * as Text from "../../protocol/Text.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { atEnd } from "../kernel/AtEnd.js"
import { Builder } from "./Builder.js"
import type { LiveJob, LiveSession } from "./Model.js"
import { noAnswer } from "../kernel/Patience.js"
import { nextTurn, pause } from "../kernel/Turn.js"
import { Limits } from "../kernel/Limits.js"
import * as Metrics from "../kernel/Metrics.js"

/** A change of durable state that is not an event. */
export interface Change {
  /** Adds to the batch. Called again when the batch failed and the change is kept, so it must be repeatable. */
  readonly write: (builder: Builder) => void
  /** Called once, when it is durable. */
  readonly committed?: () => void
  /** Called once, when its batch failed: the change is dropped. A change without this is written until it succeeds. */
  readonly failed?: (error: StoreError) => void
}

interface Emission {
  readonly job: LiveJob
  readonly class: SegmentClass
  readonly payload: string
}

type Op = Emission | Change

const isEmission = (op: Op): op is Emission => "payload" in op

/** A batch with more than this many operations gives the event loop a turn before the next. */
const busyBatch = 64
/** Operations and characters of events after which a batch is full: the rest is written by the next. */
const fullBatch = 4_096
const fullBatchChars = 1_048_576
/** How often requests are refused while the store does not answer. */
const nextLook = 1_000
const firstRetry = 50
const lastRetry = 5_000
/** How often a closing journal tries to write what is queued. */
const drainAttempts = 5
/** How long a closing journal waits for a store that does not answer. */
const lastWait = 5_000

/** Writes the journal. */
export class Journal extends Context.Tag("effect-arcp/runtime/Journal")<
  Journal,
  {
    /**
     * Queues an event, synchronously. Answers whether the job's queue has room for more; where it has not, wait for
     * {@link room}.
     */
    readonly emit: (job: LiveJob, cls: SegmentClass, payload: string) => boolean
    /** Waits until the job's queue has room. */
    readonly room: (job: LiveJob) => Effect.Effect<void>
    /** Queues a change, synchronously. */
    readonly change: (change: Change) => void
    /** Queues a change and waits until it is durable. */
    readonly transact: (write: (builder: Builder) => void) => Effect.Effect<void, StoreError>
    /** Waits until everything queued so far is durable. */
    readonly flush: Effect.Effect<void, StoreError>
    /** Whether the last commit succeeded. */
    readonly healthy: () => boolean
  }
>() {
  static readonly layer: Layer.Layer<Journal, never, Store | Deadlines> = Layer.scoped(
    Journal,
    Effect.gen(function* () {
      const store = yield* Store
      const deadlines = yield* Deadlines
      const limits = yield* Limits
      const meter = yield* Metrics.Meter
      const report = Runtime.runFork(yield* Effect.runtime<never>())
      let queue: Array<Op> = []
      let wake: (() => void) | undefined
      let healthy = true
      let attempts = 0
      /** When the store was given the batch that it has. */
      let inHandSince: number | undefined
      let watched = false
      /** Whether it has been told that the store does not answer. */
      let told = false

      const signal = () => {
        const resume = wake
        if (resume === undefined) return
        wake = undefined
        resume()
      }

      const change = (c: Change): void => {
        queue.push(c)
        signal()
      }

      const transact = (write: (builder: Builder) => void): Effect.Effect<void, StoreError> =>
        Effect.async((resume) =>
          change({
            write,
            committed: () => resume(Effect.void),
            failed: (error) => resume(Effect.fail(error))
          })
        )

      const hasRoom = (job: LiveJob) => job.queuedEvents < limits.queuedEvents && job.queuedBytes < limits.queuedBytes

      const emit = (job: LiveJob, cls: SegmentClass, payload: string): boolean => {
        queue.push({ job, class: cls, payload })
        job.queuedEvents++
        job.queuedBytes += payload.length
        if (wake !== undefined) signal()
        return hasRoom(job)
      }

      const room = (job: LiveJob): Effect.Effect<void> =>
        Effect.async((resume) => {
          if (hasRoom(job)) return resume(Effect.void)
          meter.reached(job.queuedEvents < limits.queuedEvents ? "queuedBytes" : "queuedEvents")
          const waiter = () => resume(Effect.void)
          job.waiting.push(waiter)
          return Effect.sync(() => {
            job.waiting = job.waiting.filter((w) => w !== waiter)
          })
        })

      const releaseEmitters = (job: LiveJob) => {
        if (job.waiting.length === 0 || !hasRoom(job)) return
        const { waiting } = job
        job.waiting = []
        for (const resume of waiting) resume()
      }

      /** Trims the history of a job whose newer events suffice, and of sessions that are too far behind (§6.5). */
      const trim = (job: LiveJob): void => {
        const tooLong = job.seq - job.trimmedTo > limits.historyEvents * 2
        const tooLarge = job.bytes - job.trimmedBytes > limits.historyBytes * 2
        if (job.ending || !(tooLong || tooLarge)) return
        let upTo = Math.max(
          tooLong ? job.seq - limits.historyEvents : 0,
          tooLarge ? job.byteMarks.upTo(job.bytes - limits.historyBytes) : 0
        )
        for (const { runs, session } of job.attachments.values()) {
          const acked = session.features.has("ack") ? session.ackedSeq : 0
          const needed = Math.max(
            acked,
            session.seq - limits.bufferedEvents,
            session.byteMarks.upTo(session.bytes - limits.bufferedBytes)
          )
          // All of them: where a history was replayed once more, later runs have earlier events.
          for (const run of runs) {
            if (run.lastSeq <= needed) continue
            upTo = Math.min(upTo, run.firstJobSeq + Math.max(0, needed - run.firstSeq + 1) - 1)
          }
        }
        // The last event stays: a history that lacks its beginning always has something that says so.
        upTo = Math.min(upTo, job.seq - 1)
        const freed = job.byteMarks.at(upTo) - job.trimmedBytes
        // Not for a little.
        if (upTo - job.trimmedTo < limits.historyEvents / 2 && freed < limits.historyBytes / 2) return
        job.trimmedTo = upTo
        meter.reached(tooLong ? "historyEvents" : "historyBytes")
        job.trimmedBytes += Math.max(0, freed)
        job.byteMarks.forget(upTo)
        job.gated = job.gated.filter((run) => run.last > upTo)
        change({
          write: (builder) => {
            builder.trims.push({ jobId: job.jobId, upTo })
            for (const { runs, session } of job.attachments.values()) {
              for (const run of runs) {
                if (run.firstJobSeq > upTo) continue
                const last = Math.min(run.lastSeq, run.firstSeq + (upTo - run.firstJobSeq))
                if (last > session.floorSeq) session.floorSeq = last
              }
              builder.session(session)
            }
          },
          committed: () => {
            for (const { runs, session } of job.attachments.values()) {
              if (session.features.has("ack") && session.floorSeq > session.ackedSeq) {
                meter.reached(
                  session.seq - session.floorSeq >= limits.bufferedEvents ? "bufferedEvents" : "bufferedBytes"
                )
              }
              const keep = runs.findIndex((run) => run.firstJobSeq + (run.lastSeq - run.firstSeq) > upTo)
              runs.splice(0, keep === -1 ? runs.length : keep)
            }
          }
        })
      }

      /** What the next batch writes: a part of the queue where that is long, so that no commit takes long. */
      const takeBatch = (): Array<Op> => {
        let count = 0
        let chars = 0
        while (count < queue.length && count < fullBatch && chars < fullBatchChars) {
          const op = queue[count++]!
          if (isEmission(op)) chars += op.payload.length
        }
        const ops = count === queue.length ? queue : queue.slice(0, count)
        queue = count === queue.length ? [] : queue.slice(count)
        return ops
      }

      /** Runs a callback of a change: one that throws does not stop the writer, nor the changes beside it. */
      const guarded = (what: string, run: () => void): void => {
        try {
          run()
        } catch (defect) {
          report(Effect.logError(`${what} failed unexpectedly: ${Text.ofUnknown(defect)}`))
        }
      }

      interface Built {
        readonly builder: Builder
        readonly jobs: Set<LiveJob>
        readonly ops: ReadonlyArray<Op>
      }

      const build = (ops: ReadonlyArray<Op>): Built => {
        const builder = new Builder()
        const jobs = new Set<LiveJob>()
        for (const op of ops) {
          if (isEmission(op)) {
            builder.event(op.job, op.class, op.payload, true)
            jobs.add(op.job)
            continue
          }
          try {
            op.write(builder)
          } catch (defect) {
            // Half of it may be in the batch: the batch is made again without it.
            builder.revert()
            const message = `a change of the journal failed unexpectedly: ${Text.ofUnknown(defect)}`
            report(Effect.logError(message))
            guarded("a refused change", () => op.failed?.(new StoreError({ operation: "commit", message })))
            return build(ops.filter((other) => other !== op))
          }
        }
        return { builder, jobs, ops }
      }

      const publish = (ops: ReadonlyArray<Op>, builder: Builder, jobs: Set<LiveJob>): void => {
        const sessions: Iterable<LiveSession> = builder.publish()
        if (builder.events > 0) meter.count(Metrics.events, builder.events)
        for (const op of ops)
          if (!isEmission(op) && op.committed !== undefined) guarded("a committed change", op.committed)
        for (const session of sessions) session.link?.wake()
        for (const job of jobs) {
          releaseEmitters(job)
          trim(job)
        }
      }

      /** Drops what somebody waits for, and tells them; keeps the rest, in front of what has come since. */
      const refuse = (ops: ReadonlyArray<Op>, error: StoreError): ReadonlyArray<Op> => {
        const kept: Array<Op> = []
        for (const op of ops) {
          if (isEmission(op) || op.failed === undefined) kept.push(op)
          else {
            const { failed } = op
            guarded("a refused change", () => failed(error))
          }
        }
        queue = kept.concat(queue)
        return kept
      }

      /** Looks at `at`, and from then on every second, whether the store still has the batch that it was given in time. */
      const watch = (at: number): void => {
        watched = true
        deadlines.schedule(at, () => {
          watched = false
          if (inHandSince === undefined) return
          const late = deadlines.now() - inHandSince
          if (late < limits.storeTime) return watch(inHandSince + limits.storeTime)
          if (!told) {
            told = true
            meter.count(Metrics.storeFailures)
            report(
              Effect.logError(
                `the store has not answered to a commit for ${late} ms: requests are refused until it does`
              )
            )
          }
          healthy = false
          const ops = queue
          queue = []
          refuse(ops, noAnswer("commit", limits.storeTime, meter))
          watch(deadlines.now() + nextLook)
        })
      }

      const writeBatch: Effect.Effect<void> = Effect.suspend(() => {
        const { builder, jobs, ops } = build(takeBatch())
        meter.show(Metrics.journalQueue, ops.length)
        if (!builder.isEmpty) {
          inHandSince = deadlines.now()
          told = false
          if (!watched && limits.storeTime !== Number.POSITIVE_INFINITY) watch(inHandSince + limits.storeTime)
        }
        // A store that throws has failed like one that says so.
        const committed = builder.isEmpty ? Effect.void : Effect.suspend(() => store.commit(builder.batch()))
        return Effect.matchCauseEffect(committed, {
          onSuccess: () =>
            Effect.suspend(() => {
              if (inHandSince !== undefined) meter.record(Metrics.commitTime, deadlines.now() - inHandSince)
              inHandSince = undefined
              healthy = true
              attempts = 0
              publish(ops, builder, jobs)
              return ops.length > busyBatch ? nextTurn : pause
            }),
          onFailure: (cause) =>
            Effect.suspend(() => {
              inHandSince = undefined
              meter.count(Metrics.storeFailures)
              healthy = false
              builder.revert()
              const error =
                cause._tag === "Fail"
                  ? cause.error
                  : new StoreError({ operation: "commit", message: "the store failed unexpectedly", cause })
              const kept = refuse(ops, error)
              const millis = Math.min(firstRetry * 2 ** attempts++, lastRetry)
              return Effect.logError(`the journal could not be written, trying again in ${millis} ms`, cause).pipe(
                Effect.zipRight(kept.length === 0 ? Effect.void : Effect.interruptible(Effect.sleep(millis)))
              )
            })
        })
      })

      const awaitWork = Effect.async<void>((resume) => {
        if (queue.length > 0) return resume(Effect.void)
        wake = () => resume(Effect.void)
      })

      // Uninterruptible in a step, so that a batch is never half published.
      const writing = Effect.forever(Effect.zipRight(awaitWork, Effect.uninterruptible(writeBatch)))
      yield* Effect.acquireRelease(Effect.forkDaemon(Effect.interruptible(writing)), (writer) =>
        atEnd(
          Effect.gen(function* () {
            // The writer is stopped first: there is only ever one.
            if (Option.isNone(yield* Effect.timeoutOption(Fiber.interrupt(writer), lastWait))) {
              return yield* Effect.logError(
                `the journal closes while the store has not answered for ${lastWait} ms: whether its last batch was written is not known, and nothing was announced of it`
              )
            }
            while (queue.length > 0 && attempts < drainAttempts) yield* Effect.zipRight(writeBatch, Effect.yieldNow())
            if (queue.length > 0) {
              yield* Effect.logError(
                `the journal closes with ${queue.length} operations that the store did not take; their effects were not announced`
              )
            }
          })
        )
      )

      return {
        emit,
        room,
        change,
        transact,
        flush: transact(() => {}),
        healthy: () => healthy
      }
    })
  )
}
