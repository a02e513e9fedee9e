/** Applies the rules of `packed.ts` to what `npm pack` would pack; prints each problem, and exits 1 if there is one. Needs a build. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Manifest } from "./manifest.js"
import { problemsOf } from "./packed.js"

const root = fileURLToPath(new URL("../", import.meta.url))

const run = (command: string, args: ReadonlyArray<string>): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: 120_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit ${status}`}\n${stderr}`)
  return stdout
}

const read = (path: string): string => readFileSync(join(root, path), "utf8")
const manifest = JSON.parse(read("package.json")) as Manifest
const [{ files, unpackedSize }] = JSON.parse(run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"])) as [
  { readonly files: ReadonlyArray<{ readonly path: string }>; readonly unpackedSize: number }
]
const packed = files.map(({ path }) => path)
const tracked = run("git", ["ls-files", "--cached", "--others", "--exclude-standard"])
  .split("\n")
  .filter((path) => path !== "")

const problems = problemsOf(manifest, packed, tracked, read)
for (const problem of problems) console.error(problem)
console.log(
  `${problems.length > 0 ? "FAILED" : "ok"} packed: ${packed.length} files, ${Math.round(unpackedSize / 1024)} KB, ${problems.length} problems`
)
if (problems.length > 0) process.exitCode = 1
