/**
 * How a job ends: stop, grace, conclusion, its children and its parent, and the one terminal message (ARCP 1.1 §7.3, §7.4, §9.5, §10).
 *
 * Responsibility: whatever ends a handler (success, failure, defect, cancel, timeout, expiry, the end of its parent, a defect in a
 * finalizer) comes through one function, {@link Ending.finish}, which runs once for each job.
 *
 * Order: results of open tool calls, then the terminal message, are a job's last events. The job's status and the end of its attachments
 * are one change of the log behind it. Delegated jobs end before the job that delegated them, and what is left of their budget is back
 * by then.
 *
 * Races closed here: a reason to stop wins over any outcome that comes later; a handler that does not unwind is not waited for after the
 * grace; a job that no client has heard of is released without a message.
 */
import { type ArcpError, Cancelled, toWire } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { SessionId } from "../../protocol/Ids.js"
import { eventPayload, failedResultBody } from "../kernel/Payload.js"
import { parentEnded, stopped } from "./handler/outcomes.js"
import { shownFor } from "./handler/secrets.js"
import { jobOf } from "./internal/audited.js"
import type { Ends, Engine } from "./internal/engine.js"
import type { Outcome, Running, Stop } from "./Running.js"

/** Ends jobs. */
export class Ending implements Ends {
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  stop(running: Running, reason: Stop): void {
    if (!running.stopFor(reason)) return
    this.engine.backPressure.release(running.live)
    this.audit(running, reason)
    if (!running.begun) return this.conclude(running, stopped(reason))
    this.stopChildren(running)
    this.endAfterGrace(running, stopped(reason))
    running.interrupt()
  }

  conclude(running: Running, outcome: Outcome): void {
    if (!running.concludeWith(outcome)) return
    this.stopChildren(running)
    if (running.children.size === 0) return this.childGone(running)
    this.endAfterGrace(running, outcome)
  }

  endNow(running: Running, outcome: Outcome): void {
    for (const child of [...running.children]) this.endNow(child, stopped(child.stop ?? parentEnded))
    this.finish(running, running.stop === undefined ? outcome : stopped(running.stop))
  }

  refused(running: Running, error: ArcpError): void {
    const fatal = this.engine.leasePolicy.exhaustion === "fatal"
    if (error.code === "LEASE_EXPIRED" || (error.code === "BUDGET_EXHAUSTED" && fatal)) {
      this.stop(running, { status: "error", error })
    }
  }

  closeCalls(running: Running, error: ArcpError): void {
    const { deadlines, eventLog, limits } = this.engine
    for (const callId of running.openCalls) {
      const body = failedResultBody(callId, error, limits)
      eventLog.emit(running.live, "event", eventPayload('"tool_result"', deadlines.wall(), body))
    }
    running.closeCalls()
  }

  abandon(running: Running): void {
    if (!running.finish()) return
    this.release(running)
    this.remove(running)
    this.leaveParent(running)
  }

  remove(running: Running): void {
    const { drain, jobs, run } = this.engine
    running.cancelDeadlines()
    jobs.remove(running)
    drain.removed()
    run.launchWaiting()
  }

  /** Says who stopped it, or that its lease did (§14). */
  private audit(running: Running, { by, error, status }: Stop): void {
    const { audit } = this.engine
    if (audit === undefined) return
    const job = jobOf(running)
    if (error.code === "LEASE_EXPIRED") {
      return audit.add({ type: "lease.expired", ...job, expires_at: running.lease.constraints?.expires_at })
    }
    if (status !== "cancelled") return
    const hide = shownFor(this.engine, running)
    const detail = error.message
    if (by === undefined) return audit.add({ type: "job.cancelled", ...job, by: "parent", detail }, hide)
    const { requestId: request_id, sessionId: session_id } = by
    const remote_address = this.engine.eventLog.sessions.get(SessionId(session_id))?.link?.connection.remoteAddress
    audit.add({ type: "job.cancelled", ...job, session_id, request_id, remote_address, by: "client", detail }, hide)
  }

  /** A handler that has not unwound by then is not waited for any more (§7.4). */
  private endAfterGrace(running: Running, outcome: Outcome): void {
    const { deadlines, limits, meter } = this.engine
    const over = () => meter.reaching("cancelGrace", this.endNow(running, outcome))
    running.watch(deadlines.schedule(deadlines.mono() + limits.cancelGrace, over))
  }

  private stopChildren(running: Running): void {
    // A child's lease ends with its parent's at the latest: it has the same reason to end.
    const reason = running.stop?.error.code === "LEASE_EXPIRED" ? running.stop : parentEnded
    for (const child of [...running.children]) this.stop(child, reason)
  }

  /** Ends a job whose handler has ended, once its last child has. */
  private childGone(running: Running): void {
    const { outcome } = running
    if (outcome === undefined || running.children.size > 0) return
    // It may have been stopped while it waited for its children.
    this.finish(running, running.stop === undefined ? outcome : stopped(running.stop))
  }

  /** The only way a job ends. */
  private finish(running: Running, outcome: Outcome): void {
    if (!running.queued) return this.abandon(running)
    if (!running.finish()) return
    const now = this.engine.deadlines.wall()
    if (running.openCalls.size > 0) {
      this.closeCalls(
        running,
        outcome._tag === "error" ? outcome.error : new Cancelled({ message: "the agent ended before the call did" })
      )
    }
    this.emitEnd(running, outcome, now)
    this.release(running)
    this.writeEnd(running, outcome, now)
    this.leaveParent(running)
  }

  /** The terminal message: nothing is emitted after it. */
  private emitEnd({ live }: Running, outcome: Outcome, now: number): void {
    const { backPressure, eventLog } = this.engine
    live.close()
    backPressure.release(live)
    if (outcome._tag === "result") eventLog.emit(live, "result", outcome.payload)
    else {
      eventLog.emit(
        live,
        "error",
        JSON.stringify({
          final_status: outcome.status,
          ...toWire(outcome.error),
          completed_at: formatTimestamp(now)
        })
      )
    }
  }

  /** The change behind it: status, attachments, and, once it is durable, what waits for the end. */
  private writeEnd(running: Running, outcome: Outcome, now: number): void {
    const { live } = running
    const { eventLog, meter } = this.engine
    eventLog.change({
      write: (batch) => {
        batch.end(live, { status: outcome._tag === "result" ? "success" : outcome.status, endedAt: now })
      },
      committed: () => {
        this.remove(running)
        meter.ended(live.status)
        running.settle(outcome)
      }
    })
  }

  /** What a job holds beyond itself goes back: its budget to its parent, its credentials upstream (§9.8.2). */
  private release(running: Running): void {
    this.engine.money.close(running)
    this.engine.credentials.revoke(running.live.jobId)
  }

  private leaveParent(running: Running): void {
    const { parent } = running
    if (parent === undefined) return
    parent.dropChild(running)
    if (!this.engine.drain.gone(parent)) this.childGone(parent)
  }
}
