/**
 * Running jobs: slots, the handler's fiber, deadlines, and the one terminal message (ARCP 1.1 §7.3, §7.4, §9.5).
 *
 * Order: `status {phase: "running"}` is a job's first event; results of open tool calls, then the terminal message, are
 * its last. The terminal message, the job's status and the end of its attachments are one change of the journal. Delegated
 * jobs end before the job that delegated them, and what is left of their budget is back by then.
 *
 * Races closed here: whatever ends a handler (success, failure, defect, cancel, timeout, expiry, the end of its parent, a
 * defect in a finalizer) comes through one function that runs once; a reason to stop wins over any outcome that arrives
 * later; a handler that does not unwind is not waited for after the grace.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { type AgentRegistration, AgentRegistry } from "../agent/AgentRegistry.js"
import { Job } from "../agent/Job.js"
import { ToolRegistry } from "../agent/ToolRegistry.js"
import * as Expiry from "../authority/Expiry.js"
import { type ArcpError, Cancelled, toWire } from "../protocol/Errors.js"
import { formatTimestamp } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import * as Text from "../protocol/Text.js"
import * as Rows from "../store/Rows.js"
import { Store } from "../store/Store.js"
import { Artifacts } from "./Artifacts.js"
import { BackPressure, type Emitting } from "./BackPressure.js"
import { Budgets } from "./Budgets.js"
import { Credentials } from "./Credentials.js"
import { Deadlines } from "./Deadlines.js"
import type { Builder } from "./internal/builder.js"
import { Drain } from "./internal/drain.js"
import { makeStarter } from "./internal/handlerFiber.js"
import { handlerServices } from "./internal/handlerServices.js"
import * as JobServices from "./internal/jobService.js"
import { inSpan } from "./internal/jobSpan.js"
import type { LiveJob } from "./internal/model.js"
import { nodeDrivers } from "./internal/nodeDrivers.js"
import { internal, outcomeOf, parentEnded, restarted, runtimeEnd, stopped, tooLong } from "./internal/outcomes.js"
import { eventPayload, failedResultBody } from "./internal/payload.js"
import { tellRotated } from "./internal/rotated.js"
import type { Outcome, Running, Stop } from "./internal/running.js"
import { reissueOf, runsAgain, takeUp } from "./internal/takeUp.js"
import { nameOf, Slots } from "./internal/slots.js"
import { upstreamOf } from "./internal/upstreamErrors.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import { Meter, pendingJobs } from "./Metrics.js"
import { Limits } from "./Limits.js"
import { LeasePolicy } from "./Policies.js"

/** Starts delegated jobs and hands jobs over; the layer above the runner that registers itself here. */
export type Delegating = Pick<JobServices.JobServiceDeps["authority"], "startChild" | "handoff">

/** Runs jobs that have been accepted. */
export class JobRunner extends Context.Tag("effect-arcp/runtime/JobRunner")<
  JobRunner,
  {
    /** Takes a job in; answers whether it has a slot at once. Otherwise it waits and starts by itself. */
    readonly add: (running: Running) => boolean
    /** Takes a delegated job in. It needs no slot: its parent, which may wait for it, has one. */
    readonly addChild: (running: Running) => void
    /** Takes a job out of the running ones. */
    readonly remove: (running: Running) => void
    /** The part of a start that belongs into the journal: status and first event. */
    readonly writeStart: (running: Running, builder: Builder) => void
    /** Starts the handler, once the start is durable. */
    readonly start: (running: Running) => void
    /** Stops a job; the first reason counts. Within the grace the job has its terminal message. */
    readonly stop: (running: Running, reason: Stop) => void
    /** What a refused operation means for the job beyond its failure: an expired lease ends it (§9.5). */
    readonly refused: (running: Running, error: ArcpError) => void
    /** Lets go of a job that was not stored, and of all that it holds; nobody has heard of it. */
    readonly abandon: (running: Running) => void
    /** Unwinds the handler and lets another agent go on. */
    readonly handOver: (running: Running, next: { readonly agent: AgentRegistration; readonly input: unknown }) => void
    readonly useDelegation: (delegation: Delegating) => void
    readonly running: (jobId: string) => Running | undefined
    readonly live: (jobId: string) => LiveJob | undefined
    readonly pending: () => number
    /** Whether a job of this principal and agent would start at once. */
    readonly hasSlot: (principalId: string, agent: AgentRegistration) => boolean
    /** Submitted jobs of a principal that run or wait. */
    readonly submitted: (principalId: string) => number
    readonly counts: () => { readonly pending: number; readonly running: number }
    /** Takes up a job that an earlier process left unfinished, parents before their children. */
    readonly recover: (job: Rows.RecoveredJob, openCalls: Iterable<string>) => LiveJob
    /** Ends or starts again what was taken up. */
    readonly resume: Effect.Effect<void>
    /**
     * Starts no more jobs, gives those that run this many milliseconds, then ends them, or leaves them to the next process
     * where their agents run again and the store is durable. Returns when no job is left.
     */
    readonly drain: (millis: number) => Effect.Effect<void>
    readonly draining: () => boolean
    /** Whether a job is being left to the next process: nothing is to be asked of it here. */
    readonly left: (running: Running) => boolean
    readonly all: () => Iterable<Running>
  }
