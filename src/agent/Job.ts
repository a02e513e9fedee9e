/**
 * The job as its agent sees it: emitting events, streaming a result, and the job's own facts.
 *
 * Every emitting call returns when the event has its place in the job's log; it waits where the runtime slows the agent
 * (§6.5, §13.2). A body that breaks the protocol (a negative cost, progress below zero, a payload over the limit) fails
 * with `InvalidRequest`: nothing is emitted. When the job has been ended, every call interrupts its fiber.
 */
import type * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Canonical } from "../authority/Canonical.js"
import type { Capability } from "../authority/Capability.js"
import type { Priority } from "../protocol/Envelope.js"
import type { AgentSpec } from "../protocol/AgentSpec.js"
import type { ArcpError, InternalError, InvalidRequest } from "../protocol/Errors.js"
import type { LogLevel } from "../protocol/Event.js"
import type { JobId, PrincipalId } from "../protocol/Ids.js"
import type { WireLease, WireLeaseConstraints } from "../protocol/Fields.js"
import type { LeaseRequest } from "../protocol/LeaseRequest.js"
import type { Denial } from "./Gate.js"
import { jobKey } from "./internal/jobKey.js"
import { type AnyAgent, decoded, encode, nameOf } from "./internal/otherAgent.js"
import type { Streamed } from "./Streamed.js"

export { Streamed } from "./Streamed.js"

/**
 * Options of a streamed result.
 *
 * @since 0.1.0
 * @category options
 */
export interface StreamResultOptions {
  /** `utf8` for text (default for strings), `base64` for bytes (default for byte arrays). */
  readonly encoding?: "utf8" | "base64" | undefined
  /** One line about the result, for `job.result`. */
  readonly summary?: string | undefined
}

/**
 * Progress (§8.2.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface Progress {
  /** 0 or greater. */
  readonly current: number
  /** Absent means indeterminate. */
  readonly total?: number | undefined
  /** What is counted, such as `steps` or `files`. */
  readonly units?: string | undefined
  /** What is done at the moment, for people. */
  readonly message?: string | undefined
}

/**
 * A metric (§8.2). Names that begin with `cost.` are charges (§9.6): never negative.
 *
 * @since 0.1.0
 * @category models
 */
export interface Metric {
  /** The metric's name, such as `cost.inference`. */
  readonly name: string
  /** A finite number; zero or more for a charge. */
  readonly value: number
  /** The unit; for a charge its currency, such as `USD`. */
  readonly unit?: string | undefined
  /** What it is broken down by: a JSON object. */
  readonly dimensions?: Readonly<Record<string, unknown>> | undefined
}

/**
 * A reference to an artifact (§8.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface ArtifactRef {
  /** Where the artifact is: any URI, or `arcp://artifact/<id>`. */
  readonly uri: string
  /** A media type with its parameters. */
  readonly contentType: string
  /** Bytes. */
  readonly byteSize?: number | undefined
  /** 64 lower-case hex digits. */
  readonly sha256?: string | undefined
}

/**
 * What a delegated job is given (§10): never more than its parent has.
 *
 * @since 0.1.0
 * @category options
 */
export interface DelegateOptions {
  /** The child's lease, a subset of the parent's (§9.4). Absent: no authority at all. */
  readonly lease?: LeaseRequest | undefined
  /** ISO 8601 in UTC, or milliseconds since the epoch; at the latest, and by default, the parent's own (§9.5). */
  readonly expiresAt?: string | number | undefined
  /** Seconds after which the child is stopped (§7.1). */
  readonly maxRuntimeSec?: number | undefined
}

/**
 * A delegated job that runs (§10).
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildJob<out Out, out Err = never> {
  /** The child's id. */
  readonly jobId: JobId
  /** The delegation's id, which the parent's `delegate` event carries. */
  readonly delegateId: string
  /** As resolved, `name@version`. */
  readonly agent: string
  /** The effective lease. */
  readonly lease: WireLease
  /**
   * Waits for the child's end: its output, or the error that it ended with, decoded where the child's agent declares it. Interrupting
   * the wait leaves the child alone.
   */
  readonly result: Effect.Effect<Out, Err | ArcpError>
  /** Begins to cancel the child; harmless when it has ended. */
  readonly cancel: (reason?: string) => Effect.Effect<void>
}

