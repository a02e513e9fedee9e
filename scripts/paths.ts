/**
 * Prints which files one event and one submit pass through, with the functions that ran, and exits 1 if more files of the runtime are
 * among them than the targets allow (see `passed.ts`). `npm run paths`; with `-- --json` it prints the measurement and checks no target.
 */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { countOf, measurePaths, type Paths, targets } from "./passed.js"

const root = fileURLToPath(new URL("../", import.meta.url)).replaceAll("\\", "/")
const titles: { readonly [Act in keyof Paths]: string } = {
  event: "one event, from Job.log until the client has its frame",
  submit: "one submit, from its frame until the agent's handler runs"
}

const paths = await Effect.runPromise(measurePaths(root, 200))
const json = process.argv.includes("--json")
if (json) console.log(JSON.stringify(paths))
for (const act of json ? [] : (["event", "submit"] as const)) {
  const counts = countOf(paths[act])
  console.log(`${titles[act]}:`)
  for (const { functions, path, unnamed } of paths[act]) {
    const names = [...functions, ...(unnamed === 0 ? [] : [`${unnamed} without a name`])]
    console.log(`  ${path}: ${names.join(", ")}`)
  }
  const over = counts.runtime > targets[act]
  const verdict = over ? `FAILED: at most ${targets[act]}` : `ok, at most ${targets[act]}`
  console.log(
    `${verdict}: ${counts.runtime} files of runtime (and ${counts.kernel} of its kernel), ${counts.all} in all\n`
  )
  if (over) process.exitCode = 1
}
