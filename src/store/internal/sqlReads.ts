/**
 * What is read of a SQL database while a runtime runs, and what a starting one must know.
 *
 * Order: events come by their numbers; jobs by their ids, which is the order of their creation. Rows of a removed job are not returned,
 * though they exist until the purge has deleted them.
 *
 * Races: a job that has several owners is read in two statements, since a join would repeat its texts for each owner. A commit between the
 * two may remove an owner. The owners of an ended job change only when sessions are removed; for a running job the runtime asks the job
 * itself.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Rows from "../Rows.js"
import type { Sealer } from "../Sealer.js"
import { type LoadedSegment, readingBytes } from "../Payload.js"
import type { JobQuery, Recovered, StoredJob, StoreError } from "../Store.js"
import type { Access, Param, Row } from "./sql.js"
import { carriedFor, deliveriesWhere, highestOf } from "./carried.js"
import { keyName, plain, reading, stepName } from "./sqlRows.js"

const jobSelect = `SELECT j.job_id, j.principal_id, j.agent, j.version, j.created_at, j.data, s.status, s.owner_session_id,
  s.started_at, s.ended_at, s.last_job_seq, s.last_owner_seq, s.attempt, s.budget, s.cancelled,
  (SELECT COUNT(*) FROM arcp_job_owners o WHERE o.job_id = j.job_id) AS other_owners
  FROM arcp_jobs j JOIN arcp_job_states s ON s.job_id = j.job_id`

const there = (jobId: string) => `NOT EXISTS (SELECT 1 FROM arcp_removed r WHERE r.job_id = ${jobId})`

type Reading = ReturnType<typeof reading>

/** The first of the rows, decoded; none if there is no row. */
const first = <A>(
  rows: ReadonlyArray<Row>,
  decode: (row: Row) => Effect.Effect<A, StoreError>
): Effect.Effect<Option.Option<A>, StoreError> =>
  rows[0] === undefined ? Effect.succeed(Option.none()) : Effect.map(decode(rows[0]), Option.some)

