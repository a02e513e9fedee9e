/**
 * What must outlive a process: the journal of events, sessions, jobs, subscriptions, idempotency keys and step results.
 *
 * Responsibility: durable rows behind a small interface. One {@link Batch} is one atomic change: after `commit` has
 * returned, all of it survives a crash of the process; when it has failed, none of it is there. The runtime has one
 * writer, which gathers the next batch while one commits, and sends a frame only after its batch.
 *
 * The events of a job are numbered 1, 2, 3 … in the job (`job_seq`) and stored as {@link Segment}s: runs of consecutive
 * events, each event's payload serialised once. A session's numbering is stored as {@link Delivery} rows: run-length
 * pairs "these session numbers are those job events". A hot batch therefore is a handful of rows, however many events it
 * holds, and a subscription with history is one row.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { JobStatus } from "../protocol/Session.js"

/**
 * The store could not read or write. `operation` says what was tried; nothing of a failed commit is there.
 *
 * @since 0.1.0
 * @category errors
 */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  /** What was tried, such as `commit`. */
  operation: Schema.String,
  message: Schema.String,
  /** Set where a newer version has written the store: the schema that was found, and the newest that this version knows. */
  schema: Schema.optional(Schema.Struct({ found: Schema.Number, known: Schema.Number })),
  cause: Schema.optional(Schema.Defect)
}) {}

/**
 * A session (ARCP 1.1 §6). Tokens are stored as hashes only. Times are milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionRecord {
  /** The session's id; the key of the row. */
  readonly sessionId: string
  /** Whose session it is, as the authenticator said. */
  readonly principal: {
    /** The principal's id. */
    readonly id: string
    /** Whether no authenticator vouches for it. */
    readonly anonymous: boolean
    /** What the authenticator knows besides, as plain JSON. */
    readonly claims: Readonly<Record<string, unknown>>
  }
  /** Name and version of the client's program, as it names itself. */
  readonly client: { readonly name?: string | undefined; readonly version?: string | undefined }
  /** The effective features. */
  readonly features: ReadonlyArray<string>
  /** The hash of the resume token: SHA-256 in hex. */
  readonly tokenHash: string
  /** The token before the last rotation, valid until the client has shown that it holds the new one. */
  readonly previousTokenHash: string | undefined
  /** When it was opened. */
  readonly createdAt: number
  /** The last message in either direction, as last written. */
  readonly lastSeenAt: number
  /** The highest number assigned, as last written; deliveries may be ahead of it. */
  readonly lastSeq: number
  /** The highest number that the client acknowledged. */
  readonly ackedSeq: number
  /** The highest number whose event is gone; a resume from below it is refused. */
  readonly floorSeq: number
}

/**
 * What never changes of a job (ARCP 1.1 §7.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface JobRecord {
  /** The job's id; the key of the row. Ids sort by the time of their creation. */
  readonly jobId: string
  /** Who submitted it. */
  readonly principalId: string
  /** The agent's name. */
  readonly agent: string
  /** The agent's version, as resolved. */
  readonly version: string
  /** The input as JSON text; `null` where there was none. */
  readonly input: string
  /** The effective lease and constraints, as JSON text. */
  readonly lease: string
  /** The effective constraints, as JSON text; undefined where there are none. */
  readonly leaseConstraints: string | undefined
  /** The key of its submit (§7.2); undefined for a delegated job, and where the client gave none. */
  readonly idempotencyKey: string | undefined
  /** Seconds after which it is stopped; undefined where the submit set no limit. */
  readonly maxRuntimeSec: number | undefined
  /** Its trace: 32 hex digits (§11). */
  readonly traceId: string
  /** `parentSpanId`, `sampled` and `traceState` as JSON text. */
  readonly traceContext: string | undefined
  /** The job that delegated it (§10); undefined where a client submitted it. */
  readonly parentJobId: string | undefined
  /** The delegation's id in the parent's `delegate` event; undefined where a client submitted it. */
  readonly delegateId: string | undefined
  /** When it was accepted, in milliseconds since the epoch. */
  readonly createdAt: number
  /** The payload of `job.accepted` as first sent, without `request_id` and credentials, as JSON text. */
  readonly accepted: string
}

