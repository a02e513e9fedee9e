/**
 * The `Job` service of one running job: checks what the agent emits, serialises it once and hands it to the journal.
 *
 * Order: events have the order of the calls. Chunks of the result are numbered here, one encoding, nothing after the
 * last. Once the job is ending, every call interrupts its fiber: nothing follows the terminal message.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Gate } from "../../agent/Gate.js"
import { type JobService, Streamed, type StreamResultOptions } from "../../agent/Job.js"
import { type InternalError, InvalidRequest, oneLine, permanentError } from "../../protocol/Errors.js"
import { isPriority, priorities, type Priority } from "../../protocol/Envelope.js"
import { logLevels } from "../../protocol/Event.js"
import * as ExtensionName from "../../protocol/ExtensionName.js"
import type { IdsService } from "../../protocol/Ids.js"
import * as Text from "../../protocol/Text.js"
import type { SegmentClass } from "../../store/Store.js"
import { type ArtifactsService, forJob } from "../Artifacts.js"
import type { LimitsShape } from "../Limits.js"
import type { MeterShape } from "../Metrics.js"
import { Chunker, type Encoding } from "./chunks.js"
import * as FrameSize from "./frameSize.js"
import * as JobAuthority from "./jobAuthority.js"
import type { LiveJob } from "./model.js"
import { chunkBody, eventPayload, prioritizedPayload, toolResultBody } from "./payload.js"
import { currentPriority, withPriority } from "./priorities.js"
import type { Running } from "./running.js"
import { make as makeSteps, type StepDeps } from "./steps.js"
import { pauseIfOver } from "./turn.js"

/** What the service needs of the runtime. */
export interface JobServiceDeps {
  readonly emit: (job: LiveJob, cls: SegmentClass, payload: string) => boolean
  readonly room: (job: LiveJob) => Effect.Effect<void>
  /** Slows the agent where its reader has fallen behind (§6.5); undefined where it has not. */
  readonly throttle: (job: LiveJob) => Effect.Effect<void> | undefined
  readonly now: () => number
  readonly ids: IdsService
  readonly limits: LimitsShape
  readonly meter: MeterShape
  readonly authority: JobAuthority.AuthorityDeps
  readonly artifacts: ArtifactsService
  readonly steps: Pick<StepDeps, "read" | "write">
}

const invalid = (message: string) => Effect.fail(new InvalidRequest({ message }))

const sha256 = /^[0-9a-f]{64}$/

