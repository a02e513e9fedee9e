/**
 * Starts a runtime as a child process and talks to it over its stdin and stdout: no port, no `ws`.
 *
 * It shows: the whole protocol over two pipes (ARCP 1.0 §4.2); what the agent prints goes to stderr and breaks no frame; the child ends
 * with its client. `agent.ts` is the child. It brings its own runtime.
 */
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { ArcpClient } from "effect-arcp/client"
import { StdioTransport } from "effect-arcp/transport/stdio"
import { Console, Effect, Layer, Redacted, Stream } from "effect"
import { claim } from "../support/claim.js"
import { Words, wsIsLoaded } from "./words.js"

const printed: Array<string> = []
const token = randomUUID()

const ClientLive = ArcpClient.layer({ auth: { token: Redacted.make(token) } }).pipe(
  Layer.provide(
    StdioTransport.layerClient({
      command: process.execPath,
      // as this process was started, with TypeScript
      args: [...process.execArgv, fileURLToPath(new URL("agent.ts", import.meta.url))],
      env: { ARCP_TOKENS: Redacted.make(`${token}=parent`) },
      stderr: (line) => Effect.sync(() => void printed.push(line))
    })
  )
)

const isAlive = (pid: number) =>
  Effect.sync(() => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  })

const text = "a line on stdout in the middle of the frames would break them all"

const oneJob = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const job = yield* arcp.submit(Words, { text })
  const counts: Array<number> = []
  yield* Stream.runForEach(job.events, (event) =>
    Effect.sync(() => void (event._tag === "progress" && counts.push(event.body.current)))
  )
  return { counts, ...(yield* job.result) }
})

const program = Effect.gen(function* () {
  const { count, counts, pid, wsIsLoaded: wsInChild } = yield* Effect.provide(oneJob, ClientLive)
  yield* Console.log(`process ${pid} counted ${count} words for process ${process.pid}`)
  yield* Effect.forEach(printed, (line) => Console.log(`  on its stderr: ${line}`))
  const careless = printed.filter((line) => line.startsWith("careless: ")).map((line) => line.slice(10))
  const lives = yield* isAlive(pid)

  yield* claim(
    "every event arrived, in order, though the agent printed before each",
    counts.join() ===
      text
        .split(" ")
        .map((_, i) => i + 1)
        .join()
  )
  yield* claim("what it printed is on its stderr", careless.join(" ") === text)
  yield* claim("the agent ran in another process, which has ended with its client", pid !== process.pid && !lives)
  yield* claim("neither process has loaded ws", !wsIsLoaded() && !wsInChild)
})

NodeRuntime.runMain(program.pipe(Effect.timeout("30 seconds")))
