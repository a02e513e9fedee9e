/** The package's client, as it comes: it acknowledges, keeps its session and decodes every event. */
import { ArcpClient } from "effect-arcp/client"
import { closeCodes, type Connection, Connector } from "effect-arcp/transport"
import { WebSocketClient } from "effect-arcp/transport/node"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Busy, Counter, Echo, Streamer, Tokens } from "./agents.js"
import type { AskServer } from "./client.js"
import { now } from "./clock.js"
import { RawSession, type Watch } from "./rawSession.js"
import { inGroups, latencies, quantile } from "./stats.js"
import { token } from "./tokens.js"

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

/** A connector whose connection can be cut, and mended. */
class Line {
  readonly connector: typeof Connector.Service
  private connection: Connection | undefined
  private whole = Effect.unsafeMakeLatch(true)

  constructor(url: string) {
    const inner = WebSocketClient.make({ url })
    this.connector = {
      address: inner.address,
      connect: Effect.zipRight(
        this.whole.await,
        Effect.tap(inner.connect, (connection) => Effect.sync(() => void (this.connection = connection)))
      )
    }
  }

  /** Ends the connection without a word of the protocol; the next one waits. */
  readonly cut = Effect.suspend(() =>
    Effect.zipRight(this.whole.close, this.connection?.close(closeCodes.abnormal, "cut") ?? Effect.void)
  )
  readonly mend = Effect.suspend(() => this.whole.open)
}

/** What the ARCP client can be asked. */
export const arcpClient = async (url: string, ask: AskServer) => {
  const line = new Line(url)
  const runtime = ManagedRuntime.make(
    ArcpClient.layer({ auth: { token: Redacted.make(token) }, backoff: 1, connectTimeout: "10 minutes" }).pipe(
      Layer.provide(Layer.succeed(Connector, line.connector))
    )
  )
  const server = <A>(task: string, args?: unknown) => Effect.promise(() => ask<A>(task, args))
  const readers: Array<RawSession> = []
  const reader = () => RawSession.open({ url, token, lean: true })
  /** Of the readers' job, at each of them. */
  const ends: Array<Promise<unknown>> = []
  let gates = 0
  /** A job that emits behind gates, step by step. */
  const gated = (steps: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const gate = `g${++gates}`
      const client = yield* ArcpClient
      const job = yield* client.submit(Counter, { steps, gate })
      return { job, gate }
    })
  /** Opens a gate, and waits until what is behind it has been emitted. */
  const emitting = (gate: string) => Effect.zipRight(server("open", { gate }), server("emitted", { gate }))
  /** Bytes that the server holds, once it has come to rest: what is on its way would count. */
  const held = Effect.gen(function* () {
    yield* Effect.sleep(500)
    return yield* server<{ readonly held: number }>("memory")
  })

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
      ),
    observe: async ({ count, observers }: { readonly observers: number; readonly count: number }) => {
      for (const reader of readers.splice(0)) reader.close()
      for (let i = 0; i <= observers; i++) readers.push(await reader())
      const [owner, ...others] = readers
      const gate = `g${++gates}`
      const watched = (watch: (told: Watch) => void) =>
        ends.push(new Promise((resolve, reject) => watch({ ended: () => resolve(undefined), failed: reject })))
      ends.length = 0
      const jobId = await new Promise<string>((accepted, failed) =>
        watched((told) =>
          owner!.submit(
            "counter",
            { steps: [count], gate },
            {
              ...told,
              accepted,
              failed: (error) => {
                failed(error)
                told.failed(error)
              }
            }
          )
        )
      )
      await inGroups(others.length, async () => {
        const observer = others.pop()!
        await new Promise<void>((resolve, failed) =>
          watched((told) => void observer.subscribe(jobId, told).then(resolve, failed))
        )
      })
      await ask("open", { gate: `${gate}.end` })
    },
    observed: async ({ count }: { readonly count: number }) => {
      const begin = performance.now()
      const before = readers.map(({ events }) => events)
      await ask("open", { gate: `g${gates}.0` })
      await Promise.all(ends)
      const seen = Math.min(...readers.map(({ events }, i) => events - before[i]!))
      if (seen < count) throw new Error(`a reader got ${seen} of ${count} events`)
      return { ms: performance.now() - begin }
    },
    idle: ({ count }: { readonly count: number }) => inGroups(count, async () => void readers.push(await reader())),
    /** Everything is emitted while nobody is connected; then the client comes back. */
    replay: ({ count }: { readonly count: number }) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const { gate, job } = yield* gated([count])
          yield* line.cut
          yield* emitting(`${gate}.0`)
          yield* server("open", { gate: `${gate}.end` })
          // What is emitted is not yet written.
          yield* Effect.sleep(300)
          const reading = yield* Effect.fork(Stream.runCount(job.events))
          const answer = yield* timed(Effect.zipRight(line.mend, Fiber.join(reading)))
          if ((yield* Fiber.join(reading)) < count) return yield* Effect.dieMessage(`fewer than ${count} events came`)
          return answer
        })
      ),
    /** So many jobs that emit the time: how long each event takes until it is consumed here. */
    tokens: ({ millis, streams }: { readonly streams: number; readonly millis: number }) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const client = yield* ArcpClient
          const gate = `tokens ${++gates}`
          const times: Array<number> = []
          // All are there, and read, before the first one emits.
          const reading = yield* Effect.forEach(
            Array.from({ length: streams }),
            (_, seed) =>
              Effect.flatMap(client.submit(Tokens, { gate, millis, seed }), (job) =>
                Effect.forkDaemon(
                  Effect.zipRight(
                    Stream.runForEach(job.events, (event) =>
                      Effect.sync(() => {
                        if (event._tag === "log") times.push(now() - Number(event.body.message))
                      })
                    ),
                    job.result
                  )
                )
              ),
            { concurrency: 64 }
          )
          yield* server("open", { gate })
          yield* Fiber.joinAll(reading)
          return latencies(times, streams)
        })
      ),
    busy: ({ items }: { readonly items: number }) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const client = yield* ArcpClient
          const job = yield* client.submit(Busy, { items })
          yield* Stream.runDrain(job.events)
          yield* job.result
        })
      ),
    /** Bytes that the server holds for an event that its client has not had, and for one that it has acknowledged. */
    buffered: ({ acked, count }: { readonly count: number; readonly acked: readonly [number, number] }) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const waiting = yield* gated([count])
          yield* line.cut
          const before = yield* held
          yield* emitting(`${waiting.gate}.0`)
          const after = yield* held
          yield* server("open", { gate: `${waiting.gate}.end` })
          const reading = yield* Effect.fork(Stream.runDrain(waiting.job.events))
          yield* line.mend
          yield* Fiber.join(reading)
          const had = yield* gated(acked)
          yield* Effect.fork(Stream.runDrain(had.job.events))
          yield* emitting(`${had.gate}.0`)
          const some = yield* held
          yield* emitting(`${had.gate}.1`)
          const more = yield* held
          yield* server("open", { gate: `${had.gate}.end` })
          yield* had.job.result
          return { buffered: (after.held - before.held) / count, acked: (more.held - some.held) / acked[1] }
        })
      )
  }
}
