/** Payloads of the job messages (ARCP 1.1 §7, 1.0 §7). Events have their own module. */
import * as Schema from "effect/Schema"
import { ErrorDetails } from "./Errors.js"
import {
  Id,
  Message,
  NonNegative,
  optional,
  PositiveInt,
  Reason,
  Seq,
  ShortText,
  WireBudget,
  WireCredential,
  WireLease,
  WireLeaseConstraints
} from "./Fields.js"
import { JobStatus } from "./Session.js"

/**
 * `job.submit` (§7.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Submit = Schema.Struct({
  agent: Schema.String,
  input: Schema.optional(Schema.Unknown),
  lease_request: optional(WireLease),
  lease_constraints: optional(WireLeaseConstraints),
  idempotency_key: optional(Id),
  max_runtime_sec: optional(PositiveInt)
})

/**
 * `job.submit` (§7.1).
 *
 * @since 0.1.0
 * @category models
 */
export type Submit = typeof Submit.Type

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
  request_id: optional(Id),
  job_id: Id,
  agent: optional(Schema.String),
  lease: optional(WireLease),
  lease_constraints: optional(WireLeaseConstraints),
  budget: optional(WireBudget),
  credentials: optional(Schema.Array(Credential)),
  accepted_at: optional(Schema.String),
  trace_id: optional(Schema.String),
  parent_job_id: optional(Id),
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
 * `job.cancel` (§7.4); the job may be named by the envelope.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Cancel = Schema.Struct({ job_id: optional(Id), reason: optional(Reason) })

/**
 * `job.cancel` (§7.4); the job may be named by the envelope.
 *
 * @since 0.1.0
 * @category models
 */
export type Cancel = typeof Cancel.Type

/**
 * `job.cancelled` (§7.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const CancelledReply = Schema.Struct({
  request_id: optional(Id),
  job_id: optional(Id),
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
  final_status: optional(Schema.String),
  result: Schema.optional(Schema.Unknown),
  output: Schema.optional(Schema.Unknown),
  result_id: optional(Id),
  result_size: optional(Seq),
  summary: optional(Schema.String),
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
  final_status: optional(Schema.String),
  code: Schema.NonEmptyString,
  message: Message,
  retryable: optional(Schema.Boolean),
  details: optional(ErrorDetails),
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
 * `job.subscribe` (§7.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Subscribe = Schema.Struct({
  job_id: optional(Id),
  from_event_seq: optional(Schema.Union(Seq, Schema.Literal("live"))),
  history: optional(Schema.Boolean)
})

/**
 * `job.subscribe` (§7.6).
 *
 * @since 0.1.0
 * @category models
 */
export type Subscribe = typeof Subscribe.Type

/**
 * `job.subscribed` (§7.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Subscribed = Schema.Struct({
  request_id: optional(Id),
  job_id: Id,
  current_status: JobStatus,
  agent: optional(Schema.String),
  lease: optional(WireLease),
  lease_constraints: optional(WireLeaseConstraints),
  budget: optional(WireBudget),
  credentials: optional(Schema.Array(Credential)),
  parent_job_id: Schema.optionalWith(Schema.NullOr(Id), { default: () => null }),
  trace_id: optional(Schema.String),
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
 * `job.unsubscribe` (§7.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Unsubscribe = Schema.Struct({ job_id: optional(Id), reason: optional(ShortText) })

/**
 * `job.unsubscribe` (§7.6).
 *
 * @since 0.1.0
 * @category models
 */
export type Unsubscribe = typeof Unsubscribe.Type

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
