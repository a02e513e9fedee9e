/**
 * Records as rows of a SQL database, and back.
 *
 * Responsibility: which column holds what, and what is sealed for which place. A record's own words (inputs, leases, claims, payloads,
 * budgets, reasons) are sealed where the store has a key; ids, states, numbers and times are in clear, since queries search for them.
 *
 * Order of reading: a sealed column is opened, `data` is parsed, and what comes out is decoded by `Rows`, as it is for every backend.
 * Numbers may be `bigint`s and absent values `null`, by the driver; nothing else is converted.
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { JsonObject } from "../../protocol/Fields.js"
import * as Rows from "../Rows.js"
import { type LoadedSegment, payloadText } from "../Payload.js"
import type { Sealer } from "../Sealer.js"
import type {
  Delivery,
  JobRecord,
  JobState,
  KeyRecord,
  SegmentHead,
  SessionRecord,
  StepRecord,
  StoredJob,
  StoreError
} from "../Store.js"
import { recordSize, segmentSize, stepSize } from "./kept.js"
import { decoder, payloadBytes, payloads } from "./damage.js"
import { fail, type Param, type Row } from "./sql.js"

type Reading<A> = Either.Either<A, StoreError>

/** A column as `Rows` expects it. */
export const plain = (value: unknown): unknown =>
  value === null ? undefined : typeof value === "bigint" ? Number(value) : value

const DataColumn = Schema.Struct({ data: Schema.parseJson(JsonObject) })
const data = {
  sessions: decoder("arcp_sessions", DataColumn, (row) => row.key),
  jobs: decoder("arcp_jobs", DataColumn, (row) => row.key)
}

/** A session's row is joined with `delivered`, the highest number of its deliveries. */
const latest = (stored: unknown, found: unknown): unknown => {
  const [a, b] = [plain(stored), plain(found)]
  return typeof a === "number" && typeof b === "number" ? Math.max(a, b) : a
}

/** What opens sealed columns. */
export const opening = (sealer: Sealer) => {
  const open = (sealed: unknown, about: string): Reading<string> => {
    const opened = sealer.open(String(sealed), about)
    return opened === undefined
      ? Either.left(
          fail("decrypt", undefined, `${about} cannot be decrypted: the key is another one, or the row was changed`)
        )
      : Either.right(opened)
  }
  const openMaybe = (sealed: unknown, about: string): Reading<string | undefined> =>
    sealed === null || sealed === undefined ? Either.right(undefined) : open(sealed, about)
  return { open, openMaybe }
}

/** The payloads of a segment as the column has them: one that comes as bytes, and is not sealed, as it is. */
const segmentData = (sealer: Sealer, { firstSeq, jobId, payloads }: LoadedSegment): Param => {
  const [only] = payloads
  if (payloads.length === 1 && only instanceof Uint8Array && !sealer.encrypts) return only
  return sealer.seal(payloads.map(payloadText).join("\n"), `segment ${jobId} ${firstSeq}`)
}

/** The columns of records that are written. */
export const writing = (sealer: Sealer) => ({
  session: (s: SessionRecord): ReadonlyArray<Param> => [
    s.sessionId,
    s.tokenHash,
    s.previousTokenHash ?? null,
    s.createdAt,
    s.lastSeenAt,
    s.lastSeq,
    s.ackedSeq,
    s.floorSeq,
    sealer.seal(
      JSON.stringify({ principal: s.principal, client: s.client, features: s.features }),
      `session ${s.sessionId}`
    )
  ],
  job: (j: JobRecord): ReadonlyArray<Param> => {
    const { agent, createdAt, jobId, principalId, version, ...rest } = j
    const sealed = sealer.seal(JSON.stringify(rest), `job ${jobId}`)
    return [jobId, principalId, agent, version, createdAt, sealed, recordSize(j)]
  },
  /** `bytes`: what is kept of an ended job, where that is known. */
  state: (s: JobState, bytes = 0): ReadonlyArray<Param> => [
    s.jobId,
    s.status,
    s.ownerSessionId,
    s.startedAt ?? null,
    s.endedAt ?? null,
    s.lastJobSeq,
    s.lastOwnerSeq,
    s.attempt,
    s.budget === undefined ? null : sealer.seal(s.budget, `budget ${s.jobId}`),
    // The client's own words.
    s.cancelled === undefined ? null : sealer.seal(s.cancelled, `cancel ${s.jobId}`),
    bytes
  ],
  /** `carried`: the delivery that the row has with it. */
  segment: (s: LoadedSegment, carried?: Delivery): ReadonlyArray<Param> => [
    s.jobId,
    s.lastSeq,
    s.firstSeq,
    s.class,
    segmentSize(s.payloads),
    segmentData(sealer, s),
    carried?.sessionId ?? null,
    carried?.lastSeq ?? null
  ],
  delivery: (d: Delivery): ReadonlyArray<Param> => [d.sessionId, d.lastSeq, d.firstSeq, d.jobId, d.firstJobSeq],
  key: (k: KeyRecord): ReadonlyArray<Param> => [
    k.principalId,
    keyName(sealer, k.principalId, k.key),
    k.jobId,
    k.parametersHash,
    k.expiresAt
  ],
  step: (s: StepRecord): ReadonlyArray<Param> => [
    s.jobId,
    stepName(sealer, s.jobId, s.name),
    s.fingerprint,
    sealStep(sealer, s.jobId, s.name, s.value),
    stepSize(s)
  ]
})

