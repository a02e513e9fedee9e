/** The transports and stores that the suites of the runtime run over. */
import { Context, Effect, Layer, Mailbox, Scope } from "effect"
import { join } from "node:path"
import { PassThrough } from "node:stream"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { type Connection, Connector, Server, TransportError } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { StdioTransport, WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import type { WorldOptions } from "./world.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-runtime-")
let files = 0

/** A real server on a free port, and a connector to it. */
export const webSocket: Layer.Layer<Server | Connector, unknown> = Layer.unwrapEffect(
  Effect.map(Server, ({ address }) => WebSocketClient.layer({ url: address }))
).pipe(Layer.provideMerge(WebSocketServer.layer({ port: 0 })))

/** A runtime that each connection reaches over a pair of pipes of its own, as lines of JSON: stdio without the child process. */
export const pipes: Layer.Layer<Server | Connector> = Layer.scopedContext(
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const accepted = yield* Mailbox.make<Connection>()
    let stopped = false
    const stop = Effect.suspend(() => {
      stopped = true
      return Effect.asVoid(accepted.end)
    })
    const connect = Effect.gen(function* () {
      if (stopped) return yield* new TransportError({ operation: "connect", message: "the runtime has stopped" })
      const [up, down] = [new PassThrough(), new PassThrough()]
      yield* accepted.offer(
        yield* Scope.extend(StdioTransport.fromStreams({ input: up, output: down }, { closeTimeout: 0 }), scope)
      )
      return yield* StdioTransport.fromStreams({ input: down, output: up }, { closeTimeout: 0 })
    })
    return Context.make(Server, {
      connections: Mailbox.toStream(accepted),
      stopAccepting: stop,
      address: "pipes:"
    }).pipe(Context.add(Connector, { connect, address: "pipes:" }))
  })
)

/** Each build of the store is a new file. */
export const sqliteFile = Layer.suspend(() => SqliteStore.layer({ filename: join(folder, `${files++}.db`) }))

export const backends: ReadonlyArray<readonly [string, () => WorldOptions]> = [
  ["memory by reference, store in memory", () => ({ transport: MemoryTransport.layer, store: MemoryStore.layer })],
  [
    "memory encoded, SQLite in memory",
    () => ({
      transport: MemoryTransport.layerEncoded,
      store: SqliteStore.layer({ filename: ":memory:" })
    })
  ],
  ["WebSocket, SQLite file", () => ({ transport: webSocket, store: sqliteFile })]
]

/** With stdio beside them, for the suites of what every transport must keep (1.0 §4.3). */
export const transports: typeof backends = [
  ...backends,
  ["stdio, SQLite in memory", () => ({ transport: pipes, store: SqliteStore.layer({ filename: ":memory:" }) })]
]

/** The code that a peer sees a connection end with: pipes carry none, their end is a clean one. */
export const closeCodeOver = (backend: string, code: number): number => (backend.startsWith("stdio") ? 1000 : code)
