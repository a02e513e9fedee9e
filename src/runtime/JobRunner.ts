/**
 * Running jobs: slots, the handler's fiber, deadlines, and the one terminal message (ARCP 1.1 §7.3, §7.4).
 *
 * Order: `status {phase: "running"}` is a job's first event; results of open tool calls, then the terminal message, are
 * its last. The terminal message, the job's status and the end of its attachments are one change of the journal.
 *
 * Races closed here: whatever ends a handler (success, failure, defect, cancel, timeout, a defect in a finalizer) comes
 * through one function that runs once; a reason to stop wins over any outcome that arrives later.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import { type AgentRegistration, AgentRegistry } from "../agent/AgentRegistry.js"
import { Job, Streamed } from "../agent/Job.js"
import {
  type ArcpError,
  Cancelled,
  InternalError,
  isArcpError,
  oneLine,
  Timeout,
  toWire,
  VendorError
} from "../protocol/Errors.js"
import { formatTimestamp, type WireLease, type WireLeaseConstraints } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import type { JobStatus } from "../protocol/Session.js"
import type { TraceContext } from "../protocol/Trace.js"
import type { StoredJob } from "../store/Store.js"
import { Deadlines } from "./Deadlines.js"
import type { Builder } from "./internal/builder.js"
import * as JobServices from "./internal/jobService.js"
import { LiveJob } from "./internal/model.js"
import { Running, type Stop } from "./internal/running.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import { Limits } from "./Limits.js"

/** What a handler ended with. */
type Outcome =
  | { readonly _tag: "result"; readonly payload: string }
  | {
      readonly _tag: "error"
      readonly status: Exclude<JobStatus, "pending" | "running" | "success">
      readonly error: ArcpError
    }

/** Runs jobs that have been accepted. */
export class JobRunner extends Context.Tag("effect-arcp/runtime/JobRunner")<
  JobRunner,
  {
    /** Takes a job in; answers whether it has a slot at once. Otherwise it waits and starts by itself. */
    readonly add: (running: Running) => boolean
    /** Forgets a job that was not stored. */
    readonly remove: (running: Running) => void
    /** The part of a start that belongs into the journal: status and first event. */
    readonly writeStart: (running: Running, builder: Builder) => void
    /** Starts the handler, once the start is durable. */
    readonly start: (running: Running) => void
    /** Stops a job; the first reason counts. Within the grace the job has its terminal message. */
    readonly stop: (running: Running, reason: Stop) => void
    readonly running: (jobId: string) => Running | undefined
    readonly live: (jobId: string) => LiveJob | undefined
    readonly pending: () => number
    readonly counts: () => { readonly pending: number; readonly running: number }
    /** Takes up a job that an earlier process left unfinished. */
    readonly recover: (job: StoredJob) => LiveJob
    /** Waits until no job runs. */
    readonly idle: Effect.Effect<void>
    readonly all: () => Iterable<Running>
  }
