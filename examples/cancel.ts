/**
 * Cancels a job that runs, whose agent is interrupted, runs its finalizers, and ends once, as cancelled.
 *
 * It shows: `job.cancel` (ARCP 1.1 §7.4), the error `CANCELLED` with which the result fails, and that cancelling a job again is harmless.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Clock, Console, Effect, Fiber, Option, Stream } from "effect"
import { Sleep, SleepLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { transport, token } from "./support/runtime.js"

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient.make({ auth: { token } })
  const job = yield* arcp.submit(Sleep, { ms: 3_600_000 })
  yield* Console.log(`${job.jobId} sleeps for an hour`)

  const lines: Array<string> = []
  const reading = yield* job.events.pipe(
    Stream.runForEach((event) => {
      if (event._tag === "log") lines.push(event.body.message)
      return Console.log(`  ${event.kind} ${JSON.stringify(event.body)}`)
    }),
    Effect.fork
  )
  // the agent runs when its first event has come
  yield* Stream.runHead(job.events)

  const start = yield* Clock.currentTimeMillis
  yield* job.cancel("it takes too long")
  const end = yield* Effect.flip(job.result)
  yield* Fiber.join(reading)
  const took = (yield* Clock.currentTimeMillis) - start
  yield* Console.log(`it ended after ${took} ms: ${end._tag}, ${end.message}`)

  const again = yield* Effect.flip(job.cancel("once more"))
  yield* Console.log(`cancelled again: ${again._tag}, ${again.message}\n`)

  // a session of its own sees what the runtime keeps of the job
  const other = yield* ArcpClient.make({ auth: { token } })
  const observed = yield* other.subscribe(job.jobId, { history: true, agent: Sleep })
  const kept = yield* Stream.runCount(observed.events)
  const keptEnd = yield* Effect.flip(observed.result)
  const listed = yield* Stream.runHead(
    Stream.filter(other.listJobs({ agent: "sleep" }), (row) => row.job_id === job.jobId)
  )

  yield* claim("the job ended at once, and not after an hour", took < 10_000)
  yield* claim(
    "its result is the error CANCELLED, with the reason",
    end._tag === "Cancelled" && end.message.includes("it takes too long")
  )
  yield* claim("the agent's finalizer ran: it has said so", lines.join() === "woken early")
  yield* claim("a second cancel is told that the job has ended", again._tag === "InvalidRequest")
  yield* claim("and changes nothing: one end, with the first reason", kept === 2 && keptEnd.message === end.message)
  yield* claim("the job is listed as cancelled", Option.isSome(listed) && listed.value.status === "cancelled")
}).pipe(Effect.scoped)

NodeRuntime.runMain(program.pipe(Effect.provide(transport(SleepLive)), Effect.timeout("1 minute")))
