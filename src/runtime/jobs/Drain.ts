/**
 * Ending all jobs when the runtime stops: time to end by themselves first, then the end that their agents declare.
 *
 * Over a durable store a job that the next process would start again is left to it: its handler is interrupted, its
 * finalizers run, nothing more is emitted, and its record stays as it is. A job that waits is left waiting. Every other job
 * ends with `runtime_shutdown`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InternalError } from "../../protocol/Errors.js"
import type { Deadline } from "../kernel/Deadlines.js"
import { atEnd } from "../kernel/AtEnd.js"
import type { Running, Stop } from "./Running.js"

/** What it needs of the runner. */
export interface DrainDeps {
  readonly jobs: ReadonlyMap<string, Running>
  /** Whether jobs can be left to the next process. */
  readonly durable: boolean
  /** Whether the next process would start a job's handler, for the first time or again. */
  readonly runsAgain: (running: Running) => boolean
  readonly stop: (running: Running, reason: Stop) => void
  readonly interrupt: (running: Running) => void
  readonly remove: (running: Running) => void
  readonly revoke: (jobId: string) => void
  readonly now: () => number
  readonly schedule: (at: number, callback: () => void) => Deadline
  /** Milliseconds that a handler may take to unwind. */
  readonly grace: number
  /** Jobs that wait for a slot; while draining none of them gets one. */
  readonly pending: () => number
}

/** Milliseconds for the ends of jobs to be stored, after their grace. */
const storing = 5_000

/** Drains a runner. */
export class Drain {
  /** Set once it has begun: no job starts any more but children of those that run. */
  draining = false
  /** Set once nobody is waited for any more. */
  private over = false
  private waiters: Array<() => void> = []
  private readonly left = new Set<Running>()
  private readonly deps: DrainDeps

  constructor(deps: DrainDeps) {
    this.deps = deps
  }

  /** A job has gone. */
  removed(): void {
    const { waiters } = this
    this.waiters = []
    for (const waiter of waiters) waiter()
  }

  private readonly until = (met: () => boolean): Effect.Effect<void> =>
    Effect.async<void>((resume) => {
      if (met()) return resume(Effect.void)
      const waiter = () => (met() ? resume(Effect.void) : void this.waiters.push(waiter))
      this.waiters.push(waiter)
      return Effect.sync(() => {
        this.waiters = this.waiters.filter((other) => other !== waiter)
      })
    })

  /** Waits until no job is left; not for ever, since the ends of jobs have to be stored, and the store may take nothing. */
  private readonly idle: Effect.Effect<void> = Effect.suspend(() => {
    if (this.over) return Effect.void
    return atEnd(
      Effect.timeoutOption(
        this.until(() => this.deps.jobs.size === 0),
        this.deps.grace + storing
      )
    ).pipe(
      Effect.flatMap((ended) => {
        this.over = true
        return Option.isSome(ended)
          ? Effect.void
          : Effect.logError(`the runtime stops with ${this.deps.jobs.size} jobs whose ends the store has not taken`)
      })
    )
  })

  /** The handler of a job that is left to the next process has ended, or its children have. Answers whether it is one. */
  gone(running: Running): boolean {
    if (!this.left.has(running)) return false
    if (running.children.size > 0 || (running.fiber?.unsafePoll() ?? null) === null) return true
    this.release(running)
    return true
  }

  /** Whether a job is being left to the next process. */
  isLeft(running: Running): boolean {
    return this.left.has(running)
  }

  private release(running: Running): void {
    if (running.finished) return
    running.finished = true
    this.left.delete(running)
    this.deps.revoke(running.live.jobId)
    this.deps.remove(running)
  }

  private leave(running: Running): void {
    const { deps } = this
    // Nothing follows what is stored: not from the handler, nor from its finalizers.
    running.live.close()
    this.left.add(running)
    if (!running.begun) return this.release(running)
    for (const child of [...running.children]) deps.stop(child, shutdown)
    deps.interrupt(running)
    running.deadlines.push(deps.schedule(deps.now() + deps.grace, () => this.release(running)))
    this.gone(running)
  }

  private readonly endAll = Effect.sync(() => {
    const { deps } = this
    for (const running of [...deps.jobs.values()]) {
      const untouched =
        running.queued && !running.finished && running.stop === undefined && running.outcome === undefined
      if (untouched && deps.durable && deps.runsAgain(running)) {
        this.leave(running)
      } else if (running.parent === undefined || !this.left.has(running.parent)) deps.stop(running, shutdown)
    }
  })

  /** Waits, at most that many milliseconds, for what runs; ends or leaves the rest; waits until no job is left. */
  readonly drain = (millis: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { deps } = this
      if (this.draining) return this.idle
      this.draining = true
      const over = Effect.async<void>((resume) => {
        const deadline = deps.schedule(deps.now() + millis, () => resume(Effect.void))
        return Effect.sync(() => deadline.cancel())
      })
      const quiet = this.until(() => deps.jobs.size <= deps.pending())
      const ended = millis > 0 ? atEnd(Effect.raceFirst(quiet, over)) : Effect.void
      return ended.pipe(Effect.zipRight(this.endAll), Effect.zipRight(this.idle))
    })
}

const shutdown: Stop = {
  status: "error",
  error: new InternalError({ message: "the runtime shut down", details: { reason: "runtime_shutdown" } })
}

/** Why whatever would begin something is refused meanwhile. */
export const shuttingDown = new InternalError({
  message: "the runtime is shutting down; come back later",
  details: { reason: "runtime_shutdown" }
})