/** A listing's conditions, and the values of their question marks. */
const conditions = (query: JobQuery): { readonly where: string; readonly params: ReadonlyArray<Param> } => {
  const where: Array<string> = []
  const params: Array<Param> = []
  const among = (column: string, values: ReadonlyArray<string> | undefined) => {
    if (values === undefined) return
    where.push(values.length === 0 ? "1 = 0" : `${column} IN (${values.map(() => "?").join(",")})`)
    params.push(...values)
  }
  const compare = (condition: string, value: Param | undefined) => {
    if (value === undefined) return
    where.push(condition)
    params.push(value)
  }
  among("j.principal_id", query.principalIds)
  among("s.status", query.statuses)
  compare("j.agent = ?", query.agent)
  compare("j.version = ?", query.version)
  compare("j.created_at > ?", query.createdAfter)
  compare("j.job_id > ?", query.afterJobId)
  return { where: where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`, params }
}

/** The owners of a job that has several, but for the first. */
const otherOwners = (
  { query }: Access,
  { job_id, other_owners }: Row
): Effect.Effect<ReadonlyArray<unknown>, StoreError> =>
  Number(other_owners) === 0
    ? Effect.succeed([])
    : Effect.map(
        query("read owners", "SELECT session_id FROM arcp_job_owners WHERE job_id = ? ORDER BY place", [
          String(job_id)
        ]),
        (rows) => rows.map(({ session_id }) => session_id)
      )

/** A job that was read, with its owners. */
const whole =
  (access: Access, read: Reading) =>
  (row: Row): Effect.Effect<StoredJob, StoreError> =>
    Effect.flatMap(otherOwners(access, row), (others) => read.job(row, others))

/** Jobs, keys and steps. */
const records = (access: Access, read: Reading, sealer: Sealer) => {
  const { query } = access
  const job = whole(access, read)
  return {
    job: (jobId: string) =>
      Effect.flatMap(query("read a job", `${jobSelect} WHERE j.job_id = ?`, [jobId]), (rows) => first(rows, job)),
    jobs: (asked: JobQuery) => {
      const { params, where } = conditions(asked)
      return Effect.flatMap(
        query("list jobs", `${jobSelect} ${where} ORDER BY j.job_id LIMIT ?`, [...params, asked.limit]),
        Effect.forEach(job)
      )
    },
    key: (principalId: string, key: string) =>
      Effect.flatMap(
        query(
          "read a key",
          "SELECT job_id, parameters_hash, expires_at FROM arcp_keys WHERE principal_id = ? AND idempotency_key = ?",
          [principalId, keyName(sealer, principalId, key)]
        ),
        (rows) => first(rows, (row) => read.key(principalId, key, row))
      ),
    step: (jobId: string, name: string) =>
      Effect.flatMap(
        query("read a step", "SELECT fingerprint, value FROM arcp_steps WHERE job_id = ? AND name = ?", [
          jobId,
          stepName(sealer, jobId, name)
        ]),
        (rows) => first(rows, (row) => read.step(jobId, name, row))
      )
  }
}

/** The segments of a job. */
const events = ({ query }: Access, read: Reading) => ({
  segments: readingBytes(
    (jobId, fromSeq, toSeq, maxBytes): Effect.Effect<ReadonlyArray<LoadedSegment>, StoreError> =>
      Effect.gen(function* () {
        const heads = yield* query(
          "read events",
          `SELECT last_seq, first_seq, class, bytes FROM arcp_segments
         WHERE job_id = ? AND ${there("arcp_segments.job_id")} AND last_seq >= ? AND first_seq <= ? ORDER BY last_seq LIMIT 64`,
          [jobId, fromSeq, toSeq]
        )
        let bytes = 0
        let upTo = 0
        for (const head of heads) {
          if (upTo > 0 && bytes >= maxBytes) break
          bytes += Number(head.bytes)
          upTo = Number(head.last_seq)
        }
        if (upTo === 0) return []
        const rows = yield* query(
          "read events",
          `SELECT first_seq, last_seq, class, data FROM arcp_segments
         WHERE job_id = ? AND last_seq >= ? AND last_seq <= ? ORDER BY last_seq`,
          [jobId, fromSeq, upTo]
        )
        return yield* Effect.forEach(rows, (row) => read.segment(jobId, row))
      })
  ),
  segmentHeads: (jobId: string, fromSeq: number, toSeq: number) =>
    Effect.flatMap(
      query(
        "read events",
        `SELECT first_seq, last_seq, class FROM arcp_segments
         WHERE job_id = ? AND ${there("arcp_segments.job_id")} AND last_seq >= ? AND first_seq <= ? ORDER BY last_seq`,
        [jobId, fromSeq, toSeq]
      ),
      Effect.forEach((row) => read.segmentHead(jobId, row))
    )
})

/** Deliveries of jobs that are there, by a condition on their own rows and one on those of segments. */
const given = (ofRows: string, ofSegments: string): string =>
  deliveriesWhere(
    `${ofRows} AND ${there("arcp_deliveries.job_id")}`,
    `${ofSegments} AND ${there("arcp_segments.job_id")}`
  )

/** Which sessions were given what. */
const deliveries = ({ query }: Access, read: Reading) => ({
  deliveries: (sessionId: string, afterSeq: number, limit: number) =>
    Effect.flatMap(
      query(
        "read deliveries",
        `${given("session_id = ? AND last_seq > ?", "session_id = ? AND session_seq > ?")} ORDER BY last_seq LIMIT ?`,
        [sessionId, afterSeq, sessionId, afterSeq, limit]
      ),
      Effect.forEach(read.delivery)
    ),
  deliveriesOfJob: (sessionId: string, jobId: string) =>
    Effect.flatMap(
      query(
        "read deliveries",
        `${given("job_id = ? AND session_id = ?", `job_id = ? AND ${carriedFor}`)} ORDER BY last_seq`,
        [jobId, sessionId, jobId, sessionId]
      ),
      Effect.forEach(read.delivery)
    ),
  deliveredTo: (jobId: string) =>
    Effect.flatMap(
      query(
        "read deliveries",
        `SELECT session_id, MAX(last_seq) AS last_seq
         FROM (${given("job_id = ?", "job_id = ? AND session_id IS NOT NULL")}) AS given GROUP BY session_id`,
        [jobId, jobId]
      ),
      Effect.forEach((row) => Rows.delivered({ sessionId: row.session_id, lastSeq: plain(row.last_seq) }))
    )
})

/**
 * The highest number in a session that is an event of a job. A carried delivery is of events that were new then: one with a higher number than
 * the last row of `arcp_deliveries` has later events too, so only segments behind that row's are looked at.
 */
const lastOwned = `SELECT MAX(n) AS seq FROM (
  SELECT MAX(last_seq) AS n FROM arcp_deliveries WHERE job_id = ? AND session_id = ?
  UNION ALL
  SELECT n FROM (
    SELECT session_seq AS n FROM arcp_segments WHERE job_id = ? AND ${carriedFor} AND last_seq > COALESCE((
      SELECT d.first_job_seq + (d.last_seq - d.first_seq) FROM arcp_deliveries d
      WHERE d.job_id = ? AND d.session_id = ? ORDER BY d.last_seq DESC LIMIT 1
    ), 0) ORDER BY last_seq DESC LIMIT 1
  ) AS carried
) AS given`

/** Everything that a starting runtime must know; numbers as of the events, which may be ahead of what states say. */
const recovering = (access: Access, read: Reading): Effect.Effect<Recovered, StoreError> => {
  const all = (statement: string, params: ReadonlyArray<Param> = []) => access.query("recover", statement, params)

  const sessions = Effect.flatMap(
    all(`SELECT s.*, ${highestOf("s.session_id")} AS delivered FROM arcp_sessions s`),
    Effect.forEach(read.session)
  )

  const job = (row: Row) =>
    Effect.gen(function* () {
      const jobId = String(row.job_id)
      const last = yield* all("SELECT MAX(last_seq) AS seq FROM arcp_segments WHERE job_id = ?", [jobId])
      const owner = String(row.owner_session_id)
      const owned = yield* all(lastOwned, [jobId, owner, jobId, owner, jobId, owner])
      return yield* read.job(row, yield* otherOwners(access, row), { job: last[0]?.seq, owner: owned[0]?.seq })
    })

  return Effect.all({
    sessions,
    jobs: Effect.flatMap(
      all(`${jobSelect} WHERE s.status IN ('pending', 'running') ORDER BY j.job_id`),
      Effect.forEach(job)
    ),
    subscriptions: Effect.flatMap(
      all("SELECT session_id, job_id FROM arcp_subscriptions"),
      Effect.forEach((row) => Rows.subscription({ sessionId: row.session_id, jobId: row.job_id }))
    )
  })
}

/** The operations of a store that read. */
export const reads = (access: Access, sealer: Sealer) => {
  const read = reading(sealer)
  return {
    recover: recovering(access, read),
    ...records(access, read, sealer),
    ...events(access, read),
    ...deliveries(access, read)
  }
}
