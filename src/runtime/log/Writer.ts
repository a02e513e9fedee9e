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
 * A store that commits in the step in which it is asked is written to once in a turn of the event loop, behind what the sockets brought
 * in it: one commit for all connections, and no fiber. Where another operation is inside a transaction, the batch waits for a later turn.
 * Any other store is written to by one fiber. There is one of the two, never both.
 *
 * Emitters wait where their queue is full, and where what they have emitted before has been written and not been sent for want of time: an
 * agent with many observers would get so far ahead of them that most of what it emits is read back from the store.
 *
 * When the store fails, a change whose caller waits fails too. Events and ends of jobs are written again until the store
 * recovers; emitters wait at their bound meanwhile. When the store does not answer, the same holds for what is queued behind
 * the batch that it was given; nothing is said of that batch until the answer comes.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Text from "../../protocol/Text.js"
import type { CommitNow } from "../../store/CommitNow.js"
import { type LoadedBatch, type Payload, textualBatch } from "../../store/Payload.js"
import { type SegmentClass, type Store, StoreError } from "../../store/Store.js"
import { atEnd } from "../kernel/AtEnd.js"
import type { Deadlines } from "../kernel/Deadlines.js"
import type { LimitsShape } from "../kernel/Limits.js"
import * as Metrics from "../kernel/Metrics.js"
import { noAnswer } from "../kernel/Patience.js"
import { type Due, nextTurn, pause, writeInNext, writeSoon } from "../kernel/Turn.js"
import { Batch } from "./Batch.js"
import { HeldJobs } from "./HeldJobs.js"
import type { JobLog } from "./JobLog.js"
import { trim } from "./Trim.js"
import type * as Context from "effect/Context"

/** A change of durable state that is not an event. */
export interface Change {
  /**
   * Reads live state and calls methods of the batch. Called again when the batch failed and the change is kept: it finds what it
   * found before.
   */
  readonly write: (batch: Batch) => void
  /** Called once, when it is durable, after the replies of its batch. */
  readonly committed?: () => void
  /** Called once, when its batch failed: the change is dropped. A change without this is written until it succeeds. */
  readonly failed?: (error: StoreError) => void
}

interface Emission {
  readonly job: JobLog
  readonly class: SegmentClass
  readonly payload: Payload
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
/** How often a store that is busy is asked again in the next turn, and then in milliseconds. */
const busyTurns = 16
const busyMillis = 2
/** How often a closing log tries to write what is queued. */
const drainAttempts = 5
/** How long a closing log waits for a store that does not answer. */
const lastWait = 5_000

/** What it needs. */
export interface WriterContext {
  readonly store: Context.Tag.Service<Store>
  /** The store's commit as one step, where it has one. */
  readonly commitNow: CommitNow | undefined
  readonly deadlines: Context.Tag.Service<Deadlines>
  readonly limits: LimitsShape
  readonly meter: Metrics.MeterShape
  /** Whether a turn may be over for it ({@link "../kernel/Turn.js"}). */
  readonly timed: boolean
  /** Runs a report beside the writing. */
  readonly report: (effect: Effect.Effect<void>) => void
}

/** What has been built for one commit. */
interface Built {
  readonly batch: Batch
  readonly ops: ReadonlyArray<Op>
}

/** Writes what is queued. */
export class Writer {
  private readonly context: WriterContext
  private queue: Array<Op> = []
  private wake: (() => void) | undefined
  private lastSucceeded = true
  private attempts = 0
  /** When the store was given the batch that it has. */
  private inHandSince: number | undefined
  private watched = false
  /** Whether it has been told that the store does not answer. */
  private told = false
  /** Whether a turn will write, or a failed batch waits to be written again. */
  private due = false
  private busy = 0
  private closed = false
  private readonly turn: Due
  private readonly held: HeldJobs

  constructor(context: WriterContext) {
    this.context = context
    this.turn = { run: () => this.writeDue(), timed: context.timed }
    this.held = new HeldJobs(context.timed, (job) => {
      if (job.isAwaited && this.hasRoom(job)) job.wakeEmitters()
    })
  }

  /** Whether the last commit succeeded. */
  get healthy(): boolean {
    return this.lastSucceeded
  }

  /** Queues an event. Returns whether the job's queue has room for more. */
  readonly emit = (job: JobLog, cls: SegmentClass, payload: Payload): boolean => {
    this.queue.push({ job, class: cls, payload })
    job.queue(payload.length)
    this.signal()
    return this.hasRoom(job)
  }

  /** Queues a change. */
  readonly change = (change: Change): void => {
    this.queue.push(change)
    this.signal()
  }

  private signal(): void {
    if (this.context.commitNow !== undefined) return this.writeInTurn()
    const resume = this.wake
    if (resume === undefined) return
    this.wake = undefined
    resume()
  }

