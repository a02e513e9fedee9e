/**
 * Writes the reports of the public surface (`npm run api`), or with `--check` compares the committed ones with the built package, prints
 * what differs, and exits 1 where something does.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { compare, fileOf, formatDifference, reportOf } from "./apiReport.js"
import type { Manifest } from "./manifest.js"
import { programOf, surfaceOf } from "./surface.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")
const folder = `${root}docs/api/`
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as Manifest
const surface = surfaceOf(programOf(root, manifest), root, manifest)

mkdirSync(folder, { recursive: true })
const committed = new Map(
  readdirSync(folder)
    .filter((file) => file.endsWith(".api.md"))
    .map((file) => [file, readFileSync(folder + file, "utf8").replaceAll("\r\n", "\n")])
)
const current = new Map([...surface.entries.keys()].map((entry) => [fileOf(entry), reportOf(surface, entry)]))

for (const entry of surface.missing) {
  console.error(`${manifest.name}/${entry}: its declarations are missing. Build the package first: npm run build`)
}
// without declarations there is nothing to write, and nothing that is the same
let failed = surface.missing.length > 0 || current.size === 0
if (process.argv.includes("--check")) {
  const differences = compare(committed, current)
  for (const difference of differences) console.error(`docs/api/${formatDifference(difference)}`)
  if (differences.length > 0) {
    failed = true
    console.error("If the change is meant, write the reports and commit them with it: npm run api")
  }
} else if (!failed) {
  for (const file of committed.keys()) if (!current.has(file)) rmSync(folder + file)
  for (const [file, text] of current) writeFileSync(folder + file, text)
}
console.log(`${failed ? "FAILED" : "ok"} api: ${current.size} entries`)
process.exitCode = failed ? 1 : 0
