/**
 * Lists the jobs of a principal page after page, and filters them by agent, by state and by the time of their submit.
 *
 * It shows: `session.list_jobs` (ARCP 1.1 §6.6) as a stream that asks for the next page when the one before has been read.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import type { Session } from "effect-arcp/protocol"
import { Chunk, Console, DateTime, Effect, Layer, Stream } from "effect"
import { Echo, EchoLive, Sleep, SleepLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { client } from "./support/runtime.js"

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const start = DateTime.formatIso(DateTime.subtract(yield* DateTime.now, { millis: 1 }))

  const echoes = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => arcp.submit(Echo, n))
  yield* Effect.forEach(echoes, (job) => job.result)
  const sleepers = yield* Effect.forEach([1, 2], () => arcp.submit(Sleep, { ms: 30_000 }))

  const list = (filter: Session.JobFilter) =>
    arcp.listJobs({ created_after: start, pageSize: 2, ...filter }).pipe(
      // each chunk of the stream is a page
      Stream.chunks,
      Stream.runCollect,
      Effect.map((pages) => Chunk.toArray(pages).map(Chunk.toReadonlyArray))
    )
  const pages = yield* list({})
  for (const [i, page] of pages.entries()) {
    yield* Console.log(`page ${i + 1}`)
    for (const { agent, job_id, status } of page) yield* Console.log(`  ${job_id} ${agent} ${status}`)
  }
  const submitted = [...echoes, ...sleepers].map(({ jobId }): string => jobId)
  // another program may submit jobs for this principal meanwhile
  const mine = (listed: typeof pages) =>
    listed.flatMap((page) => page.map(({ job_id }) => job_id)).filter((jobId) => submitted.includes(jobId))
  const running = mine(yield* list({ status: "running" }))
  const ended = mine(yield* list({ status: ["success", "error"], agent: "echo" }))
  yield* Console.log(`running: ${running.length}, echoes that have ended: ${ended.length}\n`)

  yield* Effect.forEach(sleepers, (job) => job.cancel("it was only an example"))
  yield* Effect.forEach(sleepers, (job) => Effect.flip(job.result))
  const cancelled = mine(yield* list({ status: "cancelled" }))

  const same = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => a.toSorted().join() === b.toSorted().join()
  yield* claim("each job is listed once", same(mine(pages), submitted))
  yield* claim("two on a page", pages.length >= 4 && pages.slice(0, -1).every((page) => page.length === 2))
  yield* claim("a filter by state finds those that run", same(running, submitted.slice(5)))
  yield* claim("a filter by agent and states finds the echoes", same(ended, submitted.slice(0, 5)))
  yield* claim("a state that has changed is listed as it is now", same(cancelled, running))
})

const agents = Layer.merge(EchoLive, SleepLive)
NodeRuntime.runMain(program.pipe(Effect.provide(client(agents)), Effect.timeout("1 minute")))