  /** Whether the job's queue has room. */
  hasRoom(job: JobLog): boolean {
    const { queuedBytes, queuedEvents } = this.context.limits
    return !job.isHeld && job.queuedEvents < queuedEvents && job.queuedBytes < queuedBytes
  }

  /** What the next batch writes: a part of the queue where that is long, so that no commit takes long. */
  private takeBatch(): ReadonlyArray<Op> {
    const { queue } = this
    let count = 0
    let chars = 0
    while (count < queue.length && count < fullBatch && chars < fullBatchChars) {
      const op = queue[count++]!
      if (isEmission(op)) chars += op.payload.length
    }
    this.queue = count === queue.length ? [] : queue.slice(count)
    return count === queue.length ? queue : queue.slice(0, count)
  }

  /** Runs a callback: one that throws does not stop the writer, nor the changes beside it. */
  private guarded(what: string, run: () => void): void {
    try {
      run()
    } catch (defect) {
      this.context.report(Effect.logError(`${what} failed unexpectedly: ${Text.ofUnknown(defect)}`))
    }
  }

  private build(ops: ReadonlyArray<Op>): Built {
    const batch = new Batch()
    for (const op of ops) {
      if (isEmission(op)) {
        batch.event(op.job, op.class, op.payload, true)
        continue
      }
      try {
        op.write(batch)
      } catch (defect) {
        // Half of it may be in the batch: the batch is made again without it.
        batch.revert()
        const message = `a change of the journal failed unexpectedly: ${Text.ofUnknown(defect)}`
        this.context.report(Effect.logError(message))
        this.guarded("a refused change", () => op.failed?.(new StoreError({ operation: "commit", message })))
        return this.build(ops.filter((other) => other !== op))
      }
    }
    return { batch, ops }
  }

  private rowsOf(batch: Batch): LoadedBatch {
    const { mono, wall } = this.context.deadlines
    return batch.rows(wall() - mono())
  }

  private publish({ batch, ops }: Built): void {
    const { limits, meter } = this.context
    const sessions = batch.publish()
    if (batch.events > 0) meter.count(Metrics.events, batch.events)
    batch.answer((answer) => this.guarded("an answer", answer))
    for (const op of ops) {
      if (!isEmission(op) && op.committed !== undefined) this.guarded("a committed change", op.committed)
    }
    let isLate = false
    for (const { link } of sessions) {
      isLate ||= link?.isLate === true
      link?.wake()
    }
    if (isLate) this.held.hold(batch.jobs)
    for (const job of batch.jobs) {
      if (job.isAwaited && this.hasRoom(job)) job.wakeEmitters()
      if (job.outgrows(limits)) trim(job, limits, meter, this.change)
    }
  }

  /** Fails the changes whose callers wait; keeps the rest, in front of what has come since. */
  private refuse(ops: ReadonlyArray<Op>, error: StoreError): ReadonlyArray<Op> {
    const kept: Array<Op> = []
    for (const op of ops) {
      if (isEmission(op) || op.failed === undefined) kept.push(op)
      else {
        const { failed } = op
        this.guarded("a refused change", () => failed(error))
      }
    }
    this.queue = kept.concat(this.queue)
    return kept
  }

  /** Looks at `at`, and from then on every second, whether the store still has the batch that it was given in time. */
  private watch(at: number): void {
    this.watched = true
    this.context.deadlines.schedule(at, () => {
      this.watched = false
      this.look()
    })
  }

  private look(): void {
    const { deadlines, limits, meter, report } = this.context
    if (this.inHandSince === undefined) return
    const late = deadlines.mono() - this.inHandSince
    if (late < limits.storeTime) return this.watch(this.inHandSince + limits.storeTime)
    if (!this.told) {
      this.told = true
      meter.count(Metrics.storeFailures)
      report(
        Effect.logError(
          `the store has not answered to a commit for ${Math.round(late)} ms: requests are refused until it does`
        )
      )
    }
    this.lastSucceeded = false
    const ops = this.queue
    this.queue = []
    this.refuse(ops, noAnswer("commit", limits.storeTime, meter))
    this.watch(deadlines.mono() + nextLook)
  }

  private begin({ batch, ops }: Built): void {
    const { deadlines, limits, meter } = this.context
    meter.show(Metrics.journalQueue, ops.length)
    // A batch that found the store busy is still in hand.
    if (batch.isEmpty || this.inHandSince !== undefined) return
    this.inHandSince = deadlines.mono()
    this.told = false
    if (!this.watched && limits.storeTime !== Number.POSITIVE_INFINITY) this.watch(this.inHandSince + limits.storeTime)
  }

  private written(built: Built): void {
    const { deadlines, meter } = this.context
    if (this.inHandSince !== undefined) meter.record(Metrics.commitTime, deadlines.mono() - this.inHandSince)
    this.inHandSince = undefined
    this.lastSucceeded = true
    this.attempts = 0
    this.busy = 0
    this.publish(built)
  }

