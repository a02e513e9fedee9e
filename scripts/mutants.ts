/**
 * Breaks the rules of the list one by one, each in a copy of the sources, and demands that the test that is named for it fails.
 *
 * `npm run mutants` takes all, `npm run mutants -- §8.4 budgets` those whose rule, place or test contains one of the words.
 * Three things are faults: a text to replace that is not there exactly once (the code has moved: change the list), a named
 * test that does not run, and a named test that passes though its rule is broken.
 */
import { spawnSync } from "node:child_process"
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Mutant, mutants } from "./mutants/list.js"
import { place } from "./mutants/place.js"

const root = fileURLToPath(new URL("..", import.meta.url))

const copy = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "arcp-mutants-"))
  for (const name of ["src", "test", "scripts", "docs", "examples", "bench"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  for (const name of readdirSync(root)) {
    if (/^(README\.md|package\.json|tsconfig.*\.json|vitest\.config\.ts)$/.test(name)) {
      copyFileSync(join(root, name), join(folder, name))
    }
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
  return folder
}

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly message?: string
    readonly assertionResults: ReadonlyArray<{ readonly fullName: string; readonly status: string }>
  }>
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** What is wrong with a mutant that has been put in place; undefined: its test failed, as it should. */
const survives = (folder: string, { test, title }: Mutant): string | undefined => {
  const output = join(folder, "report.json")
  rmSync(output, { force: true })
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs")
  const options = ["--reporter=json", `--outputFile=${output}`, "--testTimeout=30000", "--bail=1"]
  const ran = spawnSync(process.execPath, [vitest, "run", test, "-t", escaped(title), ...options], {
    cwd: folder,
    encoding: "utf8",
    timeout: 600_000
  })
  let report: Report
  try {
    report = JSON.parse(readFileSync(output, "utf8")) as Report
  } catch {
    return `there is no report of ${test}:\n${ran.stdout.slice(-2_000)}${ran.stderr.slice(-2_000)}`
  }
  const named = report.testResults
    .flatMap((file) => file.assertionResults)
    .filter(({ fullName, status }) => fullName.includes(title) && (status === "passed" || status === "failed"))
  if (named.length === 0) {
    const why = report.testResults.flatMap(({ message }) => (message === undefined || message === "" ? [] : [message]))
    return `no test of ${test} with "${title}" in its title ran${why.length === 0 ? "" : `: ${why.join("; ").slice(0, 500)}`}`
  }
  return named.some(({ status }) => status === "failed")
    ? undefined
    : `SURVIVED: "${title}" of ${test} passes without this rule`
}

const words = process.argv.slice(2)
const chosen = mutants.filter(
  (mutant) =>
    words.length === 0 ||
    words.some((word) => [mutant.rule, mutant.inside, mutant.test, mutant.title].some((text) => text.includes(word)))
)
if (chosen.length === 0) {
  process.stderr.write(`no mutant has one of these words: ${words.join(" ")}\n`)
  process.exit(2)
}

const folder = copy()
const faults: Array<string> = []
try {
  for (const [i, mutant] of chosen.entries()) {
    const at = place(folder, mutant)
    let fault: string | undefined
    if ("fault" in at) fault = at.fault
    else {
      const before = readFileSync(at.file, "utf8")
      writeFileSync(
        at.file,
        before.replace(mutant.find, () => mutant.replace)
      )
      try {
        fault = survives(folder, mutant)
      } finally {
        writeFileSync(at.file, before)
      }
    }
    process.stdout.write(`${i + 1}/${chosen.length} ${fault === undefined ? "killed" : "FAULT "} ${mutant.rule}\n`)
    if (fault !== undefined) {
      process.stdout.write(`      ${fault}\n`)
      faults.push(mutant.rule)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.stdout.write(
  `${chosen.length - faults.length} of ${chosen.length} mutants were killed by the test named for them\n`
)
process.exitCode = faults.length === 0 ? 0 : 1
