/** The transports and stores that the suites of the runtime run over. */
import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { type Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import type { WorldOptions } from "./world.js"

const folder = mkdtempSync(join(tmpdir(), "arcp-runtime-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
let files = 0

/** A real server on a free port, and a connector to it. */
export const webSocket: Layer.Layer<Server | Connector, unknown> = Layer.unwrapEffect(
  Effect.map(Server, ({ address }) => WebSocketClient.layer({ url: address }))
).pipe(Layer.provideMerge(WebSocketServer.layer({ port: 0 })))

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