  /** Takes a batch back that was not written; answers after how many milliseconds it is tried again, and what is left of it. */
  private notWritten({ batch, ops }: Built, error: StoreError): { readonly millis: number; readonly kept: number } {
    this.inHandSince = undefined
    this.busy = 0
    this.context.meter.count(Metrics.storeFailures)
    this.lastSucceeded = false
    batch.revert()
    const kept = this.refuse(ops, error).length
    return { millis: Math.min(firstRetry * 2 ** this.attempts++, lastRetry), kept }
  }

  // By turns.

  private writeInTurn(): void {
    if (this.due || this.closed) return
    this.due = true
    writeSoon(this.turn)
  }

  private readonly writeDue = (): void => {
    this.due = false
    if (this.closed || this.queue.length === 0) return
    const wait = this.writeNow()
    if (wait === undefined) {
      if (this.queue.length > 0) this.writeInTurn()
      return
    }
    this.due = true
    if (wait === 0) writeInNext(this.turn)
    else this.context.deadlines.schedule(this.context.deadlines.mono() + wait, this.writeDue)
  }

  /** Writes a batch in this step; undefined where that is done, else after how many milliseconds the rest is to be tried. */
  private writeNow(): number | undefined {
    const built = this.build(this.takeBatch())
    this.begin(built)
    const outcome = this.commit(built.batch)
    if (outcome === undefined) {
      this.written(built)
      return undefined
    }
    if (outcome === "busy") {
      built.batch.revert()
      this.queue = built.ops.concat(this.queue)
      return ++this.busy <= busyTurns ? 0 : busyMillis
    }
    const { kept, millis } = this.notWritten(built, outcome)
    this.context.report(Effect.logError(retrying(millis), outcome))
    return kept === 0 ? undefined : millis
  }

  private commit(batch: Batch): ReturnType<CommitNow> {
    if (batch.isEmpty) return undefined
    try {
      return this.context.commitNow?.(this.rowsOf(batch))
    } catch (cause) {
      return unexpected(cause)
    }
  }

  // By a fiber.

  private readonly writeBatch: Effect.Effect<void> = Effect.suspend(() => {
    const built = this.build(this.takeBatch())
    this.begin(built)
    const { batch } = built
    // A store that throws has failed like one that says so.
    const committed = batch.isEmpty
      ? Effect.void
      : Effect.suspend(() => this.context.store.commit(textualBatch(this.rowsOf(batch))))
    return Effect.matchCauseEffect(committed, {
      onSuccess: () =>
        Effect.suspend(() => {
          this.written(built)
          return built.ops.length > busyBatch ? nextTurn : pause
        }),
      onFailure: (cause) =>
        Effect.suspend(() => {
          const { kept, millis } = this.notWritten(built, cause._tag === "Fail" ? cause.error : unexpected(cause))
          return Effect.zipRight(
            Effect.logError(retrying(millis), cause),
            kept === 0 ? Effect.void : Effect.interruptible(Effect.sleep(millis))
          )
        })
    })
  })

  private readonly awaitWork: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.queue.length > 0) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
  })

  /** Writes for ever. Uninterruptible in a step, so that a batch is never half published. */
  readonly writing: Effect.Effect<never> = Effect.suspend(() =>
    Effect.forever(Effect.zipRight(this.awaitWork, Effect.uninterruptible(this.writeBatch)))
  )

  /** One batch of what is left, by whichever way this store is written to. */
  private readonly writeLeft: Effect.Effect<void> = Effect.suspend(() => {
    if (this.context.commitNow === undefined) return Effect.zipRight(this.writeBatch, Effect.yieldNow())
    const wait = this.writeNow()
    return wait === undefined ? Effect.void : Effect.sleep(Math.max(wait, busyMillis))
  })

  /** Ends the writer that is running, then writes what is left, as far as the store takes it. */
  readonly finish = (writer: Fiber.Fiber<never> | undefined): Effect.Effect<void> =>
    atEnd(
      Effect.gen(this, function* () {
        // The writer is stopped first: there is only ever one.
        this.closed = true
        if (writer !== undefined && Option.isNone(yield* Effect.timeoutOption(Fiber.interrupt(writer), lastWait))) {
          return yield* Effect.logError(
            `the journal closes while the store has not answered for ${lastWait} ms: whether its last batch was written is not known, and nothing was announced of it`
          )
        }
        const until = this.context.deadlines.mono() + lastWait
        while (
          this.queue.length > 0 &&
          this.attempts < drainAttempts &&
          (this.busy === 0 || this.context.deadlines.mono() < until)
        ) {
          yield* this.writeLeft
        }
        if (this.queue.length > 0) {
          yield* Effect.logError(
            `the journal closes with ${this.queue.length} operations that the store did not take; their effects were not announced`
          )
        }
      })
    )
}

const retrying = (millis: number): string => `the journal could not be written, trying again in ${millis} ms`

const unexpected = (cause: unknown): StoreError =>
  new StoreError({ operation: "commit", message: "the store failed unexpectedly", cause })
