/**
 * Running jobs: how a job is made, how it begins, its handler's fiber, and handing it over to another agent (ARCP 1.1 §7.1, §7.3, §9.5, §10).
 *
 * Responsibility: what is stored of a new job, submitted or delegated, what runs of it, and how it is announced; then its start.
 *
 * Order: `status {phase: "running"}` is a job's first event. A start is queued with what announces the job, in one change; the handler
 * runs once that is durable. {@link Run.launch} is the only way in: a submitted job, a delegated one, one that has waited for a slot and
 * one that is started again all come through it.
 *
 * Races closed here: a job that has been stopped before its start is durable is not started; one that is stopped or handed over while its
 * handler runs for the first time, in the same step, is interrupted behind it; a handler that is lost ends its job.
 */
import * as Cause from "effect/Cause"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import * as Amount from "../../authority/Amount.js"
import * as Lease from "../../authority/Lease.js"
import type { Priority } from "../../protocol/Envelope.js"
import { Timeout } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Text from "../../protocol/Text.js"
import type { TraceContext } from "../../protocol/Trace.js"
import type { KeptAccepted } from "../../store/Rows.js"
import type { JobRecord } from "../../store/Store.js"
import type { Draft } from "../kernel/AuditRecord.js"
import { eventPayload } from "../kernel/Payload.js"
import type { Batch } from "../log/Batch.js"
import type { Change } from "../log/EventLog.js"
import { JobLog } from "../log/JobLog.js"
import { toText } from "./Accounts.js"
import { HandlerCall } from "./handler/handlerCall.js"
import type { HandlerEnd } from "./handler/handlerRun.js"
import { internal, outcomeOf } from "./handler/outcomes.js"
import { secretsOf, shownFor } from "./handler/secrets.js"
import { expired } from "./internal/authority.js"
import type { Engine, Runs } from "./internal/engine.js"
import { tellRotated } from "./internal/rotated.js"
import { nameOf, type Outcome, Running, type Stop, type Successor } from "./Running.js"

/** What a new job is made of. */
export interface NewJob {
  readonly jobId: string
  readonly principalId: string
  readonly ownerSessionId: string
  readonly agent: AgentRegistration
  /** Decoded, for the handler. */
  readonly input: unknown
  /** As it came over the wire. */
  readonly wireInput: unknown
  readonly lease: Lease.Lease
  readonly maxRuntimeSec: number | undefined
  readonly idempotencyKey: string | undefined
  readonly traceId: string
  readonly trace: TraceContext | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly inlineStream: boolean
  /** Of the submit's envelope; kept with the reply. */
  readonly priority?: Priority | undefined
  readonly provisioned: boolean
  readonly parent:
    | { readonly running: Running; readonly delegateId: string; readonly ended: Deferred.Deferred<Outcome> }
    | undefined
}

/** A job that has been made. */
export interface Made {
  readonly record: JobRecord
  readonly live: JobLog
  readonly running: Running
  /** What its counters begin with (§9.6). */
  readonly budget: Amount.Amounts
}

const acceptedOf = (job: NewJob, budget: Amount.Amounts): KeptAccepted => {
  const { agent, jobId, lease, now, parent, priority, traceId } = job
  const name = `${agent.name}@${agent.version}`
  const at = formatTimestamp(now)
  // Most jobs have nothing else. Each spread below makes a dictionary of the whole.
  if (priority === undefined && parent === undefined && budget.size === 0 && lease.constraints === undefined) {
    return { job_id: jobId, agent: name, lease: lease.wire, accepted_at: at, trace_id: traceId }
  }
  return {
    ...(priority === undefined ? {} : { priority }),
    job_id: jobId,
    agent: name,
    ...Lease.toWire(lease),
    ...(budget.size === 0 ? {} : { budget: Amount.toWire(budget) }),
    accepted_at: at,
    trace_id: traceId,
    ...(parent === undefined ? {} : { parent_job_id: parent.running.live.jobId, delegate_id: parent.delegateId })
  }
}

