/** The runtime that the guard measures, and agents as programs have them: that only answer, log, open a span, call a tool, read a file. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer, Logger, LogLevel, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime, Limits } from "../../src/runtime/index.js"
import type { MemoryStore } from "../../src/store/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { scratch } from "../support/scratch.js"

const folder = scratch("arcp-guard-")
const file = join(folder, "read.txt")
writeFileSync(file, "what is read\n".repeat(10))

/** What each agent's job is given. */
export const leases: { readonly [agent: string]: { readonly [capability: string]: ReadonlyArray<string> } } = {
  tool: { "tool.call": ["measure"] },
  file: { "fs.read": [`${folder}/**`] }
}

/** Bytes of a streamed chunk. */
export const chunkBytes = 16_384

const piece = "abcdefghijklmnop".repeat(chunkBytes / 16)

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("log", (input) => Effect.as(Job.log("hello"), input)),
  Agent.untyped("span", (input) => Effect.withSpan(Effect.as(Job.log("hello"), input), "mine")),
  Agent.untyped("tool", (input) => Effect.as(Job.tool("measure", {}, Effect.succeed(1)), input)),
  Agent.untyped("file", (input) =>
    Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.as(fs.readFileString(file), input))
  ),
  Agent.untyped("count", (input) =>
    Effect.gen(function* () {
      const job = yield* Job
      const { count } = input as { readonly count: number }
      for (let n = 1; n <= count; n++) yield* job.log(`event ${n}`)
      return count
    })
  ),
  Agent.untyped("stream", (input) => {
    const { count } = input as { readonly count: number }
    return Job.streamResult(Stream.repeatValue(piece).pipe(Stream.rechunk(1), Stream.take(count)))
  })
).pipe(Layer.provide(NodeContext.layer))

/** A runtime on a store in this process; every frame passes as text. */
export const hosted = <E>(store: Layer.Layer<Layer.Layer.Success<typeof MemoryStore.layer>, E>) =>
  ArcpRuntime.layer({ drainTime: 0 }).pipe(
    Layer.provide(agents),
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provide(Authenticator.layerBearer({ t: "alice" })),
    Layer.provide(store),
    Layer.provide(Limits.layer({ messagesPerSecond: 1_000_000 })),
    Layer.provide(Logger.minimumLogLevel(LogLevel.Warning))
  )
