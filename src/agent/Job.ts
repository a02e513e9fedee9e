/**
 * The job as its agent sees it: emitting events, streaming a result, and the job's own facts.
 *
 * Every emitting call returns when the event has its place in the job's log; it waits where the runtime slows the agent
 * (§6.5, §13.2). A body that breaks the protocol (a negative cost, progress below zero, a payload over the limit) fails
 * with `InvalidRequest`: nothing is emitted. When the job has been ended, every call interrupts its fiber.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { ArcpError, InternalError, InvalidRequest } from "../protocol/Errors.js"
import type { LogLevel } from "../protocol/Event.js"
import type { WireLease, WireLeaseConstraints } from "../protocol/Fields.js"

/** What a handler returns when its result was streamed (§8.4): result and stream are never mixed. */
export class Streamed {
  readonly _tag = "Streamed"
  readonly resultId: string
  /** Decoded bytes. */
  readonly size: number
  readonly summary: string | undefined
  constructor(resultId: string, size: number, summary: string | undefined) {
    this.resultId = resultId
    this.size = size
    this.summary = summary
  }
}

/** Options of a streamed result. */
export interface StreamResultOptions {
  /** `utf8` for text (default for strings), `base64` for bytes (default for byte arrays). */
  readonly encoding?: "utf8" | "base64" | undefined
  /** One line about the result, for `job.result`. */
  readonly summary?: string | undefined
}

/** Progress (§8.2.1). */
export interface Progress {
  /** 0 or greater. */
  readonly current: number
  /** Absent means indeterminate. */
  readonly total?: number | undefined
  readonly units?: string | undefined
  readonly message?: string | undefined
}

/** A metric (§8.2). Names that begin with `cost.` are charges (§9.6): never negative. */
export interface Metric {
  readonly name: string
  readonly value: number
  readonly unit?: string | undefined
  readonly dimensions?: Readonly<Record<string, unknown>> | undefined
}

/** A reference to an artifact (§8.2). */
export interface ArtifactRef {
  readonly uri: string
  readonly contentType: string
  /** Bytes. */
  readonly byteSize?: number | undefined
  /** 64 lower-case hex digits. */
  readonly sha256?: string | undefined
}

/** What the {@link Job} service offers. */
export interface JobService {
  readonly jobId: string
  /** The agent as resolved: a version is fixed for the life of a job (§7.5). */
  readonly agent: { readonly name: string; readonly version: string }
  /** Who submitted it. */
  readonly principalId: string
  readonly parentJobId: string | undefined
  /** 32 hex digits (§11). */
  readonly traceId: string
  /** The effective lease (§9). */
  readonly lease: WireLease
  readonly leaseConstraints: WireLeaseConstraints | undefined
  /** 1 at first; greater when the runtime started the job again after a restart. */
  readonly attempt: number
  readonly log: (message: string, level?: LogLevel) => Effect.Effect<void, InvalidRequest>
  readonly thought: (text: string) => Effect.Effect<void, InvalidRequest>
  readonly status: (phase: string, message?: string) => Effect.Effect<void, InvalidRequest>
  readonly metric: (metric: Metric) => Effect.Effect<void, InvalidRequest>
  readonly progress: (progress: Progress) => Effect.Effect<void, InvalidRequest>
  /** Announces a tool call; answers its `call_id`. A call that is still open when the job ends is closed by the runtime. */
  readonly toolCall: (tool: string, args: unknown) => Effect.Effect<string, InvalidRequest>
  /** Closes a tool call with its result or error. A `call_id` that is not open is refused. */
  readonly toolResult: (
    callId: string,
    outcome: { readonly result: unknown } | { readonly error: ArcpError }
  ) => Effect.Effect<void, InvalidRequest>
  readonly artifactRef: (ref: ArtifactRef) => Effect.Effect<void, InvalidRequest>
  /** Emits an event of a vendor's kind (`x-vendor.<vendor>.<name>`) or an experimental one (`x-…`). */
  readonly event: (kind: string, body: unknown) => Effect.Effect<void, InvalidRequest>
  /**
   * Streams the result as `result_chunk` events (§8.4). Return what it answers from the handler. Each
   * string or byte array is one chunk; a longer one than the runtime's limit is cut, never inside a code point.
   */
  readonly streamResult: <E, R>(
    stream: Stream.Stream<string | Uint8Array, E, R>,
    options?: StreamResultOptions
  ) => Effect.Effect<Streamed, E | InvalidRequest | InternalError, R>
}

/**
 * The running job.
 *
 * @example
 * Effect.gen(function*() {
 *   yield* Job.log("reading")
 *   yield* Job.progress({ current: 1, total: 2, units: "files" })
 * })
 */
export class Job extends Context.Tag("effect-arcp/agent/Job")<Job, JobService>() {
  static readonly log = (message: string, level?: LogLevel) => Effect.flatMap(Job, (job) => job.log(message, level))
  static readonly thought = (text: string) => Effect.flatMap(Job, (job) => job.thought(text))
  static readonly status = (phase: string, message?: string) => Effect.flatMap(Job, (job) => job.status(phase, message))
  static readonly metric = (metric: Metric) => Effect.flatMap(Job, (job) => job.metric(metric))
  static readonly progress = (progress: Progress) => Effect.flatMap(Job, (job) => job.progress(progress))
  static readonly toolCall = (tool: string, args: unknown) => Effect.flatMap(Job, (job) => job.toolCall(tool, args))
  static readonly toolResult = (
    callId: string,
    outcome: { readonly result: unknown } | { readonly error: ArcpError }
  ) => Effect.flatMap(Job, (job) => job.toolResult(callId, outcome))
  static readonly artifactRef = (ref: ArtifactRef) => Effect.flatMap(Job, (job) => job.artifactRef(ref))
  static readonly event = (kind: string, body: unknown) => Effect.flatMap(Job, (job) => job.event(kind, body))
  static readonly streamResult = <E, R>(
    stream: Stream.Stream<string | Uint8Array, E, R>,
    options?: StreamResultOptions
  ): Effect.Effect<Streamed, E | InvalidRequest | InternalError, R | Job> =>
    Effect.flatMap(Job, (job) => job.streamResult(stream, options))
}
