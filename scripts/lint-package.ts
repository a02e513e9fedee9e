/**
 * The packed package as tools see it: publint (strict) over its manifest and files, and arethetypeswrong over the types of each entry.
 * `esm-only`: what CommonJS and the resolution of old compilers would find is not looked at, since this package is ESM.
 *
 * Needs a build (`npm run build`).
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))
const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string
  readonly version: string
}

/** Runs a program of `node_modules/.bin`; what it prints is printed only where it fails. */
const passes = (what: string, command: string, args: ReadonlyArray<string>): boolean => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8", timeout: 300_000 })
  const ok = status === 0
  if (!ok) console.error(`${stdout}${stderr}${error?.message ?? ""}`)
  console.log(`${ok ? "ok" : "FAILED"} ${what}`)
  return ok
}

const bin = (program: string): string => join(root, "node_modules/.bin", program)

const folder = mkdtempSync(join(tmpdir(), "arcp-lint-"))
try {
  if (!existsSync(join(root, "dist"))) throw new Error("there is no dist: npm run build")
  const tarball = join(folder, `${name}-${version}.tgz`)
  const checks = [
    () => passes("npm pack", "npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder]),
    () => passes("publint", bin("publint"), ["run", tarball, "--strict"]),
    () =>
      passes("arethetypeswrong", bin("attw"), [
        tarball,
        ...["--profile", "esm-only", "--format", "table-flipped", "--no-color", "--no-emoji"]
      ])
  ]
  if (!checks.every((check) => check())) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