/**
 * How a reservation is settled.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReserveOptions<in A> {
  /** The metric's name, beginning with `cost.`. Default `cost.reserved`. */
  readonly name?: string | undefined
  /**
   * What the call really cost, in the currency that was reserved: an amount as in {@link Spending}, or its number alone. Default: the
   * whole reservation, which is also charged where this is no amount, is in another currency, or throws.
   */
  readonly actual?: ((value: A) => string | number | BigDecimal.BigDecimal) | undefined
  /** Runs where `actual` could not be used and the whole reservation was charged, with the reason. Its own failures are logged. */
  readonly onUnsettled?: ((problem: InvalidRequest) => Effect.Effect<void>) | undefined
}

/**
 * Reports a cost: as text with its currency (`"0.0042 USD"`, `"USD:0.0042"`; a number may be spelled as JavaScript does, `"9e-7 USD"`),
 * or as a number or `BigDecimal` and a currency. A number counts exactly as its shortest decimal spelling: 0.1 is one tenth.
 *
 * @since 0.1.0
 * @category types
 */
export interface Spending<R = never> {
  (name: string, amount: string): Effect.Effect<void, InvalidRequest, R>
  (name: string, amount: number | BigDecimal.BigDecimal, currency: string): Effect.Effect<void, InvalidRequest, R>
}

/**
 * A provisioned credential as its job's agent sees it (§9.8). To be presented at `endpoint` only.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobCredential {
  /** Its id on the wire; the same before and after a rotation. */
  readonly id: string
  /** How it is presented, such as `bearer`. */
  readonly scheme: string
  /** The secret. */
  readonly value: Redacted.Redacted<string>
  /** The base URL at which it is valid. */
  readonly endpoint: string
  /** Which API is spoken there, such as `openai`; advisory. */
  readonly profile?: string | undefined
  /** What the upstream enforces of the lease, as on the wire. */
  readonly constraints?: object | undefined
}

/**
 * Options of an artifact that a job makes.
 *
 * @since 0.1.0
 * @category options
 */
export interface ArtifactOptions {
  /** A media type with its parameters, such as `text/csv; charset=utf-8`. */
  readonly contentType: string
  /** Seconds, at least 1; the runtime has a default and a maximum. */
  readonly retainSeconds?: number | undefined
}

/**
 * An artifact that the runtime keeps for the job's principal.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredArtifactRef extends ArtifactRef {
  /** Its id, by which it is fetched and released. */
  readonly artifactId: string
  /** Bytes. */
  readonly byteSize: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * What the {@link Job} service offers.
 *
 * @since 0.1.0
 * @category services
 */
