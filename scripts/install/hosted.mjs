/** A runtime on a WebSocket port and a client of it: the agent reads a file that its job's lease allows. */
import { strict as assert } from "node:assert"
import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Agent, Job } from "effect-arcp/agent"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { Server } from "effect-arcp/transport"
import { WebSocketClient, WebSocketServer } from "effect-arcp/transport/ws"

class Size extends Agent.make("size", {
  input: Schema.Struct({ path: Schema.String }),
  output: Schema.Struct({ size: Schema.Number })
}) {}

const SizeLive = Size.toLayer(({ path }) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(path)
    yield* Job.log("read it")
    return { size: text.length }
  })
)

/** The id of the job that a runtime with this store and this authenticator runs for the token, or has run: `repeated`. */
export const sizeOf = ({ authenticator, repeated = false, store, token }) =>
  Effect.gen(function* () {
    const path = realpathSync(fileURLToPath(import.meta.url))
    const { address } = yield* Server
    return yield* Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Size, { path }, { idempotencyKey: "once", lease: { "fs.read": [path] } })
      const events = yield* Stream.runCollect(job.events)
      const read = [...events].some((event) => event._tag === "log" && event.body.message === "read it")
      assert.equal(read, !repeated)
      assert.ok((yield* job.result).size > 1000)
      return job.jobId
    }).pipe(
      Effect.provide(ArcpClient.layer({ auth: { token: Redacted.make(token) } })),
      Effect.provide(WebSocketClient.layer({ url: address }))
    )
  }).pipe(
    Effect.provide(
      ArcpRuntime.layer({ name: "installed" }).pipe(
        Layer.provide(SizeLive),
        Layer.provideMerge(WebSocketServer.layer({ port: 0 })),
        Layer.provide([authenticator, store, NodeContext.layer])
      )
    ),
    Effect.scoped,
    Effect.runPromise
  )
