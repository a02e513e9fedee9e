/** Payloads of the session messages (ARCP 1.1 §6, 1.0 §6). */
import * as Schema from "effect/Schema"
import { ErrorPayload } from "./Errors.js"
import {
  Finite,
  Id,
  Message,
  optional,
  ResumePoint,
  ShortText,
  Token,
  WireBudget,
  WireLease,
  WireLeaseConstraints
} from "./Fields.js"
import { JobStatus } from "./JobStatus.js"
import { Peer } from "./Peer.js"

export { isTerminal, JobStatus, jobStatuses } from "./JobStatus.js"
export { Peer } from "./Peer.js"
export { Ack, Auth, ClientCapabilities, Hello, JobFilter, ListJobs, Resume, ResumeRequest } from "./Requests.js"

/**
 * An agent in the inventory of a welcome (§6.2).
 *
 * @since 0.1.0
 * @category schemas
 */
export const AgentInfo = Schema.Struct({
  /** The agent's name. */
  name: Schema.String,
  /** The versions that can be asked for. */
  versions: optional(Schema.Array(Schema.String)),
  /** The version that a bare name means. */
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
  /** The runtime's program. */
  runtime: optional(Peer),
  /** The session. */
  session_id: optional(Id),
  /** ISO 8601, UTC. */
  accepted_at: optional(Schema.String),
  /** What resumes the session (§6.3): a secret. */
  resume_token: Token,
  /** Seconds for which the session can be resumed after its last message (§6.3). */
  resume_window_sec: optional(Finite),
  /** Seconds after which a silent side pings (§6.4). */
  heartbeat_interval_sec: optional(Finite),
  /** What the runtime can do (§6.2). */
  capabilities: optional(
    Schema.Struct({
      /** The encodings of messages, such as `json`. */
      encodings: optional(Schema.Array(Schema.String)),
      /** The features that both sides have. */
      features: optional(Schema.Array(Schema.String)),
      /** The inventory: names, or names with versions. */
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

const jobInfo = {
  /** The job. */
  job_id: Id,
  /** `name@version`, as resolved. */
  agent: Schema.String,
  /** Where the job stands (§7.3). */
  status: JobStatus,
  /** The effective lease: what was granted. */
  lease: optional(WireLease),
  /** The constraints (§9.5). */
  lease_constraints: optional(WireLeaseConstraints),
  /** Currency to what is left of it. */
  budget: optional(WireBudget),
  /** The job that delegated it (§10). */
  parent_job_id: Schema.optionalWith(Schema.NullOr(Id), { default: () => null }),
  /** 32 hex digits (§11). */
  trace_id: optional(Schema.String),
  /** The number of the job's last event in the session that owns it. */
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
  /** The `id` of the message that this answers. */
  request_id: optional(Id),
  /** The page. */
  jobs: Schema.Array(JobInfo),
  /** What asks for the next page; `null`: there is none. */
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
  /** For people, one line. */
  message: Message,
  /** Whether a naive retry can succeed. */
  retryable: optional(Schema.Boolean),
  /** A JSON object, specific to the code. */
  details: optional(ErrorPayload.fields.details.from),
  /** The `id` of the request that is refused; absent where the connection ends. */
  request_id: optional(Id)
})

/**
 * `session.error` (1.0 §12): one refused request, or the end of the connection.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionError = typeof SessionError.Type
