/**
 * Reads each event of a job exactly once, while the network breaks three times and another client goes on where the first one stopped.
 *
 * It shows: a client that reconnects and resumes its session by itself (ARCP 1.1 §6.3), and the facts of a session, as JSON text, with
 * which another process can go on. A faulty transport stands between the client and its socket.
 */
import { NodeRuntime } from "@effect/platform-node"
import {
  ArcpClient,
  type ArcpClientService,
  type ClientStatus,
  type JobHandle,
  SessionFactsJson
} from "effect-arcp/client"
import { FaultyTransport } from "effect-arcp/testing"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { Counter, CounterLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { token, transport } from "./support/runtime.js"

const count = 240
const cutsAfter = [40, 80, 160]
const stopAfter = 120

const lines: Array<string> = []
const sessions = new Set<string>()
let resumed = 0

const follow = (status: ClientStatus) => {
  if (status._tag === "Connected" || status._tag === "Resumed") sessions.add(status.sessionId)
  if (status._tag === "Disconnected") return Console.log(`  the connection broke after ${lines.length} lines`)
  if (status._tag !== "Resumed") return Effect.void
  resumed++
  return Console.log(`  session ${status.sessionId} goes on after event ${status.fromSeq}`)
}

/** Reads until there are so many lines, and cuts the connection on the way. */
const read = (arcp: ArcpClientService, job: JobHandle<unknown>, until: number) =>
  Effect.flatMap(FaultyTransport.Faults, (faults) =>
    // an event counts as processed when the next one is asked for; one at a time makes that exact
    job.eventsWith({ chunkSize: 1 }).pipe(
      Stream.takeWhile(() => lines.length < until),
      Stream.runForEach((event) => {
        if (event._tag !== "log") return Effect.void
        lines.push(event.body.message)
        // a call waits for the connection that comes next
        return cutsAfter.includes(lines.length) ? Effect.zipRight(faults.cut, arcp.ping) : Effect.void
      })
    )
  )

const first = Effect.gen(function* () {
  const arcp = yield* ArcpClient.make({ auth: { token } })
  yield* Effect.forkScoped(Stream.runForEach(arcp.status, follow))
  const job = yield* arcp.submit(Counter, { count, kind: "log", delay_ms: 5 })
  yield* Console.log(`the first client submitted ${job.jobId} and reads ${stopAfter} lines`)
  yield* read(arcp, job, stopAfter)
  const facts = yield* arcp.session
  if (facts === undefined) return yield* Effect.dieMessage("there is no session")
  // a program stores this text where its next process finds it; it holds the session's token
  return { jobId: job.jobId, text: yield* Schema.encode(SessionFactsJson)(facts) }
}).pipe(Effect.scoped)

const second = ({ jobId, text }: { readonly jobId: string; readonly text: string }) =>
  Effect.gen(function* () {
    const resume = yield* Schema.decode(SessionFactsJson)(text)
    const arcp = yield* ArcpClient.make({ auth: { token }, resume })
    yield* Effect.forkScoped(Stream.runForEach(arcp.status, follow))
    yield* Console.log("the second client has nothing but the facts, and reads the rest")
    const job = yield* arcp.attach(jobId, { agent: Counter })
    yield* read(arcp, job, Number.POSITIVE_INFINITY)
    return yield* job.result
  }).pipe(Effect.scoped)

const program = Effect.gen(function* () {
  const result = yield* Effect.flatMap(first, second)
  const faults = yield* FaultyTransport.Faults
  const { cuts } = yield* faults.counts
  yield* Console.log(`${lines.length} lines, ${cuts} cuts, ${sessions.size} session\n`)

  yield* claim("the connection was cut three times", cuts === cutsAfter.length)
  yield* claim(
    "after each cut, and in the second client, the same session went on",
    resumed === cutsAfter.length + 1 && sessions.size === 1
  )
  yield* claim(
    "each line came exactly once, in its order",
    lines.length === result.count && lines.every((line, i) => line === `event ${i + 1}`)
  )
})

const Network = FaultyTransport.layer.pipe(Layer.provide(transport(CounterLive)))
NodeRuntime.runMain(program.pipe(Effect.provide(Network), Effect.timeout("1 minute")))
