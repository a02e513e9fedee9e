/**
 * A `SqlClient` over one connection to a SQLite file, whose driver can also be had directly.
 *
 * Responsibility: as `@effect/sql-sqlite-node`, over the driver that it brings, so that there is one copy of it. That client keeps the
 * driver to itself, and a commit in one step needs it.
 *
 * Order: one transaction at a time. A semaphore gives the connection to one reservation or transaction; plain statements wait for it.
 *
 * Races: what runs in one step (a commit on the driver) needs no permit. It looks whether a transaction is open, and has ended its own before
 * anything else runs. A reservation that ends inside a transaction (a COMMIT that failed) is rolled back before the next one begins: nothing
 * can be written into a transaction that is nobody's.
 */
import { Reactivity } from "@effect/experimental/Reactivity"
// Loaded with this module, so that a missing package is reported by its name when the module is imported.
// oxlint-disable-next-line import/no-unassigned-import
import "@effect/sql-sqlite-node/SqliteClient"
import * as Client from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
// As a whole: bundles declare a `createRequire` of their own.
import * as Module from "node:module"
import { withDirect } from "./direct.js"
import { flushing, weightOf, WriteBack } from "./writeBack.js"

/** What is used of the driver's statements. Everything throws. */
interface DriverStatement {
  /** Whether it returns rows. */
  readonly reader: boolean
  readonly run: (...params: ReadonlyArray<unknown>) => unknown
  readonly all: (...params: ReadonlyArray<unknown>) => ReadonlyArray<unknown>
  /** Rows as arrays. */
  readonly raw: (on: boolean) => unknown
  /** Integers as `bigint`s. */
  readonly safeIntegers: (on: boolean) => unknown
}

/** What is used of the driver. */
interface Database {
  readonly prepare: (text: string) => DriverStatement
  readonly inTransaction: boolean
  readonly close: () => unknown
}

type Driver = new (filename: string, options: { readonly fileMustExist: boolean }) => Database

/** The driver that `@effect/sql-sqlite-node` brings. Throws where it is not installed. */
const driver = (): Driver => {
  // A bundle in the form of CommonJS has no address of its own: its driver lies where the program starts.
  const place = (import.meta.url as string | undefined) ?? process.argv[1] ?? `${process.cwd()}/`
  const here = Module.createRequire(place)
  let owner = here
  try {
    owner = Module.createRequire(here.resolve("@effect/sql-sqlite-node/package.json"))
  } catch {
    // The package was bundled with the program: its driver, which cannot be bundled, lies beside the bundle.
  }
  return owner("better-sqlite3") as Driver
}

/** Statements that stay prepared. The store has about a hundred texts. */
const maxPrepared = 500

const failed = (message: string) => (cause: unknown) => new SqlError({ cause, message })

/** The statements of a database by their texts, the oldest given up first. Throws what the driver throws. */
const statements = (database: Database): ((text: string) => DriverStatement) => {
  const prepared = new Map<string, DriverStatement>()
  return (text) => {
    const found = prepared.get(text)
    if (found !== undefined) return found
    const made = database.prepare(text)
    for (const oldest of prepared.keys()) {
      if (prepared.size < maxPrepared) break
      prepared.delete(oldest)
    }
    prepared.set(text, made)
    return made
  }
}

/** What a statement is run for. */
interface Mode {
  /** Rows as arrays of values. */
  readonly values: boolean
  /** Of a statement without rows: what the driver returns, and not an empty list. */
  readonly outcome: boolean
}

const rows: Mode = { values: false, outcome: false }
const values: Mode = { values: true, outcome: false }
const outcome: Mode = { values: false, outcome: true }

