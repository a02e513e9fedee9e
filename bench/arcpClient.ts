/** The package's client, as it comes: it acknowledges, keeps its session and decodes every event. */
import { ArcpClient } from "effect-arcp/client"
import { WebSocketClient } from "effect-arcp/transport/node"
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { Counter, Echo, Streamer, token } from "./agents.js"
import type { AskServer } from "./client.js"
import { quantile } from "./stats.js"

const timed = <A, E, R>(run: Effect.Effect<A, E, R>): Effect.Effect<{ readonly ms: number }, E, R> =>
  Effect.suspend(() => {
    const begin = performance.now()
    return Effect.map(run, () => ({ ms: performance.now() - begin }))
  })

/** A job that emits, every event of it consumed. */
const consumed = (count: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit(Counter, { steps: [count] })
    const seen = yield* Stream.runFold(job.events, 0, (n, event) => (event._tag === "log" ? n + 1 : n))
    yield* job.result
    if (seen !== count) return yield* Effect.dieMessage(`${seen} of ${count} events arrived`)
  })

const echoed = (n: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit(Echo, { n })
    return yield* job.result
  })

/** What the ARCP client can be asked. */
export const arcpClient = async (url: string, _ask: AskServer) => {
  const runtime = ManagedRuntime.make(
    ArcpClient.layer({ auth: { token: Redacted.make(token) } }).pipe(Layer.provide(WebSocketClient.layer({ url })))
  )
  await runtime.runPromise(Effect.flatMap(ArcpClient, (client) => client.connected))
  return {
    events: ({ count, streams }: { readonly count: number; readonly streams: number }) =>
      runtime.runPromise(
        timed(
          Effect.forEach(Array.from({ length: streams }), () => consumed(count / streams), {
            concurrency: "unbounded",
            discard: true
          })
        )
      ),
    echo: ({ count }: { readonly count: number }) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const times = new Float64Array(count)
          for (let n = 0; n < count; n++) {
            const { ms } = yield* timed(echoed(n))
            times[n] = ms * 1000
          }
          return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
        })
      ),
    jobs: ({ atOnce, count }: { readonly count: number; readonly atOnce: number }) =>
      runtime.runPromise(
        timed(
          Effect.forEach(Array.from({ length: count }), (_, n) => echoed(n), { concurrency: atOnce, discard: true })
        )
      ),
    stream: (options: { readonly bytes: number; readonly chunk: number; readonly encoding: "utf8" | "base64" }) =>
      runtime.runPromise(
        timed(
          Effect.gen(function* () {
            const client = yield* ArcpClient
            const job = yield* client.submit(Streamer, options)
            const seen = yield* Stream.runFold(job.chunks, 0, (n, chunk) => n + chunk.length)
            if (seen !== options.bytes) return yield* Effect.dieMessage(`${seen} of ${options.bytes} bytes arrived`)
          })
        )
      )
  }
}
