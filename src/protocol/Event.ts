/**
 * Job events: the ten kinds of ARCP 1.1 §8.2, vendor kinds and kinds that this version does not know.
 *
 * `fromWire` is the hot path of a client: hand-written guards for the core kinds, equal to the Schemas (a property test
 * holds that), so that an event costs no Schema interpretation.
 */
import * as Schema from "effect/Schema"
import { isPriority, type Priority } from "./Envelope.js"
import { ErrorPayload } from "./Errors.js"
import { type CoreEventKind, coreEventKinds } from "./ExtensionName.js"
import { JobId } from "./Ids.js"
import { Finite, Id, JsonObject, NonNegative, optional, Seq, WireLease, WireLeaseConstraints } from "./Fields.js"

/**
 * The levels of a log event, as they go out. Any case is accepted.
 *
 * @since 0.1.0
 * @category constants
 */
export const logLevels = ["debug", "info", "warn", "error"] as const

/**
 * A level of a `log` event (§8.2).
 *
 * @since 0.1.0
 * @category models
 */
export type LogLevel = (typeof logLevels)[number]

const LogLevelIn = Schema.String.pipe(
  Schema.filter((s) => (logLevels as ReadonlyArray<string>).includes(s.toLowerCase()), {
    description: "one of debug, info, warn, error",
    arbitrary: () => (fc) => fc.constantFrom(...logLevels)
  })
)

/**
 * `log`. A line of Effect's logger brings its annotations and spans (milliseconds) as objects; from other implementations they may be anything.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Log = Schema.Struct({
  /** One of {@link logLevels}, in any case. */
  level: LogLevelIn,
  /** The line. */
  message: Schema.String,
  /** The annotations of a line of Effect's logger: an object. */
  annotations: Schema.optional(Schema.Unknown),
  /** The spans of a line of Effect's logger: name to milliseconds. */
  spans: Schema.optional(Schema.Unknown)
})

/**
 * `thought`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Thought = Schema.Struct({ text: Schema.String })

/**
 * `tool_call`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ToolCall = Schema.Struct({ tool: Schema.String, args: Schema.optional(Schema.Unknown), call_id: Id })

/**
 * `tool_result`: a result or an error.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ToolResult = Schema.Struct({
  /** Joins a `tool_call` to its `tool_result`. */
  call_id: Id,
  /** What the call returned, where it did not fail. */
  result: Schema.optional(Schema.Unknown),
  /** The error, where the call failed. */
  error: optional(Schema.Struct({ ...ErrorPayload.fields, retryable: optional(Schema.Boolean) }))
})

/**
 * `status`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Status = Schema.Struct({ phase: Schema.String, message: optional(Schema.String) })

/**
 * `metric`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Metric = Schema.Struct({
  /** The name; one that begins with `cost.` is a charge (§9.6). */
  name: Schema.NonEmptyString,
  /** A finite number. */
  value: Finite,
  /** The unit; for a charge its currency. */
  unit: optional(Schema.String),
  /** What the value is broken down by. */
  dimensions: optional(JsonObject)
})

/**
 * `artifact_ref`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ArtifactRef = Schema.Struct({
  /** Where the artifact is: any URI. */
  uri: Schema.String,
  /** A media type with its parameters. */
  content_type: Schema.String,
  /** Bytes. */
  byte_size: optional(Seq),
  /** The digest of the bytes: 64 lower-case hex digits. */
  sha256: optional(Schema.String)
})

/**
 * `delegate` (§10).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Delegate = Schema.Struct({
  /** The delegation's id (§10). */
  delegate_id: Id,
  /** The child, where it was started. */
  child_job_id: optional(Id),
  /** `name`, or `name@version`. */
  agent: Schema.String,
  /** Any JSON; absent counts as no input. */
  input: Schema.optional(Schema.Unknown),
  /** The capabilities that are asked for (§9.2). */
  lease_request: optional(WireLease),
  /** The constraints (§9.5). */
  lease_constraints: optional(WireLeaseConstraints)
})

/**
 * `progress` (§8.2.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Progress = Schema.Struct({
  /** 0 or more. */
  current: NonNegative,
  /** 0 or more; absent: not known. */
  total: optional(NonNegative),
  /** What is counted. */
  units: optional(Schema.String),
  /** What is done at the moment, for people. */
  message: optional(Schema.String)
})

