/**
 * Loads every entry of the built package by its name, as a user's Node does, and starts each program of it. The tests run the
 * sources; this runs what is published.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = new URL("../", import.meta.url)
const { bin, exports, name } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"))

const entries = Object.keys(exports).filter((key) => typeof exports[key]?.default === "string")
for (const entry of entries) {
  const loaded = await import(`${name}${entry.slice(1)}`)
  if (Object.keys(loaded).length === 0) throw new Error(`${name}${entry.slice(1)} exports nothing`)
}

for (const [program, path] of Object.entries(bin)) {
  const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL(path, root)), "version"], {
    encoding: "utf8",
    timeout: 30_000
  })
  if (status !== 0) throw new Error(`${program} version: exit ${status}\n${stderr}`)
}
console.log(`ok ${entries.length} entries, ${Object.keys(bin).length} program`)
