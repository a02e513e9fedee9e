/**
 * What retention reads and deletes in a SQL database.
 *
 * Order: the oldest end first. A purge goes in pieces of some hundred rows and a megabyte at most, each a transaction. After some milliseconds
 * of them the event loop has a turn, in which commits are written; the next purge continues one that a crash has cut off.
 *
 * Races: a job may be removed between two pieces. Each piece looks anew at which jobs are to be purged. What is left of a job can be read by
 * nobody, and its id goes with the last of it, so every piece leaves a database that is whole.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import { anonymousPrefix } from "../../protocol/AnonymousIds.js"
import type { Retention, StoreError } from "../Store.js"
import { type Access, type Param, type Row, rowsPerPiece, transaction } from "./sql.js"
import { inPieces } from "./turn.js"
import { perRow } from "./writeBack.js"

/** What one piece deletes at most beside `rowsPerPiece`: of so many jobs, and so many bytes. The row that crosses a limit goes with it. */
const jobsPerPiece = 64
const bytesPerPiece = 1_048_576

/** The jobs that a piece is about, or those of them that come before another. The ids are read in the order of their index. */
const removedJobs = (condition = "") =>
  `(SELECT job_id FROM arcp_removed ${condition} ORDER BY job_id LIMIT ${jobsPerPiece})`

/** Rows of removed jobs: how they are found, and deleted. */
interface Leftover {
  /** One row more than a piece has. */
  readonly found: string
  /** All of the piece's jobs. */
  readonly whole: string
  /** Those of the jobs before another one. */
  readonly before: string
  /** Those of one job up to a row, whose columns are named. */
  readonly part: string
  readonly upTo: ReadonlyArray<string>
}

const leftover = (
  table: string,
  order: string,
  bytes: string,
  part: string,
  upTo: ReadonlyArray<string>
): Leftover => ({
  found: `SELECT job_id, ${order}, ${bytes} AS bytes FROM ${table}
    WHERE job_id IN ${removedJobs()} ORDER BY job_id, ${order} LIMIT ${rowsPerPiece + 1}`,
  whole: `DELETE FROM ${table} WHERE job_id IN ${removedJobs()}`,
  before: `DELETE FROM ${table} WHERE job_id IN ${removedJobs("WHERE job_id < ?")}`,
  part: `DELETE FROM ${table} WHERE job_id = ? AND ${part}`,
  upTo
})

const leftovers: ReadonlyArray<Leftover> = [
  leftover("arcp_segments", "last_seq", "bytes", "last_seq <= ?", ["last_seq"]),
  leftover("arcp_deliveries", "session_id, last_seq", "0", "session_id = ? AND last_seq <= ?", [
    "session_id",
    "last_seq"
  ])
]

/** How many of the rows fit into a piece, and their bytes. */
const fitting = (rows: ReadonlyArray<Row>): { readonly count: number; readonly bytes: number } => {
  let bytes = 0
  let count = 0
  while (count < rows.length && count < rowsPerPiece && bytes < bytesPerPiece) bytes += Number(rows[count++]!.bytes)
  return { count, bytes }
}

const param = (value: unknown): Param => (typeof value === "string" ? value : Number(value))

/** Deletes one piece of a kind of rows; how many bytes that was, and whether it was all that the piece's jobs have of them. */
const removeRows = (
  connection: Connection,
  { before, found, part, upTo, whole }: Leftover
): Effect.Effect<{ readonly bytes: number; readonly all: boolean }, unknown> =>
  Effect.gen(function* () {
    const rows = (yield* connection.execute(found, [], undefined)) as ReadonlyArray<Row>
    const { bytes, count } = fitting(rows)
    const last = rows[count - 1]
    const removed = { bytes: bytes + count * perRow, all: count === rows.length }
    if (last === undefined) return removed
    if (removed.all) {
      yield* connection.executeRaw(whole, [])
    } else if (last.job_id !== rows[0]!.job_id) {
      yield* connection.executeRaw(before, [param(last.job_id)])
    } else {
      // Of one session at a time, where a row belongs to one.
      const until = rows.slice(0, count).findLast((row) => row.session_id === rows[0]!.session_id)!
      yield* connection.executeRaw(part, [param(last.job_id), ...upTo.map((column) => param(until[column]))])
    }
    return removed
  })

/** Deletes a part of what removed jobs have left; whether there may be more. */
const removePiece = ({ withConnection }: Access, wrote: (bytes: number) => void): Effect.Effect<boolean, StoreError> =>
  withConnection("purge", (connection) => {
    let more = false
    let bytes = 0
    const piece = Effect.gen(function* () {
      const jobs = yield* connection.execute("SELECT job_id FROM arcp_removed LIMIT 1", [], undefined)
      if (jobs.length === 0) return
      more = true
      for (const kind of leftovers) {
        const removed = yield* removeRows(connection, kind)
        bytes += removed.bytes
        if (!removed.all) return
      }
      yield* connection.executeRaw(`DELETE FROM arcp_removed WHERE job_id IN ${removedJobs()}`, [])
    })
    return Effect.map(transaction(connection, [piece]), () => {
      wrote(bytes)
      return more
    })
  })