/**
 * `result_chunk` (§8.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ResultChunk = Schema.Struct({
  /** The stream of chunks that is the result (§8.4). */
  result_id: Id,
  /** Its place in the stream, from 0 on. */
  chunk_seq: Seq,
  /** The text, or the bytes in base64. */
  data: Schema.String,
  /** How `data` is to be read. */
  encoding: Schema.Literal("utf8", "base64"),
  /** Whether chunks follow. */
  more: Schema.Boolean
})

/**
 * The body schema of each core kind.
 *
 * @since 0.1.0
 * @category constants
 */
export const bodies = {
  log: Log,
  thought: Thought,
  tool_call: ToolCall,
  tool_result: ToolResult,
  status: Status,
  metric: Metric,
  artifact_ref: ArtifactRef,
  delegate: Delegate,
  progress: Progress,
  result_chunk: ResultChunk
} as const satisfies Record<CoreEventKind, Schema.Schema.Any>

/**
 * The body type of each core kind.
 *
 * @since 0.1.0
 * @category types
 */
export type Bodies = { readonly [K in CoreEventKind]: (typeof bodies)[K]["Type"] }

/**
 * The payload of `job.event` (§8.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const EventPayload = Schema.Struct({
  /** The kind (§8.2). */
  kind: Schema.NonEmptyString,
  /** When it was emitted: ISO 8601, UTC. */
  ts: optional(Schema.String),
  /** The body, by its kind. */
  body: Schema.optional(Schema.Unknown)
})

/**
 * The payload of `job.event` (§8.1).
 *
 * @since 0.1.0
 * @category models
 */
export type EventPayload = typeof EventPayload.Type

/**
 * What every event has.
 *
 * @since 0.1.0
 * @category models
 */
export interface EventBase {
  /** The job that emitted it. */
  readonly jobId: JobId
  /** Its number in the receiving session (§8.3). */
  readonly seq: number
  /** When it was emitted, as the runtime wrote it; empty where the runtime gave none. */
  readonly ts: string
  /** The priority that the agent gave it; absent where it gave none, or one that is not known here. */
  readonly priority?: Priority | undefined
}

/**
 * An event of a core kind.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreEvent = {
  readonly [K in CoreEventKind]: EventBase & { readonly _tag: K; readonly kind: K; readonly body: Bodies[K] }
}[CoreEventKind]

/**
 * An event of any other kind, or of a kind whose body breaks its schema (`malformed`), be it a core one or one that the agent declares:
 * passed through as data, never an error (ARCP 1.0 §8.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface OtherEvent extends EventBase {
  readonly _tag: "other"
  /** The kind as it came. */
  readonly kind: string
  /** The body as it came, unchecked. */
  readonly body: unknown
  /** Whether the kind is known and the body breaks its schema. */
  readonly malformed: boolean
}

/**
 * What a job emits, as a client sees it. Branch on `_tag`.
 *
 * @since 0.1.0
 * @category models
 */
export type JobEvent = CoreEvent | OtherEvent

/**
 * An event of a kind that the job's agent declares, its body decoded.
 *
 * @since 0.1.0
 * @category types
 */
export type VendorEvent<Events> = {
  readonly [K in keyof Events & string]: EventBase & {
    readonly _tag: K
    /** The declared kind; the same as `_tag`. */
    readonly kind: K
    /** The body, decoded by the agent's Schema. */
    readonly body: Events[K] extends Schema.Schema.AnyNoContext ? Schema.Schema.Type<Events[K]> : unknown
  }
}[keyof Events & string]

type Obj = { readonly [key: string]: unknown }
const isObj = (u: unknown): u is Obj => typeof u === "object" && u !== null && !Array.isArray(u)
const isStr = (u: unknown): u is string => typeof u === "string"
const optStr = (u: unknown): boolean => u === undefined || u === null || typeof u === "string"
const isId = (u: unknown): boolean => typeof u === "string" && u.length > 0 && u.length <= 256
const isSeq = (u: unknown): boolean => Number.isSafeInteger(u) && (u as number) >= 0
const isAmount = (u: unknown): boolean => typeof u === "number" && Number.isFinite(u) && u >= 0
const levels: ReadonlySet<string> = new Set([...logLevels, ...logLevels.map((level) => level.toUpperCase())])
const isLevel = (u: unknown): boolean =>
  typeof u === "string" && (levels.has(u) || (logLevels as ReadonlyArray<string>).includes(u.toLowerCase()))
