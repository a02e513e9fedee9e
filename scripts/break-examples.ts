/**
 * Breaks the rule of each example in a copy of the build, and demands that the example fails: an example that passes without its rule
 * shows nothing.
 *
 * `npm run examples:break` takes all, `npm run examples:break -- delegation` those whose name contains one of the words. These run twice
 * in the copy, first whole, so that what fails is the rule and not the copy; of all, the first one does. It needs the build.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { examplesIn, inParallel, run } from "./examples/programs.js"
import { type Broken, rules } from "./examples/rules.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const { name: packageName } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly name: string }

/** The examples beside the package as it is published, with one copy of each package that both use. */
const copy = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "arcp-examples-"))
  const modules = join(folder, "node_modules")
  const own = join(modules, packageName)
  mkdirSync(own, { recursive: true })
  for (const entry of readdirSync(join(root, "node_modules"))) {
    if (!entry.startsWith(".") && entry !== packageName)
      symlinkSync(join(root, "node_modules", entry), join(modules, entry))
  }
  for (const part of ["package.json", "dist"]) cpSync(join(root, part), join(own, part), { recursive: true })
  cpSync(join(root, "examples"), join(folder, "examples"), { recursive: true })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  // without the paths of ours: the package is found in node_modules
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { module: "NodeNext", target: "ES2022" } })
  )
  return folder
}

const { ARCP_TOKEN: _token, ARCP_URL: _url, ...env } = process.env

/** Why a rule is not shown to be kept by its example; undefined: it is. */
const problemOf = async (
  { example, file, from, rule, to }: Broken,
  alsoWhole: boolean
): Promise<string | undefined> => {
  const program = examplesIn(root).find(({ name }) => name === example)
  if (program === undefined) return "there is no such example"
  const folder = copy()
  try {
    const place = join(folder, "node_modules", packageName, file)
    const text = existsSync(place) ? readFileSync(place, "utf8") : ""
    if (text.split(from).length !== 2) return `${file} does not have this exactly once: ${from}`
    if (alsoWhole) {
      const whole = await run(folder, program.file, env)
      if (whole.code !== 0) return `fails before the rule is broken:\n${whole.output}`
    }
    writeFileSync(
      place,
      text.replace(from, () => to)
    )
    const broken = await run(folder, program.file, env)
    if (broken.code === 0) return `PASSES without the rule: ${rule}`
    // A build that cannot be loaded proves nothing.
    return /\bSyntaxError\b|ERR_MODULE_NOT_FOUND/.test(broken.output)
      ? `is no program any more:\n${broken.output}`
      : undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const words = process.argv.slice(2)
const chosen = rules.filter(({ example }) => words.length === 0 || words.some((word) => example.includes(word)))
const without = examplesIn(root).filter(({ name }) => !rules.some(({ example }) => example === name))
let problems = 0
const report = (example: string, problem: string): void => {
  problems++
  console.error(`FAILED ${example}: ${problem}`)
}
for (const { name } of without) report(name, "no line of scripts/examples/rules.ts says how to break its rule")
// More than there are processors: a program whose rule is broken often waits for what does not come.
await inParallel(chosen, availableParallelism() + 2, async (broken) => {
  const problem = await problemOf(broken, words.length > 0 || broken === chosen[0])
  if (problem === undefined) console.log(`ok ${broken.example}: fails without "${broken.rule}"`)
  else report(broken.example, problem)
})
console.log(`${chosen.length} rules broken, ${problems} problems`)
process.exitCode = problems > 0 || chosen.length === 0 ? 1 : 0
