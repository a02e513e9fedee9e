/**
 * Brings a database to the schema of this version, when it is opened.
 *
 * Responsibility: applies the steps that are missing, and records each. A database that a newer version has written is
 * rejected, unchanged.
 *
 * Order: one transaction reads the record, runs every missing step and writes its number. So a step that fails, and a process that is
 * killed meanwhile, leave the database as it was: the version that wrote it still opens it.
 *
 * Races: the transaction takes the write lock before it reads. Of two processes that open the same database, the second waits and
 * then finds nothing to do.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import { StoreError } from "../Store.js"
import { type Migration, migrations } from "./migrations.js"
import { fail, reasonOf, type Row, transaction } from "./sql.js"

const newer = (found: number, known: number): StoreError =>
  new StoreError({
    operation: "migrate",
    message:
      `the database has schema ${found}, and this version knows schemas up to ${known}: a newer version has written it. ` +
      "Start that version or a later one, or restore the backup from before the upgrade. Nothing was changed",
    schema: { found, known }
  })

/** The steps that the database has had. */
const stepsOf = (rows: ReadonlyArray<Row>, known: number): Effect.Effect<ReadonlySet<number>, StoreError> => {
  const done = new Set(rows.map(({ id }) => Number(id)))
  const last = Math.max(0, ...done)
  return last > known ? Effect.fail(newer(last, known)) : Effect.succeed(done)
}

const step = (connection: Connection, { id, statements }: Migration): Effect.Effect<void, StoreError> =>
  Effect.forEach(statements, (statement) => connection.executeRaw(statement, []), { discard: true }).pipe(
    Effect.zipRight(connection.executeRaw("INSERT INTO arcp_migrations (id) VALUES (?)", [id])),
    Effect.asVoid,
    Effect.catchAllDefect((defect) => Effect.fail(defect)),
    Effect.mapError((error) =>
      fail("migrate", error, `the database refused step ${id} of its schema: ${reasonOf(error)}. Nothing was changed`)
    )
  )

const missingSteps = (steps: ReadonlyArray<Migration>, connection: Connection): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    yield* connection.executeRaw("CREATE TABLE IF NOT EXISTS arcp_migrations (id BIGINT PRIMARY KEY)", [])
    const rows = yield* connection.execute("SELECT id FROM arcp_migrations", [], undefined)
    const done = yield* stepsOf(rows as ReadonlyArray<Row>, steps.length)
    for (const missing of steps) if (!done.has(missing.id)) yield* step(connection, missing)
  })

/** Applies those of the steps that a database has not had; they are numbered from 1. */
export const migrateTo =
  (steps: ReadonlyArray<Migration>) =>
  (connection: Connection): Effect.Effect<void, StoreError> =>
    transaction(connection, [missingSteps(steps, connection)]).pipe(
      Effect.mapError((error) => (error instanceof StoreError ? error : fail("migrate", error)))
    )

export const migrate = migrateTo(migrations)

/** The same as a part of a transaction that is open. */
export const migrateWithin = (connection: Connection): Effect.Effect<void, unknown> =>
  missingSteps(migrations, connection)