/**
 * What changes of a job.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobState {
  /** The job's id; the key of the row. */
  readonly jobId: string
  /** Where it stands (§7.3). */
  readonly status: JobStatus
  /** The first owner: the session whose numbers are the job's (ARCP 1.1 §6.6). */
  readonly ownerSessionId: string
  /** When its handler started, in milliseconds since the epoch; undefined while it is pending. */
  readonly startedAt: number | undefined
  /** When it ended, in milliseconds since the epoch; undefined while it has not. */
  readonly endedAt: number | undefined
  /** The number of the job's last event in the job itself, as last written; segments may be ahead of it. */
  readonly lastJobSeq: number
  /** The number of the job's last event in its owner session, as last written. */
  readonly lastOwnerSeq: number
  /** How often the job was started: 1 at first, one more with each rerun after a restart. */
  readonly attempt: number
  /** Budget counters, currency to exact decimal, as JSON text; undefined without a budget. */
  readonly budget: string | undefined
  /** The message of the cancel that was acknowledged: whoever takes the job up ends it, and does not start it again. */
  readonly cancelled: string | undefined
}

/**
 * A job with its state.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredJob {
  /** What never changes of it. */
  readonly record: JobRecord
  /** What changes of it, as last written. */
  readonly state: JobState
  /** The sessions that own it beside `state.ownerSessionId` ({@link OwnerRecord}), in the order in which they came. */
  readonly otherOwners: ReadonlyArray<string>
}

/**
 * What a segment holds: plain events, events of a kind that must be negotiated (`progress`, `result_chunk`), or the
 * terminal message.
 *
 * @since 0.1.0
 * @category models
 */
export type SegmentClass = "event" | "progress" | "chunk" | "result" | "error"

/**
 * A run of consecutive events of one job and one class.
 *
 * @since 0.1.0
 * @category models
 */
export interface Segment {
  /** The job that emitted the events. */
  readonly jobId: string
  /** The first event's number in the job. */
  readonly firstSeq: number
  /** The last event's number in the job. */
  readonly lastSeq: number
  /** What all of its events are. */
  readonly class: SegmentClass
  /** The payloads as JSON texts; `payloads.length === lastSeq - firstSeq + 1`. JSON text has no raw newline. */
  readonly payloads: ReadonlyArray<string>
}

/**
 * A segment without its payloads.
 *
 * @since 0.1.0
 * @category models
 */
export type SegmentHead = Omit<Segment, "payloads">

/**
 * The session numbers `firstSeq..lastSeq` are the job's events from `firstJobSeq` on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Delivery {
  /** The session that was given the numbers. */
  readonly sessionId: string
  /** The first session number. */
  readonly firstSeq: number
  /** The last session number. */
  readonly lastSeq: number
  /** The job whose events they are. */
  readonly jobId: string
  /** The number in the job of the event at `firstSeq`; the others follow. */
  readonly firstJobSeq: number
}

/**
 * An observer of a job (ARCP 1.1 §7.6).
 *
 * @since 0.1.0
 * @category models
 */
export interface SubscriptionRecord {
  /** The session that observes. */
  readonly sessionId: string
  /** The job that is observed. */
  readonly jobId: string
}

/**
 * A session that owns a job beside its first owner: it has submitted the job again with its key (ARCP 1.1 §7.2). The first owner is in
 * {@link JobState} and has no such record.
 *
 * @since 0.1.0
 * @category models
 */
export interface OwnerRecord {
  /** The session that owns the job too. */
  readonly sessionId: string
  /** The job that is owned. */
  readonly jobId: string
}

/**
 * An idempotency key (ARCP 1.1 §7.2). `parametersHash` is a digest of the canonical parameters.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyRecord {
  /** Whose key it is: keys of different principals have nothing to do with each other. */
  readonly principalId: string
  /** The key as the client gave it. */
  readonly key: string
  /** The job that was submitted under it. */
  readonly jobId: string
  /** A digest of the submit's canonical parameters; a repeat with another one is `DUPLICATE_KEY`. */
  readonly parametersHash: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * The recorded result of a durable step.
 *
 * @since 0.1.0
 * @category models
 */
export interface StepRecord {
  /** The job whose step it is. */
  readonly jobId: string
  /** The step's name; one record for each name of a job. */
  readonly name: string
  /** A digest of the step's schema, so that a changed one is noticed. */
  readonly fingerprint: string
  /** The encoded result as JSON text. */
  readonly value: string
}

