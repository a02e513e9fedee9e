/**
 * One batch as the statements of one transaction.
 *
 * Order: that of the batch's fields, since later ones may concern rows of earlier ones. What is kept of an ended job, which retention
 * needs, is counted after its segments and steps are written.
 *
 * Races: a removed job disappears at once; its events, which may be very many, are deleted in steps by the purge, also after a restart.
 * Its id stays in `arcp_removed` until all of them are deleted, and reads leave them out.
 */
import type * as Effect from "effect/Effect"
import { isTerminal } from "../../protocol/Session.js"
import type { Sealer } from "../Sealer.js"
import type { LoadedBatch } from "../Payload.js"
import type { JobState, StoreError } from "../Store.js"
import { carriedOf, keepingNumbers } from "./carried.js"
import { type Access, type Param, setOf, single, transaction, write, type Writer } from "./sql.js"
import { writing } from "./sqlRows.js"

/** A statement, and the parameters of each of its runs. */
export interface Change {
  readonly write: Writer
  readonly rows: ReadonlyArray<ReadonlyArray<Param>>
}

/** What is kept of an ended job; undefined where the database has to count them. */
export type BytesOf = (jobId: string) => number | undefined

// The deliveries of removed jobs are still there. The purge, which deletes them, keeps their numbers.
const jobRemovals: ReadonlyArray<Writer> = [
  single("INSERT INTO arcp_removed (job_id) VALUES (?) ON CONFLICT (job_id) DO NOTHING"),
  ...["subscriptions", "job_owners", "steps", "keys", "job_states", "jobs"].map((table) =>
    setOf((ids) => `DELETE FROM arcp_${table} WHERE job_id IN (${ids})`)
  )
]

const sessionRemovals: ReadonlyArray<Writer> = ["sessions", "subscriptions", "job_owners"].map((table) =>
  setOf((ids) => `DELETE FROM arcp_${table} WHERE session_id IN (${ids})`)
)

const trimmed = {
  deliveries: "job_id = ? AND first_job_seq + (last_seq - first_seq) <= ?",
  segments: "job_id = ? AND last_seq <= ?"
}
const trimDeliveries = single(`DELETE FROM arcp_deliveries WHERE ${trimmed.deliveries}`)
const trimSegments = single(`DELETE FROM arcp_segments WHERE ${trimmed.segments}`)
const keepTrimmed = single(
  keepingNumbers(`SELECT session_id FROM arcp_deliveries WHERE ${trimmed.deliveries}
    UNION ALL
    SELECT session_id FROM arcp_segments WHERE ${trimmed.segments} AND session_id IS NOT NULL`)
)

type Rows = ReturnType<typeof writing>

/** The states in their order, those of ended jobs with their bytes where these are known. */
const states = (list: ReadonlyArray<JobState>, row: Rows, bytesOf: BytesOf): ReadonlyArray<Change> => {
  const out: Array<{ readonly write: Writer; readonly rows: Array<ReadonlyArray<Param>> }> = []
  for (const state of list) {
    const bytes = isTerminal(state.status) ? bytesOf(state.jobId) : undefined
    const statement = bytes === undefined ? write.states : write.ends
    const last = out.at(-1)
    if (last?.write === statement) last.rows.push(row.state(state, bytes))
    else out.push({ write: statement, rows: [row.state(state, bytes)] })
  }
  return out
}

/** Segments, and the deliveries that they do not carry. */
const events = (batch: LoadedBatch, row: Rows): ReadonlyArray<Change> => {
  const { by, others } = carriedOf(batch)
  return [
    { write: write.segments, rows: batch.segments.map((segment) => row.segment(segment, by.get(segment))) },
    { write: write.deliveries, rows: others.map(row.delivery) }
  ]
}

/** The rows that a batch inserts or replaces. */
const written = (batch: LoadedBatch, row: Rows, bytesOf: BytesOf): ReadonlyArray<Change> => [
  { write: write.sessions, rows: batch.sessions.map(row.session) },
  { write: write.jobs, rows: batch.jobs.map(row.job) },
  ...states(batch.jobStates, row, bytesOf),
  { write: write.keys, rows: batch.keys.map(row.key) },
  ...events(batch, row),
  { write: write.subscriptions, rows: batch.subscriptions.map((s) => [s.sessionId, s.jobId]) },
  { write: write.owners, rows: batch.owners.map((o) => [o.jobId, o.sessionId, o.jobId]) },
  { write: write.steps, rows: batch.steps.map(row.step) },
  { write: write.subscriptionsRemoved, rows: batch.subscriptionsRemoved.map((s) => [s.sessionId, s.jobId]) },
  { write: write.ownersRemoved, rows: batch.ownersRemoved.map((o) => [o.jobId, o.sessionId]) },
  {
    write: write.bytes,
    rows: batch.jobStates.flatMap((s) => (isTerminal(s.status) && bytesOf(s.jobId) === undefined ? [[s.jobId]] : []))
  }
]

/** The rows that a batch deletes. */
const removed = (batch: LoadedBatch): ReadonlyArray<Change> => [
  ...batch.trims.flatMap(({ jobId, upTo }) => [
    { write: keepTrimmed, rows: [[jobId, upTo, jobId, upTo]] },
    { write: trimSegments, rows: [[jobId, upTo]] },
    { write: trimDeliveries, rows: [[jobId, upTo]] }
  ]),
  ...sessionRemovals.map((each) => ({ write: each, rows: batch.sessionsRemoved.map((sessionId) => [sessionId]) })),
  ...jobRemovals.map((each) => ({ write: each, rows: batch.jobsRemoved.map((jobId) => [jobId]) }))
]

/** The changes of a batch, in their order. */
export const changesOf = (batch: LoadedBatch, row: Rows, bytesOf: BytesOf): ReadonlyArray<Change> => [
  ...written(batch, row, bytesOf),
  ...removed(batch)
]

const counted: BytesOf = () => undefined

/** Writes batches through a connection, each all or nothing. */
export const committing = (
  { withConnection }: Access,
  sealer: Sealer
): ((batch: LoadedBatch) => Effect.Effect<void, StoreError>) => {
  const row = writing(sealer)
  return (batch) =>
    withConnection("commit", (connection) =>
      transaction(
        connection,
        changesOf(batch, row, counted).flatMap(({ rows, write: statement }) => statement(connection, rows))
      )
    )
}