interface Totals {
  readonly count: number
  readonly bytes: number
}

const isOver = ({ bytes, count }: Totals, most: { readonly maxJobs: number; readonly maxBytes: number }): boolean =>
  count > most.maxJobs || bytes > most.maxBytes

/** Ended jobs of anonymous principals among the first of an order; no more than these are looked at, however many have ended. */
const anonymousAmong = (order: "ASC" | "DESC"): string => `FROM (
    SELECT job_id, ended_at, bytes FROM arcp_job_states WHERE ended_at IS NOT NULL
    ORDER BY ended_at ${order}, job_id ${order} LIMIT ?
  ) s CROSS JOIN arcp_jobs j WHERE j.job_id = s.job_id AND j.principal_id LIKE '${anonymousPrefix}%'`

const anonymousTotals = `SELECT COUNT(*) AS jobs, COALESCE(SUM(s.bytes), 0) AS bytes ${anonymousAmong("DESC")}`
const oldestAnonymous = `SELECT s.job_id, s.bytes ${anonymousAmong("ASC")} ORDER BY s.ended_at, s.job_id LIMIT ?`
const anonymousJobs = `SELECT COUNT(*) AS jobs FROM (
  SELECT job_id FROM arcp_jobs WHERE principal_id LIKE '${anonymousPrefix}%' LIMIT ?) a`

/** As many rows as a bound says; databases know no endless numbers. */
const rowsOf = (bound: number): number => Math.min(bound, 2 ** 40)

/**
 * Jobs of anonymous principals that go before others, where there are more of them than their part. Those that go are outside of the newest
 * `maxJobs` first: where anonymous jobs have no more than their part of these, the oldest end can go, whose ever it is.
 */
const expiredAnonymous = (
  { query }: Access,
  { anonymous: share, maxBytes, maxJobs }: Retention,
  all: Totals,
  limit: number
): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.gen(function* () {
    if (share === undefined) return []
    // Most runtimes have none, or few.
    const [some] = yield* query("sweep", anonymousJobs, [rowsOf(share.maxJobs + 1)])
    const known = Number(some?.jobs ?? 0)
    if (known === 0 || (known <= share.maxJobs && all.bytes <= maxBytes)) return []
    const [row] = yield* query("sweep", anonymousTotals, [rowsOf(maxJobs)])
    let left: Totals = all
    let guests: Totals = { count: Number(row?.jobs ?? 0), bytes: Number(row?.bytes ?? 0) }
    if (!isOver(guests, share)) return []
    const out: Array<string> = []
    for (const { bytes, job_id: jobId } of yield* query("sweep", oldestAnonymous, [rowsOf(maxJobs + limit), limit])) {
      if (!isOver(left, { maxBytes, maxJobs }) || !isOver(guests, share)) break
      out.push(String(jobId))
      left = { count: left.count - 1, bytes: left.bytes - Number(bytes) }
      guests = { count: guests.count - 1, bytes: guests.bytes - Number(bytes) }
    }
    return out
  })

const expiredJobs =
  (access: Access) =>
  (retention: Retention, limit: number): Effect.Effect<ReadonlyArray<string>, StoreError> =>
    Effect.gen(function* () {
      const { query } = access
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
      let asked = false
      for (const row of rows) {
        const old = Number(row.ended_at) < retention.endedBefore
        if (!old && !isOver({ count, bytes }, retention)) break
        if (!old && !asked && retention.anonymous !== undefined) {
          // Those that are too old go first; the others when they are gone.
          if (out.length > 0) break
          asked = true
          const anonymous = yield* expiredAnonymous(access, retention, { count, bytes }, limit)
          if (anonymous.length > 0) return anonymous
        }
        out.push(String(row.job_id))
        count--
        bytes -= Number(row.bytes)
      }
      return out
    })

/**
 * The operations of a store that delete. Portable SQL has only DELETE; a database may add a purge of its own. `wrote` is told how many bytes
 * a transaction has deleted.
 */
export const sweeps = (access: Access, wrote: (bytes: number) => void) => ({
  expiredJobs: expiredJobs(access),
  removeExpiredKeys: (now: number) =>
    access.remove("sweep", "arcp_keys", "principal_id, idempotency_key", "expires_at <= ?", [now]),
  purge: inPieces(removePiece(access, wrote))
})
