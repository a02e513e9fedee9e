/** Applies the rules of `rooms.ts` to this repository; prints each violation with what to do, and exits 1 if there is one. */
import { readdirSync, readFileSync } from "node:fs"
import ts from "typescript"
import type { Manifest } from "./manifest.js"
import { checkPackage, checkSources, format, type Source } from "./rooms.js"

const root = new URL("../", import.meta.url)

const read = (folder: string): ReadonlyArray<Source> =>
  readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .filter((path) => /\.[cm]?tsx?$/.test(path))
    .map((path) => ({ path, text: readFileSync(new URL(path, root), "utf8") }))

const sources = [...read("src"), ...read("examples"), ...read("test")]
const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as Manifest
const tsconfig = ts.readConfigFile(new URL("tsconfig.json", root).pathname, ts.sys.readFile).config as {
  readonly compilerOptions: { readonly paths: Record<string, ReadonlyArray<string>> }
}

const violations = [
  ...checkSources(sources, manifest),
  ...checkPackage(
    sources.map(({ path }) => path),
    manifest,
    tsconfig.compilerOptions.paths
  )
]

for (const violation of violations) console.error(format(violation))
// a run that saw no source has checked nothing
const failed = violations.length > 0 || !sources.some(({ path }) => path.startsWith("src/"))
console.log(`${failed ? "FAILED" : "ok"} rooms: ${sources.length} files, ${violations.length} violations`)
process.exitCode = failed ? 1 : 0
