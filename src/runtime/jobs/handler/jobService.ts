/**
 * The `Job` service of one running job: what its agent may call, checked and put together.
 *
 * Responsibility: the calls that only check their arguments are here; events are emitted by `jobEvents`, calls that need authority are in
 * `jobAuthority` and `costs`, streamed results in `streamedResult`, durable steps in `steps`.
 *
 * Made once for each run of a handler, when it is first asked for: the service is written property by property, since an object with this many properties that is spread into
 * another becomes a dictionary, which is slow to make.
 */
import * as Effect from "effect/Effect"
import type { Gate } from "../../../agent/Gate.js"
import type { JobService } from "../../../agent/Job.js"
import { isPriority, priorities, type Priority } from "../../../protocol/Envelope.js"
import { InvalidRequest } from "../../../protocol/Errors.js"
import { PrincipalId } from "../../../protocol/Ids.js"
import * as ExtensionName from "../../../protocol/ExtensionName.js"
import { forJob } from "../../artifacts/ForJob.js"
import { toolResultBody } from "../../kernel/Payload.js"
import type { Engine } from "../internal/engine.js"
import type { Running } from "../Running.js"
import * as Costs from "./costs.js"
import * as JobAuthority from "./jobAuthority.js"
import { JobCalls } from "./jobCalls.js"
import { JobEvents } from "./jobEvents.js"
import { withPriority } from "./priorities.js"
import { make as makeSteps } from "./steps.js"
import * as StreamedResult from "./streamedResult.js"

const invalid = (message: string) => Effect.fail(new InvalidRequest({ message }))

const sha256 = /^[0-9a-f]{64}$/

/** What one job's handler has. */
export interface HandlerService {
  readonly service: JobService
  /** What the job's other services are guarded by. */
  readonly gate: Gate
  readonly calls: JobCalls
}

/** Makes the service, and what goes with it. */
export const make = (running: Running, engine: Engine): HandlerService => {
  const { live } = running
  const events = new JobEvents(running, engine)
  const calls = new JobCalls(events)
  const costs = Costs.make(calls)
  const authority = JobAuthority.make(calls, () => service)
  const artifactRef = makeArtifactRef(events)
  const service: JobService = {
    authorize: authority.authorize,
    tool: authority.tool,
    callTool: authority.callTool,
    model: authority.model,
    spend: costs.spend,
    reserve: costs.reserve,
    remaining: authority.remaining,
    startChild: authority.startChild,
    handoff: authority.handoff,
    credentials: authority.credentials,
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
    metric: makeMetric(events, costs),
    progress: makeProgress(events),
    toolCall: makeToolCall(events),
    toolResult: makeToolResult(events),
    artifactRef,
    artifact: (bytes, options) =>
      Effect.suspend(() =>
        live.ending ? Effect.interrupt : forJob(engine.artifacts, live.record, artifactRef)(bytes, options)
      ),
    event: (kind, body) =>
      ExtensionName.isExtension(kind)
        ? events.event(kind, body ?? {})
        : invalid(`kind: must be x-vendor.<vendor>.<name> or x-<name>, the core kinds have their own calls`),
    withPriority: makeWithPriority(running),
    streamResult: StreamedResult.make(events),
    step: makeSteps(running, engine)
  }
  return { service, gate: JobAuthority.makeGate(calls), calls }
}

const makeMetric =
  (events: JobEvents, costs: Costs.Costs): JobService["metric"] =>
  ({ dimensions, name, unit, value }) => {
    if (name.length === 0) return invalid("metric.name: must not be empty")
    if (!Number.isFinite(value)) return invalid("metric.value: must be a finite number")
    if (!name.startsWith("cost.") || name.startsWith("cost.budget.")) {
      return events.event("metric", { name, value, unit, dimensions })
    }
    return costs.metric(name, value, unit, dimensions)
  }

const makeProgress =
  (events: JobEvents): JobService["progress"] =>
  ({ current, message, total, units }) => {
    if (!(Number.isFinite(current) && current >= 0)) return invalid("progress.current: must be a number, 0 or greater")
    if (total !== undefined && !(Number.isFinite(total) && total >= 0)) {
      return invalid("progress.total: must be a number, 0 or greater")
    }
    return events.push("progress", "progress", { current, total, units, message })
  }

/** A call that the agent reports itself; it is open until its result. */
const makeToolCall =
  (events: JobEvents): JobService["toolCall"] =>
  (tool, args) =>
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

const makeToolResult =
  (events: JobEvents): JobService["toolResult"] =>
  (callId, outcome) =>
    Effect.suspend(() => {
      const { running } = events
      if (!running.closeCall(callId)) return invalid(`tool_result.call_id: ${callId} is not an open call`)
      return events
        .event("tool_result", toolResultBody(callId, outcome))
        .pipe(Effect.tapError(() => Effect.sync(() => running.openCall(callId))))
    })

const makeArtifactRef =
  (events: JobEvents): JobService["artifactRef"] =>
  ({ byteSize, contentType, sha256: digest, uri }) => {
    if (digest !== undefined && !sha256.test(digest))
      return invalid("artifact_ref.sha256: must be 64 lower-case hex digits")
    if (byteSize !== undefined && !(Number.isSafeInteger(byteSize) && byteSize >= 0))
      return invalid("artifact_ref.byte_size: must be a whole number, 0 or greater")
    return events.event("artifact_ref", { uri, content_type: contentType, byte_size: byteSize, sha256: digest })
  }

const makeWithPriority =
  ({ live }: Running): JobService["withPriority"] =>
  <A, E, R>(priority: Priority, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend((): Effect.Effect<A, E | InvalidRequest, R> => {
      if (!isPriority(priority)) return invalid(`priority: must be one of ${priorities.join(", ")}`)
      live.usePriorities()
      return withPriority(effect, priority)
    })