const recordOf = (job: NewJob, accepted: KeptAccepted): JobRecord => {
  const { agent, jobId, lease, now, parent, traceId } = job
  return {
    jobId,
    principalId: job.principalId,
    agent: agent.name,
    version: agent.version,
    input: JSON.stringify(job.wireInput ?? null),
    lease: JSON.stringify(lease.wire),
    leaseConstraints: lease.constraints === undefined ? undefined : JSON.stringify(lease.constraints),
    idempotencyKey: job.idempotencyKey,
    maxRuntimeSec: job.maxRuntimeSec,
    traceId,
    traceContext: job.trace === undefined ? undefined : JSON.stringify(job.trace),
    parentJobId: parent?.running.live.jobId,
    delegateId: parent?.delegateId,
    createdAt: now,
    accepted: JSON.stringify(accepted)
  }
}

/** What the audit trail says of a job that has been admitted (§14). */
export const admitted = ({ live, record, running }: Made): Extract<Draft, { readonly type: "job.admitted" }> => ({
  type: "job.admitted",
  principal: record.principalId,
  session_id: live.ownerSessionId,
  job_id: record.jobId,
  trace_id: record.traceId,
  agent: `${record.agent}@${record.version}`,
  parent_job_id: record.parentJobId,
  delegate_id: record.delegateId,
  capabilities: Object.keys(running.lease.wire),
  expires_at: running.lease.constraints?.expires_at
})

/** Makes it; nothing of it is anywhere yet. */
export const newJob = (job: NewJob): Made => {
  const { agent, lease, parent } = job
  const budget = Lease.budgetOf(lease)
  const accepted = acceptedOf(job, budget)
  const record = recordOf(job, accepted)
  const live = new JobLog(
    record,
    {
      status: "pending",
      ownerSessionId: job.ownerSessionId,
      startedAt: undefined,
      lastJobSeq: 0,
      lastOwnerSeq: 0,
      attempt: 1,
      budget: toText(budget),
      cancelled: undefined
    },
    { lease: lease.wire, leaseConstraints: lease.constraints, traceContext: job.trace, accepted }
  )
  const running = new Running({
    live,
    agent,
    input: job.input,
    lease,
    inlineStream: job.inlineStream,
    provisioned: job.provisioned,
    parent: parent?.running,
    ended: parent?.ended
  })
  return { record, live, running, budget }
}

/**
 * How many milliseconds a job has left of its `max_runtime_sec`, which counts from its first start (§7.3); none left: 0 or less. `wall` is wall
 * time, which counts where an earlier process has started it only: a clock that was set back since gives it the whole time at most.
 */
export const runtimeLeft = ({ attempt, record, startedAt }: JobLog, wall: number): number | undefined => {
  if (record.maxRuntimeSec === undefined) return undefined
  const whole = record.maxRuntimeSec * 1000
  return attempt === 1 || startedAt === undefined ? whole : Math.min(whole, startedAt + whole - wall)
}

/** Why it is stopped then. */
export const tooLong = ({ record }: JobLog): Stop => ({
  status: "timed_out",
  error: new Timeout({ message: `the job ran longer than its max_runtime_sec of ${record.maxRuntimeSec}` })
})

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
      deadlines.scheduleWall(expiresAt + grace, () =>
        ending.stop(running, { status: "error", error: expired(running.lease) })
      )
    )
  }

  /** The part of a start that belongs into the log: status and first event. */
  private writeStart({ live }: Running, batch: Batch): void {
    const now = this.engine.deadlines.wall()
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
    const left = runtimeLeft(live, deadlines.wall())
    if (left !== undefined) {
      running.watch(deadlines.schedule(deadlines.mono() + left, () => ending.stop(running, tooLong(live))))
    }
    if (running.reissued) this.reportReissued(running)
    this.runHandler(running)
  }

  private reportReissued({ live }: Running): void {
    const { credentials, deadlines, eventLog } = this.engine
    for (const credential of credentials.of(live.jobId)) {
      const message = "a credential was issued anew, after a restart of the runtime"
      tellRotated(eventLog, deadlines.wall(), live, credential, message)
    }
  }

  private runHandler(running: Running): void {
    running.begin()
    // Known from here on, also when the job has ended before its handler.
    if (this.engine.credentials.available) secretsOf(this.engine, running)
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
    const { defect, outcome } = outcomeOf(running, exit, limits, deadlines.wall(), held, meter)
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
    eventLog.emit(running.live, "event", eventPayload('"status"', deadlines.wall(), body))
    this.runHandler(running)
  }
}
