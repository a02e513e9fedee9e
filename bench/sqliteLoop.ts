/** The floor of what is kept: the same bytes written to SQLite by a bare loop, with nothing between it and the driver. */
import { mkdtempSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** What is used of the driver, which has no types of its own. */
interface Database {
  readonly pragma: (text: string) => unknown
  readonly exec: (text: string) => unknown
  readonly prepare: (text: string) => { readonly run: (...values: ReadonlyArray<unknown>) => unknown }
  readonly close: () => void
}

/** Chunks of one transaction: about what the runtime's writer finds when it comes to write. */
const together = 8

/** Writes chunks, a row each, with the settings of the store; answers how long it took. */
export const sqliteLoop = ({ bytes, chunk }: { readonly bytes: number; readonly chunk: number }) => {
  const Sqlite = createRequire(import.meta.url)("better-sqlite3") as new (file: string) => Database
  const folder = mkdtempSync(join(tmpdir(), "arcp-bench-"))
  const database = new Sqlite(join(folder, "floor.db"))
  try {
    for (const setting of ["auto_vacuum = INCREMENTAL", "journal_mode = WAL", "secure_delete = ON"])
      database.pragma(setting)
    database.pragma("synchronous = NORMAL")
    database.exec("CREATE TABLE chunk (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    const insert = database.prepare("INSERT INTO chunk (seq, data) VALUES (?, ?)")
    const data = Buffer.from("abcdefghijklmnopqrstuvwxyz".repeat(Math.ceil(chunk / 26)).slice(0, chunk))
    const chunks = Math.ceil(bytes / chunk)
    const begin = performance.now()
    for (let n = 0; n < chunks; n++) {
      if (n % together === 0) database.exec("BEGIN IMMEDIATE")
      insert.run(n, data)
      if (n % together === together - 1 || n === chunks - 1) database.exec("COMMIT")
    }
    return { ms: performance.now() - begin }
  } finally {
    database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
