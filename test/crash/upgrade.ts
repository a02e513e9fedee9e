/** Files of earlier versions whose upgrade is killed: each is as it was, or as the new version makes it, and nothing in between. */
import { copyFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { layer as reactivity } from "@effect/experimental/Reactivity"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Effect } from "effect"
import { migrations } from "../../src/store/internal/migrations.js"
import type { Random } from "./runtimes.js"

const here = fileURLToPath(new URL("../store/fixtures/", import.meta.url))

/** The schema that this version writes. */
const latest = migrations.at(-1)!.id

/** Files of earlier schemas that are not sealed, and their schemas. */
const earlier = readdirSync(here).flatMap((name) => {
  const schema = Number(/^schema-(\d+)\.db$/.exec(name)?.[1] ?? latest)
  return schema < latest ? [{ name, schema }] : []
})

/** The steps that a file has had, and what it has of each kind. */
const contentsOf = (filename: string) =>
  Effect.gen(function* () {
    const sql = yield* SqliteClient.make({ filename })
    const steps = yield* sql.unsafe<{ readonly id: number }>("SELECT id FROM arcp_migrations ORDER BY id")
    const tables = ["arcp_sessions", "arcp_jobs", "arcp_job_states", "arcp_keys"]
    const rows = yield* Effect.forEach(tables, (table) =>
      Effect.map(sql.unsafe<{ readonly n: number }>(`SELECT COUNT(*) AS n FROM ${table}`), ([row]) => Number(row?.n))
    )
    const [check] = yield* sql.unsafe<{ readonly integrity_check: string }>("PRAGMA integrity_check")
    return { steps: steps.map(({ id }) => Number(id)), rows, integrity: check?.integrity_check }
  }).pipe(Effect.scoped, Effect.provide(reactivity), Effect.runPromise)

/** A file of an earlier version at a place. Returns what is wrong with it after a kill in the middle of its upgrade. */
export const placeEarlier = async (filename: string, random: Random) => {
  const { name, schema } = random.pick(earlier)
  copyFileSync(join(here, name), filename)
  const before = await contentsOf(filename)
  return {
    problemAfterKill: async (): Promise<string | undefined> => {
      const { integrity, rows, steps } = await contentsOf(filename)
      const is = `${name} after a kill has the steps ${steps.join(", ")} and ${rows.join(", ")} rows`
      if (integrity !== "ok") return `${is}: ${integrity}`
      const last = steps.at(-1)
      if (last !== schema && last !== latest) return `${is}: neither those of ${schema} nor those of ${latest}`
      // A runtime that has come further removes what has outlived its retention; the upgrade itself removes nothing.
      return last === schema && String(rows) !== String(before.rows)
        ? `${is}, and had ${before.rows.join(", ")}`
        : undefined
    },
    /** Whether it is of its own schema still. */
    isEarlier: async (): Promise<boolean> => (await contentsOf(filename)).steps.at(-1) === schema
  }
}
