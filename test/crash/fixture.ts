/**
 * A runtime in a process of its own, to be killed. It loads, says `ready`, and starts when it is told to: a line on stdin with
 * the file of its store, its port (0: a free one) and its options, as JSON. Then it says where it listens. A line `memory` is
 * answered with what the process holds after a collection. Where it is told of another key, it gives the file that one, and ends.
 */
import { createInterface } from "node:readline"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpRuntime, Audit, Limits, type LimitsShape } from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Server } from "../../src/transport/Connection.js"
import { WebSocketServer } from "../../src/transport/node.js"
import { trailOf } from "./trail.js"

/** What a process is told. */
export interface Orders {
  readonly filename: string
  readonly port: number
  readonly limits?: Partial<LimitsShape>
  /** Whether each commit, and each write of the audit trail, waits for the disk. */
  readonly flushes?: boolean
  /** The key that the file has, and one that it is to have. */
  readonly key?: string
  readonly to?: string
}

interface Input {
  readonly n: number
  /** Milliseconds after every twentieth event; none: as fast as it may. */
  readonly pause?: number
}

const paced = (n: number, pause: number | undefined) =>
  n % 20 !== 0 || pause === undefined ? Effect.void : Effect.sleep(pause)

const counting = ({ n, pause }: Input) =>
  Effect.gen(function* () {
    const job = yield* Job
    for (let i = 1; i <= n; i++) {
      yield* job.log(`a${job.attempt} c${i}`)
      yield* paced(i, pause)
    }
    return { count: n, attempt: job.attempt }
  })

const hosted = (name: string, run: (input: Input) => Effect.Effect<unknown, unknown, Job>, again: boolean) =>
  Agent.untyped(name, (input) => run(input as Input), { onRestart: again ? "rerun" : "fail" })

const agents = Layer.mergeAll(
  hosted("count", counting, false),
  hosted("recount", counting, true),
  hosted("keyed", counting, true),
  hosted("shared", counting, true),
  // Its steps answer what they answered first, whatever dies in between.
  hosted(
    "steps",
    ({ n, pause }) =>
      Effect.gen(function* () {
        const values: Array<number> = []
        for (let i = 1; i <= n; i++) {
          const { attempt } = yield* Job
          const value = yield* Job.step(`s${i}`, Schema.Number, Effect.succeed(attempt * 1000 + i))
          yield* Job.log(`a${attempt} s${i}=${value}`)
          values.push(value)
          yield* paced(i, pause)
        }
        return values
      }),
    true
  ),
  // Spends a thousandth at a time, and says at each start what is left.
  hosted(
    "spend",
    ({ n, pause }) =>
      Effect.gen(function* () {
        const job = yield* Job
        yield* job.log(`a${job.attempt} left=${(yield* job.remaining)["USD"] ?? "none"}`)
        for (let i = 1; i <= n; i++) {
          yield* job.spend("cost.work", "0.001 USD")
          yield* paced(i, pause)
        }
        return (yield* job.remaining)["USD"]
      }),
    true
  ),
  hosted(
    "stream",
    ({ n, pause }) =>
      Job.streamResult(
        Stream.range(1, n).pipe(
          Stream.rechunk(1),
          Stream.mapEffect((i) => Effect.as(paced(i, pause), `${i};`))
        )
      ),
    true
  ),
  // Two children side by side, each with half of what there is.
  hosted(
    "parent",
    ({ n, pause }) =>
      Effect.forEach(
        [1, 2],
        (i) =>
          Job.delegate("count", { n: n + i, pause }, { lease: { "cost.budget": ["USD:0.25"] } }).pipe(Effect.either),
        { concurrency: 2 }
      ).pipe(Effect.zipRight(Effect.map(Job.remaining, (left) => left["USD"]))),
    true
  ),
  hosted("tool", ({ n }) => Job.tool("work", { n }, Effect.as(Effect.sleep(n), n)), false),
  hosted("sleep", () => Effect.zipRight(Job.log("a0 asleep"), Effect.never), true)
)

const redacted = (key: string | undefined) => (key === undefined ? undefined : Redacted.make(key))

/** Gives a file another key. */
const rekey = ({ filename, key, to }: Orders & { readonly to: string }) =>
  SqliteStore.rekey({ filename, from: redacted(key), to: Redacted.make(to) })

const main = (orders: Orders) =>
  Effect.gen(function* () {
    const { address } = yield* Server
    process.stdout.write(`${address}\n`)
    return yield* Effect.never
  }).pipe(
    Effect.provide(
      ArcpRuntime.layer().pipe(
        Layer.provide(agents),
        Layer.provide(Limits.layer(orders.limits ?? {})),
        Layer.provideMerge(WebSocketServer.layer({ port: orders.port })),
        Layer.provide(Authenticator.layerBearer({ "secret-of-alice": "alice", "secret-of-bob": "bob" })),
        Layer.provide(
          SqliteStore.layer({
            filename: orders.filename,
            encryptionKey: redacted(orders.key),
            synchronous: orders.flushes === true ? "FULL" : "NORMAL"
          })
        ),
        Layer.provide(
          Audit.layerNdjson(trailOf(orders.filename), { flushInterval: "20 millis", sync: orders.flushes === true })
        ),
        Layer.provide(NodeFileSystem.layer)
      )
    )
  )

// Ctrl-C is for whoever has started it, and ends it by closing its input.
process.on("SIGINT", () => undefined)
const input = createInterface({ input: process.stdin })
input.on("close", () => process.exit(0))
input.on("line", (line) => {
  if (line !== "memory") {
    const orders = JSON.parse(line) as Orders
    const { to } = orders
    if (to === undefined) return void Effect.runFork(main(orders))
    return void Effect.runPromise(rekey({ ...orders, to })).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(String(error))
        process.exit(1)
      }
    )
  }
  const collect = (globalThis as { gc?: () => void }).gc
  collect?.()
  const { heapUsed, rss } = process.memoryUsage()
  process.stdout.write(`memory ${heapUsed} ${rss}\n`)
})
process.stdout.write("ready\n")
