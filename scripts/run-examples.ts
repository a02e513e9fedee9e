/**
 * Runs every example that is a program, one after the other, and fails at the first that fails or hangs. A program is a file of
 * `examples/` that calls `runMain`; one that another example starts says so on a line `// started by other.ts`.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = new URL("../", import.meta.url)
const folder = new URL("examples/", root)
const timeout = 120_000

const fail = (message: string): never => {
  console.error(message)
  process.exit(1)
}

const programs = readdirSync(folder)
  .filter((name) => name.endsWith(".ts"))
  .filter((name) => {
    const text = readFileSync(new URL(name, folder), "utf8")
    const starter = /^\/\/ started by (\S+)$/m.exec(text)?.[1]
    if (starter !== undefined && !existsSync(new URL(starter, folder))) {
      fail(`examples/${name} is started by ${starter}, which is not there`)
    }
    return starter === undefined && /\brunMain\b/.test(text)
  })
  .toSorted()

// a run that found no program has shown nothing
if (programs.length === 0) fail("no example is a program: expected a file in examples/ that calls runMain")

for (const name of programs) {
  const started = performance.now()
  const { error, signal, status, stderr, stdout } = spawnSync(
    process.execPath,
    ["--import", "tsx", `examples/${name}`],
    { cwd: fileURLToPath(root), encoding: "utf8", killSignal: "SIGKILL", maxBuffer: 64 * 1024 * 1024, timeout }
  )
  const took = `${Math.round(performance.now() - started)} ms`
  if (status !== 0) {
    const why = signal === null ? `exit ${status}` : (error?.message ?? signal)
    fail(`${stdout}${stderr}\nFAILED examples/${name} (${why}, ${took})`)
  }
  console.log(`ok examples/${name} (${took})`)
}
