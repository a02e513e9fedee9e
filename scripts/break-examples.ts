/**
 * Breaks the rule of each example in a copy of the build, and demands that the example fails: an example that passes without its rule
 * shows nothing.
 *
 * `npm run examples:break` takes all, `npm run examples:break -- delegation` those whose name contains one of the words. These run twice
 * in the copy, first whole, so that what fails is the rule and not the copy; of all, the first one does. It needs the build.
 */
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { breaking } from "./examples/breaking.js"
import { examplesIn, inParallel } from "./examples/programs.js"
import { rules } from "./examples/rules.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const examples = examplesIn(root)
const words = process.argv.slice(2)
const chosen = rules.filter(({ example }) => words.length === 0 || words.some((word) => example.includes(word)))
const without = examples.filter(({ name }) => !rules.some(({ example }) => example === name))
let problems = 0
const report = (example: string, problem: string): void => {
  problems++
  console.error(`FAILED ${example}: ${problem}`)
}
for (const { name } of without) report(name, "no line of scripts/examples/rules.ts says how to break its rule")
const { close, problemOf } = await breaking({ root, modules: join(root, "node_modules"), examples })
try {
  // More than there are processors: a program whose rule is broken often waits for what does not come.
  await inParallel(chosen, availableParallelism() + 2, async (broken) => {
    const problem = await problemOf(broken, words.length > 0 || broken === chosen[0])
    if (problem === undefined) console.log(`ok ${broken.example}: fails without "${broken.rule}"`)
    else report(broken.example, problem)
  })
} finally {
  close()
}
console.log(`${chosen.length} rules broken, ${problems} problems`)
process.exitCode = problems > 0 || chosen.length === 0 ? 1 : 0
