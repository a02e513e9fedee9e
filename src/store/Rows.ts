/**
 * What backends return, decoded.
 *
 * Responsibility: the one place where rows that were stored become values, for the stores in memory, in SQL, and any other. A backend
 * returns records with JSON texts, as it was given them; {@link decoded} is the store as a runtime reads it: jobs come with the values of
 * their texts, and a row that does not decode is a `StoreError` that names table, key and field. Nothing is dropped silently.
 *
 * Order: the texts of a job are decoded once for each read. A job that a backend has decoded itself, because its rows are not records yet,
 * is remembered by identity for as long as the record lives, and is not decoded again on its way to the runtime; its input is decoded only
 * here. The other rows are small: those that a backend has decoded are checked again.
 *
 * Not decoded: the payloads of events, which are opaque texts on their way from an agent to a client, with the runs and numbers that
 * say where they belong. One event costs nothing here. Where the runtime itself needs something out of a payload, it calls
 * {@link streamedResult}, {@link chunk}, {@link toolEvent} or {@link payload}.
 */
import type * as BigDecimal from "effect/BigDecimal"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Priority } from "../protocol/Envelope.js"
import type { WireLease, WireLeaseConstraints } from "../protocol/Fields.js"
import type { Accepted } from "../protocol/Job.js"
import type { TraceContext } from "../protocol/Trace.js"
import type { ArtifactEntry, ArtifactRecord, ArtifactStore, ArtifactTotals } from "./ArtifactStore.js"
import type { CredentialLedger, LedgerRecord } from "./CredentialLedger.js"
import { decoder } from "./internal/damage.js"
import { membersOf } from "./internal/members.js"
import * as Schemas from "./internal/schemas.js"
import type {
  Delivery,
  JobRecord,
  JobState,
  KeyRecord,
  Recovered,
  SegmentHead,
  SessionRecord,
  StepRecord,
  Store,
  StoredJob,
  StoreError,
  SubscriptionRecord
} from "./Store.js"

/** `job.accepted` as it is kept, with the priority of the submit's envelope. */
export interface KeptAccepted extends Accepted {
  readonly priority?: Priority | undefined
}

/** What the JSON texts of a job say. */
export interface JobValues {
  readonly lease: WireLease
  readonly leaseConstraints: WireLeaseConstraints | undefined
  readonly traceContext: TraceContext | undefined
  readonly accepted: KeptAccepted
}

/** A stored job with the values of its texts. */
export interface DecodedJob extends StoredJob {
  readonly values: JobValues
  /** The budget counters; empty without a budget. */
  readonly counters: ReadonlyMap<string, BigDecimal.BigDecimal>
}

/** A job that a starting runtime recovers, with its input. */
export interface RecoveredJob extends DecodedJob {
  readonly input: unknown
}

/** What a starting runtime must know, decoded. */
export interface DecodedRecovered extends Recovered {
  readonly jobs: ReadonlyArray<RecoveredJob>
}

/** A step with its result; undefined if it has no result. */
export interface DecodedStep extends StepRecord {
  readonly result: unknown
}

type StoreService = Context.Tag.Service<Store>

/** A store whose jobs and steps come with their values. */
export interface DecodedStore extends StoreService {
  readonly recover: Effect.Effect<DecodedRecovered, StoreError>
  readonly job: (jobId: string) => Effect.Effect<Option.Option<DecodedJob>, StoreError>
  readonly jobs: (query: Parameters<StoreService["jobs"]>[0]) => Effect.Effect<ReadonlyArray<DecodedJob>, StoreError>
  readonly step: (jobId: string, name: string) => Effect.Effect<Option.Option<DecodedStep>, StoreError>
}

type Decoding<A> = Either.Either<A, StoreError>

