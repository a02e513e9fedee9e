/**
 * What retention reads and deletes in a SQL database.
 *
 * Order: the oldest end first. A purge goes in pieces of some hundred rows and a megabyte at most, each a transaction. After some milliseconds
 * of them the event loop has a turn, in which commits are written; the next purge continues one that a crash has cut off.
 *
 * Races: a job may be removed between two pieces. Each piece looks anew at which jobs are to be purged. What is left of a job can be read by
 * nobody, and its id is deleted together with its last rows. So the database is consistent after every piece. A row that is deleted may have the
 * highest number of a session: the same piece first writes that number into the session's row.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import { anonymousPrefix } from "../../protocol/AnonymousIds.js"
import type { Retention, StoreError } from "../Store.js"
import { keepingNumbers } from "./carried.js"
import { type Access, type Param, type Row, rowsPerPiece, setOf, transaction } from "./sql.js"
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
  columns: string,
  part: string,
  upTo: ReadonlyArray<string>
): Leftover => ({
  found: `SELECT job_id, ${order}, ${columns} FROM ${table}
    WHERE job_id IN ${removedJobs()} ORDER BY job_id, ${order} LIMIT ${rowsPerPiece + 1}`,
  whole: `DELETE FROM ${table} WHERE job_id IN ${removedJobs()}`,
  before: `DELETE FROM ${table} WHERE job_id IN ${removedJobs("WHERE job_id < ?")}`,
  part: `DELETE FROM ${table} WHERE job_id = ? AND ${part}`,
  upTo
})

const leftovers: ReadonlyArray<Leftover> = [
  leftover("arcp_segments", "last_seq", "bytes, session_id AS given_to", "last_seq <= ?", ["last_seq"]),
  leftover(
    "arcp_deliveries",
    "session_id, last_seq",
    "0 AS bytes, session_id AS given_to",
    "session_id = ? AND last_seq <= ?",
    ["session_id", "last_seq"]
  )
]

/** How many of the rows fit into a piece, and their bytes. */
const fitting = (rows: ReadonlyArray<Row>): { readonly count: number; readonly bytes: number } => {
  let bytes = 0
  let count = 0
  while (count < rows.length && count < rowsPerPiece && bytes < bytesPerPiece) bytes += Number(rows[count++]!.bytes)
  return { count, bytes }
}

// A number that is deleted stays assigned.
const keepNumbers = setOf(keepingNumbers)

