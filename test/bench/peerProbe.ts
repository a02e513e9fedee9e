/**
 * Peers of the benchmark: a runtime of this package, one without most of the agents, and servers that hang before and after the
 * welcome, close, and do not listen. Prints what each has and lacks.
 */
import { type AddressInfo, createServer } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime } from "effect"
import { BenchAgents } from "../../bench/agents.js"
import { measureOn, type Setting } from "../../bench/measure.js"
import { Peer } from "../../bench/peers.js"
import { dataSpecs, jobSpecs } from "../../bench/rawColumns.js"
import { reasons, table } from "../../bench/report.js"
import { quick } from "../../bench/sizes.js"
import { token } from "../../bench/tokens.js"
import { Agent } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Server } from "../../src/transport/index.js"
import { WebSocketServer as ArcpServer } from "../../src/transport/node.js"

/** How long one run of a peer may take, in milliseconds. */
const peerTime = 4_000

const runtimeWith = (agents: Layer.Layer<never>): Promise<string> =>
  ManagedRuntime.make(
    ArcpRuntime.layer({ drainTime: 0 }).pipe(
      Layer.provide(agents),
      Layer.provideMerge(ArcpServer.layer({ port: 0 })),
      Layer.provide(Authenticator.layerBearer({ [token]: "alice", "another-token": "bob" })),
      Layer.provide(MemoryStore.layer),
      Layer.provide(Logger.minimumLogLevel(LogLevel.Error))
    )
  ).runPromise(Effect.map(Server, ({ address }) => address))

const serverThat = async (does: (socket: WebSocket) => void): Promise<string> => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
  server.on("connection", does)
  await new Promise((resolve) => server.once("listening", resolve))
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Where nothing listens any more. */
const nowhere = (): Promise<string> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(`ws://127.0.0.1:${port}`))
    })
  })

const welcome = JSON.stringify({
  arcp: "1.1",
  id: "w1",
  type: "session.welcome",
  payload: { session_id: "s1", resume_token: "r1", capabilities: { features: [] } }
})

const urls = {
  self: `${await runtimeWith(BenchAgents)},another-token`,
  echoOnly: await runtimeWith(Agent.untyped("echo", (input) => Effect.succeed(input))),
  closes: await serverThat((socket) => socket.close(1008, "not for you")),
  mute: await serverThat(() => undefined),
  hangs: await serverThat((socket) => socket.on("message", () => socket.send(welcome))),
  gone: await nowhere()
}
const peers = Object.entries(urls).map(([name, url]) => new Peer(`${name}=${url}`, peerTime))
const raw = {
  ...quick.raw,
  jobs: 100,
  echoes: 20,
  events: 500,
  fanOut: 50,
  replay: 50,
  pings: 20,
  sessions: 20,
  streamBytes: 262_144
}
const setting: Setting = {
  size: { ...quick, rounds: 1, raw },
  profile: undefined,
  progress: () => undefined,
  peers
}
const figures = [
  ...(await measureOn("job", setting, jobSpecs(setting), peers)),
  ...(await measureOn("data", setting, dataSpecs(setting), peers))
].filter(({ samples, missing }) => Object.keys({ ...samples, ...missing }).length > 0)
await Promise.all(peers.map((peer) => peer.stop()))
process.stdout.write(
  JSON.stringify({
    figures,
    reasons: reasons(figures),
    table: table(
      figures,
      peers.map(({ name }) => name)
    )
  })
)
process.exit(0)
