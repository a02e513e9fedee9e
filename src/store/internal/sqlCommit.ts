/**
 * One batch as the statements of one transaction.
 *
 * Order: that of the batch's fields, since later ones may concern rows of earlier ones. The bytes of an ended job's events, which retention
 * needs, are counted after its segments are written.
 *
 * Races: a removed job disappears at once; its events, which may be very many, are deleted in steps by the purge, also after a restart.
 * Its id stays in `arcp_removed` until all of them are deleted, and reads leave them out.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type * as Effect from "effect/Effect"
import { isTerminal } from "../../protocol/Session.js"
import type { Sealer } from "../Sealer.js"
import type { Batch, StoreError } from "../Store.js"
import { type Access, type Param, transaction, write } from "./sql.js"
import { writing } from "./sqlRows.js"

type Statement = Effect.Effect<unknown, unknown>

// The number of a delivery that is deleted stays assigned: the session keeps it.
const keepNumbers = `UPDATE arcp_sessions
  SET last_seq = (SELECT MAX(d.last_seq) FROM arcp_deliveries d WHERE d.session_id = arcp_sessions.session_id)
  WHERE session_id IN (SELECT session_id FROM arcp_deliveries WHERE job_id = ?)
  AND last_seq < (SELECT MAX(d.last_seq) FROM arcp_deliveries d WHERE d.session_id = arcp_sessions.session_id)`

const removals: ReadonlyArray<string> = [
  keepNumbers,
  "INSERT INTO arcp_removed (job_id) VALUES (?) ON CONFLICT (job_id) DO NOTHING",
  "DELETE FROM arcp_subscriptions WHERE job_id = ?",
  "DELETE FROM arcp_job_owners WHERE job_id = ?",
  "DELETE FROM arcp_steps WHERE job_id = ?",
  "DELETE FROM arcp_keys WHERE job_id = ?",
  "DELETE FROM arcp_job_states WHERE job_id = ?",
  "DELETE FROM arcp_jobs WHERE job_id = ?"
]

/** The rows that a batch inserts or replaces. */
const written = (connection: Connection, batch: Batch, row: ReturnType<typeof writing>): ReadonlyArray<Statement> => [
  ...write.sessions(connection, batch.sessions.map(row.session)),
  ...write.jobs(connection, batch.jobs.map(row.job)),
  ...write.states(connection, batch.jobStates.map(row.state)),
  ...write.keys(connection, batch.keys.map(row.key)),
  ...write.segments(connection, batch.segments.map(row.segment)),
  ...write.deliveries(connection, batch.deliveries.map(row.delivery)),
  ...write.subscriptions(
    connection,
    batch.subscriptions.map((s) => [s.sessionId, s.jobId])
  ),
  ...write.owners(
    connection,
    batch.owners.map((o) => [o.jobId, o.sessionId, o.jobId])
  ),
  ...write.steps(connection, batch.steps.map(row.step)),
  ...write.subscriptionsRemoved(
    connection,
    batch.subscriptionsRemoved.map((s) => [s.sessionId, s.jobId])
  ),
  ...write.ownersRemoved(
    connection,
    batch.ownersRemoved.map((o) => [o.jobId, o.sessionId])
  ),
  ...write.bytes(
    connection,
    batch.jobStates.filter((s) => isTerminal(s.status)).map((s) => [s.jobId])
  )
]

/** The rows that a batch deletes. */
const removed = (connection: Connection, batch: Batch): ReadonlyArray<Statement> => {
  const run = (statement: string, params: ReadonlyArray<Param>) => connection.executeRaw(statement, params)
  return [
    ...batch.trims.flatMap(({ jobId, upTo }) => [
      run(keepNumbers, [jobId]),
      run("DELETE FROM arcp_segments WHERE job_id = ? AND last_seq <= ?", [jobId, upTo]),
      run("DELETE FROM arcp_deliveries WHERE job_id = ? AND first_job_seq + (last_seq - first_seq) <= ?", [jobId, upTo])
    ]),
    ...batch.sessionsRemoved.flatMap((sessionId) => [
      run("DELETE FROM arcp_sessions WHERE session_id = ?", [sessionId]),
      run("DELETE FROM arcp_subscriptions WHERE session_id = ?", [sessionId]),
      run("DELETE FROM arcp_job_owners WHERE session_id = ?", [sessionId])
    ]),
    ...batch.jobsRemoved.flatMap((jobId) => removals.map((statement) => run(statement, [jobId])))
  ]
}

/** Writes batches, each all or nothing. */
export const committing = (
  { withConnection }: Access,
  sealer: Sealer
): ((batch: Batch) => Effect.Effect<void, StoreError>) => {
  const row = writing(sealer)
  return (batch) =>
    withConnection("commit", (connection) =>
      transaction(connection, [...written(connection, batch, row), ...removed(connection, batch)])
    )
}
