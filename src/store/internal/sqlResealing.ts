/**
 * Encrypts what earlier versions left in clear in an encrypted database: idempotency keys, names of steps, and budgets.
 *
 * Responsibility: a row of `arcp_meta` says that it is done, so it runs once in the life of a database. Without it the rows would not be
 * found by their digests: a repeated submit would run a second time, and so would a step.
 *
 * Order: behind the migration and the check of the key. One transaction; rows are read in pages.
 *
 * Races: a database may hold rows of both kinds. The kind of a row follows from the data that it belongs to, not only from its form: a
 * client's key may look like a digest.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import type { Sealer } from "../Sealer.js"
import type { StoreError } from "../Store.js"
import { type Access, type Param, type Row, transaction } from "./sql.js"
import { keyName, sealStep, stepName } from "./sqlRows.js"

/** The row of `arcp_meta` that says that nothing is left in clear. */
export const sealingDone = ["sealing", "2"] as const
const digest = /^[\w-]{43}$/

/** Rows of one page: values of steps may be large. */
const pageRows = 64

type Statement = readonly [text: string, params: ReadonlyArray<Param>]

const rowsOf = (connection: Connection, [text, params]: Statement) =>
  connection.execute(text, params, undefined) as Effect.Effect<ReadonlyArray<Row>, unknown>

/** Visits every row of a table, in the order of its key. A row that is written meanwhile may be visited again. */
const everyRow = (
  connection: Connection,
  table: string,
  key: ReadonlyArray<string>,
  columns: ReadonlyArray<string>,
  visit: (row: Row) => Effect.Effect<unknown, unknown>
): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const [names, places] = [key.join(","), key.map(() => "?").join(",")]
    let after: ReadonlyArray<Param> | undefined = undefined
    while (true) {
      const rows: ReadonlyArray<Row> = yield* rowsOf(connection, [
        `SELECT ${[...key, ...columns].join(",")} FROM ${table} ${
          after === undefined ? "" : `WHERE (${names}) > (${places})`
        } ORDER BY ${names} LIMIT ${pageRows}`,
        after ?? []
      ])
      yield* Effect.forEach(rows, visit, { discard: true })
      const last = rows.at(-1)
      if (last === undefined || rows.length < pageRows) return
      after = key.map((name) => String(last[name]))
    }
  })

/** Renames a row; deletes it where a later row has that name already. */
const renamed = (
  connection: Connection,
  table: string,
  [scope, name]: readonly [string, string],
  [of, from, to]: readonly [string, string, string]
) =>
  Effect.gen(function* () {
    const taken = yield* rowsOf(connection, [
      `SELECT 1 AS n FROM ${table} WHERE ${scope} = ? AND ${name} = ?`,
      [of, to]
    ])
    yield* taken.length > 0
      ? connection.executeRaw(`DELETE FROM ${table} WHERE ${scope} = ? AND ${name} = ?`, [of, from])
      : connection.executeRaw(`UPDATE ${table} SET ${name} = ? WHERE ${scope} = ? AND ${name} = ?`, [to, of, from])
  })

/** Whether a key is the digest of the key that its job was submitted with. */
const isNamed = (connection: Connection, sealer: Sealer, { idempotency_key, job_id }: Row) =>
  Effect.map(rowsOf(connection, ["SELECT data FROM arcp_jobs WHERE job_id = ?", [String(job_id)]]), ([job]) => {
    const text = job === undefined ? undefined : sealer.open(String(job.data), `job ${String(job_id)}`)
    // Where the job is gone, only the form of the key decides.
    if (text === undefined) return true
    const { idempotencyKey } = JSON.parse(text) as { readonly idempotencyKey?: unknown }
    return idempotencyKey !== idempotency_key
  })

const keys = (connection: Connection, sealer: Sealer) =>
  everyRow(connection, "arcp_keys", ["principal_id", "idempotency_key"], ["job_id"], (row) =>
    Effect.gen(function* () {
      const [principal, key] = [String(row.principal_id), String(row.idempotency_key)]
      if (digest.test(key) && (yield* isNamed(connection, sealer, row))) return
      const to = keyName(sealer, principal, key)
      yield* renamed(connection, "arcp_keys", ["principal_id", "idempotency_key"], [principal, key, to])
    })
  )

const steps = (connection: Connection, sealer: Sealer) =>
  everyRow(connection, "arcp_steps", ["job_id", "name"], ["value"], (row) => {
    const [job, name, sealed] = [String(row.job_id), String(row.name), String(row.value)]
    // Its value is bound to the name in clear.
    const value = sealer.open(sealed, `step ${job} ${name}`)
    if (value === undefined) return Effect.void
    const to = stepName(sealer, job, name)
    return Effect.zipRight(
      renamed(connection, "arcp_steps", ["job_id", "name"], [job, name, to]),
      connection.executeRaw("UPDATE arcp_steps SET value = ? WHERE job_id = ? AND name = ? AND value = ?", [
        sealStep(sealer, job, name, value),
        job,
        to,
        sealed
      ])
    )
  })

const budgets = (connection: Connection, sealer: Sealer) =>
  everyRow(connection, "arcp_job_states", ["job_id"], ["budget"], ({ budget, job_id }) =>
    // What is encrypted is base64, which no JSON object is.
    typeof budget === "string" && budget.startsWith("{")
      ? connection.executeRaw("UPDATE arcp_job_states SET budget = ? WHERE job_id = ?", [
          sealer.seal(budget, `budget ${String(job_id)}`),
          String(job_id)
        ])
      : Effect.void
  )

const isDone = "SELECT 1 AS n FROM arcp_meta WHERE name = ?"

const everything = (connection: Connection, sealer: Sealer): ReadonlyArray<Effect.Effect<unknown, unknown>> => [
  keys(connection, sealer),
  steps(connection, sealer),
  budgets(connection, sealer),
  connection.executeRaw("INSERT INTO arcp_meta (name, value) VALUES (?, ?)", sealingDone)
]

/** Encrypts what is left in clear. Does nothing without a key, or where it has been done. */
export const reseal = ({ query, withConnection }: Access, sealer: Sealer): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    if (!sealer.encrypts) return
    const done = yield* query("start", isDone, [sealingDone[0]])
    if (done.length > 0) return
    yield* withConnection("encrypt what an earlier version left in clear", (connection) =>
      transaction(connection, everything(connection, sealer))
    )
  })

/** The same as a part of a transaction that is open. */
export const resealWithin = (connection: Connection, sealer: Sealer): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    if (!sealer.encrypts) return
    const done = yield* rowsOf(connection, [isDone, [sealingDone[0]]])
    if (done.length === 0) yield* Effect.forEach(everything(connection, sealer), (each) => each, { discard: true })
  })
