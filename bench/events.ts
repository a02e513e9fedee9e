/**
 * What an event costs: a job that emits as fast as it may, over a real WebSocket, beside a bare `ws` server that sends
 * the same texts in the same process. Prints events per second and the ratio; run it where the path of an event is touched.
 *
 * `npm run bench [-- EVENTS]`; 200,000 events by default. Client and runtime share one event loop, so the figures are for
 * comparison and not for capacity.
 */
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/node"
import { Console, Duration, Effect, Layer, Redacted, Stream } from "effect"
import type { AddressInfo } from "node:net"
import { WebSocket, WebSocketServer as BareServer } from "ws"
import { Counter, CounterLive } from "../examples/agents.js"

const count = Number(process.argv[2] ?? 200_000)

const frame = (n: number): string =>
  `{"arcp":"1.1","type":"job.event","session_id":"sess_01M8A2FCGG1SAQYYJ2AJADGNHT","job_id":"job_01M8A2FCGG1SAQYYJ2AJADGNHT","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","id":"01M8A2FCGJXD5KYVA6XSVW46AR","event_seq":${n},"payload":{"kind":"log","ts":"2026-01-01T00:00:00.000Z","body":{"level":"info","message":"event ${n}"}}}`

/** The same texts over bare sockets, each parsed by its reader. */
const bare = Effect.async<void>((resume) => {
  const server = new BareServer({ port: 0, perMessageDeflate: false }, () => {
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      perMessageDeflate: false
    })
    let seen = 0
    client.on("message", (data) => {
      JSON.parse(String(data))
      if (++seen < count) return
      client.close()
      server.close()
      resume(Effect.void)
    })
  })
  server.on("connection", (socket) => {
    let n = 0
    const send = (): void => {
      for (let i = 0; i < 512 && n < count; i++) socket.send(frame(++n))
      if (n < count) setImmediate(send)
    }
    send()
  })
})

const driven = Effect.gen(function* () {
  const client = yield* ArcpClient
  yield* client.connected
  const job = yield* client.submit(Counter, { count, kind: "log" })
  const seen = yield* Stream.runFold(job.events, 0, (n, event) => (event._tag === "log" ? n + 1 : n))
  yield* job.result
  if (seen !== count) return yield* Effect.dieMessage(`${seen} of ${count} events arrived`)
})

const pair = (store: typeof MemoryStore.layer) =>
  Layer.unwrapEffect(
    Effect.map(Server, ({ address }) =>
      ArcpClient.layer({ auth: { token: Redacted.make("t") } }).pipe(
        Layer.provide(WebSocketClient.layer({ url: address }))
      )
    )
  ).pipe(
    Layer.provide(
      ArcpRuntime.layer().pipe(
        Layer.provide(CounterLive),
        Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
        Layer.provide(Authenticator.layerBearer({ t: "alice" })),
        Layer.provide(store)
      )
    )
  )

const rate = (name: string, run: Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const [time] = yield* Effect.timed(run)
    const perSecond = Math.round(count / Duration.toSeconds(time))
    yield* Console.log(`${name.padEnd(28)} ${perSecond.toLocaleString("en").padStart(10)} events/s`)
    return perSecond
  })

const program = Effect.gen(function* () {
  const base = yield* rate("bare ws, parsed", bare)
  const memory = yield* rate("arcp, store in memory", Effect.provide(driven, Layer.fresh(pair(MemoryStore.layer))))
  const sqlite = SqliteStore.layer({ filename: ":memory:" })
  const sql = yield* rate(
    "arcp, SQLite",
    Effect.provide(driven, Layer.fresh(pair(Layer.orDie(sqlite) as typeof MemoryStore.layer)))
  )
  yield* Console.log(`of bare ws: ${(memory / base).toFixed(2)} in memory, ${(sql / base).toFixed(2)} with SQLite`)
})

Effect.runPromise(Effect.scoped(program)).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