/**
 * One atomic change. Applied in the order of the fields; every field may be empty.
 *
 * @since 0.1.0
 * @category models
 */
export interface Batch {
  /** Inserted or replaced. */
  readonly sessions: ReadonlyArray<SessionRecord>
  /** Inserted; the ids are new. */
  readonly jobs: ReadonlyArray<JobRecord>
  /** Inserted or replaced. */
  readonly jobStates: ReadonlyArray<JobState>
  /** Inserted or replaced. */
  readonly keys: ReadonlyArray<KeyRecord>
  /** Added; their numbers follow those that are there. */
  readonly segments: ReadonlyArray<Segment>
  /** Added; their numbers follow those that are there. */
  readonly deliveries: ReadonlyArray<Delivery>
  /** Added; one that is there already stays as it is. */
  readonly subscriptions: ReadonlyArray<SubscriptionRecord>
  /** Added after the owners that a job has, in this order; an owner that is already there keeps its place. */
  readonly owners: ReadonlyArray<OwnerRecord>
  /** Inserted; the runtime records each name of a job once. */
  readonly steps: ReadonlyArray<StepRecord>
  /** Removed; one that is not there is passed over. */
  readonly subscriptionsRemoved: ReadonlyArray<SubscriptionRecord>
  /** The other owners keep their order. */
  readonly ownersRemoved: ReadonlyArray<OwnerRecord>
  /**
   * Removes the segments of the job with `lastSeq <= upTo` and the deliveries whose events are all among them. A session that
   * loses deliveries keeps its highest number: no number is ever assigned again.
   */
  readonly trims: ReadonlyArray<{ readonly jobId: string; readonly upTo: number }>
  /** Removes sessions, their subscriptions, and their rows among the owners of jobs. Deliveries stay as long as their job's events do. */
  readonly sessionsRemoved: ReadonlyArray<string>
  /**
   * Removes jobs and everything that belongs to them: nothing of them can be read any more, though `purge` may be what deletes
   * their events. Keys that point to them go too; sessions keep their highest number.
   */
  readonly jobsRemoved: ReadonlyArray<string>
}

/**
 * What a runtime needs at its start.
 *
 * @since 0.1.0
 * @category models
 */
export interface Recovered {
  /** `lastSeq` as of the deliveries. */
  readonly sessions: ReadonlyArray<SessionRecord>
  /** The jobs that have not ended, with `lastJobSeq` and `lastOwnerSeq` as of the segments and deliveries, in the order of their ids. */
  readonly jobs: ReadonlyArray<StoredJob>
  /** Every subscription of a session and a job that are there. */
  readonly subscriptions: ReadonlyArray<SubscriptionRecord>
}

/**
 * Which jobs to list, in the order of their ids (which is that of their creation).
 *
 * @since 0.1.0
 * @category models
 */
export interface JobQuery {
  /** The owners whose jobs may be seen; undefined for all. */
  readonly principalIds: ReadonlyArray<string> | undefined
  /** Only jobs in one of these states; undefined for all. */
  readonly statuses: ReadonlyArray<JobStatus> | undefined
  /** Only jobs of the agent with this name; undefined for all. */
  readonly agent: string | undefined
  /** Only jobs of this version of the agent; undefined for all. */
  readonly version: string | undefined
  /** Created strictly later than this, in milliseconds since the epoch. */
  readonly createdAfter: number | undefined
  /** Only ids greater than this one. */
  readonly afterJobId: string | undefined
  /** At most this many jobs. */
  readonly limit: number
}

/**
 * Which ended jobs may stay; what is over any bound goes, the oldest end first. `anonymous` changes which: while more than that is kept of
 * jobs of anonymous principals, whose ids begin with `anonymous:`, one of those goes before any other that is not too old. A store may
 * return fewer jobs than go, but none only if none goes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retention {
  /** Jobs that ended before this time go; milliseconds since the epoch. */
  readonly endedBefore: number
  /** At most this many ended jobs stay. */
  readonly maxJobs: number
  /** At most this many bytes of ended jobs stay: of their inputs, leases, answers to their submits, steps and events. */
  readonly maxBytes: number
  /**
   * How much of the jobs of anonymous principals stays even where one of the two bounds is passed. Absent, or in a store that ignores this
   * field: they count like any other jobs.
   *
   * @since 0.2.0
   */
  readonly anonymous?: { readonly maxJobs: number; readonly maxBytes: number } | undefined
}

