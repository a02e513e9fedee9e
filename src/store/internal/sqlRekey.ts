/**
 * Gives a SQLite database another key: everything that is sealed is opened with the old one and sealed with the new one.
 *
 * Responsibility: {@link sealedColumns}, the list of what a key covers; digests of idempotency keys and of names of steps, which are made
 * again from the texts that the database has; and the row that tells the keys apart. Nothing of the old key is kept, so that who has it
 * opens nothing that is written from then on.
 *
 * Order: one transaction, in which the database is brought to the schema of this version before. The row for the key is its last statement; a process that is killed meanwhile, and a row that cannot be opened, leave the database as
 * it was, under the old key and with the old schema: the version that has written it still opens it, also where its key is one that this version refuses. Rows are read in pages by their number in the table, which no change here moves.
 *
 * The name of a step that an earlier version has sealed is stored nowhere, and its value cannot be opened without it. Such steps of ended jobs
 * are deleted, since nothing reads them any more; where a job has not ended, the database keeps its key ({@link nothingUnnamed}).
 */
import { Buffer } from "node:buffer"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import * as Text from "../../protocol/Text.js"
import type { Sealer } from "../Sealer.js"
import type { StoreError } from "../Store.js"
import { migrateWithin } from "./migrating.js"
import { fail, type Param, reasonOf, type Row } from "./sql.js"
import { phraseOf } from "./sqlKey.js"
import { resealWithin, sealingDone } from "./sqlResealing.js"
import { keyName, openStep, sealStep, stepName } from "./sqlRows.js"
import { nextTurn } from "./turn.js"

/** A column that a key covers, and what its values are bound to. */
interface SealedColumn {
  readonly table: string
  readonly column: string
  /** The columns that `about` looks at. */
  readonly of: ReadonlyArray<string>
  readonly about: (row: Row) => string
  readonly bytes?: true
}

/** The columns whose values are sealed as they are. Beside them: names and values of steps, idempotency keys, and the row for the key. */
export const sealedColumns: ReadonlyArray<SealedColumn> = [
  { table: "arcp_sessions", column: "data", of: ["session_id"], about: (row) => `session ${String(row.session_id)}` },
  { table: "arcp_jobs", column: "data", of: ["job_id"], about: (row) => `job ${String(row.job_id)}` },
  { table: "arcp_job_states", column: "budget", of: ["job_id"], about: (row) => `budget ${String(row.job_id)}` },
  { table: "arcp_job_states", column: "cancelled", of: ["job_id"], about: (row) => `cancel ${String(row.job_id)}` },
  {
    table: "arcp_segments",
    column: "data",
    of: ["job_id", "first_seq"],
    about: (row) => `segment ${String(row.job_id)} ${Number(row.first_seq)}`
  },
  {
    table: "arcp_credentials",
    column: "handle",
    of: ["reference"],
    about: (row) => `credential ${String(row.reference)}`
  },
  {
    table: "arcp_artifacts",
    column: "data",
    of: ["artifact_id", "principal_id"],
    about: (row) => `artifact ${String(row.artifact_id)} ${String(row.principal_id)}`
  },
  {
    table: "arcp_artifact_chunks",
    column: "data",
    of: ["artifact_id", "chunk_seq"],
    about: (row) => `artifact ${String(row.artifact_id)} ${Number(row.chunk_seq)}`,
    bytes: true
  }
]

/** Rows of one page: those of artifacts and events may have a mebibyte each. */
const pageRows = 16

/** The two keys. */
export interface Keys {
  readonly from: Sealer
  readonly to: Sealer
}

type Work<A> = Effect.Effect<A, unknown>

const rowsOf = (connection: Connection, text: string, params: ReadonlyArray<Param>): Work<ReadonlyArray<Row>> =>
  connection.execute(text, params, undefined) as Work<ReadonlyArray<Row>>

