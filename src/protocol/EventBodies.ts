/**
 * The bodies of the ten kinds of events of ARCP 1.1 §8.2 as Schemas. `Event` exports them; they are apart since who reads events by its
 * guards does without them.
 */
import * as Schema from "effect/Schema"
import { ErrorPayload } from "./Errors.js"
import { logLevels } from "./EventGuards.js"
import type { CoreEventKind } from "./ExtensionName.js"
import { Finite, Id, JsonObject, NonNegative, optional, Seq, WireLease, WireLeaseConstraints } from "./Fields.js"

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
