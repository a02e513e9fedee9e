/** Transactions and the statements that write: what every SQL store shares. */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import { SqlError } from "@effect/sql/SqlError"
import { StoreError } from "../Store.js"
import { type Direct, directOf, type Param } from "./direct.js"
import { inPieces } from "./turn.js"

export type { Param }
export type Row = Readonly<Record<string, unknown>>

interface DriverError {
  readonly code?: unknown
  readonly message?: string
}

/** What a person can do about it. */
const advice: Readonly<Record<string, string>> = {
  SQLITE_CORRUPT: "the file is damaged: restore it from a backup, or start with a new one",
  SQLITE_NOTADB: "the file is damaged: restore it from a backup, or start with a new one",
  SQLITE_FULL: "make room on the disk; nothing was written",
  SQLITE_BUSY: "another program holds the file: stop it, or give each a file of its own",
  SQLITE_READONLY: "the file may not be written by this user"
}

/** The message of the database, with advice where there is any. */
export const reasonOf = (cause: unknown): string => {
  const outer = cause as (DriverError & { readonly cause?: DriverError }) | undefined
  const inner = outer?.cause ?? outer
  const hint = advice[String(inner?.code).replace(/^(SQLITE_[A-Z]+)_.*/, "$1")]
  return `${inner?.message ?? outer?.message ?? "no reason given"}${hint === undefined ? "" : ` (${hint})`}`
}

export const fail = (operation: string, cause: unknown, message?: string): StoreError =>
  new StoreError({
    operation,
    message: message ?? `the database refused to ${operation}: ${reasonOf(cause)}`,
    cause
  })

/** How statements reach the database. */
export type Access = ReturnType<typeof access>

/** Runs a statement in this step. */
const inStep = (
  direct: Direct,
  operation: string,
  statement: string,
  params: ReadonlyArray<Param>
): Effect.Effect<ReadonlyArray<Row>, StoreError> => {
  try {
    return Effect.succeed(direct.all(statement, params))
  } catch (cause) {
    return Effect.fail(fail(operation, new SqlError({ cause, message: "Failed to execute statement" })))
  }
}

/**
 * How statements reach the database: on one reserved connection, with every failure a `StoreError`. A statement alone needs no reservation
 * where the driver runs it in one step, unless somebody's transaction is open.
 */
export const access = (sql: SqlClient) => {
  const direct = directOf(sql)
  const withConnection = <A>(
    operation: string,
    use: (connection: Connection) => Effect.Effect<A, unknown>
  ): Effect.Effect<A, StoreError> =>
    Effect.scoped(Effect.flatMap(sql.reserve, use)).pipe(
      Effect.catchAllDefect((defect) => Effect.fail(defect)),
      Effect.mapError((error) => (error instanceof StoreError ? error : fail(operation, error)))
    )
  const query = (
    operation: string,
    statement: string,
    params: ReadonlyArray<Param>
  ): Effect.Effect<ReadonlyArray<Row>, StoreError> =>
    Effect.suspend(() =>
      direct === undefined || direct.inTransaction()
        ? withConnection(
            operation,
            (connection) =>
              connection.execute(statement, params, undefined) as Effect.Effect<ReadonlyArray<Row>, unknown>
          )
        : inStep(direct, operation, statement, params)
    )
  /** Deletes rows of a table, in pieces by its key, and returns how many. Writes nothing where there are none. */
  const remove = (
    operation: string,
    table: string,
    key: string,
    condition: string,
    params: ReadonlyArray<Param>
  ): Effect.Effect<number, StoreError> =>
    Effect.gen(function* () {
      const some = (columns: string) => `(SELECT ${columns} FROM ${table} WHERE ${condition} LIMIT ${rowsPerPiece})`
      let removed = 0
      yield* inPieces(
        Effect.gen(function* () {
          const found = yield* query(operation, `SELECT COUNT(*) AS n FROM ${some("1")} AS some`, params)
          const n = Number(found[0]?.n ?? 0)
          if (n > 0) yield* query(operation, `DELETE FROM ${table} WHERE (${key}) IN ${some(key)}`, params)
          removed += n
          return n === rowsPerPiece
        })
      )
      return removed
    })
  return { withConnection, query, remove }
}

/** Rows that are deleted in one statement: a millisecond or two of work. */
export const rowsPerPiece = 512