const sessionRow = decoder("arcp_sessions", Schemas.Session, (row) => row.sessionId)
const jobRow = decoder("arcp_jobs", Schemas.Job, (row) => row.jobId)
const stateRow = decoder("arcp_job_states", Schemas.State, (row) => row.jobId)
const ownersRows = decoder("arcp_job_owners", Schemas.OtherOwners, ({ record }) => (record as JobRecord).jobId)
const inputRow = decoder("arcp_jobs", Schemas.Input, (row) => row.jobId)
const keyRow = decoder("arcp_keys", Schemas.Key, (row) => row.jobId)
const stepRow = decoder("arcp_steps", Schemas.Step, (row) => row.name)
const stepResult = decoder("arcp_steps", Schemas.StepResult, (row) => row.name)
const subscriptionRow = decoder("arcp_subscriptions", Schemas.Subscription, (row) => row.sessionId)
const headRow = decoder("arcp_segments", Schemas.SegmentHead, (row) => row.jobId)
const deliveryRow = decoder("arcp_deliveries", Schemas.Delivery, (row) => row.sessionId)
const deliveredRow = decoder("arcp_deliveries", Schemas.Delivered, (row) => row.sessionId)
const ledgerRow = decoder("arcp_credentials", Schemas.Ledger, (row) => row.reference)
const artifactRow = decoder("arcp_artifacts", Schemas.Artifact, (row) => row.artifactId)
const entryRow = decoder("arcp_artifacts", Schemas.ArtifactEntry, (row) => row.artifactId)
const totalsRow = decoder("arcp_artifacts", Schemas.ArtifactTotals, (row) => row.principalId)

/**
 * Rows of a table as the records that they are. The Schema is of the record as it is stored, so a row that decodes is such a record.
 */
const records =
  <A>(decode: (row: unknown) => Decoding<unknown>) =>
  (row: unknown): Decoding<A> =>
    Either.map(decode(row), () => row as A)

export const session: (row: unknown) => Decoding<SessionRecord> = records(sessionRow)
export const key: (row: unknown) => Decoding<KeyRecord> = records(keyRow)
export const subscription: (row: unknown) => Decoding<SubscriptionRecord> = records(subscriptionRow)
export const segmentHead: (row: unknown) => Decoding<SegmentHead> = records(headRow)
export const delivery: (row: unknown) => Decoding<Delivery> = records(deliveryRow)
export const delivered: (row: unknown) => Decoding<{ readonly sessionId: string; readonly lastSeq: number }> =
  records(deliveredRow)
export const credential: (row: unknown) => Decoding<LedgerRecord> = records(ledgerRow)
export const artifact: (row: unknown) => Decoding<ArtifactRecord> = records(artifactRow)
export const artifactEntry: (row: unknown) => Decoding<ArtifactEntry> = records(entryRow)
export const artifactTotals: (row: unknown) => Decoding<ArtifactTotals> = records(totalsRow)

/** Jobs that a backend has decoded. */
const known = new WeakMap<StoredJob, DecodedJob>()

const decodeJob = (stored: StoredJob): Decoding<DecodedJob> => {
  const found = known.get(stored)
  if (found !== undefined) return Either.right(found)
  return Either.gen(function* () {
    const { accepted, lease, leaseConstraints, traceContext, traceId } = yield* jobRow(stored.record)
    const { budget } = yield* stateRow(stored.state)
    const { otherOwners } = yield* ownersRows(stored)
    return {
      record: stored.record,
      state: stored.state,
      otherOwners,
      values: {
        lease,
        leaseConstraints,
        traceContext:
          traceContext === undefined ? undefined : { ...traceContext, traceId: traceContext.traceId ?? traceId },
        accepted: { ...accepted, job_id: accepted.job_id ?? stored.record.jobId }
      },
      counters: Schemas.countersOf(budget)
    }
  })
}

/** A job of a backend whose rows are not records: the record, the state and the other owners that were read, once all decode. */
export const job = (record: unknown, state: unknown, otherOwners: unknown): Decoding<StoredJob> => {
  const stored: StoredJob = {
    record: record as JobRecord,
    state: state as JobState,
    otherOwners: otherOwners as ReadonlyArray<string>
  }
  return Either.map(decodeJob(stored), (decoded) => {
    known.set(stored, decoded)
    return stored
  })
}

