/** Runs every example, several at a time, and fails where one fails or does not end. */
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { examplesIn, inParallel, run } from "./examples/programs.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const examples = examplesIn(root)
// a run that found no program has shown nothing
if (examples.length === 0) throw new Error("no example is a program: expected files in examples/ that call runMain")

// each brings its own runtime, whatever this shell is set up for
const { ARCP_TOKEN: _token, ARCP_URL: _url, ...env } = process.env
let failures = 0
await inParallel(examples, Math.max(2, availableParallelism()), async ({ file, name }) => {
  const { code, milliseconds, output, signal } = await run(root, file, env)
  if (code === 0) return console.log(`ok ${name} (${milliseconds} ms)`)
  failures++
  console.error(`${output}\nFAILED ${name} (${signal ?? `exit ${code}`}, ${milliseconds} ms)`)
})
console.log(`${examples.length} examples, ${failures} failures`)
process.exitCode = failures > 0 ? 1 : 0
