/**
 * What retention reads and deletes in a SQL database.
 *
 * Order: the oldest end first. A purge goes in steps that each delete some megabytes at most, with a turn of the event loop between two
 * of them, so that commits run in between; the next purge continues one that a crash has cut off.
 */
import * as Effect from "effect/Effect"
import { anonymousPrefix } from "../../protocol/AnonymousIds.js"
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

/** The operations of a store that delete. Portable SQL has only DELETE; a database may add a purge of its own. */
export const sweeps = (access: Access) => ({
  expiredJobs: expiredJobs(access),
  removeExpiredKeys: (now: number) => access.remove("sweep", "arcp_keys", "expires_at <= ?", [now]),
  purge: removeLeftovers(access)
})