/** A job that may be started again: its input is decoded, too. */
const recoveredJob = (stored: StoredJob): Decoding<RecoveredJob> =>
  Either.flatMap(decodeJob(stored), (decoded) =>
    Either.map(inputRow(stored.record), ({ input }) => ({ ...decoded, input }))
  )

export const stepRecord: (row: unknown) => Decoding<StepRecord> = records(stepRow)

/** A step with its result. A step without one is stored as the empty text, which is no JSON. */
export const step = (row: unknown): Decoding<DecodedStep> =>
  Either.flatMap(stepRow(row), (record) =>
    record.value === ""
      ? Either.right({ ...record, result: undefined })
      : Either.map(stepResult(record), ({ value }) => ({ ...record, result: value }))
  )

/** What a payload out of a job's log says; a row of the log is named by its job. */
const payloads = <A, I>(schema: Schema.Schema<A, I>) => {
  const decode = decoder("arcp_segments", Schema.Struct({ payload: schema }), (row) => row.jobId)
  return (jobId: string, payload: string): Decoding<A> => Either.map(decode({ jobId, payload }), (row) => row.payload)
}

/** The payload of a `job.result` that names a streamed result (ARCP 1.1 §8.4). */
export const streamedResult = payloads(Schemas.Streamed)
/** A chunk of a streamed result (ARCP 1.1 §8.4). */
export const chunk = payloads(Schemas.Chunk)
/** A `tool_call` or `tool_result` (ARCP 1.1 §8.2). */
export const toolEvent = payloads(Schemas.ToolEvent)
/** A payload that the runtime is about to translate or to cut: whether it is the object that it looks like. */
export const payload = payloads(Schemas.Payload)

/** The store as a runtime reads it. */
export const decoded = (store: StoreService): DecodedStore => ({
  ...membersOf(store),
  recover: Effect.flatMap(store.recover, ({ jobs, sessions, subscriptions }) =>
    Effect.all({
      sessions: Effect.forEach(sessions, session),
      jobs: Effect.forEach(jobs, recoveredJob),
      subscriptions: Effect.forEach(subscriptions, subscription)
    })
  ),
  job: (jobId) => Effect.flatMap(store.job(jobId), option(decodeJob)),
  jobs: (query) => Effect.flatMap(store.jobs(query), Effect.forEach(decodeJob)),
  key: (principalId, name) => Effect.flatMap(store.key(principalId, name), option(key)),
  step: (jobId, name) => Effect.flatMap(store.step(jobId, name), option(step))
})

const option =
  <A, B>(decode: (row: A) => Decoding<B>) =>
  (found: Option.Option<A>): Decoding<Option.Option<B>> =>
    Option.isNone(found) ? Either.right(Option.none()) : Either.map(decode(found.value), Option.some)

/** The ledger of credentials as a runtime reads it. */
export const decodedLedger = (
  ledger: Context.Tag.Service<CredentialLedger>
): Context.Tag.Service<CredentialLedger> => ({
  ...membersOf(ledger),
  list: (query) => Effect.flatMap(ledger.list(query), Effect.forEach(credential))
})

/** The store of artifacts as a runtime reads it. */
export const decodedArtifacts = (store: Context.Tag.Service<ArtifactStore>): Context.Tag.Service<ArtifactStore> => ({
  ...membersOf(store),
  info: (artifactId) => Effect.flatMap(store.info(artifactId), option(artifact)),
  get: (artifactId) =>
    Effect.tap(store.get(artifactId), (found) => (Option.isNone(found) ? Effect.void : artifact(found.value.record))),
  expired: (now, limit) => Effect.flatMap(store.expired(now, limit), Effect.forEach(artifactEntry)),
  totals: Effect.flatMap(store.totals, Effect.forEach(artifactTotals))
})
