/**
 * Ending all jobs when the runtime stops: time to end by themselves first, then the end that their agents declare.
 *
 * Responsibility: over a durable store a job that the next process would start again is left to it: its handler is interrupted, its
 * finalizers run, nothing more is emitted, and its record stays as it is. A job that waits is left waiting. Every other job ends with
 * `runtime_shutdown`.
 *
 * Order: no job starts any more; what runs has its time; the rest is ended or left; what is waited for last are the ends of jobs, which
 * have to be stored, and that wait is bounded, since the store may take nothing.
 *
 * Races closed here: a job that is left is removed once its handler and its children have ended, or at the end of the grace, whichever is
 * first, and once; a second drain waits for the first one's jobs.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { InternalError } from "../../protocol/Errors.js"
import { atEnd } from "../kernel/AtEnd.js"
import type { Drains, Engine } from "./internal/engine.js"
import { runsAgain } from "./Recovery.js"
import type { Running, Stop } from "./Running.js"

export { shuttingDown } from "../kernel/Refusals.js"

/** Milliseconds for the ends of jobs to be stored, after their grace. */
const storing = 5_000

const shutdown: Stop = {
  status: "error",
  error: new InternalError({ message: "the runtime shut down", details: { reason: "runtime_shutdown" } })
}

/** Drains the engine. */
export class Drain implements Drains {
  draining = false
  /** Set once no job is waited for any more. */
  private over = false
  /** Done when only jobs are left that wait for a slot, which none of them gets any more. */
  private readonly quiet = Deferred.unsafeMake<void>(FiberId.none)
  /** Done when no job is left. */
  private readonly empty = Deferred.unsafeMake<void>(FiberId.none)
  private readonly left = new Set<Running>()
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  readonly drain = (millis: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.draining) return this.idle
      this.draining = true
      this.removed()
      const ended = millis > 0 ? atEnd(Effect.raceFirst(Deferred.await(this.quiet), this.elapsed(millis))) : Effect.void
      return ended.pipe(Effect.zipRight(this.endAll), Effect.zipRight(this.idle))
    })

  removed(): void {
    if (!this.draining) return
    const { jobs } = this.engine
    if (jobs.size <= jobs.pending) Deferred.unsafeDone(this.quiet, Effect.void)
    if (jobs.size === 0) Deferred.unsafeDone(this.empty, Effect.void)
  }

  gone(running: Running): boolean {
    if (!this.left.has(running)) return false
    if (running.children.size > 0 || (running.fiber?.unsafePoll() ?? null) === null) return true
    this.release(running)
    return true
  }

  isLeft(running: Running): boolean {
    return this.left.has(running)
  }

  private elapsed(millis: number): Effect.Effect<void> {
    const { deadlines } = this.engine
    return Effect.async<void>((resume) => {
      const deadline = deadlines.schedule(deadlines.mono() + millis, () => resume(Effect.void))
      return Effect.sync(() => deadline.cancel())
    })
  }

  /** Waits until no job is left; not for ever, since the ends of jobs have to be stored, and the store may take nothing. */
  private readonly idle: Effect.Effect<void> = Effect.suspend(() => {
    if (this.over) return Effect.void
    const { jobs, limits } = this.engine
    return atEnd(Effect.timeoutOption(Deferred.await(this.empty), limits.cancelGrace + storing)).pipe(
      Effect.flatMap((ended) => {
        this.over = true
        return Option.isSome(ended)
          ? Effect.void
          : Effect.logError(`the runtime stops with ${jobs.size} jobs whose ends the store has not taken`)
      })
    )
  })

  private readonly endAll = Effect.sync(() => {
    const { ending, jobs, store } = this.engine
    for (const running of [...jobs.all()]) {
      if (running.queued && running.undecided && store.durable && this.runsAgain(running)) this.leave(running)
      else if (running.parent === undefined || !this.left.has(running.parent)) ending.stop(running, shutdown)
    }
  })

  /** Whether the next process would start its handler, for the first time or again. */
  private runsAgain({ live }: Running): boolean {
    const { agent: name, version } = live.record
    return runsAgain(this.engine.agents.resolve({ name, version }), live.record, live)
  }

  private leave(running: Running): void {
    const { deadlines, ending, limits } = this.engine
    // Nothing follows what is stored: not from the handler, nor from its finalizers.
    running.live.close()
    this.left.add(running)
    if (!running.begun) return this.release(running)
    for (const child of [...running.children]) ending.stop(child, shutdown)
    running.interrupt()
    running.watch(deadlines.schedule(deadlines.mono() + limits.cancelGrace, () => this.release(running)))
    this.gone(running)
  }

  private release(running: Running): void {
    if (!running.finish()) return
    this.left.delete(running)
    this.engine.credentials.revoke(running.live.jobId)
    this.engine.ending.remove(running)
  }
}
