/** The `arcp` program in processes of its own, for tests. */
import { Deferred, Effect, FiberId } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { bundle } from "../bundle.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** The folder of the bundled programs, and of the demo agents beside them, as they are built. */
export const programs = bundle({
  "cli/bin": "src/cli/bin.ts",
  "examples/agents": "examples/agents.ts",
  spy: "test/cli/fixtures/spy.ts",
  noisy: "test/cli/fixtures/noisy.ts",
  several: "test/cli/fixtures/several.ts",
  broken: "test/cli/fixtures/broken.ts"
})
export const bin = join(programs, "cli/bin.js")

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

/** A process that runs, and how it ends. */
export interface Running {
  readonly pid: number
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: Effect.Effect<Ran>
  /** Waits until it has written this to stderr. */
  readonly says: (text: string) => Effect.Effect<void>
}

/** `arcp submit`, once it has written this to stderr: by default that its job runs. Killed with the scope. */
export const submitting = (args: ReadonlyArray<string>, env: Environment = {}, until = "status: running") =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Running & { readonly child: ChildProcess }>((resume) => {
        const child = start(["submit", ...args], env)
        const ended = Deferred.unsafeMake<Ran>(FiberId.none)
        let out = ""
        let err = ""
        child.on("close", (code) => {
          Deferred.unsafeDone(ended, Effect.succeed({ code, out, err }))
          resume(Effect.die(new Error(`submit ended: ${err}`)))
        })
        child.stdout?.on("data", (data) => (out += data))
        let looks: Array<() => void> = []
        const says: Running["says"] = (text) =>
          Effect.async((done) => {
            const look = () => void (err.includes(text) ? done(Effect.void) : looks.push(look))
            look()
          })
        const look = () => {
          if (!err.includes(until)) return
          const kill = (signal: NodeJS.Signals) => void child.kill(signal)
          resume(Effect.succeed({ child, pid: child.pid!, kill, ended: Deferred.await(ended), says }))
        }
        look()
        child.stderr?.on("data", (data) => {
          err += data
          const waiting = looks
          looks = []
          for (const look of waiting) look()
          look()
        })
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (running): Running => running
  )

/** A line of a shell: pipes and redirections, with `arcp` for the program. */
export const shell = (line: string, env: Environment = {}): Effect.Effect<Ran> =>
  Effect.async((resume) => {
    const child = spawn("bash", ["-c", `set -o pipefail; arcp() { "$NODE" "$BIN" "$@"; }; ${line}`], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env, NODE: process.execPath, BIN: bin }
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (data) => (out += data))
    child.stderr.on("data", (data) => (err += data))
    child.on("close", (code) => resume(Effect.succeed({ code, out, err })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

export interface Spoken extends Ran {
  /** Whether all of stdout was frames, one a line. */
  readonly frames: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** `arcp serve --stdio`: says hello, submits a job to each agent in turn, and closes stdin when they have ended or the process has. */
export const overStdio = (args: ReadonlyArray<string>, agents: ReadonlyArray<string>): Effect.Effect<Spoken> =>
  Effect.async((resume) => {
    const child = spawn(process.execPath, [bin, "serve", "--stdio", "--anonymous", ...args], { cwd: root })
    const ask = (type: string, session: string | undefined, payload: unknown) =>
      child.stdin.write(`${JSON.stringify({ arcp: "1.1", id: `m_${type}`, type, session_id: session, payload })}\n`)
    let out = ""
    let err = ""
    let line = ""
    let session: string | undefined
    const left = [...agents]
    const next = () => {
      const agent = left.shift()
      if (agent === undefined) child.stdin.end()
      else ask("job.submit", session, { agent, input: {} })
    }
    child.stdin.on("error", () => {})
    child.stderr.on("data", (data) => (err += data))
    child.stdout.on("data", (data) => {
      out += data
      line += data
      const lines = line.split("\n")
      line = lines.pop() ?? ""
      for (const text of lines) {
        if (text.includes('"session.welcome"')) {
          session = /"session_id":"([^"]+)"/.exec(text)?.[1]
          next()
        } else if (/"type":"job\.(error|result)"/.test(text)) next()
      }
    })
    child.on("close", (code) => {
      const texts = out.split("\n")
      const frames = texts.slice(0, -1).map((text) => JSON.parse(text) as Readonly<Record<string, unknown>>)
      resume(
        texts.at(-1) === ""
          ? Effect.succeed({ code, out, err, frames })
          : Effect.die(new Error(`an unfinished line: ${texts.at(-1)}`))
      )
    })
    ask("session.hello", undefined, { client: { name: "test", version: "1" }, capabilities: { features: [] } })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