>() {
  static readonly layer: Layer.Layer<
    JobRunner,
    never,
    Emitting | Deadlines | Ids | Leases | Budgets | Credentials | AgentRegistry | ToolRegistry | Artifacts | Store
  > = Layer.scoped(
    JobRunner,
    Effect.gen(function* () {
      const journal = yield* Journal
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const leases = yield* Leases
      const budgets = yield* Budgets
      const credentials = yield* Credentials
      const policy = yield* LeasePolicy
      const registry = yield* AgentRegistry
      const backPressure = yield* BackPressure
      const limits = yield* Limits
      const meter = yield* Meter
      const store = yield* Store
      const scope = yield* Effect.scope
      const runtime = yield* Effect.runtime<never>()
      const runFork = Runtime.runFork(runtime)
      const guards = { withhold: store.over ?? [], drivers: yield* nodeDrivers, fileBytes: limits.fileBytes }
      const startHandler = makeStarter(runtime, guards.withhold)

      const jobs = new Map<string, Running>()
      const submitted = new Map<string, number>()
      let waiting: Array<Running> = []
      const slots = new Slots(limits, meter)
      const recovered: Array<{ readonly running: Running; readonly again: boolean }> = []
      let delegation: Delegating | undefined

      /** Starts what can start, in the order of submission. */
      const startWaiting = (): void => {
        if (waiting.length === 0 || drain.draining) return
        const left: Array<Running> = []
        for (const running of waiting) {
          if (running.finished) continue
          if (slots.taken < limits.runningJobs && slots.take(running)) {
            journal.change({
              write: (builder) => {
                if (!running.live.ending) writeStart(running, builder)
              },
              committed: () => start(running)
            })
          } else left.push(running)
        }
        waiting = left
        meter.show(pendingJobs, waiting.length)
      }

      /** A job whose lease expires is stopped, whether its agent tries anything or not (§9.5). */
      const watchExpiry = (running: Running): void => {
        const { expiresAt } = running.lease
        if (expiresAt === undefined) return
        const grace = Math.max(0, Math.min(limits.leaseGrace, 1_000))
        running.deadlines.push(
          deadlines.schedule(expiresAt + grace, () =>
            stop(running, { status: "error", error: leases.expired(running.lease) })
          )
        )
      }

      const count = ({ live: { record } }: Running, by: number): void => {
        const left = (submitted.get(record.principalId) ?? 0) + by
        if (left === 0) submitted.delete(record.principalId)
        else submitted.set(record.principalId, left)
      }

      const addChild = (running: Running): void => {
        jobs.set(running.live.jobId, running)
        watchExpiry(running)
      }

      const add = (running: Running): boolean => {
        if (!jobs.has(running.live.jobId)) count(running, 1)
        jobs.set(running.live.jobId, running)
        watchExpiry(running)
        // Whoever waits cannot start now, so that this one overtakes nobody; and its start belongs to its own change.
        if (slots.take(running)) return true
        waiting.push(running)
        meter.show(pendingJobs, waiting.length)
        return false
      }

      const remove = (running: Running): void => {
        if (jobs.delete(running.live.jobId) && running.parent === undefined) count(running, -1)
        for (const deadline of running.deadlines) deadline.cancel()
        waiting = waiting.filter((other) => other !== running)
        meter.show(pendingJobs, waiting.length)
        slots.free(running)
        drain.removed()
        startWaiting()
      }

      const writeStart = (running: Running, builder: Builder): void => {
        const { live } = running
        const now = deadlines.now()
        live.status = "running"
        live.startedAt ??= now
        builder.event(
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
        builder.state(live)
      }

      const services: JobServices.JobServiceDeps = {
        emit: journal.emit,
        room: journal.room,
        throttle: backPressure.throttle,
        now: deadlines.now,
        ids,
        limits,
        meter,
        artifacts: yield* Artifacts,
        steps: {
          read: Rows.decoded(store).step,
          write: (record, committed) =>
            journal.change({ write: (builder) => void builder.steps.push(record), committed })
        },
        authority: {
          check: leases.check,
          checkState: leases.checkState,
          chargeable: budgets.chargeable,
          charge: budgets.charge,
          hold: budgets.hold,
          available: budgets.available,
          refused: (running, error) => refused(running, error),
          findTool: (yield* ToolRegistry).find,
          withhold: guards.withhold,
          startChild: (...request) => delegation?.startChild(...request) ?? notDelegating,
          handoff: (...request) => delegation?.handoff(...request) ?? notDelegating,
          credentials: ({ live }) => credentials.of(live.jobId),
          upstream: (running) => upstream(running)
        }
      }

      const upstream = ({ live }: Running) => upstreamOf(credentials.of(live.jobId))

      const notDelegating = Effect.dieMessage("the runtime was built without its Delegation layer")

      /** Stops what was taken up and may do nothing any more. */
      const stopIfOver = (running: Running): void => {
        const { lease, live } = running
        const now = deadlines.now()
        if (Expiry.isOver(lease.expiresAt, now)) stop(running, { status: "error", error: leases.expired(lease) })
        else if ((runtimeEnd(live, now) ?? Number.POSITIVE_INFINITY) <= now) stop(running, tooLong(live))
      }

      const start = (running: Running): void => {
        const { live } = running
        if (running.finished || running.outcome !== undefined) return
        const endsAt = runtimeEnd(live, deadlines.now())
        if (endsAt !== undefined) {
          running.deadlines.push(deadlines.schedule(endsAt, () => stop(running, tooLong(live))))
        }
        if (running.reissued) {
          for (const credential of credentials.of(live.jobId)) {
            const message = "a credential was issued anew, after a restart of the runtime"
            tellRotated(journal, deadlines.now(), live, credential, message)
          }
        }
        run(running)
      }

      const run = (running: Running): void => {
        const { agent } = running
        const { gate, service } = JobServices.make(running, services)
        const handler = Effect.suspend(() =>
          agent.run(running.input, (context) => handlerServices(context, gate, agent, guards))
        ).pipe(Effect.scoped, Effect.provideService(Job, service), inSpan(running))
        running.begun = true
        startHandler(handler, {
          started: (fiber) => void (running.fiber = fiber),
          exited: (exit) => exited(running, exit),
          lost: (defect) => {
            const what = `the agent ${nameOf(agent)} failed unexpectedly in ${running.live.jobId}: ${Text.ofUnknown(defect)}`
            runFork(Effect.logError(what))
            conclude(running, internal("the agent failed unexpectedly"))
          }
        })
        // What interrupts it while it runs for the first time does so here.
        if (running.stop !== undefined || running.next !== undefined) interrupt(running)
      }

      const exited = (running: Running, exit: Exit.Exit<unknown, unknown>): void => {
        if (drain.gone(running)) return
        const { next } = running
        const unwound = exit._tag === "Success" || Cause.isInterruptedOnly(exit.cause)
        if (next !== undefined && unwound && running.stop === undefined && !running.finished) {
          running.next = undefined
          running.agent = next.agent
          running.input = next.input
          journal.emit(
            running.live,
            "event",
            eventPayload('"status"', deadlines.now(), JSON.stringify({ phase: "handoff", message: nameOf(next.agent) }))
          )
          return run(running)
        }
        const held = upstream(running)
        const { defect, outcome } = outcomeOf(running, exit, limits, deadlines.now(), held, meter)
        if (defect !== undefined) {
          const cause = Text.ofCause(defect)
          runFork(
            Effect.logError(
              `the agent ${nameOf(running.agent)} failed unexpectedly in ${running.live.jobId}`,
              held === undefined ? cause : held.hide(cause)
            )
          )
        }
        conclude(running, outcome)
      }

      const handOver: (typeof JobRunner)["Service"]["handOver"] = (running, next) => {
        if (running.finished || running.stop !== undefined || running.outcome !== undefined) return
        // The first one counts.
        if (running.next !== undefined) return
        running.next = next
        running.handoffs++
        interrupt(running)
      }

      const interrupt = (running: Running): void => {
        if (running.fiber !== undefined) running.fiber.unsafeInterruptAsFork(running.fiber.id())
      }

      const stop = (running: Running, reason: Stop): void => {
        if (running.stop !== undefined || running.finished) return
        running.stop = reason
        backPressure.release(running.live)
        if (reason.error.code === "LEASE_EXPIRED") {
          runFork(
            Effect.annotateLogs(Effect.logInfo("lease expired"), {
              job_id: running.live.jobId,
              principal: running.live.record.principalId,
              expires_at: running.lease.constraints?.expires_at
            })
          )
        }
        if (!running.begun) return conclude(running, stopped(reason))
        stopChildren(running)
        endAfterGrace(running, stopped(reason))
        interrupt(running)
      }

      /** Whoever has not unwound by then is not waited for any more (§7.4). */
      const endAfterGrace = (running: Running, outcome: Outcome): void => {
        const over = () => meter.reaching("cancelGrace", endNow(running, outcome))
        running.deadlines.push(deadlines.schedule(deadlines.now() + limits.cancelGrace, over))
      }

      const stopChildren = (running: Running): void => {
        // A child's lease ends with its parent's at the latest: it has the same reason to end.
        const reason = running.stop?.error.code === "LEASE_EXPIRED" ? running.stop : parentEnded
        for (const child of [...running.children]) stop(child, reason)
      }

      /** The handler has ended; the job ends once its children have, within the grace (§10). */
      const conclude = (running: Running, outcome: Outcome): void => {
        if (running.finished || running.outcome !== undefined) return
        running.outcome = outcome
        stopChildren(running)
        if (running.children.size === 0) return childGone(running)
        endAfterGrace(running, outcome)
      }

      const childGone = (running: Running): void => {
        const { outcome } = running
        if (outcome === undefined || running.children.size > 0) return
        // It may have been stopped while it waited for its children.
        finish(running, running.stop === undefined ? outcome : stopped(running.stop))
      }

      /** Ends a job and its children without waiting for anything. */
      const endNow = (running: Running, outcome: Outcome): void => {
        for (const child of [...running.children]) endNow(child, stopped(child.stop ?? parentEnded))
        finish(running, running.stop === undefined ? outcome : stopped(running.stop))
      }

      const refused = (running: Running, error: ArcpError): void => {
        if (error.code === "LEASE_EXPIRED" || (error.code === "BUDGET_EXHAUSTED" && policy.exhaustion === "fatal")) {
          stop(running, { status: "error", error })
        }
      }

      /** No call stays without its result. */
      const closeCalls = (running: Running, error: ArcpError): void => {
        for (const callId of running.openCalls) {
          const body = failedResultBody(callId, error, limits)
          journal.emit(running.live, "event", eventPayload('"tool_result"', deadlines.now(), body))
        }
        running.openCalls.clear()
      }

      /** The only way a job ends. */
      const finish = (running: Running, outcome: Outcome): void => {
        if (running.finished) return
        if (!running.queued) return abandon(running)
        running.finished = true
        const { live } = running
        for (const deadline of running.deadlines) deadline.cancel()
        const now = deadlines.now()
        if (running.openCalls.size > 0) {
          closeCalls(
            running,
            outcome._tag === "error" ? outcome.error : new Cancelled({ message: "the agent ended before the call did" })
          )
        }
        live.ending = true
        backPressure.release(live)
        if (outcome._tag === "result") journal.emit(live, "result", outcome.payload)
        else {
          journal.emit(
            live,
            "error",
            JSON.stringify({
              final_status: outcome.status,
              ...toWire(outcome.error),
              completed_at: formatTimestamp(now)
            })
          )
        }
        release(running)
        journal.change({
          write: (builder) => {
            live.status = outcome._tag === "result" ? "success" : outcome.status
            live.endedAt = now
            builder.state(live)
            for (const { session } of live.attachments.values()) {
              builder.subscriptionsRemoved.push({ sessionId: session.sessionId, jobId: live.jobId })
            }
          },
          committed: () => {
            for (const { session } of live.attachments.values()) {
              session.owned.delete(live)
              session.observed.delete(live)
            }
            live.attachments.clear()
            remove(running)
            meter.ended(live.status)
            running.told = outcome
            for (const told of running.ended.splice(0)) told(outcome)
          }
        })
        leaveParent(running)
      }

      /** What a job holds beyond itself goes back: its budget to its parent, its credentials upstream. */
      const release = (running: Running): void => {
        budgets.settle(running)
        credentials.revoke(running.live.jobId)
      }

      const leaveParent = (running: Running): void => {
        const { parent } = running
        if (parent === undefined) return
        parent.children.delete(running)
        if (!drain.gone(parent)) childGone(parent)
      }

      const abandon = (running: Running): void => {
        if (running.finished) return
        running.finished = true
        remove(running)
        // Before it is queued nothing has left its parent's counters.
        if (running.queued) release(running)
        else credentials.revoke(running.live.jobId)
        leaveParent(running)
      }

      const recover = (stored: Rows.RecoveredJob, openCalls: Iterable<string>): LiveJob => {
        const { parentJobId } = stored.record
        const parent = parentJobId === undefined ? undefined : jobs.get(parentJobId)
        const taken = takeUp(stored, registry, leases, parent, openCalls)
        const { running } = taken
        if (running.parent === undefined) count(running, 1)
        running.parent?.children.add(running)
        jobs.set(running.live.jobId, running)
        recovered.push(taken)
        return running.live
      }

      const startAgain = (running: Running): void => {
        // It may have been cancelled while its credentials were being issued.
        if (running.finished || running.outcome !== undefined) return
        const { owners } = running.live
        running.inlineStream = owners.length > 0 && owners.every(({ features }) => !features.has("result_chunk"))
        closeCalls(running, restarted)
        if (!add(running)) return
        journal.change({
          write: (builder) => {
            if (!running.live.ending) writeStart(running, builder)
          },
          committed: () => start(running)
        })
      }

      const resume = Effect.suspend(() => {
        const taken = recovered.splice(0)
        // Children first, so that their money is back before a parent goes on or ends.
        for (const { again, running } of taken.toReversed())
          if (!again) endNow(running, stopped({ status: "error", error: restarted }))
        // Nobody issues credentials for, or starts, what may do nothing any more (§7.3, §9.5).
        for (const { again, running } of taken) if (again) stopIfOver(running)
        const again = taken.flatMap((job) => (job.again && !job.running.finished ? [job.running] : []))
        if (!credentials.available) return Effect.sync(() => again.forEach(startAgain))
        // Beside the runtime's start: an upstream that is slow holds up its own jobs, and nobody else.
        return Effect.forkIn(Effect.forEach(again, issueAnew, { concurrency: 16, discard: true }), scope)
      })

      /** The values of an earlier process's credentials are gone with it, and have been revoked. */
      const issueAnew = (running: Running): Effect.Effect<void> =>
        Effect.suspend(() => {
          stopIfOver(running)
          if (running.finished) return Effect.void
          const request = reissueOf(running)
          if (request === undefined) return Effect.sync(() => startAgain(running))
          return Effect.match(credentials.issue(request), {
            onFailure: (error) => conclude(running, { _tag: "error", status: "error", error }),
            onSuccess: ({ length }) => {
              running.reissued = length > 0
              startAgain(running)
            }
          })
        })

      yield* credentials.onRotated(({ credential, jobId }) =>
        Effect.async<void>((resume) => {
          const live = jobs.get(jobId)?.live
          if (live === undefined || live.ending) return resume(Effect.void)
          tellRotated(journal, deadlines.now(), live, credential, "a credential has a new value", () =>
            resume(Effect.void)
          )
        })
      )

      const drain = new Drain({
        jobs,
        durable: store.durable,
        runsAgain: ({ live }) =>
          runsAgain(registry.resolve({ name: live.record.agent, version: live.record.version }), live.record, live),
        stop,
        interrupt,
        remove,
        revoke: credentials.revoke,
        now: deadlines.now,
        schedule: deadlines.schedule,
        grace: limits.cancelGrace,
        pending: () => waiting.length
      })

      // Whoever has not drained it loses no more than the time to do so.
      yield* Effect.addFinalizer(() => drain.drain(0))

      return {
        add,
        addChild,
        remove,
        writeStart,
        start,
        stop,
        refused,
        abandon,
        handOver,
        useDelegation: (layer) => void (delegation = layer),
        running: (jobId) => jobs.get(jobId),
        live: (jobId) => jobs.get(jobId)?.live,
        pending: () => waiting.length,
        submitted: (principalId) => submitted.get(principalId) ?? 0,
        hasSlot: (principalId, agent) => slots.has(principalId, agent),
        counts: () => ({ pending: waiting.length, running: slots.taken }),
        recover,
        resume,
        drain: drain.drain,
        draining: () => drain.draining,
        left: (running) => drain.isLeft(running),
        all: () => jobs.values()
      }
    })
  )
}