/** The name under which a key is stored and found. */
export const keyName = (sealer: Sealer, principalId: string, key: string): string =>
  sealer.name(key, `key ${principalId}`)

/** The name under which a step is stored and found. */
export const stepName = (sealer: Sealer, jobId: string, name: string): string => sealer.name(name, `step ${jobId}`)

const stepAbout = (jobId: string, stored: string): string => `named step ${jobId} ${stored}`

/** A step's value as the column has it. With it its name is sealed, of which the row has a digest: the step can be given another key. */
export const sealStep = (sealer: Sealer, jobId: string, name: string, value: string): string =>
  sealer.encrypts
    ? sealer.seal(`${JSON.stringify(name)}\n${value}`, stepAbout(jobId, stepName(sealer, jobId, name)))
    : value

/** A step's name and value, by the name that the row has. Undefined where an earlier version sealed it, or it cannot be opened. */
export const openStep = (
  sealer: Sealer,
  jobId: string,
  stored: string,
  sealed: string
): { readonly name: string; readonly value: string } | undefined => {
  if (!sealer.encrypts) return { name: stored, value: sealed }
  const text = sealer.open(sealed, stepAbout(jobId, stored))
  if (text === undefined) return undefined
  const end = text.indexOf("\n")
  return { name: String(JSON.parse(text.slice(0, end))), value: text.slice(end + 1) }
}

/** The records of rows that were read. */
export const reading = (sealer: Sealer) => {
  const { open, openMaybe } = opening(sealer)

  const session = (row: Row): Reading<SessionRecord> =>
    Either.gen(function* () {
      const sessionId = String(row.session_id)
      const opened = yield* open(row.data, `session ${sessionId}`)
      const { client, features, principal } = (yield* data.sessions({ key: sessionId, data: opened })).data
      return yield* Rows.session({
        principal,
        client,
        features,
        sessionId: row.session_id,
        tokenHash: row.token_hash,
        previousTokenHash: plain(row.previous_token_hash),
        createdAt: plain(row.created_at),
        lastSeenAt: plain(row.last_seen_at),
        lastSeq: latest(row.last_seq, row.delivered),
        ackedSeq: plain(row.acked_seq),
        floorSeq: plain(row.floor_seq)
      })
    })

  /** A job joined with its state, and its other owners; `lasts` are the numbers of its last events, if they were queried. */
  const job = (
    row: Row,
    otherOwners: ReadonlyArray<unknown>,
    lasts: { readonly job?: unknown; readonly owner?: unknown } = {}
  ): Reading<StoredJob> =>
    Either.gen(function* () {
      const jobId = String(row.job_id)
      const budget = yield* openMaybe(row.budget, `budget ${jobId}`)
      const opened = yield* open(row.data, `job ${jobId}`)
      const texts = (yield* data.jobs({ key: jobId, data: opened })).data
      const cancelled = yield* openMaybe(row.cancelled, `cancel ${jobId}`)
      return yield* Rows.job(
        {
          ...texts,
          jobId: row.job_id,
          principalId: row.principal_id,
          agent: row.agent,
          version: row.version,
          createdAt: plain(row.created_at)
        },
        {
          jobId: row.job_id,
          status: row.status,
          ownerSessionId: row.owner_session_id,
          startedAt: plain(row.started_at),
          endedAt: plain(row.ended_at),
          lastJobSeq: latest(row.last_job_seq, lasts.job),
          lastOwnerSeq: latest(row.last_owner_seq, lasts.owner),
          attempt: plain(row.attempt),
          budget,
          cancelled
        },
        otherOwners
      )
    })

  const key = (principalId: string, name: string, row: Row): Reading<KeyRecord> =>
    Rows.key({
      principalId,
      key: name,
      jobId: row.job_id,
      parametersHash: row.parameters_hash,
      expiresAt: plain(row.expires_at)
    })

  const segmentHead = (jobId: string, row: Row): Reading<SegmentHead> =>
    Rows.segmentHead({ jobId, firstSeq: plain(row.first_seq), lastSeq: plain(row.last_seq), class: row.class })

  const segment = (jobId: string, row: Row): Reading<LoadedSegment> =>
    Either.gen(function* () {
      const head = yield* segmentHead(jobId, row)
      const { firstSeq, lastSeq } = head
      if (row.data instanceof Uint8Array && !sealer.encrypts && firstSeq === lastSeq) {
        return { ...head, payloads: [yield* payloadBytes(`${jobId} ${firstSeq}`, row.data)] }
      }
      const joined = yield* open(row.data, `segment ${jobId} ${firstSeq}`)
      return { ...head, payloads: yield* payloads(`${jobId} ${firstSeq}`, joined, lastSeq - firstSeq + 1) }
    })

  const delivery = (row: Row): Reading<Delivery> =>
    Rows.delivery({
      sessionId: row.session_id,
      firstSeq: plain(row.first_seq),
      lastSeq: plain(row.last_seq),
      jobId: row.job_id,
      firstJobSeq: plain(row.first_job_seq)
    })

  const step = (jobId: string, name: string, row: Row): Reading<StepRecord> => {
    const named = openStep(sealer, jobId, stepName(sealer, jobId, name), String(row.value))
    // Earlier versions bound the value to the name in clear.
    const opened = named === undefined ? open(row.value, `step ${jobId} ${name}`) : Either.right(named.value)
    return Either.flatMap(opened, (value) => Rows.stepRecord({ jobId, name, fingerprint: row.fingerprint, value }))
  }

  return { session, job, key, segmentHead, segment, delivery, step }
}