/**
 * The durable store.
 *
 * @since 0.1.0
 * @category services
 */
export class Store extends Context.Tag("effect-arcp/store/Store")<
  Store,
  {
    /** Whether what is committed survives the process. */
    readonly durable: boolean
    /**
     * Whether every operation ends in the step of its fiber in which it begins, as in memory and in a SQLite file of this process: it
     * cannot hang, and is not bounded in time. Default false.
     */
    readonly immediate?: boolean | undefined
    /** The same object for a store and everything that decorates it: one runtime at a time may have it. Default: the service itself. */
    readonly instance?: object | undefined
    /** The services that it is built on, such as its `SqlClient`: no handler gets them. Default: none. */
    readonly over?: ReadonlyArray<object> | undefined
    /** Writes a batch, all or nothing. */
    readonly commit: (batch: Batch) => Effect.Effect<void, StoreError>
    /** Everything that a starting runtime must know. */
    readonly recover: Effect.Effect<Recovered, StoreError>
    /** A job by its id. */
    readonly job: (jobId: string) => Effect.Effect<Option.Option<StoredJob>, StoreError>
    /** The jobs that the query asks for, in the order of their ids. */
    readonly jobs: (query: JobQuery) => Effect.Effect<ReadonlyArray<StoredJob>, StoreError>
    /** An idempotency key of a principal; one that has expired and is not yet removed is returned too. */
    readonly key: (principalId: string, key: string) => Effect.Effect<Option.Option<KeyRecord>, StoreError>
    /** Segments of a job that overlap `fromSeq..toSeq`, in order, up to about `maxBytes` (at least one where there is one). */
    readonly segments: (
      jobId: string,
      fromSeq: number,
      toSeq: number,
      maxBytes: number
    ) => Effect.Effect<ReadonlyArray<Segment>, StoreError>
    /** As {@link segments}, all of them, without payloads. */
    readonly segmentHeads: (
      jobId: string,
      fromSeq: number,
      toSeq: number
    ) => Effect.Effect<ReadonlyArray<SegmentHead>, StoreError>
    /** Deliveries of a session that reach beyond `afterSeq`, in order, at most `limit`. */
    readonly deliveries: (
      sessionId: string,
      afterSeq: number,
      limit: number
    ) => Effect.Effect<ReadonlyArray<Delivery>, StoreError>
    /** Deliveries of one job in one session, in order. */
    readonly deliveriesOfJob: (sessionId: string, jobId: string) => Effect.Effect<ReadonlyArray<Delivery>, StoreError>
    /** The sessions that were given events of a job, each with its own number of the last of them. */
    readonly deliveredTo: (
      jobId: string
    ) => Effect.Effect<ReadonlyArray<{ readonly sessionId: string; readonly lastSeq: number }>, StoreError>
    /** The recorded result of a step, by its name. */
    readonly step: (jobId: string, name: string) => Effect.Effect<Option.Option<StepRecord>, StoreError>
    /**
     * The ids of ended jobs that retention lets go, oldest end first: `limit` of them, or all where fewer go. The runtime may keep some that a
     * session is owed; it asks for as many more.
     */
    readonly expiredJobs: (retention: Retention, limit: number) => Effect.Effect<ReadonlyArray<string>, StoreError>
    /** Removes the keys that expired at or before `now`; answers how many. */
    readonly removeExpiredKeys: (now: number) => Effect.Effect<number, StoreError>
    /**
     * Deletes what removed jobs have left, in steps with turns of the event loop between them, gives up the space, and leaves none of its bytes behind where the store can see to that. May
     * hold up a commit for a moment.
     */
    readonly purge: Effect.Effect<void, StoreError>
  }
>() {}

/**
 * A batch without any change.
 *
 * @since 0.1.0
 * @category constructors
 */
export const emptyBatch: Batch = {
  sessions: [],
  jobs: [],
  jobStates: [],
  keys: [],
  segments: [],
  deliveries: [],
  subscriptions: [],
  owners: [],
  steps: [],
  subscriptionsRemoved: [],
  ownersRemoved: [],
  trims: [],
  sessionsRemoved: [],
  jobsRemoved: []
}
