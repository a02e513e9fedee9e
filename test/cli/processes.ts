/** The `arcp` program in processes of its own, for tests. */
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { bundle } from "../bundle.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The folder of the bundled programs, and of the demo agents beside them, as they are built. */
export const programs = bundle({
  "cli/bin": "src/cli/bin.ts",
  "examples/agents": "examples/agents.ts",
  spy: "test/cli/fixtures/spy.ts"
})
const bin = join(programs, "cli/bin.js")

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

type Environment = Readonly<Record<string, string>>

const start = (args: ReadonlyArray<string>, env: Environment): ChildProcess =>
  spawn(process.execPath, [bin, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env }
  })

/** Runs it to its end. */
export const arcp = (args: ReadonlyArray<string>, env: Environment = {}): Effect.Effect<Ran> =>
  Effect.async((resume) => {
    const child = start(args, env)
    let out = ""
    let err = ""
    child.stdout?.on("data", (data) => (out += data))
    child.stderr?.on("data", (data) => (err += data))
    child.on("close", (code) => resume(Effect.succeed({ code, out, err })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

export interface Served {
  readonly url: string
  readonly pid: number
  /** What it has written to stderr so far. */
  readonly said: () => string
  /** What it has written to stdout so far. */
  readonly out: () => string
  /** Waits until it has written this. */
  readonly says: (text: string) => Effect.Effect<void>
}

/** `arcp serve` on a free port, once it listens; killed with the scope. */
export const serve = (args: ReadonlyArray<string>, env: Environment = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<{ readonly child: ChildProcess; readonly served: Served }>((resume) => {
        const child = start(["serve", "--port", "0", ...args], env)
        let err = ""
        let out = ""
        child.stdout?.on("data", (data) => (out += data))
        let looks: Array<() => void> = []
        child.on("close", () => resume(Effect.die(new Error(`serve ended: ${err}`))))
        child.stderr?.on("data", (data) => {
          err += data
          const waiting = looks
          looks = []
          for (const look of waiting) look()
          const url = /listening on (\S+)/.exec(err)?.[1]
          if (url === undefined) return
          const says: Served["says"] = (text) =>
            Effect.async((done) => {
              const look = () => void (err.includes(text) ? done(Effect.void) : looks.push(look))
              look()
            })
          resume(Effect.succeed({ child, served: { url, pid: child.pid!, said: () => err, out: () => out, says } }))
        })
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    ({ served }) => served
  )

/** `arcp submit`, once its job runs; killed with the scope. */
export const submitting = (args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<ChildProcess>((resume) => {
        const child = start(["submit", ...args], {})
        let err = ""
        child.on("close", () => resume(Effect.die(new Error(`submit ended: ${err}`))))
        child.stderr?.on("data", (data) => {
          err += data
          if (err.includes("status: running")) resume(Effect.succeed(child))
        })
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => ({ pid: child.pid! })
  )
