/**
 * Fixed pieces of work on the hot path, each beside a piece of plain work that knows nothing of this package. A process of
 * its own, so that what else a run of the tests has loaded and compiled does not count; prints how many times the plain
 * work each piece took.
 *
 * Processor time is counted, not time: what else the machine does meanwhile hardly shows. Pieces take turns, so that a
 * slower clock slows all of them, and the least of the rounds counts.
 */
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { Envelope, Message } from "../../src/protocol/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { hosted, leases } from "./workload.js"

/** Until the engine has compiled what is hot. A job is much code, and a round has few: with less, what is compiled late is measured. */
const warmUps = 6
const warmUpJobs = 3_000
const rounds = 6

/** A client and a runtime on a store, in this process. */
const paired = <E>(store: Layer.Layer<Layer.Layer.Success<typeof MemoryStore.layer>, E>) =>
  ManagedRuntime.make(ArcpClient.layer({ auth: { token: Redacted.make("t") } }).pipe(Layer.provide(hosted(store))))

const emitted = (count: number) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit("count", { count })
    const seen = yield* Stream.runFold(job.events, 0, (n, event) => (event._tag === "log" ? n + 1 : n))
    if (seen !== count) return yield* Effect.dieMessage(`${seen} of ${count} events arrived`)
  })

/** Jobs of an agent that ends at once. */
const ended = (agent: string, count: number) =>
  Effect.forEach(
    Array.from({ length: count }),
    (_, n) =>
      Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit(agent, { n }, { lease: leases[agent] })
        return yield* job.result
      }),
    { concurrency: 16, discard: true }
  )

const head = `"arcp":"1.1","id":"01M8A2FCGJXD5KYVA6XSVW46AR","session_id":"sess_01M8A2FCGG1SAQYYJ2AJADGNHT"`
const event = `{${head},"type":"job.event","job_id":"job_01M8A2FCGG1SAQYYJ2AJADGNHT","event_seq":7,"payload":{"kind":"log","ts":"2026-01-01T00:00:00.000Z","body":{"level":"info","message":"event 7"}}}`
const submit = `{${head},"type":"job.submit","payload":{"agent":"echo@1.0.0","input":{"n":1},"idempotency_key":"k1","lease_request":{"fs.read":["/data/**"]}}}`
const ack = `{${head},"type":"session.ack","payload":{"last_processed_seq":7}}`

/** Frames of both directions, read and decoded. */
const decoded = (count: number): void => {
  for (let i = 0; i < count; i++) {
    const [told, asked] = [Envelope.fromText(event), Envelope.fromText(i % 4 === 0 ? submit : ack)]
    if (told._tag === "Left" || asked._tag === "Left") throw new Error("a frame was not read")
    if (Message.decodeRuntime(told.right)._tag === "Left" || Message.decodeClient(asked.right)._tag === "Left") {
      throw new Error("a message was not decoded")
    }
  }
}

/** Texts parsed, objects made and let go, closures called. */
const plain = (): void => {
  let kept = new Map<string, { readonly n: number; readonly next: () => number }>()
  for (let i = 0; i < 4_000; i++) {
    const value = JSON.parse(event) as { readonly event_seq: number; readonly payload: object }
    const copy = { ...value, n: i, payload: { ...value.payload, at: i } }
    kept.set(`${i & 1023}`, { n: JSON.stringify(copy).length, next: () => copy.n })
    if (kept.size === 1024) {
      let sum = 0
      for (const entry of kept.values()) sum += entry.next() + entry.n
      if (sum < 0) throw new Error("cannot be")
      kept = new Map()
    }
  }
}

const memory = paired(MemoryStore.layer)
const sqlite = paired(SqliteStore.layer({ filename: ":memory:" }))

const pieces: { readonly [name: string]: () => unknown } = {
  plain,
  "events on the memory store": () => memory.runPromise(emitted(2_000)),
  "events on SQLite": () => sqlite.runPromise(emitted(2_000)),
  "echo jobs": () => memory.runPromise(ended("echo", 40)),
  "jobs that log": () => memory.runPromise(ended("log", 40)),
  "jobs that log in a span": () => memory.runPromise(ended("span", 40)),
  "jobs that call a tool": () => memory.runPromise(ended("tool", 40)),
  "jobs that read a file": () => memory.runPromise(ended("file", 20)),
  "decoded frames": () => decoded(1_500)
}

await memory.runPromise(ended("echo", warmUpJobs))
for (const agent of ["log", "span", "tool", "file"]) await memory.runPromise(ended(agent, warmUpJobs / 6))
const least: { [name: string]: number } = {}
for (let round = -warmUps; round < rounds; round++) {
  for (const [name, piece] of Object.entries(pieces)) {
    const before = process.cpuUsage()
    await piece()
    const { system, user } = process.cpuUsage(before)
    if (round >= 0) least[name] = Math.min(least[name] ?? Number.POSITIVE_INFINITY, user + system)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
const { plain: unit, ...times } = least
process.stdout.write(
  JSON.stringify({
    plainMillis: unit! / 1000,
    ratios: Object.fromEntries(Object.entries(times).map(([name, time]) => [name, time / unit!]))
  })
)
process.exit(0)
