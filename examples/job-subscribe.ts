/**
 * Lets a second client of the same principal observe a job that runs, from the first event of its history to its end.
 *
 * It shows: a subscription with history (ARCP 1.1 §7.6), that no event is missed or repeated where the history ends and live events
 * begin, and that an observer cannot cancel the job (§7.4).
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient, type ObservedJob } from "effect-arcp/client"
import { Console, Deferred, Effect, Fiber, Stream } from "effect"
import { Counter, CounterLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { token, transport } from "./support/runtime.js"

const count = 100

/** What both clients see of a job's events; their numbers differ, since each session counts its own. */
const texts = (job: ObservedJob<unknown>) =>
  job.events.pipe(Stream.map((event) => `${event.ts} ${event.kind} ${JSON.stringify(event.body)}`))

const program = Effect.gen(function* () {
  // two clients are two sessions, also where they have the same token
  const owner = yield* ArcpClient.make({ auth: { token } })
  const observer = yield* ArcpClient.make({ auth: { token } })

  const job = yield* owner.submit(Counter, { count, kind: "progress", delay_ms: 20 })
  yield* Console.log(`the owner's job is ${job.jobId}`)
  const owned: Array<string> = []
  const half = yield* Deferred.make<void>()
  const reading = yield* texts(job).pipe(
    Stream.runForEach((text) => {
      owned.push(text)
      return owned.length === count / 2 ? Deferred.succeed(half, undefined) : Effect.void
    }),
    Effect.fork
  )
  yield* Deferred.await(half)

  const observed = yield* observer.subscribe(job.jobId, { history: true, agent: Counter })
  const before = owned.length
  yield* Console.log(`after ${before} events the observer subscribes to ${observed.agent}`)

  // an observer has no `cancel`; the same job as a handle of the observer's session has one, and the runtime refuses it
  const handle = yield* observer.attach(job.jobId, { agent: Counter })
  const refusal = yield* Effect.flip(handle.cancel("the observer does not want it"))
  yield* Console.log(`the observer may not cancel: ${refusal.message}`)

  const seen = [...(yield* Stream.runCollect(texts(observed)))]
  yield* Fiber.join(reading)
  const [result, same] = [yield* job.result, yield* observed.result]
  yield* Console.log(`the owner saw ${owned.length} events, the observer ${seen.length}\n`)

  yield* claim("the observer came in the middle", before >= count / 2 && before < owned.length)
  yield* claim(
    "it saw the very events that the owner saw, in their order",
    seen.length === owned.length && seen.every((text, i) => text === owned[i])
  )
  yield* claim("it has the job's result", result.count === count && same.count === count)
  yield* claim(
    "it could not cancel the job, which ran to its end",
    refusal._tag === "PermissionDenied" && seen.length > count
  )
}).pipe(Effect.scoped)

NodeRuntime.runMain(program.pipe(Effect.provide(transport(CounterLive)), Effect.timeout("1 minute")))
