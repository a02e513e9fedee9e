/**
 * How many bytes the runtime allocates for an event, a job of each agent, and a chunk: whatever is let go of at once counts as
 * well. A process of its own; prints the bytes of each piece.
 *
 * The young generation is large enough for no collection to come between (a run with one does not count), so that what the
 * heap has more of is what was allocated: no sample, and no estimate. The client's side is a few lines by hand that allocate the
 * same always; the package's own client is not measured.
 */
import { PerformanceObserver } from "node:perf_hooks"
import { Deferred, Effect, ManagedRuntime } from "effect"
import { Features } from "../../src/protocol/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Connector } from "../../src/transport/Connection.js"
import { readChunks } from "../../src/transport/Reading.js"
import { hosted, leases } from "./workload.js"

/** Jobs at a time. */
const atOnce = 16
/** Events after which the client acknowledges. */
const ackEvery = 256

const hello = JSON.stringify({
  auth: { scheme: "bearer", token: "t" },
  client: { name: "guard" },
  capabilities: { encodings: ["json"], features: Features.coreFeatures }
})

let collections = 0
new PerformanceObserver((list) => {
  collections += list.getEntries().length
}).observe({ entryTypes: ["gc"] })

const turn = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

/** A client that counts frames: jobs that end, and numbers to acknowledge. */
const connected = Effect.gen(function* () {
  const connection = yield* Effect.flatMap(Connector, ({ connect }) => connect)
  let sent = 0
  let seq = 0
  let left = 0
  let over = yield* Deferred.make<void>()
  const welcomed = yield* Deferred.make<void>()
  const frame = (type: string, payload: string) =>
    `{"arcp":"1.1","id":"m${++sent}","type":"${type}","payload":${payload}}`
  let submit = ""
  let toSubmit = 0
  const next = (count: number): ReadonlyArray<string> => {
    const frames: Array<string> = []
    for (; toSubmit > 0 && frames.length < count; toSubmit--) frames.push(frame("job.submit", submit))
    return frames
  }
  yield* Effect.forkScoped(
    readChunks(connection, (frames) => {
      let ended = 0
      const before = seq
      for (const text of frames as ReadonlyArray<string>) {
        if (text.includes('"type":"job.event"')) seq++
        else if (text.includes('"type":"job.result"')) {
          seq++
          ended++
        } else if (text.includes('"type":"session.welcome"')) Deferred.unsafeDone(welcomed, Effect.void)
        else if (!text.includes('"type":"job.accepted"')) return Effect.dieMessage(text)
      }
      left -= ended
      const due = Math.floor(seq / ackEvery) > Math.floor(before / ackEvery)
      const answers = [...(due ? [frame("session.ack", `{"last_processed_seq":${seq}}`)] : []), ...next(ended)]
      if (left === 0 && ended > 0) Deferred.unsafeDone(over, Effect.void)
      return answers.length === 0 ? Effect.void : Effect.orDie(connection.send(answers))
    }).pipe(Effect.catchAllCause((cause) => Effect.sync(() => Deferred.unsafeDone(over, Effect.failCause(cause)))))
  )
  yield* connection.send([frame("session.hello", hello)])
  yield* Deferred.await(welcomed)
  /** Runs so many jobs of an agent, and waits until the last has ended. */
  return (agent: string, count: number, input: unknown) =>
    Effect.gen(function* () {
      const lease = leases[agent]
      submit = JSON.stringify({ agent, input, ...(lease === undefined ? {} : { lease_request: lease }) })
      over = yield* Deferred.make<void>()
      left = toSubmit = count
      yield* connection.send(next(atOnce))
      yield* Deferred.await(over)
    })
})

/** Each piece of work, and how many units it has. */
const pieces: ReadonlyArray<readonly [name: string, agent: string, jobs: number, units: number, input: unknown]> = [
  ["an event", "count", 1, 4_000, { count: 4_000 }],
  ["a chunk", "stream", 1, 200, { count: 200 }],
  ["a job that echoes", "echo", 400, 400, { n: 1 }],
  ["a job that logs", "log", 400, 400, { n: 1 }],
  ["a job that logs in a span", "span", 400, 400, { n: 1 }],
  ["a job that calls a tool", "tool", 400, 400, { n: 1 }],
  ["a job that reads a file", "file", 100, 100, { n: 1 }]
]

const warmUps = 4
const rounds = 6
/** Rounds that no collection came between. */
const enough = 3

const program = Effect.gen(function* () {
  const run = yield* connected
  const found: { [name: string]: Array<number> } = {}
  for (let round = -warmUps; round < rounds; round++) {
    for (const [name, agent, jobs, units, input] of pieces) {
      globalThis.gc!()
      yield* turn
      const begun = collections
      const before = process.memoryUsage()
      yield* run(agent, jobs, input)
      const after = process.memoryUsage()
      yield* turn
      // What was collected would be missing.
      if (round < 0 || collections !== begun) continue
      const bytes = after.heapUsed + after.external - before.heapUsed - before.external
      ;(found[name] ??= []).push(bytes / units)
    }
  }
  for (const [name] of pieces) {
    const runs = found[name]?.length ?? 0
    if (runs < enough) return yield* Effect.dieMessage(`${name}: collections came between, ${runs} runs are left`)
  }
  return found
})

const runtime = ManagedRuntime.make(hosted(MemoryStore.layer))
const found = await runtime.runPromise(Effect.scoped(program))
// What is compiled late, or comes by the clock, only adds.
const least = Object.fromEntries(Object.entries(found).map(([name, runs]) => [name, Math.min(...runs)]))
process.stdout.write(JSON.stringify({ bytes: least, runs: found }))
process.exit(0)
