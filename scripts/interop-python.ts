/**
 * Runs this library and the published Python package against each other, over WebSocket and stdio, and prints a table of flows.
 *
 * `npm run interop:python` installs `agentruntimecontrolprotocol` into a folder of its own, which is removed at the end. It needs the network
 * and Python 3.11 or later (`PYTHON` names another interpreter); without them it says so and exits 2. It exits 1 where a flow fails that should
 * not: what the package itself cannot do is listed here with how it fails, shown as `peer`, and must end all the same.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Cause, Effect, Exit, Layer, Logger, Redacted } from "effect"
import { ArcpClient } from "../src/client/index.js"
import * as StdioTransport from "../src/transport/StdioTransport.js"
import * as WebSocketClient from "../src/transport/WebSocketClient.js"
import type { Connector } from "../src/transport/Connection.js"
import { bundle } from "../test/bundle.js"
import { flows } from "./interop/flows.js"

const packageName = "agentruntimecontrolprotocol==1.1.3"
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** What the package cannot do: how the flow fails then, and why. */
const ofThePeer: { readonly [flow: string]: { readonly problem: string; readonly why: string } } = {
  "its client: cancel": {
    problem: "its reader died",
    why: "its reader dies of a job.error whose final_status is not error"
  },
  "its client: time out": {
    problem: "its reader died",
    why: "its reader dies of a job.error whose final_status is not error"
  },
  "its client: budget": { problem: "for JobAcceptedPayload", why: "it takes budgets as text only" }
}

/** Milliseconds for one flow of ours. */
const limit = 15_000

interface Row {
  readonly flow: string
  readonly transport: string
  readonly problem: string | undefined
  readonly millis: number
}

const giveUp = (why: string): never => {
  console.error(`interop:python did not run: ${why}`)
  process.exit(2)
}

const python = process.env.PYTHON ?? "python3"
const version = spawnSync(python, ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"], { encoding: "utf8" })
const [major = 0, minor = 0] = (version.stdout ?? "").trim().split(".").map(Number)
if (version.status !== 0 || major < 3 || (major === 3 && minor < 11)) {
  giveUp(`it needs Python 3.11 or later, and ${python} is ${version.stdout?.trim() || "not there"}; set PYTHON`)
}

const folder = mkdtempSync(join(tmpdir(), "arcp-interop-"))
process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))

const venv = join(folder, "venv")
const bin = join(venv, process.platform === "win32" ? "Scripts" : "bin", "python")
for (const [command, args] of [
  [python, ["-m", "venv", venv]],
  [bin, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", packageName]]
] as const) {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 300_000 })
  if (status !== 0) giveUp(`${[command, ...args].join(" ")} failed: ${stderr.trim().split("\n").at(-1)}`)
}

const peer = here("interop/peer.py")
const runtime = join(bundle({ runtime: "scripts/interop/runtime.ts" }), "runtime.js")
const rows: Array<Row> = []

/** Starts a server that prints its URL, and ends it when it has been used. */
const withServer = async (
  command: string,
  args: ReadonlyArray<string>,
  use: (url: string) => Promise<void>
): Promise<void> => {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] })
  try {
    const lines = createInterface({ input: child.stdout })
    const url = await new Promise<string>((resolve, reject) => {
      lines.once("line", resolve)
      child.once("exit", () => reject(new Error(`${command} ended before it served`)))
    })
    await use(url)
  } finally {
    child.kill("SIGKILL")
  }
}

/** Its client: the driver prints a line for each flow. */
const itsClient = (transport: string, target: ReadonlyArray<string>): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn(bin, [peer, "client", ...target], { stdio: ["ignore", "pipe", "ignore"], cwd: here("..") })
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { flow, millis, problem } = JSON.parse(line) as { flow: string; millis: number; problem: string | null }
      rows.push({ flow: `its client: ${flow}`, transport, problem: problem ?? undefined, millis })
    })
    child.once("error", reject)
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`the driver ended with ${code}`))))
  })

const itsRuntime = async (transport: string, connector: () => Layer.Layer<Connector>): Promise<void> => {
  for (const [name, flow] of flows) {
    const started = performance.now()
    const client = ArcpClient.layer({ auth: { token: Redacted.make("interop-token") }, closeTimeout: 2_000 })
    const exit = await Effect.runPromiseExit(
      flow.pipe(
        Effect.timeoutFail({ duration: limit, onTimeout: () => new Error(`nothing after ${limit / 1000} s`) }),
        Effect.provide(Layer.provideMerge(Layer.provide(client, connector()), Logger.remove(Logger.defaultLogger)))
      )
    )
    const problem = Exit.isSuccess(exit) ? undefined : Cause.pretty(exit.cause).split("\n")[0]
    rows.push({ flow: `its runtime: ${name}`, transport, problem, millis: Math.round(performance.now() - started) })
  }
}

await withServer(process.execPath, [runtime, "ws"], (url) => itsClient("WebSocket", [url]))
await itsClient("stdio", [process.execPath, runtime, "stdio"])
await withServer(bin, [peer, "serve", "ws"], (url) => itsRuntime("WebSocket", () => WebSocketClient.layer({ url })))
await itsRuntime("stdio", () =>
  StdioTransport.layerClient({ command: bin, args: [peer, "serve", "stdio"], stderr: "ignore" })
)

const width = Math.max(...rows.map(({ flow }) => flow.length))
let failed = 0
for (const { flow, millis, problem, transport } of rows) {
  const excuse = ofThePeer[flow]
  const known = excuse !== undefined && problem?.includes(excuse.problem) === true ? excuse.why : undefined
  const verdict = problem === undefined ? "ok" : known === undefined ? "FAILS" : "peer"
  if (verdict === "FAILS") failed++
  const why = problem === undefined ? "" : known === undefined ? `  ${problem}` : `  ${known}`
  console.log(
    `${flow.padEnd(width)}  ${transport.padEnd(9)}  ${verdict.padEnd(5)}  ${`${millis} ms`.padStart(8)}${why}`
  )
}
console.log(`${rows.length - failed} of ${rows.length} flows are as expected`)
process.exit(failed === 0 ? 0 : 1)
