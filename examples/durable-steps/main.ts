/**
 * Kills a runtime in the middle of a job (`kill -9`), and the job goes on in another process where it was.
 *
 * It shows: `Job.step` records in the store what a step returned, so that an agent that is started again (`onRestart: "rerun"`) runs only
 * what was not done; the client goes on with its session (ARCP 1.1 §6.3). `runtime.ts` is the process. It brings its own runtime.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { ArcpClient, type SessionFacts } from "effect-arcp/client"
import { WebSocketClient } from "effect-arcp/transport/node"
import { Console, Context, Effect, Layer, Redacted, Stream } from "effect"
import { claim } from "../support/claim.js"
import { Pipeline, steps } from "./pipeline.js"

/** Starts `runtime.ts` on a file: where it listens, and how to kill it. It does not outlive the example. */
const start = (file: string) =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const args = [...process.execArgv, fileURLToPath(new URL("runtime.ts", import.meta.url)), file]
        return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const exited = Effect.promise(() => (child.signalCode === null ? once(child, "exit") : Promise.resolve([])))
    const [line] = yield* Effect.promise(() => once(child.stdout, "data"))
    const kill = Effect.zipRight(
      Effect.sync(() => void child.kill("SIGKILL")),
      exited
    )
    return { pid: child.pid, url: String(line).trim(), kill }
  })

const connect = (url: string, resume?: SessionFacts) =>
  ArcpClient.layer({ auth: { token: Redacted.make("example-token") }, resume }).pipe(
    Layer.provide(WebSocketClient.layer({ url })),
    Layer.build,
    Effect.map(Context.get(ArcpClient))
  )

const program = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "arcp-durable-steps-" })
  const file = `${folder}/arcp.db`
  const journal = `${folder}/journal.txt`

  const first = yield* start(file)
  const { facts, job } = yield* Effect.gen(function* () {
    const arcp = yield* connect(first.url)
    const job = yield* arcp.submit(Pipeline, { journal })
    yield* Console.log(`${job.jobId} runs in process ${first.pid}`)
    const progress = Stream.filter(job.events, (event) => event._tag === "progress" && event.body.current === 2)
    yield* Stream.runHead(progress)
    yield* Effect.sleep("150 millis")
    yield* first.kill
    yield* Console.log(`process ${first.pid} was killed, two steps done and the third begun`)
    return { facts: yield* arcp.session, job }
  }).pipe(Effect.scoped)

  const second = yield* start(file)
  yield* Console.log(`process ${second.pid} is there`)
  const arcp = yield* connect(second.url, facts)
  const again = yield* arcp.attach(job.jobId, { agent: Pipeline })
  const result = yield* again.result
  const lines = (yield* fs.readFileString(journal)).trim().split("\n")
  yield* Effect.forEach(lines, (line) => Console.log(`  ${line}`))

  const by = ["fetch", "parse"].map((step) => ({ step, pid: first.pid }))
  const after = ["index", "publish"].map((step) => ({ step, pid: second.pid }))
  yield* claim(
    "the job ended well: two steps by the first process, two by the second",
    JSON.stringify(result) === JSON.stringify([...by, ...after])
  )
  yield* claim(
    "no step that was done ran again",
    steps.every((step) => lines.filter((line) => line.startsWith(`${step} done`)).length === 1) &&
      ["fetch", "parse"].every((step) => !lines.includes(`${step} begun by ${second.pid}`))
  )
  yield* claim("the step in which it was killed ran anew", lines.includes(`index begun by ${second.pid}`))
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.timeout("60 seconds")))
