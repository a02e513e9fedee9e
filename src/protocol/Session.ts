/** Payloads of the session messages (ARCP 1.1 §6, 1.0 §6). */
import * as Schema from "effect/Schema"
import { ErrorPayload } from "./Errors.js"
import {
  Finite,
  Id,
  Message,
  optional,
  PositiveInt,
  ResumePoint,
  Seq,
  ShortText,
  Timestamp,
  Token,
  WireBudget,
  WireLease,
  WireLeaseConstraints
} from "./Fields.js"

/**
 * Name and version of a peer's program.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Peer = Schema.Struct({ name: optional(ShortText), version: optional(ShortText) })

/**
 * Name and version of a peer's program.
 *
 * @since 0.1.0
 * @category models
 */
export type Peer = typeof Peer.Type

/**
 * `auth` of a hello (§6.1). The token is a secret.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Auth = Schema.Struct({ scheme: optional(ShortText), token: optional(Token) })

/**
 * `auth` of a hello (§6.1). The token is a secret.
 *
 * @since 0.1.0
 * @category models
 */
export type Auth = typeof Auth.Type

/**
 * What a client resumes (§6.3). Without a session id it is found by its token.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ResumeRequest = Schema.Struct({
  session_id: optional(Id),
  resume_token: Token,
  last_event_seq: optional(ResumePoint)
})

/**
 * What a client resumes (§6.3). Without a session id it is found by its token.
 *
 * @since 0.1.0
 * @category models
 */
export type ResumeRequest = typeof ResumeRequest.Type

const names = Schema.Array(ShortText).pipe(Schema.maxItems(256, { description: "an array of at most 256 names" }))

/**
 * What a client can do (§6.2).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientCapabilities = Schema.Struct({ encodings: optional(names), features: optional(names) })

/**
 * What a client can do (§6.2).
 *
 * @since 0.1.0
 * @category models
 */
export type ClientCapabilities = typeof ClientCapabilities.Type

/**
 * `session.hello` (§6.2), with either spelling of a resume (§6.3).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Hello = Schema.Struct({
  client: optional(Peer),
  auth: optional(Auth),
  capabilities: optional(ClientCapabilities),
  resume: optional(ResumeRequest),
  session_id: optional(Id),
  resume_token: optional(Token),
  last_event_seq: optional(ResumePoint)
})

/**
 * `session.hello` (§6.2), with either spelling of a resume (§6.3).
 *
 * @since 0.1.0
 * @category models
 */
export type Hello = typeof Hello.Type

/**
 * `session.resume` (§6.3); the session may be named by the envelope.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Resume = Schema.Struct({
  client: optional(Peer),
  auth: optional(Auth),
  capabilities: optional(ClientCapabilities),
  session_id: optional(Id),
  resume_token: Token,
  last_event_seq: optional(ResumePoint)
})

/**
 * `session.resume` (§6.3); the session may be named by the envelope.
 *
 * @since 0.1.0
 * @category models
 */
export type Resume = typeof Resume.Type

/**
 * An agent in the inventory of a welcome (§6.2).
 *
 * @since 0.1.0
 * @category schemas
 */
export const AgentInfo = Schema.Struct({
  name: Schema.String,
  versions: optional(Schema.Array(Schema.String)),
  default: optional(Schema.String)
})

/**
 * An agent in the inventory of a welcome (§6.2).
 *
 * @since 0.1.0
 * @category models
 */
export type AgentInfo = typeof AgentInfo.Type

/**
 * `session.welcome` (§6.2).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Welcome = Schema.Struct({
  runtime: optional(Peer),
  session_id: optional(Id),
  accepted_at: optional(Schema.String),
  resume_token: Token,
  resume_window_sec: optional(Finite),
  heartbeat_interval_sec: optional(Finite),
  capabilities: optional(
    Schema.Struct({
      encodings: optional(Schema.Array(Schema.String)),
      features: optional(Schema.Array(Schema.String)),
      agents: optional(Schema.Array(Schema.Union(Schema.String, AgentInfo))),
      /** How many agents a welcome leaves out, since it would be larger than a frame may be. */
      agents_omitted: optional(Finite)
    })
  )
})

/**
 * `session.welcome` (§6.2).
 *
 * @since 0.1.0
 * @category models
 */
export type Welcome = typeof Welcome.Type

/**
 * `session.ping` (§6.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Ping = Schema.Struct({ nonce: Id, sent_at: optional(ShortText) })

/**
 * `session.ping` (§6.4).
 *
 * @since 0.1.0
 * @category models
 */
export type Ping = typeof Ping.Type