const groups = [16, 4, 1] as const

/** A statement and its parameters. */
type Call = readonly [text: string, params: ReadonlyArray<Param>]

/** A statement about rows. */
export interface Writer {
  /** Through a connection: as few calls as its texts allow. */
  (connection: Connection, rows: ReadonlyArray<ReadonlyArray<Param>>): ReadonlyArray<Effect.Effect<unknown, unknown>>
  /** On a driver that runs prepared statements in one step: many rows at once are no cheaper there, unless they share work. */
  readonly calls: (rows: ReadonlyArray<ReadonlyArray<Param>>) => ReadonlyArray<Call>
}

const perform = (connection: Connection, calls: ReadonlyArray<Call>): ReadonlyArray<Effect.Effect<unknown, unknown>> =>
  calls.map(([text, params]) => connection.executeRaw(text, params))

const each =
  (text: string) =>
  (rows: ReadonlyArray<ReadonlyArray<Param>>): ReadonlyArray<Call> =>
    rows.map((row) => [text, row])

/** Rows in groups whose texts are the same every time. `textOf` is given the rows' places. */
const inGroups = (width: number, textOf: (rows: string) => string) => {
  const row = width === 1 ? "?" : `(${Array.from({ length: width }, () => "?").join(",")})`
  const texts = new Map<number, string>(
    groups.map((size) => [size, textOf(Array.from({ length: size }, () => row).join(","))])
  )
  return (rows: ReadonlyArray<ReadonlyArray<Param>>): ReadonlyArray<Call> => {
    const out: Array<Call> = []
    let at = 0
    for (const size of groups) {
      while (rows.length - at >= size) {
        out.push([texts.get(size)!, rows.slice(at, at + size).flat()])
        at += size
      }
    }
    return out
  }
}

/** A statement about many rows, which are looked for and found one by one. */
const grouped = (width: number, textOf: (rows: string) => string): Writer => {
  const group = inGroups(width, textOf)
  const one = textOf(width === 1 ? "?" : `(${Array.from({ length: width }, () => "?").join(",")})`)
  return Object.assign(
    (connection: Connection, rows: ReadonlyArray<ReadonlyArray<Param>>) => perform(connection, group(rows)),
    { calls: each(one) }
  )
}

/** A statement about a set of ids. */
export const setOf = (textOf: (ids: string) => string): Writer => {
  const calls = inGroups(1, textOf)
  return Object.assign(
    (connection: Connection, rows: ReadonlyArray<ReadonlyArray<Param>>) => perform(connection, calls(rows)),
    { calls }
  )
}

/** One statement for each row, where one statement cannot write several rows. */
export const single = (text: string): Writer => {
  const calls = each(text)
  return Object.assign(
    (connection: Connection, rows: ReadonlyArray<ReadonlyArray<Param>>) => perform(connection, calls(rows)),
    { calls }
  )
}

/** Writes rows of one table. */
const writer = (table: string, columns: ReadonlyArray<string>, conflict: string): Writer =>
  grouped(columns.length, (rows) => `INSERT INTO ${table} (${columns.join(",")}) VALUES ${rows}${conflict}`)

const upsert = (key: ReadonlyArray<string>, columns: ReadonlyArray<string>): string =>
  ` ON CONFLICT (${key.join(",")}) DO UPDATE SET ${columns
    .filter((c) => !key.includes(c))
    .map((c) => `${c} = excluded.${c}`)
    .join(",")}`

const sessionColumns = [
  "session_id",
  "token_hash",
  "previous_token_hash",
  "created_at",
  "last_seen_at",
  "last_seq",
  "acked_seq",
  "floor_seq",
  "data"
]
const stateColumns = [
  "job_id",
  "status",
  "owner_session_id",
  "started_at",
  "ended_at",
  "last_job_seq",
  "last_owner_seq",
  "attempt",
  "budget",
  "cancelled",
  "bytes"
]
const keyColumns = ["principal_id", "idempotency_key", "job_id", "parameters_hash", "expires_at"]
const stepColumns = ["job_id", "name", "fingerprint", "value", "bytes"]
const credentialColumns = [
  "reference",
  "credential_id",
  "job_id",
  "principal_id",
  "handle",
  "endpoint",
  "profile",
  "state",
  "attempts",
  "last_error",
  "created_at",
  "updated_at",
  "revoked_at"
]