const connectionTo = (
  database: Database,
  cached: (text: string) => DriverStatement,
  wrote: (bytes: number) => void
): Connection => {
  const runWith = (
    prepare: (text: string) => DriverStatement,
    text: string,
    params: ReadonlyArray<unknown>,
    mode: Mode
  ): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
    Effect.withFiberRuntime((fiber) => {
      try {
        const statement = prepare(text)
        // Set each time: the statement may be one that another caller has used otherwise.
        statement.safeIntegers(Context.get(fiber.currentContext, Client.SafeIntegers))
        if (!statement.reader) {
          const done = statement.run(...params)
          // A COMMIT has none, and is when what was due inside of the transaction can be done.
          wrote(params.length === 0 ? 0 : weightOf(params))
          return Effect.succeed(mode.outcome ? (done as ReadonlyArray<unknown>) : [])
        }
        statement.raw(mode.values)
        return Effect.succeed(statement.all(...params))
      } catch (cause) {
        return Effect.fail(failed("Failed to execute statement")(cause))
      }
    })
  const execute: Connection["execute"] = (text, params, transformRows) => {
    const found = runWith(cached, text, params, rows)
    return transformRows === undefined
      ? found
      : Effect.map(found, (list) => transformRows(list as ReadonlyArray<Record<string, unknown>>))
  }
  return {
    execute,
    executeRaw: (text, params) => runWith(cached, text, params, outcome),
    executeValues: (text, params) =>
      runWith(cached, text, params, values) as Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError>,
    executeUnprepared: (text, params, transformRows) => {
      const found = runWith((sql) => database.prepare(sql), text, params ?? [], rows)
      return transformRows === undefined
        ? found
        : Effect.map(found, (list) => transformRows(list as ReadonlyArray<Record<string, unknown>>))
    },
    // One connection that everybody waits for: rows are read at once, and not while a consumer takes its time.
    executeStream: (text, params, transformRows) =>
      Stream.unwrap(Effect.map(execute(text, params, transformRows), Stream.fromIterable))
  }
}

/** Ends the transaction that a reservation has left open. */
const endTransaction = (database: Database): void => {
  if (!database.inTransaction) return
  try {
    database.prepare("ROLLBACK").run()
  } catch {
    // SQLite has rolled back by itself, or the database cannot be used any more; the next statement says which.
  }
}

/** The write-back of a file's log; in memory there is none. */
const writeBackOf = (
  database: Database,
  cached: (text: string) => DriverStatement,
  filename: string
): Pick<WriteBack, "wrote" | "close"> =>
  filename === ":memory:"
    ? { wrote: () => {}, close: () => {} }
    : new WriteBack({
        ...flushing(`${filename}-wal`),
        checkpoint: () => void cached("PRAGMA wal_checkpoint(PASSIVE)").all(),
        inTransaction: () => database.inTransaction
      })

/** Opens a file that is there, or `:memory:`; its log is not switched on. Closed with the scope. Fails with what the driver throws as `cause`. */
export const make = (filename: string): Effect.Effect<Client.SqlClient, SqlError, Scope.Scope | Reactivity> =>
  Effect.gen(function* () {
    const database = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const Database = driver()
          // The file was made before, with its mode. One that SQLite made would have another.
          return new Database(filename, { fileMustExist: filename !== ":memory:" })
        },
        catch: failed("Failed to open the database")
      }),
      (opened) => Effect.sync(() => opened.close())
    )
    const cached = statements(database)
    const { wrote } = yield* Effect.acquireRelease(
      Effect.sync(() => writeBackOf(database, cached, filename)),
      ({ close }) => Effect.sync(close)
    )
    const connection = connectionTo(database, cached, wrote)
    const semaphore = yield* Effect.makeSemaphore(1)
    const release = Effect.zipRight(
      Effect.sync(() => endTransaction(database)),
      semaphore.release(1)
    )
    const client = yield* Client.make({
      acquirer: semaphore.withPermits(1)(Effect.succeed(connection)),
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: [["db.system.name", "sqlite"]],
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          yield* restore(semaphore.take(1))
          yield* Scope.addFinalizer(yield* Effect.scope, release)
          return connection
        })
      )
    })
    return withDirect(client, {
      prepare: cached,
      all: (text, params) => {
        const statement = cached(text)
        statement.safeIntegers(false)
        if (statement.reader) {
          statement.raw(false)
          return statement.all(...params) as ReadonlyArray<Readonly<Record<string, unknown>>>
        }
        statement.run(...params)
        wrote(weightOf(params))
        return []
      },
      inTransaction: () => database.inTransaction,
      wrote
    })
  })
