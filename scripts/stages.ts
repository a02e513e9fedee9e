/**
 * Runs scripts of `package.json` in lanes side by side, each lane one script after the other: `tsx scripts/stages.ts check,lint -- test:unit`
 * has two lanes. `!test:install` runs a script that begins with a build without that build, where one has just been made. A script's output
 * is printed as a whole when it ends, so that lanes do not mix. The first failure ends all.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { delimiter } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const lanes = process.argv
  .slice(2)
  .join(" ")
  .split(" -- ")
  .map((lane) => lane.split(/[,\s]+/).filter((name) => name !== ""))
if (lanes.flat().length === 0) throw new Error("name the scripts to run, for example: check,lint -- test:unit")

const { scripts } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>
}
const build = "npm run build && "

/** The shell's command that runs a script, or what the script does after its build. */
const commandOf = (name: string): string => {
  const script = name.startsWith("!") ? name.slice(1) : name
  const command = scripts[script]
  if (command === undefined) throw new Error(`there is no script ${script} in package.json`)
  if (script === name) return `npm run --silent ${script}`
  if (!command.startsWith(build)) throw new Error(`${script} does not begin with a build`)
  return command.slice(build.length)
}
const commands = new Map(lanes.flat().map((name) => [name, commandOf(name)]))

const running = new Set<ChildProcess>()
let failed = false

/** Ends a script with all that it has started. */
const kill = ({ pid }: ChildProcess): void => {
  try {
    process.kill(-pid!, "SIGTERM")
  } catch {
    // it has ended by itself
  }
}
const stop = (): void => {
  failed = true
  for (const child of running) kill(child)
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stop)

const run = (script: string): Promise<void> =>
  new Promise((resolve) => {
    const started = performance.now()
    const child = spawn(commands.get(script)!, {
      cwd: root,
      env: { ...process.env, PATH: `${root}/node_modules/.bin${delimiter}${process.env["PATH"]}` },
      shell: true,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
    running.add(child)
    let output = ""
    child.stdout.on("data", (data) => (output += data))
    child.stderr.on("data", (data) => (output += data))
    child.on("error", (error) => (output += `${error.message}\n`))
    child.on("close", (code) => {
      running.delete(child)
      const seconds = ((performance.now() - started) / 1000).toFixed(0)
      if (!failed || code === 0)
        process.stdout.write(`${output}${code === 0 ? "ok" : "FAILED"} ${script} (${seconds} s)\n`)
      if (code !== 0) {
        process.exitCode = 1
        stop()
      }
      resolve()
    })
  })

const started = performance.now()
await Promise.all(
  lanes.map(async (lane) => {
    for (const script of lane) if (!failed) await run(script)
  })
)
console.log(`${failed ? "FAILED" : "ok"}, in ${((performance.now() - started) / 1000).toFixed(0)} s`)
