/**
 * Submits the same job again under its idempotency key, also after a lost answer: it stays one job that runs once.
 *
 * It shows: keys (ARCP 1.1 §7.2). A submit whose answer the network lost is repeated by the client itself; a program repeats one under
 * a key of its own. Another input under the same key is refused and leaves the job alone.
 */
import { randomUUID } from "node:crypto"
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { FaultyTransport } from "effect-arcp/testing"
import { Console, DateTime, Effect, Layer, Stream } from "effect"
import { Counter, CounterLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { token, transport } from "./support/runtime.js"

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const network = yield* FaultyTransport.Faults
  yield* arcp.connected
  const start = DateTime.formatIso(DateTime.subtract(yield* DateTime.now, { millis: 1 }))
  // the trace is in the listing, and so finds all jobs that came of these submits
  const traceId = randomUUID().replaceAll("-", "")
  const options = { idempotencyKey: `order-${traceId}`, trace: { traceId } }
  const input = { count: 3, kind: "metric", delay_ms: 200 } as const

  // the runtime gets the submit, and the connection breaks before its answer comes
  yield* network.cutBeforeInbound(1)
  const first = yield* arcp.submit(Counter, input, options)
  const { connects, cuts } = yield* network.counts
  yield* Console.log(`${first.jobId} was accepted after ${cuts} cut, on connection ${connects}`)

  // another client, such as the same program after a crash, submits again: while the job runs, and when it has ended
  const other = yield* ArcpClient.make({ auth: { token } })
  const second = yield* other.submit(Counter, input, options)
  const result = yield* first.result
  const third = yield* other.submit(Counter, input, options)
  const [again, later] = [yield* second.result, yield* third.result]
  yield* Console.log(`the same key again: ${second.jobId} and ${third.jobId}`)

  yield* claim("the lost answer was asked for again", cuts === 1 && connects === 2)
  yield* claim(
    "each submit under the key is the same job",
    [second, third].every(({ jobId }) => jobId === first.jobId)
  )

  const conflict = yield* Effect.flip(other.submit(Counter, { ...input, count: 4 }, options))
  yield* Console.log(`other input under the key: ${conflict._tag}, ${conflict.message}\n`)

  const values = yield* first.events.pipe(
    Stream.filter((event) => event._tag === "metric"),
    Stream.map((event) => event.body.value),
    Stream.runCollect
  )
  const listed = yield* Stream.runCollect(arcp.listJobs({ agent: "counter", created_after: start }))
  const rows = [...listed].filter((row) => row.trace_id === traceId)

  yield* claim("it ran once: three metrics, no more", [...values].join() === "1,2,3" && rows.length === 1)
  yield* claim(
    "every submit has its result",
    [result, again, later].every(({ count }) => count === 3)
  )
  yield* claim("other input under the key is DUPLICATE_KEY", conflict._tag === "DuplicateKey")
}).pipe(Effect.scoped)

const Live = ArcpClient.layer({ auth: { token } }).pipe(
  Layer.provideMerge(FaultyTransport.layer),
  Layer.provide(transport(CounterLive))
)
NodeRuntime.runMain(program.pipe(Effect.provide(Live), Effect.timeout("1 minute")))