/** Statements to run before the rows are deleted: they keep the numbers of the sessions that were given them. */
const numbersOf = (
  connection: Connection,
  rows: ReadonlyArray<Row>
): ReadonlyArray<Effect.Effect<unknown, unknown>> => {
  const sessions = new Set<string>()
  for (const { given_to } of rows) if (typeof given_to === "string") sessions.add(given_to)
  return keepNumbers(
    connection,
    [...sessions].map((sessionId) => [sessionId])
  )
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
    yield* Effect.all(numbersOf(connection, rows), { discard: true })
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

/** What ids of anonymous principals begin with, and no others: `LIKE` does not tell small letters from large ones everywhere. */
const isAnonymous = (column: string): string => `SUBSTR(${column}, 1, ${anonymousPrefix.length}) = '${anonymousPrefix}'`

/** Some of the ended jobs that are those of anonymous principals. */
const anonymousAmong = (ended: string): string =>
  `FROM (${ended}) s CROSS JOIN arcp_jobs j WHERE j.job_id = s.job_id AND ${isAnonymous("j.principal_id")}`

/** The first ended jobs of an order; no more than these are looked at, however many have ended. */
const firstEnded = (order: "ASC" | "DESC", condition: string): string =>
  `SELECT job_id, ended_at, bytes FROM arcp_job_states WHERE ${condition} ORDER BY ended_at ${order}, job_id ${order} LIMIT ?`

const anonymousTotals = `SELECT COUNT(*) AS jobs, COALESCE(SUM(s.bytes), 0) AS bytes
  ${anonymousAmong(firstEnded("DESC", "ended_at IS NOT NULL"))}`
/** With their places among all that have ended since a time. */
const oldestAnonymous = `SELECT s.job_id, s.bytes, s.place ${anonymousAmong(
  `SELECT job_id, ended_at, bytes, ROW_NUMBER() OVER (ORDER BY ended_at, job_id) AS place
    FROM (${firstEnded("ASC", "ended_at >= ?")}) r`
)} ORDER BY s.ended_at, s.job_id LIMIT ?`
const anonymousJobs = `SELECT COUNT(*) AS jobs FROM (
  SELECT job_id FROM arcp_jobs WHERE ${isAnonymous("principal_id")} LIMIT ?) a`

/** As many rows as a bound says; databases know no endless numbers. */
const rowsOf = (bound: number): number => Math.min(bound, 2 ** 40)

/** A time as databases have them: whole, and not endless. */
const timeOf = (time: number): number => Math.max(Math.min(Math.ceil(time), 2 ** 52), -(2 ** 52))

interface Named {
  readonly jobId: string
  readonly bytes: number
}

const nameOf = (row: Row): Named => ({ jobId: String(row.job_id), bytes: Number(row.bytes) })

const namesOf = (rows: ReadonlyArray<Row>): ReadonlyArray<Named> => rows.map(nameOf)

/** The jobs that an answer names, and what is left without them. */
class Naming {
  readonly jobIds = new Set<string>()
  private count: number
  private bytes: number
  private readonly retention: Retention
  private readonly limit: number

  constructor(retention: Retention, limit: number, { bytes, count }: Totals) {
    this.retention = retention
    this.limit = limit
    this.count = count
    this.bytes = bytes
  }

  /** How many more can be named. */
  get room(): number {
    return this.limit - this.jobIds.size
  }

  get left(): Totals {
    return { count: this.count, bytes: this.bytes }
  }

  /** Whether more have to go, and can be named. */
  get goesOn(): boolean {
    return this.room > 0 && isOver(this.left, this.retention)
  }

  add({ bytes, jobId }: Named): void {
    if (this.jobIds.has(jobId)) return
    this.jobIds.add(jobId)
    this.count--
    this.bytes -= bytes
  }
}

/**
 * Names jobs of anonymous principals that go before others, where there are more of them than their part. Those that go are outside of the
 * newest `maxJobs` first: where anonymous jobs have no more than their part of these, the oldest end can go, whose ever it is.
 */
const nameAnonymous = (
  { query }: Access,
  { anonymous: share, endedBefore, maxBytes, maxJobs }: Retention,
  limit: number,
  naming: Naming
): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    if (share === undefined) return
    // Most runtimes have none, or few.
    const [some] = yield* query("sweep", anonymousJobs, [rowsOf(share.maxJobs + 1)])
    const known = Number(some?.jobs ?? 0)
    if (known === 0 || (known <= share.maxJobs && naming.left.bytes <= maxBytes)) return
    // Not among those that are too old, which are named already.
    const newest = Math.min(maxJobs, naming.left.count)
    const outside = naming.left.count - newest
    const [inside] = yield* query("sweep", anonymousTotals, [rowsOf(newest)])
    let guests: Totals = { count: Number(inside?.jobs ?? 0), bytes: Number(inside?.bytes ?? 0) }
    if (!isOver(guests, share)) return
    const rows = yield* query("sweep", oldestAnonymous, [timeOf(endedBefore), rowsOf(maxJobs + limit), naming.room])
    for (const row of rows) {
      if (!naming.goesOn || !isOver(guests, share)) return
      const guest = nameOf(row)
      naming.add(guest)
      // Those outside were not counted.
      if (Number(row.place) > outside) guests = { count: guests.count - 1, bytes: guests.bytes - guest.bytes }
    }
  })

const totalsOfEnded =
  "SELECT COUNT(*) AS jobs, COALESCE(SUM(bytes), 0) AS bytes FROM arcp_job_states WHERE ended_at IS NOT NULL"
const oldestEnded =
  "SELECT job_id, ended_at, bytes FROM arcp_job_states WHERE ended_at IS NOT NULL ORDER BY ended_at, job_id LIMIT ?"

/**
 * Those that are too old, then those of anonymous principals, then the oldest end. All of them in one answer, as far as `limit` goes: the first
 * ones may be such as stay, since a session is owed them, and others go all the same.
 */
const expiredJobs =
  (access: Access) =>
  (retention: Retention, limit: number): Effect.Effect<ReadonlyArray<string>, StoreError> =>
    Effect.gen(function* () {
      const [totals] = yield* access.query("sweep", totalsOfEnded, [])
      const rows = yield* access.query("sweep", oldestEnded, [limit])
      const naming = new Naming(retention, limit, {
        count: Number(totals?.jobs ?? 0),
        bytes: Number(totals?.bytes ?? 0)
      })
      for (const old of namesOf(rows.filter((row) => Number(row.ended_at) < retention.endedBefore))) naming.add(old)
      if (naming.goesOn) yield* nameAnonymous(access, retention, limit, naming)
      for (const next of namesOf(rows)) {
        if (!naming.goesOn) break
        naming.add(next)
      }
      return [...naming.jobIds]
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