/** Makes the service, and the gate that the job's other services are guarded by. */
export const make = (running: Running, deps: JobServiceDeps): { readonly service: JobService; readonly gate: Gate } => {
  const { live } = running
  const { ids, limits, meter } = deps
  const { reached, reaching } = meter
  const room = FrameSize.bodyRoom(limits)
  const chunkRoom = FrameSize.chunkRoom(limits)
  const inlineRoom = FrameSize.resultRoom(limits)

  /** Queues an event now, or says what is wrong with it; answers whether there is room for more. */
  const queue = (cls: SegmentClass, kind: string, body: unknown): boolean | InvalidRequest => {
    const json = Text.toJson(body)
    if (json._tag === "NotJson") return new InvalidRequest({ message: `${kind}: the body is not JSON: ${json.why}` })
    if (json._tag === "Absent") return new InvalidRequest({ message: `${kind}: the body is not JSON` })
    const { text } = json
    if (!FrameSize.fits(text, room)) {
      reached("eventPayload")
      return new InvalidRequest({
        message: `${kind}: the event has ${Buffer.byteLength(text)} bytes, at most ${room} are allowed: keep it as an artifact, or stream it as the result`
      })
    }
    const priority = live.prioritized ? currentPriority() : undefined
    return deps.emit(
      live,
      cls,
      priority === undefined
        ? eventPayload(JSON.stringify(kind), deps.now(), text)
        : prioritizedPayload(priority, JSON.stringify(kind), deps.now(), text)
    )
  }

  /** What an emitter waits for once its event is queued. */
  const paced = (hasRoom: boolean): Effect.Effect<void> => {
    // A job that is being stopped waits for no reader: its finalizers may emit.
    const throttle = running.stop === undefined ? deps.throttle(live) : undefined
    if (throttle !== undefined) return Effect.zipRight(throttle, deps.room(live))
    return hasRoom ? (pauseIfOver() ?? Effect.void) : deps.room(live)
  }

  /** `then` runs in the same step in which the event is queued. */
  const push = (
    cls: SegmentClass,
    kind: string,
    body: unknown,
    then?: () => void
  ): Effect.Effect<void, InvalidRequest> =>
    Effect.suspend(() => {
      if (live.ending) return Effect.interrupt
      const queued = queue(cls, kind, body)
      if (typeof queued !== "boolean") return Effect.fail(queued)
      if (then !== undefined) then()
      return paced(queued)
    })

  /** An event whose kind and body are JSON text already. */
  const pushText = (cls: SegmentClass, kind: string, body: string): Effect.Effect<void> =>
    live.ending ? Effect.interrupt : paced(deps.emit(live, cls, eventPayload(kind, deps.now(), body)))

  const event = (kind: string, body: unknown) => push("event", kind, body)

  const streamResult = <E, R>(
    stream: Stream.Stream<string | Uint8Array, E, R>,
    options?: StreamResultOptions
  ): Effect.Effect<Streamed, E | InvalidRequest | InternalError, R> =>
    Effect.suspend(() => {
      if (running.stream !== undefined) return invalid("result_chunk: a job has one streamed result")
      const resultId = `res_${ids.unsafeUlid(deps.now())}`
      const summary = options?.summary
      const state: NonNullable<Running["stream"]> = {
        resultId,
        complete: false,
        size: 0,
        summary: summary === undefined ? undefined : oneLine(Text.ofUnknown(summary)),
        inline: undefined
      }
      const collected: Array<string> = []
      running.stream = state
      let chunker: Chunker | undefined
      let seq = 0
      let held: string | undefined
      // A parent is handed the whole result where that fits inline; a client without `result_chunk` gets nothing else.
      let whole = running.inlineStream || running.parent !== undefined
      const emit = (data: string, encoding: Encoding, more: boolean) =>
        Effect.suspend(() => {
          if (whole) {
            if (running.inlineStream || (chunker?.size ?? 0) <= inlineRoom) collected.push(data)
            else {
              whole = false
              collected.length = 0
            }
          }
          return running.inlineStream
            ? Effect.void
            : pushText("chunk", '"result_chunk"', chunkBody(resultId, seq++, data, encoding, more))
        })
      // One chunk is held back, so that the last one can say that it is the last.
      const forward = (chunks: ReadonlyArray<string>, encoding: Encoding) =>
        Effect.forEach(
          chunks,
          (data) => {
            const previous = held
            held = data
            return previous === undefined ? Effect.void : emit(previous, encoding, true)
          },
          { discard: true }
        )
      const totalName = running.inlineStream ? "inlineResult" : "resultTotal"
      const totalLimit = running.inlineStream ? inlineRoom : limits.resultTotal
      const checkTotal = (size: number) =>
        size <= totalLimit
          ? Effect.void
          : Effect.fail(
              reaching(
                totalName,
                permanentError(
                  running.inlineStream
                    ? `the result is over the limit of ${totalLimit} bytes for a client without result_chunk`
                    : `the streamed result is over the limit of ${totalLimit} bytes`
                )
              )
            )
      return Stream.runForEach(stream, (element) =>
        Effect.suspend(() => {
          const c = (chunker ??= new Chunker(
            options?.encoding ?? (typeof element === "string" ? "utf8" : "base64"),
            limits.resultChunk,
            chunkRoom
          ))
          return Effect.flatMap(c.push(element), (chunks) =>
            Effect.zipRight(checkTotal(c.size), forward(chunks, c.encoding))
          )
        })
      ).pipe(
        Effect.zipRight(
          Effect.suspend(() => {
            const c = (chunker ??= new Chunker(options?.encoding ?? "utf8", limits.resultChunk, chunkRoom))
            return Effect.flatMap(c.end(), (chunks) =>
              Effect.zipRight(checkTotal(c.size), forward(chunks, c.encoding))
            ).pipe(
              Effect.zipRight(Effect.suspend(() => emit(held ?? "", c.encoding, false))),
              Effect.map(() => {
                state.complete = true
                state.size = c.size
                if (whole) {
                  state.inline =
                    c.encoding === "utf8"
                      ? collected.join("")
                      : Buffer.concat(collected.map((data) => Buffer.from(data, "base64"))).toString("base64")
                }
                return new Streamed(resultId, c.size, state.summary)
              })
            )
          })
        )
      )
    })

  const metric: JobService["metric"] = ({ dimensions, name, unit, value }) => {
    if (name.length === 0) return invalid("metric.name: must not be empty")
    if (!Number.isFinite(value)) return invalid("metric.value: must be a finite number")
    if (!name.startsWith("cost.") || name.startsWith("cost.budget.")) {
      return event("metric", { name, value, unit, dimensions })
    }
    return authority.costs.metric(name, value, unit, dimensions)
  }

  const authority = JobAuthority.make(
    running,
    {
      push: (kind, body, then) => push("event", kind, body, then),
      queue: (kind, body) => (live.ending ? undefined : queue("event", kind, body)),
      now: deps.now,
      newId: (prefix) => `${prefix}_${ids.unsafeUlid(deps.now())}`,
      service: () => service
    },
    deps.authority
  )

  const artifactRef: JobService["artifactRef"] = ({ byteSize, contentType, sha256: digest, uri }) => {
    if (digest !== undefined && !sha256.test(digest))
      return invalid("artifact_ref.sha256: must be 64 lower-case hex digits")
    if (byteSize !== undefined && !(Number.isSafeInteger(byteSize) && byteSize >= 0))
      return invalid("artifact_ref.byte_size: must be a whole number, 0 or greater")
    return event("artifact_ref", { uri, content_type: contentType, byte_size: byteSize, sha256: digest })
  }

  const service: JobService = {
    // One by one: an object with this many properties that is spread into another becomes a dictionary, which is slow to make.
    authorize: authority.service.authorize,
    tool: authority.service.tool,
    callTool: authority.service.callTool,
    model: authority.service.model,
    spend: authority.service.spend,
    reserve: authority.service.reserve,
    remaining: authority.service.remaining,
    startChild: authority.service.startChild,
    handoff: authority.service.handoff,
    credentials: authority.service.credentials,
    jobId: live.jobId,
    agent: { name: running.agent.name, version: running.agent.version },
    principalId: live.record.principalId,
    parentJobId: live.record.parentJobId,
    traceId: live.traceId,
    lease: running.lease.wire,
    leaseConstraints: running.lease.constraints,
    attempt: live.attempt,
    priority: live.values.accepted.priority,
    log: (message, level = "info") =>
      logLevels.includes(level)
        ? event("log", { level, message })
        : invalid("log.level: must be one of debug, info, warn, error"),
    thought: (text) => event("thought", { text }),
    status: (phase, message) => event("status", { phase, message }),
    metric,
    progress: ({ current, message, total, units }) => {
      if (!(Number.isFinite(current) && current >= 0))
        return invalid("progress.current: must be a number, 0 or greater")
      if (total !== undefined && !(Number.isFinite(total) && total >= 0)) {
        return invalid("progress.total: must be a number, 0 or greater")
      }
      return push("progress", "progress", { current, total, units, message })
    },
    toolCall: (tool, args) =>
      Effect.suspend(() => {
        const callId = `call_${ids.unsafeUlid(deps.now())}`
        running.openCalls.add(callId)
        return Effect.as(
          Effect.tapError(event("tool_call", { tool, args: args ?? {}, call_id: callId }), () =>
            Effect.sync(() => running.openCalls.delete(callId))
          ),
          callId
        )
      }),
    toolResult: (callId, outcome) =>
      Effect.suspend(() => {
        if (!running.openCalls.delete(callId)) return invalid(`tool_result.call_id: ${callId} is not an open call`)
        return event("tool_result", toolResultBody(callId, outcome)).pipe(
          Effect.tapError(() => Effect.sync(() => running.openCalls.add(callId)))
        )
      }),
    artifactRef,
    artifact: (bytes, options) =>
      Effect.suspend(() =>
        live.ending ? Effect.interrupt : forJob(deps.artifacts, live.record, artifactRef)(bytes, options)
      ),
    event: (kind, body) =>
      ExtensionName.isExtension(kind)
        ? event(kind, body ?? {})
        : invalid(`kind: must be x-vendor.<vendor>.<name> or x-<name>, the core kinds have their own calls`),
    withPriority: <A, E, R>(priority: Priority, effect: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | InvalidRequest, R> => {
        if (!isPriority(priority)) return invalid(`priority: must be one of ${priorities.join(", ")}`)
        live.prioritized = true
        return withPriority(effect, priority)
      }),
    streamResult,
    step: makeSteps(running, { ...deps.steps, limits, meter })
  }
  return { service, gate: authority.gate }
}
