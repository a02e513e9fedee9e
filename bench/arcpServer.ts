/** The runtime that is measured. Its bounds are the defaults, except those that would bound the figure and not the work. */
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime, Limits } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { SqliteStore } from "effect-arcp/store/sqlite"
import { Server } from "effect-arcp/transport"
import { WebSocketServer } from "effect-arcp/transport/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { BenchAgents, emitted, open } from "./agents.js"
import { prefill } from "./prefill.js"
import type { ServerOrders } from "./server.js"
import { otherToken, token } from "./tokens.js"

/** One client asks for all of it here, as many clients do elsewhere. */
const limits = {
  messagesPerSecond: 1_000_000,
  sessionsPerPrincipal: 20_000,
  bufferedEvents: 1_000_000,
  runningJobsPerPrincipal: 1_000
}

/** Listens on a free port. */
export const arcpServer = async ({ filename, kind, limits: more, prefill: rows, synchronous }: ServerOrders) => {
  if (rows !== undefined) await prefill(filename!, rows)
  const store = kind === "sqlite" ? SqliteStore.layer({ filename: filename!, synchronous }) : MemoryStore.layer
  const runtime = ManagedRuntime.make(
    ArcpRuntime.layer({ name: "bench", drainTime: 0 }).pipe(
      Layer.provide(BenchAgents),
      Layer.provideMerge(WebSocketServer.layer({ port: 0, maxConnections: 20_000 })),
      Layer.provide(Authenticator.layerBearer({ [token]: "alice", [otherToken]: "bob" })),
      Layer.provide(store),
      Layer.provide(Limits.layer({ ...limits, ...more })),
      // Every subscription is logged, and the benchmark makes thousands.
      Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
    )
  )
  const url = await runtime.runPromise(Effect.map(Server, ({ address }) => address))
  return {
    url,
    tasks: {
      open: ({ gate }: { readonly gate: string }) => open(gate),
      emitted: ({ gate }: { readonly gate: string }) => emitted(gate)
    }
  }
}
