/**
 * A program of its own, so that its heap can be bounded: a runtime whose agent streams so many MiB, and a client that writes
 * them to a file. Prints the size of the file. `node --max-old-space-size=… largeResult.ts MIB FILE`
 */
import { Effect, Layer, Logger, Redacted, Schema, Stream } from "effect"
import { createWriteStream, statSync } from "node:fs"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { ArcpRuntime, Limits } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

class Large extends Agent.make("large", { input: Schema.Number, output: Schema.Unknown }) {}

const [mib = "1", file = ""] = process.argv.slice(2)
const piece = new Uint8Array(524_288).fill(7)

const runtime = ArcpRuntime.layer({ drainTime: 0 }).pipe(
  Layer.provide(
    Large.toLayer((size) =>
      Job.streamResult(
        Stream.map(Stream.rechunk(Stream.range(1, size * 2), 1), () => piece),
        { encoding: "base64" }
      )
    )
  ),
  Layer.provide(
    Limits.layer({
      ackLagBytes: 8_388_608,
      historyBytes: 4_194_304,
      resultTotal: 2_147_483_648,
      bufferedBytes: 33_554_432
    })
  ),
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provide(MemoryStore.layer),
  Layer.provide(Authenticator.layerBearer({ t: "alice" }))
)

const main = Effect.gen(function* () {
  const client = yield* ArcpClient
  const job = yield* client.submit(Large, Number(mib))
  const out = createWriteStream(file)
  yield* Stream.runForEach(job.bytes, (bytes) =>
    Effect.async<void, Error>((resume) => {
      out.write(bytes, (error) => resume(error == null ? Effect.void : Effect.fail(error)))
    })
  )
  yield* Effect.async<void>((resume) => void out.end(() => resume(Effect.void)))
  const error = yield* Effect.flip(job.result)
  return { size: statSync(file).size, result: error._tag, heap: process.memoryUsage().heapUsed }
}).pipe(
  Effect.provide(
    ArcpClient.layer({ auth: { token: Redacted.make("t") }, eventBufferBytes: 8_388_608 }).pipe(
      Layer.provideMerge(runtime),
      Layer.provideMerge(Logger.remove(Logger.defaultLogger))
    )
  )
)

Effect.runPromise(main).then(
  (said) => process.stdout.write(JSON.stringify(said)),
  (error: unknown) => {
    process.stderr.write(String(error))
    process.exitCode = 1
  }
)