/** Visits every row of a table; returns how many there were. Others have a turn between two pages. */
const everyRow = (
  connection: Connection,
  table: string,
  columns: ReadonlyArray<string>,
  condition: string,
  visit: (row: Row) => Work<unknown>
): Work<number> =>
  Effect.gen(function* () {
    // Numbers that SQLite gives begin at 1; a row that something else has put there is not passed over.
    let after = Number.MIN_SAFE_INTEGER
    let visited = 0
    while (true) {
      const rows: ReadonlyArray<Row> = yield* rowsOf(
        connection,
        `SELECT rowid AS place, ${columns.join(", ")} FROM ${table} WHERE rowid > ? AND ${condition} ORDER BY rowid LIMIT ${pageRows}`,
        [after]
      )
      yield* Effect.forEach(rows, visit, { discard: true })
      visited += rows.length
      const last = rows.at(-1)
      if (last === undefined || rows.length < pageRows) return visited
      after = Number(last.place)
      yield* nextTurn
    }
  })

const unopened = (about: string): StoreError =>
  fail(
    "rekey",
    undefined,
    `${about} cannot be decrypted: its row was changed, or was sealed with another key. Nothing was changed`
  )

/** A value under the new key; undefined where the old one does not open it. */
const resealed = ({ from, to }: Keys, stored: unknown, about: string, bytes: boolean): Param | undefined => {
  if (bytes) {
    const opened = stored instanceof Uint8Array ? from.openBytes(stored, about) : undefined
    return opened === undefined ? undefined : to.sealBytes(opened, about)
  }
  // In clear the payload of a large chunk is bytes.
  const text = stored instanceof Uint8Array && !from.encrypts ? Buffer.from(stored).toString("utf8") : String(stored)
  const opened = from.open(text, about)
  return opened === undefined ? undefined : to.seal(opened, about)
}

const column = (connection: Connection, keys: Keys, { about, bytes, column: name, of, table }: SealedColumn) =>
  everyRow(connection, table, [...of, name], `${name} IS NOT NULL`, (row) => {
    const value = resealed(keys, row[name], about(row), bytes === true)
    return value === undefined
      ? Effect.fail(unopened(about(row)))
      : connection.executeRaw(`UPDATE ${table} SET ${name} = ? WHERE rowid = ?`, [value, Number(row.place)])
  })

/** The key that a job was submitted with; undefined where the job is gone. Jobs are under the old key while this runs. */
const keyOfJob = (connection: Connection, { from }: Keys, jobId: string): Work<string | undefined> =>
  Effect.gen(function* () {
    const [job] = yield* rowsOf(connection, "SELECT data FROM arcp_jobs WHERE job_id = ?", [jobId])
    if (job === undefined) return undefined
    const text = from.open(String(job.data), `job ${jobId}`)
    if (text === undefined) return yield* Effect.fail(unopened(`job ${jobId}`))
    return (
      Text.textProperty(
        Text.attempt(() => JSON.parse(text) as unknown, undefined),
        "idempotencyKey"
      ) ?? ""
    )
  })

/** Idempotency keys are found by their digests: these are made again from the jobs' own texts. */
const idempotencyKeys = (connection: Connection, keys: Keys): Work<number> =>
  everyRow(connection, "arcp_keys", ["principal_id", "idempotency_key", "job_id"], "1 = 1", (row) =>
    Effect.gen(function* () {
      const principal = String(row.principal_id)
      const key = yield* keyOfJob(connection, keys, String(row.job_id))
      // It goes with its job.
      if (key === undefined) {
        yield* connection.executeRaw("DELETE FROM arcp_keys WHERE rowid = ?", [Number(row.place)])
        return
      }
      // The database compares: a key that is not well-formed is another text when it is read back.
      const same = yield* rowsOf(connection, "SELECT 1 AS n FROM arcp_keys WHERE rowid = ? AND idempotency_key = ?", [
        Number(row.place),
        keyName(keys.from, principal, key)
      ])
      if (same.length === 0) {
        return yield* Effect.fail(unopened(`the idempotency key of job ${String(row.job_id)}`))
      }
      yield* connection.executeRaw("UPDATE arcp_keys SET idempotency_key = ? WHERE rowid = ?", [
        keyName(keys.to, principal, key),
        Number(row.place)
      ])
    })
  )

