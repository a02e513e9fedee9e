/**
 * What retention reads and deletes in a SQL database.
 *
 * Order: the oldest end first. A purge goes in steps that each delete some megabytes at most, with a turn of the event loop between two
 * of them, so that commits run in between; the next purge continues one that a crash has cut off.
 */
import * as Effect from "effect/Effect"
import type { Retention, StoreError } from "../Store.js"
import type { Access } from "./sql.js"
import { nextTurn } from "./turn.js"

/** What one step of a purge deletes at most; the row that crosses the limit is deleted with it. */
const rowsPerStep = 64
const bytesPerStep = 1_048_576

/** The rows of one step: some megabytes of events at most, since a row of events is bounded by a batch. */
const pieces = [
  {
    found: `SELECT last_seq, bytes FROM arcp_segments WHERE job_id = ? ORDER BY last_seq LIMIT ${rowsPerStep}`,
    remove: "DELETE FROM arcp_segments WHERE job_id = ? AND last_seq <= ?"
  },
  {
    found: `SELECT last_seq, 0 AS bytes, session_id FROM arcp_deliveries WHERE job_id = ?
      ORDER BY session_id, last_seq LIMIT ${rowsPerStep}`,
    remove: "DELETE FROM arcp_deliveries WHERE job_id = ? AND last_seq <= ? AND session_id = ?"
  }
]

/** Deletes a part of what a removed job has left; whether there may be more. */
const removePiece = ({ query }: Access, jobId: string): Effect.Effect<boolean, StoreError> =>
  Effect.gen(function* () {
    for (const { found, remove } of pieces) {
      const rows = yield* query("purge", found, [jobId])
      if (rows[0] === undefined) continue
      const { session_id: sessionId } = rows[0]
      let bytes = 0
      let upTo = 0
      for (const row of rows) {
        if ((upTo > 0 && bytes >= bytesPerStep) || row.session_id !== sessionId) break
        bytes += Number(row.bytes)
        upTo = Number(row.last_seq)
      }
      yield* query("purge", remove, sessionId === undefined ? [jobId, upTo] : [jobId, upTo, String(sessionId)])
      return true
    }
    yield* query("purge", "DELETE FROM arcp_removed WHERE job_id = ?", [jobId])
    return false
  })

/** Deletes what removed jobs have left, giving the event loop a turn between two steps. */
const removeLeftovers = (access: Access): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    for (;;) {
      const [row] = yield* access.query("purge", "SELECT job_id FROM arcp_removed LIMIT 1", [])
      if (row === undefined) return
      while (yield* removePiece(access, String(row.job_id))) yield* nextTurn
    }
  })

const expiredJobs =
  ({ query }: Access) =>
  (retention: Retention, limit: number): Effect.Effect<ReadonlyArray<string>, StoreError> =>
    Effect.gen(function* () {
      const totals = yield* query(
        "sweep",
        "SELECT COUNT(*) AS jobs, COALESCE(SUM(bytes), 0) AS bytes FROM arcp_job_states WHERE ended_at IS NOT NULL",
        []
      )
      let count = Number(totals[0]?.jobs ?? 0)
      let bytes = Number(totals[0]?.bytes ?? 0)
      const rows = yield* query(
        "sweep",
        "SELECT job_id, ended_at, bytes FROM arcp_job_states WHERE ended_at IS NOT NULL ORDER BY ended_at, job_id LIMIT ?",
        [limit]
      )
      const out: Array<string> = []
      for (const row of rows) {
        const old = Number(row.ended_at) < retention.endedBefore
        if (!old && count <= retention.maxJobs && bytes <= retention.maxBytes) break
        out.push(String(row.job_id))
        count--
        bytes -= Number(row.bytes)
      }
      return out
    })

/** The operations of a store that delete. Portable SQL has only DELETE; a database may add a purge of its own. */
export const sweeps = (access: Access) => ({
  expiredJobs: expiredJobs(access),
  removeExpiredKeys: (now: number) => access.remove("sweep", "arcp_keys", "expires_at <= ?", [now]),
  purge: removeLeftovers(access)
})
