/** 1.0 §14 What the key of a store covers: the page says it of each column, and the file shows it. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { sealedColumns } from "../../src/store/internal/sqlRekey.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { scratch } from "../support/scratch.js"
import { storeKey } from "../support/storeKeys.js"
import { amount, marker, writeEverything } from "./fixtures/everything.js"
import { using, withFile } from "./fixtures/open.js"

const folder = scratch("arcp-columns-")

const page = readFileSync("docs/security.md", "utf8")
const section = page.split("\n### What a store's key covers\n")[1]?.split("\n#")[0] ?? ""

const names = (cell: string): ReadonlyArray<string> => Array.from(cell.matchAll(/`([a-z_]+)`/g), ([, name]) => name!)

/** What the page says: the columns of each table, encrypted, by digest, and in clear. */
const said = new Map(
  Array.from(section.matchAll(/^\| `(arcp_[a-z_]+)` \|([^|]*)\|([^|]*)\|([^|]*)\|$/gm), ([, table, ...cells]) => [
    table!,
    cells.map((cell) => names(cell!))
  ])
)

const columnsOf = (filename: string) =>
  Effect.gen(function* () {
    const tables = (yield* withFile(
      filename,
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'arcp%'"
    )) as ReadonlyArray<{ readonly name: string }>
    return yield* Effect.forEach(tables, ({ name }) =>
      Effect.map(
        using(filename, (sql) => sql.unsafe<{ readonly name: string }>(`PRAGMA table_info(${name})`)),
        (columns) => [name, columns.map((column) => column.name)] as const
      )
    )
  })

describe("1.0 §14 the columns of an encrypted store", () => {
  it.effect("are listed by the page, each once", () =>
    Effect.gen(function* () {
      const filename = join(folder, "empty.db")
      yield* Effect.scoped(Layer.build(SqliteStore.layer({ filename })))
      const tables = yield* columnsOf(filename)
      expect([...said.keys()].toSorted()).toEqual(tables.map(([table]) => table).toSorted())
      for (const [table, columns] of tables) {
        expect([table, said.get(table)!.flat().toSorted()]).toEqual([table, columns.toSorted()])
      }
    })
  )

  it("that the page calls encrypted are those that a rekey seals anew", () => {
    const sealed = [...said].flatMap(([table, [encrypted = []]]) => encrypted.map((column) => `${table}.${column}`))
    expect(sealed.toSorted()).toEqual(
      [
        ...sealedColumns.map(({ column, table }) => `${table}.${column}`),
        "arcp_steps.value",
        "arcp_meta.value"
      ].toSorted()
    )
  })

  it.effect("hold no text of a record, and neither does the file", () =>
    Effect.gen(function* () {
      const [sealed, clear] = [join(folder, "sealed.db"), join(folder, "clear.db")]
      yield* Effect.provide(writeEverything, SqliteStore.layer({ filename: sealed, encryptionKey: storeKey() }))
      yield* Effect.provide(writeEverything, SqliteStore.layer({ filename: clear }))
      expect(readFileSync(sealed, "latin1")).not.toContain(marker)
      expect(readFileSync(sealed, "latin1")).not.toContain(amount)
      const tells = (values: ReadonlyArray<string>) =>
        values.some((text) => text.includes(marker) || text.includes(amount))
      for (const [table, [encrypted = [], digests = []]] of said) {
        for (const column of [...encrypted, ...digests]) {
          if (table === "arcp_meta") continue
          const valuesIn = (filename: string) =>
            Effect.map(
              withFile(filename, `SELECT CAST(${column} AS TEXT) AS value FROM ${table} WHERE ${column} IS NOT NULL`),
              (rows) => (rows as ReadonlyArray<{ readonly value: string }>).map(({ value }) => value)
            )
          // In clear there is something to be found: the column is written, and the search works.
          expect([table, column, tells(yield* valuesIn(clear))]).toEqual([table, column, true])
          expect([table, column, tells(yield* valuesIn(sealed))]).toEqual([table, column, false])
        }
      }
    })
  )
})
