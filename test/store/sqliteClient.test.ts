/** The client over the SQLite driver, beside the one of `@effect/sql-sqlite-node`. */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { SafeIntegers, type SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, type Scope, Stream } from "effect"
import { directOf } from "../../src/store/internal/direct.js"
import * as Own from "../../src/store/internal/sqliteClient.js"

const clients = {
  "its own": Effect.provide(Own.make(":memory:"), reactivity),
  "that of the package": Effect.provide(SqliteClient.make({ filename: ":memory:", disableWAL: true }), reactivity)
} satisfies Readonly<Record<string, Effect.Effect<SqlClient, unknown, Scope.Scope>>>

describe.each(Object.entries(clients))("a SQLite client, %s,", (_name, make) => {
  it.scoped("returns rows, values, what a statement did, and integers as asked for", () =>
    Effect.gen(function* () {
      const sql = yield* make
      const connection = yield* Effect.scoped(sql.reserve)
      yield* sql`CREATE TABLE t (a INTEGER, b TEXT)`
      expect(
        yield* sql`INSERT INTO t ${sql.insert([
          { a: 1, b: "x" },
          { a: 2, b: "y" }
        ])}`
      ).toEqual([])
      const all = "SELECT a, b FROM t ORDER BY a"
      const rows = [
        { a: 1, b: "x" },
        { a: 2, b: "y" }
      ]
      expect(yield* sql.unsafe(all)).toEqual(rows)
      expect(yield* sql.unsafe(all).values).toEqual([
        [1, "x"],
        [2, "y"]
      ])
      expect(yield* Effect.provideService(sql.unsafe("SELECT a FROM t LIMIT 1"), SafeIntegers, true)).toEqual([
        { a: 1n }
      ])
      expect(yield* sql.unsafe(all)).toEqual(rows)
      expect(yield* connection.executeRaw("DELETE FROM t WHERE a = ?", [1])).toMatchObject({ changes: 1 })
      expect(yield* connection.executeUnprepared("SELECT a FROM t", [], undefined)).toEqual([{ a: 2 }])
      expect(yield* connection.execute("SELECT a FROM t", [], (found) => found.slice(1))).toEqual([])
    })
  )

  it.scoped("fails with the driver's error, and rolls back a transaction that fails", () =>
    Effect.gen(function* () {
      const sql = yield* make
      yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY)`
      const error = yield* Effect.flip(sql.unsafe("SELECT missing FROM t"))
      expect(error).toMatchObject({ _tag: "SqlError" })
      expect(String(error.cause)).toBe("SqliteError: no such column: missing")
      yield* Effect.ignore(sql.withTransaction(Effect.zipRight(sql`INSERT INTO t VALUES (1)`, Effect.fail("no"))))
      yield* sql.withTransaction(
        Effect.zipRight(
          sql`INSERT INTO t VALUES (2)`,
          Effect.ignore(sql.withTransaction(Effect.zipRight(sql`INSERT INTO t VALUES (3)`, Effect.fail("no"))))
        )
      )
      expect(yield* sql`SELECT a FROM t`).toEqual([{ a: 2 }])
    })
  )

  it.scoped("gives the connection to one reservation at a time; an interrupted wait takes nothing", () =>
    Effect.gen(function* () {
      const sql = yield* make
      const waits = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* sql.reserve
          const givenUp = yield* Effect.fork(Effect.scoped(sql.reserve))
          const plain = yield* Effect.forkDaemon(sql.unsafe("SELECT 1 AS n"))
          yield* Effect.yieldNow()
          yield* Fiber.interrupt(givenUp)
          expect(yield* Fiber.poll(plain)).toMatchObject({ _tag: "None" })
          return plain
        })
      )
      expect(yield* Fiber.join(waits)).toEqual([{ n: 1 }])
      expect(Exit.isSuccess(yield* Effect.exit(Effect.scoped(sql.reserve)))).toBe(true)
    })
  )
})

describe("the SQLite client of the store", () => {
  it.scoped("streams rows, keeps working with more statements than it keeps prepared, and has a driver", () =>
    Effect.gen(function* () {
      const sql = yield* clients["its own"]
      for (let n = 0; n < 1_200; n++) expect(yield* sql.unsafe(`SELECT ${n % 600} AS n`)).toEqual([{ n: n % 600 }])
      const stream = sql.unsafe<{ readonly n: number }>("SELECT 1 AS n UNION ALL SELECT 2").stream
      expect(Chunk.toArray(yield* Stream.runCollect(stream))).toEqual([{ n: 1 }, { n: 2 }])
      expect(directOf(sql)?.inTransaction()).toBe(false)
      expect(directOf(yield* clients["that of the package"])).toBeUndefined()
    })
  )

  it.scoped("ends a transaction that a reservation has left open", () =>
    Effect.gen(function* () {
      const sql = yield* clients["its own"]
      yield* sql`CREATE TABLE t (a INTEGER)`
      yield* Effect.scoped(
        Effect.flatMap(sql.reserve, (connection) =>
          Effect.zipRight(connection.executeRaw("BEGIN", []), connection.executeRaw("INSERT INTO t VALUES (1)", []))
        )
      )
      expect(directOf(sql)?.inTransaction()).toBe(false)
      expect(yield* sql`SELECT a FROM t`).toEqual([])
    })
  )

  it.effect("fails with the driver's error where a file cannot be opened", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(Effect.provide(Own.make("/no/such/folder/a.db"), reactivity)))
      expect(error).toMatchObject({ _tag: "SqlError" })
      expect(String(error.cause)).toContain("directory does not exist")
    })
  )
})
