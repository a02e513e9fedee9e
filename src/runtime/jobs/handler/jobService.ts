/**
 * The `Job` service of one running job: what its agent may call, checked and put together.
 *
 * Responsibility: the calls that only check their arguments are here; events are emitted by `jobEvents`, calls that need authority are in
 * `jobAuthority` and `costs`, streamed results in `streamedResult`, durable steps in `steps`.
 *
 * Made once for each run of a handler, when it is first asked for, and held while the handler waits. So the service is written property by
 * property (an object with this many properties that is spread into another becomes a dictionary, which is slow to make), its calls
 * share one scope, and what few agents use is made when it is.
 */
import * as Effect from "effect/Effect"
import type { JobService } from "../../../agent/Job.js"
import { isPriority, priorities, type Priority } from "../../../protocol/Envelope.js"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { PrincipalId } from "../../../protocol/Ids.js"
import * as ExtensionName from "../../../protocol/ExtensionName.js"
import { forJob } from "../../artifacts/ForJob.js"
import { toolResultBody } from "../../kernel/Payload.js"
import type { Engine } from "../internal/engine.js"
import type { JobLog } from "../../log/JobLog.js"
import type { Running } from "../Running.js"
import * as Costs from "./costs.js"
import * as JobAuthority from "./jobAuthority.js"
import { JobCalls } from "./jobCalls.js"
import { JobEvents } from "./jobEvents.js"
import { withPriority } from "./priorities.js"
import * as Steps from "./steps.js"
import * as StreamedResult from "./streamedResult.js"

const invalid = (message: string) => Effect.fail(new InvalidRequest({ message }))

const sha256 = /^[0-9a-f]{64}$/

/** What one job's handler has. */
export class HandlerService {
  readonly events: JobEvents
  readonly calls: JobCalls
  readonly service: JobService
  private billed: Costs.Costs | undefined = undefined
  private journal: JobService["step"] | undefined = undefined

  constructor(running: Running, engine: Engine) {
    this.events = new JobEvents(running, engine)
    this.calls = new JobCalls(this.events)
    this.service = make(this)
  }

  get costs(): Costs.Costs {
    return (this.billed ??= Costs.make(this.calls))
  }

  get step(): JobService["step"] {
    return (this.journal ??= Steps.make(this.events.running, this.events.engine))
  }
}

/** Makes the service. */
const make = (parts: HandlerService): JobService => {
  const { calls, events } = parts
  const { engine, running } = events
  const { live } = running
  const service: JobService = {
    authorize: (capability, target) => calls.authorize(capability, target),
    tool: (name, args, effect) => JobAuthority.tool(calls, name, args, effect),
    callTool: (name, input) => JobAuthority.callTool(calls, service, name, input),
    model: (id, effect) => JobAuthority.model(calls, id, effect),
    spend: (name: string, amount: unknown, currency?: unknown) =>
      parts.costs.spend(name, amount as number, currency as string),
    reserve: (amount, effect, options) => parts.costs.reserve(amount, effect, options),
    remaining: Effect.sync(() => JobAuthority.remaining(calls)),
    startChild: (agent, input, options) => engine.delegation.startChild(running, agent, input, options),
    handoff: (agent, input) => engine.delegation.handoff(running, agent, input),
    credentials: Effect.sync(() => engine.credentials.of(live.jobId)),
    jobId: live.jobId,
    agent: { name: running.agent.name, version: running.agent.version },
    principalId: PrincipalId(live.record.principalId),
    parentJobId: live.record.parentJobId,
    traceId: live.traceId,
    lease: running.lease.wire,
    leaseConstraints: running.lease.constraints,
    attempt: live.attempt,
    priority: live.values.accepted.priority,
    log: events.log,
    thought: (text) => events.event("thought", { text }),
    status: (phase, message) => events.event("status", { phase, message }),
    metric: (metric) => reportMetric(parts, metric),
    progress: (progress) => reportProgress(events, progress),
    toolCall: (tool, args) => toolCall(events, tool, args),
    toolResult: (callId, outcome) => toolResult(events, callId, outcome),
    artifactRef: (ref) => artifactRef(events, ref),
    artifact: (bytes, options) =>
      Effect.suspend(() =>
        live.ending
          ? Effect.interrupt
          : forJob(engine.artifacts, live.record, (ref) => artifactRef(events, ref))(bytes, options)
      ),
    event: (kind, body) =>
      ExtensionName.isExtension(kind)
        ? events.event(kind, body ?? {})
        : invalid(`kind: must be x-vendor.<vendor>.<name> or x-<name>, the core kinds have their own calls`),
    withPriority: (priority, effect) => prioritized(live, priority, effect),
    streamResult: (stream, options) => StreamedResult.run(events, stream, options),
    step: (name, schema, effect) => parts.step(name, schema, effect)
  }
  return service
}