const ended = (connection: Connection, jobId: string): Work<boolean> =>
  Effect.map(
    rowsOf(connection, "SELECT 1 AS n FROM arcp_job_states WHERE job_id = ? AND ended_at IS NULL", [jobId]),
    (rows) => rows.length === 0
  )

/**
 * Fails where an unfinished job has a step that an earlier version has sealed. Asked before the database is brought to the schema of this
 * version: what cannot be given another key stays as the version left it that can end the job.
 */
export const nothingUnnamed = (connection: Connection, { from }: Keys): Work<void> =>
  everyRow(connection, "arcp_steps", ["job_id", "name", "value"], "1 = 1", (row) => {
    const [jobId, name, value] = [String(row.job_id), String(row.name), String(row.value)]
    // Of the first versions names are in clear; they are sealed before the key is replaced.
    if (openStep(from, jobId, name, value) !== undefined || from.open(value, `step ${jobId} ${name}`) !== undefined) {
      return Effect.void
    }
    return Effect.flatMap(ended(connection, jobId), (has) =>
      has
        ? Effect.void
        : Effect.fail(
            fail(
              "rekey",
              undefined,
              `a step of the unfinished job ${jobId} was recorded by an earlier version, or changed, and cannot be given another key: ` +
                "start the runtime with the old key (where this version refuses that, the earlier version), and let the job end or cancel it. " +
                "Nothing was changed"
            )
          )
    )
  }).pipe(Effect.asVoid)

const steps = (connection: Connection, { from, to }: Keys): Work<number> =>
  everyRow(connection, "arcp_steps", ["job_id", "name", "value"], "1 = 1", (row) =>
    Effect.gen(function* () {
      const jobId = String(row.job_id)
      const step = openStep(from, jobId, String(row.name), String(row.value))
      if (step === undefined) {
        if (!(yield* ended(connection, jobId))) return yield* Effect.fail(unopened(`a step of the job ${jobId}`))
        yield* connection.executeRaw("DELETE FROM arcp_steps WHERE rowid = ?", [Number(row.place)])
        return
      }
      yield* connection.executeRaw("UPDATE arcp_steps SET name = ?, value = ? WHERE rowid = ?", [
        stepName(to, jobId, step.name),
        sealStep(to, jobId, step.name, step.value),
        Number(row.place)
      ])
    })
  )

const lastly = (connection: Connection, { to }: Keys): Work<unknown> =>
  Effect.zipRight(
    connection.executeRaw("UPDATE arcp_meta SET value = ? WHERE name = 'canary'", [phraseOf(to)]),
    connection.executeRaw("INSERT INTO arcp_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", [
      ...sealingDone
    ])
  )

/** A COMMIT whose last flush fails may be in the log all the same: then the next one to open the file finds it. */
const commit = (connection: Connection): Work<unknown> =>
  connection.executeRaw("COMMIT", []).pipe(
    Effect.catchAllDefect((defect) => Effect.fail(defect)),
    Effect.mapError((error) =>
      fail(
        "rekey",
        error,
        `the disk failed while the new key was committed: ${reasonOf(error)}. The file has all of its content under the old key, or all of it under ` +
          "the new one: keep both, and repeat this once the disk is well"
      )
    )
  )

/** Brings the database to the schema of this version and gives everything the new key, in one transaction; returns how many values have it. Can be interrupted, and then nothing was changed. */
export const rekey = (connection: Connection, keys: Keys): Work<number> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.zipRight(
      connection.executeRaw("BEGIN IMMEDIATE", []),
      restore(
        Effect.gen(function* () {
          yield* migrateWithin(connection)
          yield* resealWithin(connection, keys.from)
          // Before the jobs: their texts, which are still under the old key, have the idempotency keys.
          let values = yield* idempotencyKeys(connection, keys)
          values += yield* steps(connection, keys)
          for (const sealed of sealedColumns) values += yield* column(connection, keys, sealed)
          yield* lastly(connection, keys)
          return values
        })
      ).pipe(
        Effect.catchAllDefect((defect) => Effect.fail(defect)),
        Effect.tap(() => commit(connection)),
        Effect.onError(() => Effect.ignore(connection.executeRaw("ROLLBACK", [])))
      )
    )
  )
