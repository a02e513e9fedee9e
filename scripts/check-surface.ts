/** Applies the rules of `surface.ts` to the built package; prints each violation with what to do, and exits 1 if there is one. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Manifest } from "./manifest.js"
import { checkSurface, formatViolation, programOf, surfaceOf } from "./surface.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as Manifest
const surface = surfaceOf(programOf(root, manifest), root, manifest)
const violations = checkSurface(surface)
for (const violation of violations) console.error(formatViolation(manifest, violation))
const names = [...surface.entries.values()].reduce((sum, entry) => sum + entry.length, 0)
// a run that saw no name has checked nothing
const failed = violations.length > 0 || names === 0
console.log(
  `${failed ? "FAILED" : "ok"} surface: ${surface.entries.size} entries, ${names} names, ${violations.length} violations`
)
process.exitCode = failed ? 1 : 0
