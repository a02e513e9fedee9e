/** Runs every example that is a program of its own and fails when one fails. Files without a `main` marker are libraries. */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

const folder = new URL("../examples/", import.meta.url)
const programs = readdirSync(folder)
  .filter((name) => name.endsWith(".ts"))
  .filter((name) => readFileSync(new URL(name, folder), "utf8").includes("runMain"))
  .toSorted()

if (programs.length === 0) {
  console.error("no example is a program: expected files in examples/ that call runMain")
  process.exit(1)
}
for (const name of programs) {
  const started = performance.now()
  const { status } = spawnSync("npx", ["tsx", `examples/${name}`], {
    cwd: new URL("..", import.meta.url),
    stdio: ["ignore", "ignore", "inherit"],
    timeout: 120_000
  })
  console.log(`${status === 0 ? "ok" : "FAILED"} examples/${name} (${Math.round(performance.now() - started)} ms)`)
  if (status !== 0) process.exit(1)
}
