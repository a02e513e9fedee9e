/**
 * Runs one example: `npm run example submit-and-stream`, also `submit_and_stream`. Without a name it lists them all.
 *
 * With `ARCP_URL` (and `ARCP_TOKEN`) an example's client drives the runtime there; without, the example brings its own.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { exampleNamed, examplesIn } from "./examples/programs.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const examples = examplesIn(root)
const list = () => {
  const width = Math.max(...examples.map(({ name }) => name.length))
  return examples.map(({ about, name }) => `  ${name.padEnd(width)}  ${about}`).join("\n")
}

const [name, ...args] = process.argv.slice(2)
if (name === undefined) {
  console.log(`npm run example NAME runs one of these:\n${list()}`)
} else {
  const example = exampleNamed(examples, name)
  if (example === undefined) {
    console.error(`there is no example ${JSON.stringify(name)}; there are:\n${list()}`)
    process.exitCode = 2
  } else {
    const { signal, status } = spawnSync(process.execPath, ["--import", "tsx", example.file, ...args], {
      cwd: root,
      stdio: "inherit"
    })
    process.exitCode = status ?? (signal === "SIGINT" ? 130 : 1)
  }
}