type Emitted = ReturnType<JobService["metric"]>

const reportMetric = (
  parts: HandlerService,
  { dimensions, name, unit, value }: Parameters<JobService["metric"]>[0]
): Emitted => {
  if (name.length === 0) return invalid("metric.name: must not be empty")
  if (!Number.isFinite(value)) return invalid("metric.value: must be a finite number")
  if (!name.startsWith("cost.") || name.startsWith("cost.budget.")) {
    return parts.events.event("metric", { name, value, unit, dimensions })
  }
  return parts.costs.metric(name, value, unit, dimensions)
}

const reportProgress = (
  events: JobEvents,
  { current, message, total, units }: Parameters<JobService["progress"]>[0]
): Emitted => {
  if (!(Number.isFinite(current) && current >= 0)) return invalid("progress.current: must be a number, 0 or greater")
  if (total !== undefined && !(Number.isFinite(total) && total >= 0)) {
    return invalid("progress.total: must be a number, 0 or greater")
  }
  return events.push("progress", "progress", { current, total, units, message })
}

/** A call that the agent reports itself; it is open until its result. */
const toolCall = (events: JobEvents, tool: string, args: unknown): ReturnType<JobService["toolCall"]> =>
  Effect.suspend(() => {
    const { running } = events
    const callId = events.newId("call")
    running.openCall(callId)
    return Effect.as(
      Effect.tapError(events.event("tool_call", { tool, args: args ?? {}, call_id: callId }), () =>
        Effect.sync(() => running.closeCall(callId))
      ),
      callId
    )
  })

const toolResult = (events: JobEvents, ...[callId, outcome]: Parameters<JobService["toolResult"]>): Emitted =>
  Effect.suspend(() => {
    const { running } = events
    if (!running.closeCall(callId)) return invalid(`tool_result.call_id: ${callId} is not an open call`)
    return events
      .event("tool_result", toolResultBody(callId, outcome))
      .pipe(Effect.tapError(() => Effect.sync(() => running.openCall(callId))))
  })

const artifactRef = (
  events: JobEvents,
  { byteSize, contentType, sha256: digest, uri }: Parameters<JobService["artifactRef"]>[0]
): Emitted => {
  if (digest !== undefined && !sha256.test(digest))
    return invalid("artifact_ref.sha256: must be 64 lower-case hex digits")
  if (byteSize !== undefined && !(Number.isSafeInteger(byteSize) && byteSize >= 0))
    return invalid("artifact_ref.byte_size: must be a whole number, 0 or greater")
  return events.event("artifact_ref", { uri, content_type: contentType, byte_size: byteSize, sha256: digest })
}

const prioritized = <A, E, R>(
  live: JobLog,
  priority: Priority,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | InvalidRequest, R> =>
  Effect.suspend((): Effect.Effect<A, E | InvalidRequest, R> => {
    if (!isPriority(priority)) return invalid(`priority: must be one of ${priorities.join(", ")}`)
    live.usePriorities()
    return withPriority(effect, priority)
  })
