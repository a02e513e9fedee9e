/** Payloads of the job messages (ARCP 1.1 §7, 1.0 §7). Events have their own module. */
import * as Schema from "effect/Schema"
import { ErrorDetails } from "./Errors.js"
import {
  Id,
  Message,
  NonNegative,
  optional,
  Seq,
  WireBudget,
  WireCredential,
  WireLease,
  WireLeaseConstraints
} from "./Fields.js"
import { JobStatus } from "./JobStatus.js"

export { Cancel, Submit, Subscribe, Unsubscribe } from "./Requests.js"

/**
 * A provisioned credential (§9.8.1). `value` is a secret.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Credential = WireCredential

/**
 * A provisioned credential (§9.8.1). `value` is a secret.
 *
 * @since 0.1.0
 * @category models
 */
export type Credential = typeof Credential.Type

/**
 * `job.accepted` (§7.1, §10).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Accepted = Schema.Struct({
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The job. */
  job_id: Id,
  /** `name@version`, as resolved. */
  agent: optional(Schema.String),
  /** The effective lease: what was granted. */
  lease: optional(WireLease),
  /** The constraints (§9.5). */
  lease_constraints: optional(WireLeaseConstraints),
  /** Currency to what was granted. */
  budget: optional(WireBudget),
  /** Provisioned credentials (§9.8), for owners only. Their values are secrets. */
  credentials: optional(Schema.Array(Credential)),
  /** ISO 8601, UTC. */
  accepted_at: optional(Schema.String),
  /** 32 hex digits (§11). */
  trace_id: optional(Schema.String),
  /** The job that delegated it (§10). */
  parent_job_id: optional(Id),
  /** The delegation's id (§10). */
  delegate_id: optional(Id)
})

/**
 * `job.accepted` (§7.1, §10).
 *
 * @since 0.1.0
 * @category models
 */
export type Accepted = typeof Accepted.Type

/**
 * `job.cancelled` (§7.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const CancelledReply = Schema.Struct({
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The job. */
  job_id: optional(Id),
  /** Why, for people. */
  reason: optional(Schema.String)
})

/**
 * `job.cancelled` (§7.4).
 *
 * @since 0.1.0
 * @category models
 */
export type CancelledReply = typeof CancelledReply.Type

/**
 * `job.result` (§7.3, §8.4). `output` is accepted as another spelling of `result`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Result = Schema.Struct({
  /** How the job ended (§7.3). */
  final_status: optional(Schema.String),
  /** The result, where it was not streamed. */
  result: Schema.optional(Schema.Unknown),
  /** Another spelling of `result`. */
  output: Schema.optional(Schema.Unknown),
  /** The stream of chunks that is the result (§8.4). */
  result_id: optional(Id),
  /** Bytes of the streamed result, decoded. */
  result_size: optional(Seq),
  /** One line about the result. */
  summary: optional(Schema.String),
  /** ISO 8601, UTC. */
  completed_at: optional(Schema.String)
})

/**
 * `job.result` (§7.3, §8.4). `output` is accepted as another spelling of `result`.
 *
 * @since 0.1.0
 * @category models
 */
export type Result = typeof Result.Type

/**
 * `job.error` (§7.3, §12).
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobError = Schema.Struct({
  /** How the job ended (§7.3). */
  final_status: optional(Schema.String),
  /** A code of §12, or a vendor's. */
  code: Schema.NonEmptyString,
  /** For people, one line. */
  message: Message,
  /** Whether a naive retry can succeed. */
  retryable: optional(Schema.Boolean),
  /** A JSON object, specific to the code. */
  details: optional(ErrorDetails),
  /** ISO 8601, UTC. */
  completed_at: optional(Schema.String)
})

/**
 * `job.error` (§7.3, §12).
 *
 * @since 0.1.0
 * @category models
 */
export type JobError = typeof JobError.Type

/**
 * `job.subscribed` (§7.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Subscribed = Schema.Struct({
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The job. */
  job_id: Id,
  /** Where the job stands (§7.3). */
  current_status: JobStatus,
  /** `name@version`, as resolved. */
  agent: optional(Schema.String),
  /** The effective lease: what was granted. */
  lease: optional(WireLease),
  /** The constraints (§9.5). */
  lease_constraints: optional(WireLeaseConstraints),
  /** Currency to what is left of it. */
  budget: optional(WireBudget),
  /** Provisioned credentials (§9.8), for owners only. Their values are secrets. */
  credentials: optional(Schema.Array(Credential)),
  /** The job that delegated it (§10). */
  parent_job_id: Schema.optionalWith(Schema.NullOr(Id), { default: () => null }),
  /** 32 hex digits (§11). */
  trace_id: optional(Schema.String),
  /** The number after which events are sent. */
  subscribed_from: optional(Seq),
  /** Some runtimes tell how many events they replay, and number those of each subscription from 1. */
  replayed: optional(Schema.Union(Schema.Boolean, NonNegative))
})

/**
 * `job.subscribed` (§7.6).
 *
 * @since 0.1.0
 * @category models
 */
export type Subscribed = typeof Subscribed.Type

/**
 * `job.unsubscribed`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Unsubscribed = Schema.Struct({ request_id: optional(Id), job_id: optional(Id) })

/**
 * `job.unsubscribed`.
 *
 * @since 0.1.0
 * @category models
 */
export type Unsubscribed = typeof Unsubscribed.Type