>() {
  static readonly layer: Layer.Layer<JobRunner, never, Journal | Deadlines | Ids | Leases | AgentRegistry> =
    Layer.scoped(
      JobRunner,
      Effect.gen(function* () {
        const journal = yield* Journal
        const deadlines = yield* Deadlines
        const ids = yield* Ids
        const leases = yield* Leases
        const registry = yield* AgentRegistry
        const limits = yield* Limits
        const runtime = yield* Effect.runtime<never>()
        const runFork = Runtime.runFork(runtime)

        const jobs = new Map<string, Running>()
        let waiting: Array<Running> = []
        let slots = 0
        const byPrincipal = new Map<string, number>()
        const byAgent = new Map<string, number>()
        let idleWaiters: Array<() => void> = []

        const count = (map: Map<string, number>, key: string, by: number) => {
          const next = (map.get(key) ?? 0) + by
          if (next === 0) map.delete(key)
          else map.set(key, next)
        }
        const agentKey = (running: Running) => `${running.agent.name}@${running.agent.version}`

        const takeSlot = (running: Running): boolean => {
          const principal = running.live.record.principalId
          if (
            slots >= limits.runningJobs ||
            (byPrincipal.get(principal) ?? 0) >= limits.runningJobsPerPrincipal ||
            (byAgent.get(agentKey(running)) ?? 0) >= (running.agent.maxRunning ?? limits.runningJobsPerAgent)
          )
            return false
          slots++
          count(byPrincipal, principal, 1)
          count(byAgent, agentKey(running), 1)
          running.slot = true
          return true
        }

        const freeSlot = (running: Running): void => {
          if (!running.slot) return
          running.slot = false
          slots--
          count(byPrincipal, running.live.record.principalId, -1)
          count(byAgent, agentKey(running), -1)
        }

        /** Starts what can start, in the order of submission. */
        const startWaiting = (): void => {
          if (waiting.length === 0) return
          const left: Array<Running> = []
          for (const running of waiting) {
            if (running.finished) continue
            if (slots < limits.runningJobs && takeSlot(running)) {
              journal.change({
                write: (builder) => {
                  if (!running.live.ending) writeStart(running, builder)
                },
                committed: () => start(running)
              })
            } else left.push(running)
          }
          waiting = left
        }

        const add = (running: Running): boolean => {
          jobs.set(running.live.jobId, running)
          if (waiting.length === 0 && takeSlot(running)) return true
          waiting.push(running)
          startWaiting()
          return false
        }

        const remove = (running: Running): void => {
          jobs.delete(running.live.jobId)
          waiting = waiting.filter((other) => other !== running)
          freeSlot(running)
          if (jobs.size === 0) {
            const resume = idleWaiters
            idleWaiters = []
            for (const waiter of resume) waiter()
          }
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
            JobServices.eventPayload(
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
          throttle: () => undefined,
          now: deadlines.now,
          ids,
          limits
        }

        const parentSpan = (live: LiveJob): Tracer.AnySpan => {
          const trace =
            live.record.traceContext === undefined ? undefined : (JSON.parse(live.record.traceContext) as TraceContext)
          return Tracer.externalSpan({
            traceId: live.traceId,
            spanId: trace?.parentSpanId ?? live.traceId.slice(16),
            sampled: trace?.sampled ?? true
          })
        }

        const start = (running: Running): void => {
          const { agent, live } = running
          if (running.finished) return
          if (live.record.maxRuntimeSec !== undefined) {
            const seconds = live.record.maxRuntimeSec
            running.deadlines.push(
              deadlines.schedule((live.startedAt ?? deadlines.now()) + seconds * 1000, () =>
                stop(running, {
                  status: "timed_out",
                  error: new Timeout({ message: `the job ran longer than its max_runtime_sec of ${seconds}` })
                })
              )
            )
          }
          const handler = agent.run(running.input, leases.guard(running)).pipe(
            Effect.scoped,
            Effect.provideService(Job, JobServices.make(running, services)),
            Effect.withSpan("arcp.job", {
              parent: parentSpan(live),
              attributes: {
                "arcp.job_id": live.jobId,
                "arcp.session_id": live.ownerSessionId,
                "arcp.agent": `${agent.name}@${agent.version}`,
                "arcp.lease.capabilities": Object.keys(running.lease).join(","),
                "arcp.lease.expires_at": running.leaseConstraints?.expires_at
              },
              captureStackTrace: false
            })
          )
          const fiber = runFork(handler)
          running.fiber = fiber
          fiber.addObserver((exit) => finish(running, outcomeOf(running, exit)))
          if (running.stop !== undefined) interrupt(running)
        }

        const interrupt = (running: Running): void => {
          if (running.fiber !== undefined) running.fiber.unsafeInterruptAsFork(running.fiber.id())
        }

        const stop = (running: Running, reason: Stop): void => {
          if (running.stop !== undefined || running.finished) return
          running.stop = reason
          if (running.fiber === undefined) return finish(running, stopped(reason))
          running.deadlines.push(
            deadlines.schedule(deadlines.now() + limits.cancelGrace, () => finish(running, stopped(reason)))
          )
          interrupt(running)
        }

        const stopped = (reason: Stop): Outcome => ({ _tag: "error", status: reason.status, error: reason.error })

        const outcomeOf = (running: Running, exit: Exit.Exit<unknown, unknown>): Outcome => {
          if (running.stop !== undefined) return stopped(running.stop)
          if (exit._tag === "Success") return resultOf(running, exit.value)
          const failure = Cause.failureOption(exit.cause)
          if (failure._tag === "Some" && !Cause.defects(exit.cause).pipe((defects) => defects.length > 0)) {
            return { _tag: "error", status: "error", error: toArcpError(failure.value) }
          }
          if (Cause.isInterruptedOnly(exit.cause)) {
            return internal("the agent's fiber was interrupted from within")
          }
          runFork(
            Effect.logError(`the agent ${agentKey(running)} failed unexpectedly in ${running.live.jobId}`, exit.cause)
          )
          return internal("the agent failed unexpectedly")
        }

        const internal = (message: string, retryable = true): Outcome => ({
          _tag: "error",
          status: "error",
          error: new InternalError({ message, retryable })
        })

        const resultOf = (running: Running, value: unknown): Outcome => {
          const completed_at = formatTimestamp(deadlines.now())
          const { stream } = running
          if (stream !== undefined) {
            if (!(value instanceof Streamed) || value.resultId !== stream.resultId || !stream.complete) {
              return internal(
                "the agent streamed a result and answered another: a handler returns what streamResult answered",
                false
              )
            }
            const summary = value.summary === undefined ? {} : { summary: oneLine(value.summary) }
            return {
              _tag: "result",
              payload: JSON.stringify(
                stream.inline === undefined
                  ? {
                      final_status: "success",
                      result_id: stream.resultId,
                      result_size: value.size,
                      ...summary,
                      completed_at
                    }
                  : { final_status: "success", result: stream.inline, ...summary, completed_at }
              )
            }
          }
          let result: string | undefined
          try {
            result = JSON.stringify(value)
          } catch {
            return internal("the agent's result is not JSON: it has a cycle or a bigint", false)
          }
          if (result !== undefined && result.length > limits.inlineResult) {
            return internal(
              `the result is ${result.length} characters long, at most ${limits.inlineResult} go inline: stream it`,
              false
            )
          }
          return {
            _tag: "result",
            payload: `{"final_status":"success","result":${result ?? "null"},"completed_at":"${completed_at}"}`
          }
        }

        /** The only way a job ends. */
        const finish = (running: Running, outcome: Outcome): void => {
          if (running.finished) return
          running.finished = true
          const { live } = running
          for (const deadline of running.deadlines) deadline.cancel()
          const now = deadlines.now()
          for (const callId of running.openCalls) {
            journal.emit(
              live,
              "event",
              JobServices.eventPayload(
                '"tool_result"',
                now,
                JSON.stringify(
                  JobServices.toolResultBody(callId, {
                    error:
                      outcome._tag === "error"
                        ? outcome.error
                        : new Cancelled({ message: "the agent ended before the call did" })
                  })
                )
              )
            )
          }
          running.openCalls.clear()
          live.ending = true
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
            }
          })
        }

        const recover = (stored: StoredJob): LiveJob => {
          const { record, state } = stored
          const live = new LiveJob(record, state)
          const found = registry.resolve({ name: record.agent, version: record.version })
          const again = Either.isRight(found) && (state.status === "pending" || found.right.onRestart === "rerun")
          const input = again ? found.right.decode(JSON.parse(record.input)) : Either.right(null)
          const agent: AgentRegistration = Either.isRight(found) ? found.right : missing(record.agent, record.version)
          if (again && state.status === "running") live.attempt = state.attempt + 1
          const running = new Running({
            live,
            agent,
            input: Either.getOrElse(input, () => null),
            lease: JSON.parse(record.lease) as WireLease,
            leaseConstraints:
              record.leaseConstraints === undefined
                ? undefined
                : (JSON.parse(record.leaseConstraints) as WireLeaseConstraints),
            inlineStream: false
          })
          if (!again || Either.isLeft(input)) {
            jobs.set(live.jobId, running)
            finish(running, {
              _tag: "error",
              status: "error",
              error: new InternalError({
                message: "the runtime was restarted while the job ran",
                details: { reason: "runtime_restarted" }
              })
            })
          } else if (add(running)) {
            journal.change({
              write: (builder) => writeStart(running, builder),
              committed: () => start(running)
            })
          }
          return live
        }

        const idle = Effect.async<void>((resume) => {
          if (jobs.size === 0) return resume(Effect.void)
          idleWaiters.push(() => resume(Effect.void))
        })

        // Jobs end as if they were cancelled: they unwind, or the grace ends them. What does not unwind is not waited for.
        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => {
            for (const running of [...jobs.values()]) {
              stop(running, {
                status: "error",
                error: new InternalError({ message: "the runtime shut down", details: { reason: "runtime_shutdown" } })
              })
            }
            return idle
          })
        )

        return {
          add,
          remove,
          writeStart,
          start,
          stop,
          running: (jobId) => jobs.get(jobId),
          live: (jobId) => jobs.get(jobId)?.live,
          pending: () => waiting.length,
          counts: () => ({ pending: waiting.length, running: slots }),
          recover,
          idle,
          all: () => jobs.values()
        }
      })
    )
}

/** An agent's failure as an error of the protocol: its own code where it has none of §12. */
const toArcpError = (failure: unknown): ArcpError => {
  if (isArcpError(failure)) return failure
  const tag = typeof failure === "object" && failure !== null && "_tag" in failure ? String(failure._tag) : undefined
  const message =
    typeof failure === "object" && failure !== null && "message" in failure && failure.message !== ""
      ? String(failure.message)
      : typeof failure === "string"
        ? failure
        : (tag ?? "the agent failed")
  return new VendorError({
    code: "AGENT_FAILURE",
    message: oneLine(message),
    ...(tag === undefined ? {} : { details: { error: tag } })
  })
}

const missing = (name: string, version: string): AgentRegistration => ({
  name,
  version,
  isDefault: false,
  maxRunning: undefined,
  onRestart: "fail",
  decode: Either.right,
  run: () => Effect.dieMessage(`the agent ${name}@${version} is not registered`)
})