export interface JobService {
  /** The job's id. */
  readonly jobId: JobId
  /** The agent as resolved: a version is fixed for the life of a job (§7.5). */
  readonly agent: { readonly name: string; readonly version: string }
  /** Who submitted it. */
  readonly principalId: PrincipalId
  /** The job that delegated this one (§10); undefined where a client submitted it. */
  readonly parentJobId: string | undefined
  /** 32 hex digits (§11). */
  readonly traceId: string
  /** The effective lease (§9). */
  readonly lease: WireLease
  /** The effective constraints (§9.5); undefined where there are none. */
  readonly leaseConstraints: WireLeaseConstraints | undefined
  /** 1 at first; greater when the runtime started the job again after a restart. */
  readonly attempt: number
  /** The priority of the submit's envelope; undefined where the client gave none. A hint: nothing is scheduled by it. */
  readonly priority: Priority | undefined
  /** Emits a `log` event (§8.2). Default level `info`. */
  readonly log: (message: string, level?: LogLevel) => Effect.Effect<void, InvalidRequest>
  /** Emits a `thought` event (§8.2): reasoning, for people. */
  readonly thought: (text: string) => Effect.Effect<void, InvalidRequest>
  /** Emits a `status` event (§8.2): the phase, and a message for people. */
  readonly status: (phase: string, message?: string) => Effect.Effect<void, InvalidRequest>
  /**
   * Emits a `metric` event (§8.2). One whose name begins with `cost.` is a charge (§9.6), as {@link JobService.spend}
   * makes them.
   */
  readonly metric: (metric: Metric) => Effect.Effect<void, InvalidRequest>
  /** Emits a `progress` event (§8.2.1). Sessions that did not negotiate `progress` do not get it. */
  readonly progress: (progress: Progress) => Effect.Effect<void, InvalidRequest>
  /** Announces a tool call; answers its `call_id`. A call that is still open when the job ends is closed by the runtime. */
  readonly toolCall: (tool: string, args: unknown) => Effect.Effect<string, InvalidRequest>
  /** Closes a tool call with its result or error. A `call_id` that is not open is refused. */
  readonly toolResult: (
    callId: string,
    outcome: { readonly result: unknown } | { readonly error: ArcpError }
  ) => Effect.Effect<void, InvalidRequest>
  /** Emits an `artifact_ref` event (§8.2) for an artifact that is kept elsewhere. */
  readonly artifactRef: (ref: ArtifactRef) => Effect.Effect<void, InvalidRequest>
  /**
   * Stores bytes for the job's principal, then emits their `artifact_ref` (§8.2): who sees the event can fetch them.
   * Fails with `InvalidRequest` where the runtime keeps no artifacts or the options are wrong, and with `InternalError`
   * where a bound is reached or the store fails; nothing is emitted then.
   */
  readonly artifact: (
    bytes: Uint8Array,
    options: ArtifactOptions
  ) => Effect.Effect<StoredArtifactRef, InvalidRequest | InternalError>
  /** Emits an event of a vendor's kind (`x-vendor.<vendor>.<name>`) or an experimental one (`x-…`). */
  readonly event: (kind: string, body: unknown) => Effect.Effect<void, InvalidRequest>
  /**
   * Runs an effect whose events have this priority in their envelopes, those of tool calls, costs and forked fibers included. Chunks of
   * a streamed result and the job's end have none. Fails with `InvalidRequest` where the priority is not known.
   */
  readonly withPriority: <A, E, R>(
    priority: Priority,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | InvalidRequest, R>
  /**
   * Streams the result as `result_chunk` events (§8.4). Return what it answers from the handler. Each
   * string or byte array is one chunk; a longer one than the runtime's limit is cut, never inside a code point.
   */
  readonly streamResult: <E, R>(
    stream: Stream.Stream<string | Uint8Array, E, R>,
    options?: StreamResultOptions
  ) => Effect.Effect<Streamed, E | InvalidRequest | InternalError, R>
  /**
   * Checks an operation against the lease (§9.3), for what no guarded service covers, and answers the canonical target, which
   * is what must be used. A refusal is told to observers as a `tool_result` and is the failure; the agent may handle it.
   */
  readonly authorize: (capability: Capability, target: string) => Effect.Effect<Canonical, Denial>
  /**
   * Calls a tool in one step: `tool_call`, check against `tool.call` and the budget, run, `tool_result`, also when the call
   * fails or is interrupted. A refused call is not run.
   */
  readonly tool: <A, E, R>(
    name: string,
    args: unknown,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Denial | InvalidRequest, R>
  /** Calls a tool that the runtime hosts (`Tool.make`) by its name, with encoded input; answers encoded output. */
  readonly callTool: (name: string, input: unknown) => Effect.Effect<unknown, ArcpError>
  /**
   * Runs a call of a language model: checked against `model.use` and the budget (§9.7) first. Where the job has provisioned
   * credentials, an upstream's refusal for its budget or model is `BUDGET_EXHAUSTED` or `PERMISSION_DENIED` (§13.7); so it
   * is in `tool` and `reserve`, and where it ends the job.
   */
  readonly model: <A, E, R>(
    id: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Denial | InvalidRequest, R>
  /**
   * Reports a cost (§9.6), exactly; see {@link Spending}. The counter of its currency falls by it, also below zero; the next
   * operation is refused then. Emits the `cost.*` metric and `cost.budget.remaining`. Fails with `InvalidRequest`, which names the
   * field, where the amount is negative, NaN, infinite or unreadable, or the currency none.
   *
   * A job with a budget that has no such currency gets the metric all the same, uncounted, and once for each currency a `log` event
   * of level `warn` that says so; so it is with a cost that {@link JobService.metric} reports without a currency.
   */
  readonly spend: Spending
  /**
   * Holds an amount while a costly call runs, so that calls side by side cannot overspend together, and charges what it
   * really cost afterwards. Fails with `BUDGET_EXHAUSTED`, without running, where less is left. A call that fails or is
   * interrupted is not charged. A call that has succeeded answers its value, whatever comes of its settlement: a cost that cannot
   * be read is the whole reservation, and a `log` event of level `warn` and {@link ReserveOptions.onUnsettled} say so.
   */
  readonly reserve: <A, E, R>(
    amount: string,
    effect: Effect.Effect<A, E, R>,
    options?: ReserveOptions<A>
  ) => Effect.Effect<A, E | Denial | InvalidRequest, R>
  /** What is left of each budgeted currency, as exact decimals; what is held or given to children is not in it. */
  readonly remaining: Effect.Effect<Readonly<Record<string, string>>>
  /** Starts a delegated job with encoded input (§10). A refusal is a `tool_result` with the delegation's id, and the failure. */
  readonly startChild: (
    agent: string,
    input: unknown,
    options?: DelegateOptions
  ) => Effect.Effect<ChildJob<unknown>, ArcpError>
  /**
   * Lets another agent take over: this handler ends here (its finalizers run), the other one goes on with the same job, all
   * that is left of its lease and budget, and its end is the job's end. Needs `agent.delegate`.
   */
  readonly handoff: (agent: string, input: unknown) => Effect.Effect<never, ArcpError>
  /** The job's provisioned credentials (§9.8); none where the runtime provisions none. */
  readonly credentials: Effect.Effect<ReadonlyArray<JobCredential>>
  /**
   * A durable step: runs the effect and journals its result with the job. When the job is started again after a restart of the
   * runtime (`onRestart: "rerun"`), the same step answers the recorded result and does not run. So an agent that is a
   * sequence of steps goes on where it was.
   *
   * A name is a step's place: each is recorded once in a job, also when steps run side by side, and a step that is called
   * again by its name answers the same again. A failure is not recorded. A crash between the effect's end and the record's
   * (which is a moment later) runs the effect again: what must not happen twice needs a key of its own, such as
   * `${jobId}/${name}`.
   *
   * The result is what the Schema makes of its JSON, in the first attempt too. Fails with `InvalidRequest` where it does not
   * fit the Schema or a bound is reached, and with `InternalError` (`details.reason: "step_changed"`) where the recorded
   * result was written with another Schema; the effect has not been run then.
   */
  readonly step: <A, I, E, R>(
    name: string,
    schema: Schema.Schema<A, I>,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | InvalidRequest | InternalError, R>
}

const startChild = <In, InWire, Out, OutWire, Err, ErrWire>(
  agent: AnyAgent<In, InWire, Out, OutWire, Err, ErrWire>,
  input: unknown,
  options?: DelegateOptions
): Effect.Effect<ChildJob<Out, Err>, ArcpError, Job> =>
  Effect.gen(function* () {
    const job = yield* Job
    const encoded = yield* encode(agent, input)
    const child = yield* job.startChild(nameOf(agent), encoded, options)
    const result = typeof agent === "string" ? (child.result as Effect.Effect<Out, ArcpError>) : decoded(agent, child)
    return { ...child, result }
  })

/**
 * The call of `Job.delegate`: by an agent's class, with typed input, result and errors, or by its name, with encoded input.
 *
 * @since 0.1.0
 * @category types
 */
export interface Delegating {
  <In, InWire, Out, OutWire, Err = never, ErrWire = never>(
    agent: AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, unknown>,
    input: In,
    options?: DelegateOptions
  ): Effect.Effect<Out, Err | ArcpError, Job>
  (agent: string, input?: unknown, options?: DelegateOptions): Effect.Effect<unknown, ArcpError, Job>
}

/**
 * The call of `Job.startChild`; as {@link Delegating}, without waiting for the child.
 *
 * @since 0.1.0
 * @category types
 */
export interface StartingChild {
  <In, InWire, Out, OutWire, Err = never, ErrWire = never>(
    agent: AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, unknown>,
    input: In,
    options?: DelegateOptions
  ): Effect.Effect<ChildJob<Out, Err>, ArcpError, Job>
  (agent: string, input?: unknown, options?: DelegateOptions): Effect.Effect<ChildJob<unknown>, ArcpError, Job>
}

/**
 * The call of `Job.handoff`; as {@link Delegating}, for the agent that takes the job over.
 *
 * @since 0.1.0
 * @category types
 */
export interface HandingOff {
  <In, InWire, Out, OutWire, Err = never, ErrWire = never>(
    agent: AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, unknown>,
    input: In
  ): Effect.Effect<never, ArcpError, Job>
  (agent: string, input?: unknown): Effect.Effect<never, ArcpError, Job>
}

/** As {@link StartingChild}, and waits; an interrupted wait cancels the child. */
const delegate = <In, InWire, Out, OutWire, Err, ErrWire>(
  agent: AnyAgent<In, InWire, Out, OutWire, Err, ErrWire>,
  input: unknown,
  options?: DelegateOptions
): Effect.Effect<Out, Err | ArcpError, Job> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(startChild(agent, input, options), (child) =>
      Effect.onInterrupt(restore(child.result), () => child.cancel("the parent no longer waits for it"))
    )
  )

/**
 * The running job.
 *
 * @example
 * ```ts
 * import { Effect, Schema, Stream } from "effect"
 * import { Agent, Job } from "effect-arcp/agent"
 *
 * declare const translate: (text: string) => Effect.Effect<string>
 *
 * const TranslateLive = Agent.untyped("translate", (text) =>
 *   Effect.gen(function* () {
 *     yield* Job.progress({ current: 1, total: 2, units: "steps" })
 *     const draft = yield* Job.step("draft", Schema.String, Job.tool("llm.translate", { text }, translate(String(text))))
 *     yield* Job.spend("cost.inference", "0.0042 USD")
 *     return yield* Job.streamResult(Stream.make(draft), { summary: "one draft" })
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Job extends Context.Tag(jobKey)<Job, JobService>() {
  /** Emits a `log` event; see {@link JobService.log}. */
  static readonly log = (message: string, level?: LogLevel) => Effect.flatMap(Job, (job) => job.log(message, level))
  /** Emits a `thought` event; see {@link JobService.thought}. */
  static readonly thought = (text: string) => Effect.flatMap(Job, (job) => job.thought(text))
  /** Emits a `status` event; see {@link JobService.status}. */
  static readonly status = (phase: string, message?: string) => Effect.flatMap(Job, (job) => job.status(phase, message))
  /** Emits a `metric` event; see {@link JobService.metric}. */
  static readonly metric = (metric: Metric) => Effect.flatMap(Job, (job) => job.metric(metric))
  /** Emits a `progress` event; see {@link JobService.progress}. */
  static readonly progress = (progress: Progress) => Effect.flatMap(Job, (job) => job.progress(progress))
  /** Announces a tool call; see {@link JobService.toolCall}. */
  static readonly toolCall = (tool: string, args: unknown) => Effect.flatMap(Job, (job) => job.toolCall(tool, args))
  /** Closes a tool call; see {@link JobService.toolResult}. */
  static readonly toolResult = (
    callId: string,
    outcome: { readonly result: unknown } | { readonly error: ArcpError }
  ) => Effect.flatMap(Job, (job) => job.toolResult(callId, outcome))
  /** Emits an `artifact_ref` event; see {@link JobService.artifactRef}. */
  static readonly artifactRef = (ref: ArtifactRef) => Effect.flatMap(Job, (job) => job.artifactRef(ref))
  /** Stores bytes as an artifact; see {@link JobService.artifact}. */
  static readonly artifact = (bytes: Uint8Array, options: ArtifactOptions) =>
    Effect.flatMap(Job, (job) => job.artifact(bytes, options))
  /** Emits an event of a vendor's kind; see {@link JobService.event}. */
  static readonly event = (kind: string, body: unknown) => Effect.flatMap(Job, (job) => job.event(kind, body))
  /** Gives the events of an effect a priority; see {@link JobService.withPriority}. */
  static readonly withPriority = <A, E, R>(
    priority: Priority,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | InvalidRequest, R | Job> => Effect.flatMap(Job, (job) => job.withPriority(priority, effect))
  /** Streams the result (§8.4); see {@link JobService.streamResult}. */
  static readonly streamResult = <E, R>(
    stream: Stream.Stream<string | Uint8Array, E, R>,
    options?: StreamResultOptions
  ): Effect.Effect<Streamed, E | InvalidRequest | InternalError, R | Job> =>
    Effect.flatMap(Job, (job) => job.streamResult(stream, options))
  /** Checks an operation against the lease (§9.3); see {@link JobService.authorize}. */
  static readonly authorize = (capability: Capability, target: string) =>
    Effect.flatMap(Job, (job) => job.authorize(capability, target))
  /** Calls a tool in one step; see {@link JobService.tool}. */
  static readonly tool = <A, E, R>(
    name: string,
    args: unknown,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Denial | InvalidRequest, R | Job> =>
    Effect.flatMap(Job, (job) => job.tool(name, args, effect))
  /** Calls a hosted tool by its name; see {@link JobService.callTool}. */
  static readonly callTool = (name: string, input: unknown) => Effect.flatMap(Job, (job) => job.callTool(name, input))
  /** Runs a call of a language model; see {@link JobService.model}. */
  static readonly model = <A, E, R>(
    id: string,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Denial | InvalidRequest, R | Job> => Effect.flatMap(Job, (job) => job.model(id, effect))
  /** Reports a cost (§9.6); see {@link JobService.spend}. */
  static readonly spend: Spending<Job> = (
    name: string,
    amount: string | number | BigDecimal.BigDecimal,
    currency?: string
  ) => Effect.flatMap(Job, (job) => job.spend(name, amount as number, currency as string))
  /** Holds an amount while a costly call runs; see {@link JobService.reserve}. */
  static readonly reserve = <A, E, R>(
    amount: string,
    effect: Effect.Effect<A, E, R>,
    options?: ReserveOptions<A>
  ): Effect.Effect<A, E | Denial | InvalidRequest, R | Job> =>
    Effect.flatMap(Job, (job) => job.reserve(amount, effect, options))
  /** What is left of each budgeted currency; see {@link JobService.remaining}. */
  static readonly remaining = Effect.flatMap(Job, (job) => job.remaining)
  /** Starts a delegated job and waits for its result (§10). */
  static readonly delegate: Delegating = delegate
  /** Starts a delegated job (§10); a child that still runs when its parent ends is cancelled. */
  static readonly startChild: StartingChild = startChild as StartingChild
  /** Lets another agent take over; see {@link JobService.handoff}. */
  static readonly handoff: HandingOff = <In, InWire, Out, OutWire, Err, ErrWire>(
    agent: AnyAgent<In, InWire, Out, OutWire, Err, ErrWire>,
    input?: unknown
  ) =>
    Effect.flatMap(Job, (job) => Effect.flatMap(encode(agent, input), (encoded) => job.handoff(nameOf(agent), encoded)))
  /** The job's provisioned credentials (§9.8); see {@link JobService.credentials}. */
  static readonly credentials = Effect.flatMap(Job, (job) => job.credentials)
  /** A durable step; see {@link JobService.step}. */
  static readonly step = <A, I, E, R>(
    name: string,
    schema: Schema.Schema<A, I>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | InvalidRequest | InternalError, R | Job> =>
    Effect.flatMap(Job, (job) => job.step(name, schema, effect))
}
