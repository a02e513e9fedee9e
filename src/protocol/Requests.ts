/**
 * Payloads of what only clients send (ARCP 1.1 §6, §7; artifacts). `Session`, `Job` and `Artifact` export them; they are apart from what
 * runtimes send, since a client decodes none of them.
 */
import * as Schema from "effect/Schema"
import {
  Id,
  optional,
  PositiveInt,
  Reason,
  ResumePoint,
  Seq,
  ShortText,
  Timestamp,
  Token,
  WireLease,
  WireLeaseConstraints
} from "./Fields.js"
import { Peer } from "./Peer.js"
import { JobStatus } from "./JobStatus.js"

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

/**
 * `job.submit` (§7.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Submit = Schema.Struct({
  /** `name`, or `name@version`. */
  agent: Schema.String,
  /** Any JSON; absent counts as no input. */
  input: Schema.optional(Schema.Unknown),
  /** The capabilities that are asked for (§9.2). */
  lease_request: optional(WireLease),
  /** The constraints (§9.5). */
  lease_constraints: optional(WireLeaseConstraints),
  /** Repeats of a submit have the same key (§7.2); 1 to 256 characters. */
  idempotency_key: optional(Id),
  /** Seconds after which the job is stopped, 1 or more. */
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
 * `job.subscribe` (§7.6).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Subscribe = Schema.Struct({
  /** The job. */
  job_id: optional(Id),
  /** History is wanted from after this number; `"live"` for none. */
  from_event_seq: optional(Schema.Union(Seq, Schema.Literal("live"))),
  /** Whether history is wanted. */
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

const Sha256 = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/, { description: "64 lower-case hex digits" }))

/**
 * `artifact.put`: `data` is base64, `retain_seconds` is how long the artifact should be kept.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Put = Schema.Struct({
  /** A media type with its parameters, of at most 256 characters. */
  content_type: ShortText,
  /** The bytes in base64. */
  data: Schema.String,
  /** What the digest of the bytes should be: 64 lower-case hex digits. */
  sha256: optional(Sha256),
  /** Seconds for which it should be kept. */
  retain_seconds: optional(PositiveInt)
})

/**
 * `artifact.put`: `data` is base64, `retain_seconds` is how long the artifact should be kept.
 *
 * @since 0.1.0
 * @category models
 */
export type Put = typeof Put.Type

/**
 * `artifact.fetch`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Fetch = Schema.Struct({ artifact_id: Id })

/**
 * `artifact.fetch`.
 *
 * @since 0.1.0
 * @category models
 */
export type Fetch = typeof Fetch.Type

/**
 * `artifact.release`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Release = Schema.Struct({ artifact_id: Id })

/**
 * `artifact.release`.
 *
 * @since 0.1.0
 * @category models
 */
export type Release = typeof Release.Type
