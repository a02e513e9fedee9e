/**
 * Makes the databases of `test/store/fixtures` by running the programs that wrote such files: for each schema that was published, the
 * sources of the last commit that had it, with a runtime that is killed while it works. `npm run fixtures` makes all; names after
 * `--` select some. A new step of the schema needs a new row here.
 */
import { layer as reactivity } from "@effect/experimental/Reactivity"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { fixtures, keyOf } from "../test/store/fixtures/list.js"

const root = fileURLToPath(new URL("../", import.meta.url))
const here = "test/store/fixtures"

const run = (command: string, args: ReadonlyArray<string>, cwd: string) => {
  const done = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 1 << 28 })
  return { ...done, output: `${done.stdout}${done.stderr}` }
}

/** The sources of a commit, with the packages of today. */
const checkout = (commit: string, folder: string) => {
  mkdirSync(folder, { recursive: true })
  const archive = run(
    "git",
    ["archive", "--format=tar", `--output=${folder}.tar`, commit, "src", "test", "package.json", "tsconfig.json"],
    root
  )
  if (archive.status !== 0) throw new Error(archive.output)
  const unpacked = run("tar", ["-xf", `${folder}.tar`, "-C", folder], root)
  if (unpacked.status !== 0) throw new Error(unpacked.output)
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
  for (const name of ["scene.ts", "facts.ts"]) {
    mkdirSync(join(folder, here), { recursive: true })
    copyFileSync(join(root, here, name), join(folder, here, name))
  }
}

/** Moves the write-ahead log into the file, and returns the file's schema. */
const settled = (filename: string) =>
  Effect.gen(function* () {
    const sql = yield* SqliteClient.make({ filename })
    yield* sql.unsafe("PRAGMA wal_checkpoint(TRUNCATE)")
    const [row] = yield* sql.unsafe<{ readonly id: number }>("SELECT MAX(id) AS id FROM arcp_migrations")
    return row!.id
  }).pipe(Effect.provide(reactivity), Effect.scoped, Effect.runPromise)

const chosen = process.argv.slice(2)
const work = mkdtempSync(join(tmpdir(), "arcp-fixtures-"))
for (const { commit, name, schema, sealed } of fixtures) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  const folder = join(work, name)
  checkout(commit, folder)
  const [database, facts] = [join(work, `${name}.db`), join(work, `${name}.json`)]
  const args = [join(folder, here, "scene.ts"), database, facts, ...(sealed ? [keyOf({ schema })] : [])]
  const { output, signal } = run(process.execPath, ["--import", "tsx", ...args], folder)
  if (signal !== "SIGKILL") throw new Error(`${name}: the program was not killed:\n${output}`)
  const found = await settled(database)
  if (found !== schema) throw new Error(`${name}: the commit writes schema ${found}, and not ${schema}`)
  for (const file of [database, facts]) copyFileSync(file, join(root, here, file.slice(dirname(file).length + 1)))
  console.log(`${name}: ${statSync(database).size} bytes`)
}
rmSync(work, { recursive: true, force: true })