/**
 * `session.pong` (§6.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Pong = Schema.Struct({ ping_nonce: Id, received_at: optional(ShortText) })

/**
 * `session.pong` (§6.4).
 *
 * @since 0.1.0
 * @category models
 */
export type Pong = typeof Pong.Type

/**
 * `session.ack` (§6.5).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Ack = Schema.Struct({ last_processed_seq: Seq })

/**
 * `session.ack` (§6.5).
 *
 * @since 0.1.0
 * @category models
 */
export type Ack = typeof Ack.Type

/**
 * The states of a job (§7.3).
 *
 * @since 0.1.0
 * @category constants
 */
export const jobStatuses = ["pending", "running", "success", "error", "cancelled", "timed_out"] as const

/**
 * A state of a job (§7.3).
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobStatus = Schema.Literal(...jobStatuses)

/**
 * A state of a job (§7.3).
 *
 * @since 0.1.0
 * @category models
 */
export type JobStatus = typeof JobStatus.Type

/**
 * Whether a job in this state has ended (§7.3).
 *
 * @since 0.1.0
 * @category predicates
 */
export const isTerminal = (status: JobStatus): boolean => status !== "pending" && status !== "running"

/**
 * `filter` of `session.list_jobs` (§6.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobFilter = Schema.Struct({
  status: optional(Schema.Union(Schema.Array(JobStatus), JobStatus)),
  agent: optional(ShortText),
  created_after: optional(Timestamp)
})

/**
 * `filter` of `session.list_jobs` (§6.6).
 *
 * @since 0.1.0
 * @category models
 */
export type JobFilter = typeof JobFilter.Type

/**
 * `session.list_jobs` (§6.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ListJobs = Schema.Struct({
  filter: optional(JobFilter),
  limit: optional(PositiveInt),
  cursor: optional(Schema.String.pipe(Schema.maxLength(1024, { description: "a cursor from session.jobs" })))
})

/**
 * `session.list_jobs` (§6.6).
 *
 * @since 0.1.0
 * @category models
 */
export type ListJobs = typeof ListJobs.Type

const jobInfo = {
  job_id: Id,
  agent: Schema.String,
  status: JobStatus,
  lease: optional(WireLease),
  lease_constraints: optional(WireLeaseConstraints),
  budget: optional(WireBudget),
  parent_job_id: Schema.optionalWith(Schema.NullOr(Id), { default: () => null }),
  trace_id: optional(Schema.String),
  last_event_seq: optional(ResumePoint)
}

const Row = Schema.Struct({ ...jobInfo, created_at: Schema.String, submitted_at: optional(Schema.String) })

/**
 * A job in a listing (§6.6). `submitted_at` is accepted as another spelling of `created_at`. Credentials that a row carries are not read:
 * a listing is shown and logged.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobInfo = Schema.transform(
  Schema.Struct({ ...jobInfo, created_at: optional(Schema.String), submitted_at: optional(Schema.String) }),
  Schema.typeSchema(Row),
  {
    strict: false,
    decode: (row) => ({ ...row, created_at: row.created_at ?? row.submitted_at }),
    encode: (row) => row
  }
)

/**
 * A job in a listing (§6.6). `submitted_at` is accepted as another spelling of `created_at`. Credentials that a row carries are not read:
 * a listing is shown and logged.
 *
 * @since 0.1.0
 * @category models
 */
export type JobInfo = typeof JobInfo.Type

/**
 * `session.jobs` (§6.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Jobs = Schema.Struct({
  request_id: optional(Id),
  jobs: Schema.Array(JobInfo),
  next_cursor: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null })
})

/**
 * `session.jobs` (§6.6).
 *
 * @since 0.1.0
 * @category models
 */
export type Jobs = typeof Jobs.Type

/**
 * `session.close` and `session.bye` (§6.7, 1.0 §6.4).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Close = Schema.Struct({ reason: optional(Schema.String) })

/**
 * `session.close` and `session.bye` (§6.7, 1.0 §6.4).
 *
 * @since 0.1.0
 * @category models
 */
export type Close = typeof Close.Type

/**
 * `session.closed` (§6.7).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Closed = Schema.Struct({ reason: optional(Schema.String), request_id: optional(Id) })

/**
 * `session.closed` (§6.7).
 *
 * @since 0.1.0
 * @category models
 */
export type Closed = typeof Closed.Type

/**
 * `session.error` (1.0 §12): one refused request, or the end of the connection.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SessionError = Schema.Struct({
  ...ErrorPayload.fields,
  message: Message,
  retryable: optional(Schema.Boolean),
  details: optional(ErrorPayload.fields.details.from),
  request_id: optional(Id)
})

/**
 * `session.error` (1.0 §12): one refused request, or the end of the connection.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionError = typeof SessionError.Type
