/**
 * A runtime for clients of other SDKs: `runtime.ts ws` prints its URL and serves until it is ended, `runtime.ts stdio` serves one client on its
 * standard streams.
 */
import { Deferred, Effect, Layer, Logger, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { VendorError } from "../../src/protocol/index.js"
import { ArcpRuntime } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Server } from "../../src/transport/Connection.js"
import * as StdioTransport from "../../src/transport/StdioTransport.js"
import * as WebSocketServer from "../../src/transport/WebSocketServer.js"

const gates = new Map<unknown, Deferred.Deferred<void>>()
const gate = (name: unknown): Deferred.Deferred<void> => {
  const found = gates.get(name) ?? Effect.runSync(Deferred.make<void>())
  gates.set(name, found)
  return found
}

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("counter", (input) =>
    Effect.gen(function* () {
      const { count } = input as { count: number }
      for (let n = 1; n <= count; n++) yield* Job.log(`event ${n}`)
      yield* Job.progress({ current: count, total: count })
      return { count }
    })
  ),
  Agent.untyped("gate", (input) =>
    Effect.as(
      Effect.zipRight(
        Job.log("waiting"),
        Effect.suspend(() => Deferred.await(gate(input)))
      ),
      input
    )
  ),
  Agent.untyped("open", (input) => Effect.as(Deferred.succeed(gate(input), undefined), input)),
  Agent.untyped("fail", () => Effect.fail(new VendorError({ code: "NO_LUCK", message: "no luck" }))),
  Agent.untyped("stream", (input) => {
    const { chunks, size } = input as { chunks: number; size: number }
    return Job.streamResult(Stream.map(Stream.range(1, chunks), () => "x".repeat(size)))
  })
)

const told = Layer.scopedDiscard(
  Effect.flatMap(Server, ({ address }) => Effect.sync(() => process.stdout.write(`${address}\n`)))
)

const main = ArcpRuntime.layer({ name: "interop", drainTime: 0 }).pipe(
  Layer.provide(agents),
  Layer.provide(MemoryStore.layer),
  Layer.provide(Authenticator.layerBearer({ "interop-token": "alice" }))
)

const served =
  process.argv[2] === "stdio"
    ? Effect.scoped(
        Effect.flatMap(Layer.build(Layer.provideMerge(main, StdioTransport.layerServer())), () =>
          // the runtime lives as long as its only client
          Effect.async<void>((resume) => void process.stdin.once("close", () => resume(Effect.void)))
        )
      )
    : Layer.launch(Layer.provide(Layer.merge(told, main), WebSocketServer.layer({ port: 0 })))

// Standard output has frames, or the URL.
Effect.runFork(Effect.provide(served, Logger.remove(Logger.defaultLogger)))