export const write = {
  sessions: writer("arcp_sessions", sessionColumns, upsert(["session_id"], sessionColumns)),
  jobs: writer("arcp_jobs", ["job_id", "principal_id", "agent", "version", "created_at", "data", "bytes"], ""),
  states: writer(
    "arcp_job_states",
    stateColumns,
    upsert(
      ["job_id"],
      stateColumns.filter((c) => c !== "bytes")
    )
  ),
  /** States of ended jobs whose bytes are known. */
  ends: writer("arcp_job_states", stateColumns, upsert(["job_id"], stateColumns)),
  keys: writer("arcp_keys", keyColumns, upsert(["principal_id", "idempotency_key"], keyColumns)),
  segments: writer(
    "arcp_segments",
    ["job_id", "last_seq", "first_seq", "class", "bytes", "data", "session_id", "session_seq"],
    ""
  ),
  deliveries: writer("arcp_deliveries", ["session_id", "last_seq", "first_seq", "job_id", "first_job_seq"], ""),
  subscriptions: writer("arcp_subscriptions", ["session_id", "job_id"], " ON CONFLICT (session_id, job_id) DO NOTHING"),
  subscriptionsRemoved: grouped(
    2,
    (rows) => `DELETE FROM arcp_subscriptions WHERE (session_id, job_id) IN (VALUES ${rows})`
  ),
  /** Parameters: the job, the session, and the job again. The session comes after the job's other owners. */
  owners: single(
    `INSERT INTO arcp_job_owners (job_id, session_id, place)
      SELECT ?, ?, COALESCE(MAX(place), 0) + 1 FROM arcp_job_owners WHERE job_id = ?
      ON CONFLICT (job_id, session_id) DO NOTHING`
  ),
  ownersRemoved: grouped(2, (rows) => `DELETE FROM arcp_job_owners WHERE (job_id, session_id) IN (VALUES ${rows})`),
  /** How many bytes are kept of ended jobs (`kept`), which retention asks. Rows of schema 7 do not say, and are counted as they are. */
  bytes: grouped(
    1,
    (rows) => `UPDATE arcp_job_states SET bytes = (
      SELECT COALESCE(SUM(s.bytes), 0) FROM arcp_segments s WHERE s.job_id = arcp_job_states.job_id
    ) + (
      SELECT COALESCE(SUM(CASE WHEN t.bytes = 0 THEN OCTET_LENGTH(t.value) ELSE t.bytes END), 0)
      FROM arcp_steps t WHERE t.job_id = arcp_job_states.job_id
    ) + (
      SELECT COALESCE(SUM(CASE WHEN j.bytes = 0 THEN OCTET_LENGTH(j.data) ELSE j.bytes END), 0)
      FROM arcp_jobs j WHERE j.job_id = arcp_job_states.job_id
    ) WHERE job_id IN (${rows})`
  ),
  steps: writer("arcp_steps", stepColumns, upsert(["job_id", "name"], stepColumns)),
  credentials: writer(
    "arcp_credentials",
    credentialColumns,
    `${upsert(["reference"], credentialColumns)} WHERE arcp_credentials.state <> 'revoked'`
  )
}

/** All or nothing. Uninterruptible, so that a connection never goes back inside a transaction. */
export const transaction = (
  connection: Connection,
  statements: ReadonlyArray<Effect.Effect<unknown, unknown>>
): Effect.Effect<void, unknown> =>
  Effect.uninterruptible(
    Effect.zipRight(
      connection.executeRaw("BEGIN IMMEDIATE", []),
      Effect.zipRight(
        Effect.forEach(statements, (statement) => statement, { discard: true }),
        connection.executeRaw("COMMIT", [])
      ).pipe(
        Effect.catchAllCause((cause) =>
          Effect.zipRight(
            // SQLite may have rolled back by itself, as it does when the disk is full.
            Effect.catchAllCause(connection.executeRaw("ROLLBACK", []), () => Effect.void),
            Effect.failCause(cause)
          )
        ),
        // A defect of the driver (a COMMIT that throws) is a failure of the store.
        Effect.catchAllDefect((defect) => Effect.fail(defect))
      )
    )
  )
