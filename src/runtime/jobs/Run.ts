/**
 * Running jobs: how a job begins, its handler's fiber, and handing it over to another agent (ARCP 1.1 §7.3, §9.5, §10).
 *
 * Order: `status {phase: "running"}` is a job's first event. A start is queued with what announces the job, in one change; the handler
 * runs once that is durable. {@link Run.launch} is the only way in: a submitted job, a delegated one, one that has waited for a slot and
 * one that is started again all come through it.
 *
 * Races closed here: a job that has been stopped before its start is durable is not started; one that is stopped or handed over while its
 * handler runs for the first time, in the same step, is interrupted behind it; a handler that is lost ends its job.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Text from "../../protocol/Text.js"
import { eventPayload } from "../kernel/Payload.js"
import type { Batch } from "../log/Batch.js"
import type { Change } from "../log/EventLog.js"
import { HandlerCall } from "./handler/handlerCall.js"
import type { HandlerEnd } from "./handler/handlerRun.js"
import { internal, outcomeOf, runtimeEnd, tooLong } from "./handler/outcomes.js"
import { secretsOf, shownFor } from "./handler/secrets.js"
import { expired } from "./internal/authority.js"
import type { Engine, Runs } from "./internal/engine.js"
import { tellRotated } from "./internal/rotated.js"
import type { Running, Successor } from "./Running.js"
import { nameOf } from "./Slots.js"

/** Starts jobs. */
export class Run implements Runs {
  private readonly engine: Engine
  /** What becomes of handlers. */
  private readonly end: HandlerEnd<HandlerCall>

  constructor(engine: Engine) {
    this.engine = engine
    this.end = {
      started: ({ running }, fiber) => running.runIn(fiber),
      exited: (call, exit) => {
        call.over()
        this.exited(call.running, exit)
      },
      lost: ({ running }, defect) => this.lost(running, defect)
    }
  }

  launch(running: Running, change?: Change): void {
    running.enterLog()
    const starts = this.engine.jobs.add(running)
    this.watchExpiry(running)
    if (change !== undefined) this.announce(running, starts, change)
    else if (starts) this.startLater(running)
  }

  launchWaiting(): void {
    const { drain, jobs } = this.engine
    if (drain.draining) return
    for (const running of jobs.takeWaiting()) this.startLater(running)
  }

  handOver(running: Running, next: Successor): void {
    if (running.handOverTo(next)) running.interrupt()
  }

  /** The start in one change with what announces the job; a failure of it takes the job back. */
  private announce(running: Running, starts: boolean, { committed, failed, write }: Change): void {
    this.engine.eventLog.change({
      write: (batch) => {
        write(batch)
        if (starts) this.writeStart(running, batch)
      },
      committed: () => {
        committed?.()
        if (starts) this.start(running)
      },
      failed: (error) => {
        this.engine.ending.abandon(running)
        failed?.(error)
      }
    })
  }

  /** The start of a job that has been announced before. It may end while it is queued: nothing follows its terminal message. */
  private startLater(running: Running): void {
    this.engine.eventLog.change({
      write: (batch) => {
        if (!running.live.ending) this.writeStart(running, batch)
      },
      committed: () => this.start(running)
    })
  }

  /** A job whose lease expires is stopped, whether its agent tries anything or not (§9.5). */
  private watchExpiry(running: Running): void {
    const { deadlines, ending, limits } = this.engine
    const { expiresAt } = running.lease
    if (expiresAt === undefined) return
    const grace = Math.max(0, Math.min(limits.leaseGrace, 1_000))
    running.watch(
      deadlines.schedule(expiresAt + grace, () =>
        ending.stop(running, { status: "error", error: expired(running.lease) })
      )
    )
  }

  /** The part of a start that belongs into the log: status and first event. */
  private writeStart({ live }: Running, batch: Batch): void {
    const now = this.engine.deadlines.now()
    batch.event(
      live,
      "event",
      eventPayload(
        '"status"',
        now,
        live.attempt === 1
          ? '{"phase":"running"}'
          : JSON.stringify({
              phase: "running",
              message: `attempt ${live.attempt}, after a restart of the runtime`
            })
      )
    )
    batch.state(live, { status: "running", startedAt: live.startedAt ?? now })
  }

  /** Starts the handler: the start is durable. */
  private start(running: Running): void {
    const { deadlines, ending } = this.engine
    const { live } = running
    if (running.finished || running.outcome !== undefined) return
    const endsAt = runtimeEnd(live, deadlines.now())
    if (endsAt !== undefined) {
      running.watch(deadlines.schedule(endsAt, () => ending.stop(running, tooLong(live))))
    }
    if (running.reissued) this.reportReissued(running)
    this.runHandler(running)
  }

  private reportReissued({ live }: Running): void {
    const { credentials, deadlines, eventLog } = this.engine
    for (const credential of credentials.of(live.jobId)) {
      const message = "a credential was issued anew, after a restart of the runtime"
      tellRotated(eventLog, deadlines.now(), live, credential, message)
    }
  }

  private runHandler(running: Running): void {
    running.begin()
    // Known from here on, also when the job has ended before its handler.
    secretsOf(this.engine, running)
    this.engine.startHandler(new HandlerCall(running, this.engine), this.end)
    // What interrupts it while it runs for the first time does so here.
    if (running.stop !== undefined || running.next !== undefined) running.interrupt()
  }

  private lost(running: Running, defect: unknown): void {
    const { ending, fork } = this.engine
    const { agent, live } = running
    const why = shownFor(this.engine, running)(Text.ofUnknown(defect))
    fork(Effect.logError(`the agent ${nameOf(agent)} failed unexpectedly in ${live.jobId}: ${why}`))
    ending.conclude(running, internal("the agent failed unexpectedly"))
  }

  private exited(running: Running, exit: Exit.Exit<unknown, unknown>): void {
    const { deadlines, drain, ending, limits, meter } = this.engine
    if (drain.gone(running)) return
    const { next } = running
    const unwound = exit._tag === "Success" || Cause.isInterruptedOnly(exit.cause)
    if (next !== undefined && unwound && running.stop === undefined && !running.finished) {
      return this.takeOver(running, next)
    }
    const held = secretsOf(this.engine, running)
    const { defect, outcome } = outcomeOf(running, exit, limits, deadlines.now(), held, meter)
    if (defect !== undefined) this.logDefect(running, Text.ofCause(defect))
    ending.conclude(running, outcome)
  }

  private logDefect(running: Running, cause: string): void {
    const what = `the agent ${nameOf(running.agent)} failed unexpectedly in ${running.live.jobId}`
    this.engine.fork(Effect.logError(what, shownFor(this.engine, running)(cause)))
  }

  private takeOver(running: Running, next: Successor): void {
    const { deadlines, eventLog } = this.engine
    running.takeOver(next)
    const body = JSON.stringify({ phase: "handoff", message: nameOf(next.agent) })
    eventLog.emit(running.live, "event", eventPayload('"status"', deadlines.now(), body))
    this.runHandler(running)
  }
}
