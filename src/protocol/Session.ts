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
  /** The session; absent where its token alone names it. */
  session_id: optional(Id),
  /** A secret, of at most 16,384 characters. */
  resume_token: Token,
  /** The last event that the client has; absent, 0 and -1 stand for none. */
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
  /** The client's program. */
  client: optional(Peer),
  /** The credential (§6.1). */
  auth: optional(Auth),
  /** What this side can do (§6.2). */
  capabilities: optional(ClientCapabilities),
  /** The session to go on with (§6.3). */
  resume: optional(ResumeRequest),
  /** The session of a resume in its flat spelling. */
  session_id: optional(Id),
  /** The token of a resume in its flat spelling: a secret. */
  resume_token: optional(Token),
  /** The last event that the client has, in the flat spelling. */
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
  /** The client's program. */
  client: optional(Peer),
  /** The credential (§6.1). */
  auth: optional(Auth),
  /** What this side can do (§6.2). */
  capabilities: optional(ClientCapabilities),
  /** The session; absent where the envelope or the token names it. */
  session_id: optional(Id),
  /** A secret, of at most 16,384 characters. */
  resume_token: Token,
  /** The last event that the client has; absent, 0 and -1 stand for none. */
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
  /** The state, or states, of jobs (§7.3). */
  status: optional(Schema.Union(Schema.Array(JobStatus), JobStatus)),
  /** Only jobs of this agent, `name` or `name@version`. */
  agent: optional(ShortText),
  /** Only jobs created later: ISO 8601, UTC. */
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
  /** Which jobs; absent for all. */
  filter: optional(JobFilter),
  /** How many jobs a page may have. */
  limit: optional(PositiveInt),
  /** `next_cursor` of the page before. */
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
