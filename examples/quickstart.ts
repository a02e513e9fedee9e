/**
 * The main job, end to end: a runtime on a SQLite file, a client over a real WebSocket, the `census` agent on this
 * repository, and a connection that breaks in the middle without anybody noticing.
 */
import { FileSystem } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient, type ClientStatus } from "effect-arcp/client"
import type { Event } from "effect-arcp/protocol"
import { ArcpRuntime } from "effect-arcp/runtime"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { FaultyTransport } from "effect-arcp/testing"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Effect, Layer, Redacted, Stream } from "effect"
import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Census, CensusLive } from "./agents.js"

const root = realpathSync(fileURLToPath(new URL("..", import.meta.url)))

const RuntimeLive = Layer.unwrapScoped(
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = yield* fs.makeTempDirectoryScoped({ prefix: "arcp-quickstart-" })
    return ArcpRuntime.layer({ name: "quickstart" }).pipe(
      Layer.provide(CensusLive),
      Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
      Layer.provide(Authenticator.layerBearer({ "quickstart-token": "newcomer" })),
      Layer.provide(SqliteStore.layer({ filename: `${folder}/arcp.db` }))
    )
  })
)

// The faulty transport stands between the client and its socket, so that the connection can be cut on command.
const ClientLive = Layer.unwrapEffect(
  Effect.map(Server, ({ address }) =>
    ArcpClient.layer({ auth: { token: Redacted.make("quickstart-token") } }).pipe(
      Layer.provideMerge(FaultyTransport.layer),
      Layer.provide(WebSocketClient.layer({ url: address }))
    )
  )
)

const bar = (current: number, total: number): string => {
  const width = 30
  const full = Math.round((current / Math.max(total, 1)) * width)
  return `[${"#".repeat(full)}${".".repeat(width - full)}] ${current}/${total} files`
}

const interactive = process.stdout.isTTY === true
const draw = (text: string) => Effect.sync(() => void process.stdout.write(interactive ? `\r${text}` : ""))

const say = (status: ClientStatus): Effect.Effect<void> => {
  switch (status._tag) {
    case "Connected":
      return Console.log(`connected, session ${status.sessionId}`)
    case "Disconnected":
      return Console.log(`\n*** the connection broke (${status.code})`)
    case "Reconnecting":
      return Console.log(`*** coming back, attempt ${status.attempt}`)
    case "Resumed":
      return Console.log(`*** resumed after event ${status.fromSeq}`)
    default:
      return Effect.void
  }
}

const program = Effect.gen(function* () {
  const client = yield* ArcpClient
  const faults = yield* FaultyTransport.Faults
  yield* Console.log(`runtime on ${(yield* Server).address}, jobs and sessions in a SQLite file`)
  yield* Effect.forkScoped(Stream.runForEach(client.status, say))
  yield* client.connected

  // 40 frames from now the network fails: in the middle of the census.
  yield* faults.cutBeforeInbound(40)
  // The lease is all that the agent may do: read what lies in this repository, and nothing else.
  const job = yield* client.submit(Census, { root }, { lease: { "fs.read": [`${root}/**`] } })
  yield* Console.log(`${job.jobId} runs ${job.agent}`)

  const seen: Array<Event.JobEvent> = []
  yield* job.events.pipe(
    Stream.runForEach((event) => {
      seen.push(event)
      switch (event._tag) {
        case "progress":
          return draw(bar(event.body.current, event.body.total ?? 0))
        case "status":
          return Console.log(`${interactive ? "\n" : ""}status: ${event.body.phase}`)
        case "metric":
          return Console.log(`${interactive ? "\r" : ""}${event.body.name}: ${event.body.value}`.padEnd(60))
        default:
          return Effect.void
      }
    })
  )
  const report = yield* job.result

  // Nothing lost, nothing repeated: the numbers of the session are 1, 2, 3 … and the files were counted one by one.
  const numbers = seen.map((event) => event.seq)
  const files = seen.flatMap((event) => (event._tag === "progress" ? [event.body.current] : []))
  const whole =
    numbers.every((seq, i) => seq === i + 1) && files.every((n, i) => n === i + 1) && files.length === report.files
  const { cuts } = yield* faults.counts
  yield* Console.log(`\n${seen.length} events, ${cuts} cut, lost 0, repeated 0: ${whole ? "proved" : "NOT SO"}`)
  if (!whole || cuts !== 1) return yield* Effect.dieMessage("the event stream was not whole")

  yield* Console.log(`\n${report.files} files, ${report.lines} lines, ${report.bytes} bytes`)
  for (const [extension, entry] of Object.entries(report.by_extension)
    .toSorted((a, b) => b[1].lines - a[1].lines)
    .slice(0, 5))
    yield* Console.log(
      `  ${extension.padEnd(8)} ${String(entry.files).padStart(5)} files ${String(entry.lines).padStart(8)} lines`
    )
  yield* Console.log("largest:")
  for (const file of report.largest.slice(0, 3)) yield* Console.log(`  ${file.path} (${file.bytes} bytes)`)
})

const Live = ClientLive.pipe(Layer.provideMerge(RuntimeLive), Layer.provide(NodeContext.layer))

NodeRuntime.runMain(Effect.provide(Effect.scoped(program), Live))