const isLease = (u: unknown): boolean =>
  u === undefined ||
  u === null ||
  (isObj(u) && Object.values(u).every((list) => Array.isArray(list) && list.every(isStr)))
const isError = (u: unknown): boolean =>
  u === undefined ||
  u === null ||
  (isObj(u) &&
    isStr(u.code) &&
    u.code.length > 0 &&
    isStr(u.message) &&
    (u.retryable === undefined || u.retryable === null || typeof u.retryable === "boolean") &&
    (u.details === undefined || isObj(u.details)))

/** @internal Whether a body fits its kind: the Schemas of {@link bodies}, by hand. */
export const isBody: { readonly [K in CoreEventKind]: (body: unknown) => boolean } = {
  log: (b) => isObj(b) && isLevel(b.level) && isStr(b.message),
  thought: (b) => isObj(b) && isStr(b.text),
  tool_call: (b) => isObj(b) && isStr(b.tool) && isId(b.call_id),
  tool_result: (b) => isObj(b) && isId(b.call_id) && isError(b.error),
  status: (b) => isObj(b) && isStr(b.phase) && optStr(b.message),
  metric: (b) =>
    isObj(b) &&
    isStr(b.name) &&
    b.name.length > 0 &&
    typeof b.value === "number" &&
    Number.isFinite(b.value) &&
    optStr(b.unit) &&
    (b.dimensions === undefined || b.dimensions === null || isObj(b.dimensions)),
  artifact_ref: (b) =>
    isObj(b) &&
    isStr(b.uri) &&
    isStr(b.content_type) &&
    (b.byte_size === undefined || b.byte_size === null || isSeq(b.byte_size)) &&
    optStr(b.sha256),
  delegate: (b) =>
    isObj(b) &&
    isId(b.delegate_id) &&
    (b.child_job_id === undefined || b.child_job_id === null || isId(b.child_job_id)) &&
    isStr(b.agent) &&
    isLease(b.lease_request) &&
    (b.lease_constraints === undefined ||
      b.lease_constraints === null ||
      (isObj(b.lease_constraints) && optStr(b.lease_constraints.expires_at))),
  progress: (b) =>
    isObj(b) &&
    isAmount(b.current) &&
    (b.total === undefined || b.total === null || isAmount(b.total)) &&
    optStr(b.units) &&
    optStr(b.message),
  result_chunk: (b) =>
    isObj(b) &&
    isId(b.result_id) &&
    isSeq(b.chunk_seq) &&
    isStr(b.data) &&
    (b.encoding === "utf8" || b.encoding === "base64") &&
    typeof b.more === "boolean"
}

const coreKinds: ReadonlySet<string> = new Set(coreEventKinds)

/** @internal The body of a `delegate`; some runtimes name the child alone, which then stands for the delegation too. */
export const delegateBody = (body: unknown): unknown =>
  isObj(body) && body.delegate_id === undefined && isId(body.child_job_id)
    ? { ...body, delegate_id: body.child_job_id }
    : body

/**
 * Whether `kind` is one of the ten kinds of §8.2.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isCoreKind = (kind: string): kind is CoreEventKind => coreKinds.has(kind)

/**
 * The event that a `job.event` payload stands for, with its envelope's priority. Never fails: what does not fit is an {@link OtherEvent}.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromWire = (id: string, seq: number, payload: EventPayload, priority?: unknown): JobEvent => {
  const jobId = JobId(id)
  if (priority !== undefined && isPriority(priority)) return { ...fromWire(jobId, seq, payload), priority }
  const { kind } = payload
  // A payload may come undecoded.
  const ts = typeof payload.ts === "string" ? payload.ts : ""
  if (!isCoreKind(kind)) return { _tag: "other", kind, jobId, seq, ts, body: payload.body, malformed: false }
  if (!isBody[kind](payload.body)) {
    const alias = kind === "delegate" ? delegateBody(payload.body) : payload.body
    if (alias !== payload.body) return fromWire(jobId, seq, { ...payload, body: alias })
    return { _tag: "other", kind, jobId, seq, ts, body: payload.body, malformed: true }
  }
  if (kind === "log") {
    const body = payload.body as Bodies["log"]
    const level = body.level.toLowerCase()
    return { _tag: kind, kind, jobId, seq, ts, body: level === body.level ? body : { ...body, level } }
  }
  return { _tag: kind, kind, jobId, seq, ts, body: payload.body } as CoreEvent
}
