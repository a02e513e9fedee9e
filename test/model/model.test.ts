import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Effect, FastCheck as fc, Fiber, Layer, Redacted, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import type { Event } from "../../src/protocol/index.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import { Connector } from "../../src/transport/Connection.js"
import { world } from "../runtime/world.js"
import { runs, within } from "../support/properties.js"

/**
 * What a client may do, in any order. The model of a job is its agent's program: `status`, then `event 1` to `event n`,
 * then one end; a cancelled job may have stopped anywhere on that way.
 */
type Step =
  | { readonly act: "submit"; readonly count: number }
  | { readonly act: "cut" }
  | { readonly act: "cutInbound"; readonly n: number }
  | { readonly act: "cutOutbound"; readonly n: number }
  | { readonly act: "drop"; readonly n: number }
  | { readonly act: "cancel"; readonly of: number }
  | { readonly act: "observe"; readonly of: number }
  | { readonly act: "ping" }
  | { readonly act: "list" }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ act: fc.constant("submit" as const), count: fc.integer({ min: 0, max: 80 }) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("cut" as const) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("cutInbound" as const), n: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("cutOutbound" as const), n: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("drop" as const), n: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("cancel" as const), of: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant("observe" as const), of: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("ping" as const) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant("list" as const) }) }
)

const connect = ArcpClient.layer({
  auth: { token: Redacted.make("alice-token") },
  backoff: 1,
  maxBackoff: 4,
  ackEvery: 7
})
/** The connector below the faults. */
class Undisturbed extends Context.Tag("test/Undisturbed")<Undisturbed, Context.Tag.Service<Connector>>() {}
const undisturbed = Layer.effect(Undisturbed, Connector)

/** A second client of the same runtime, beside the faults: what the first one suffers is not to happen to this one. */
const observerClient = Layer.fresh(connect).pipe(Layer.provide(Layer.effect(Connector, Undisturbed)))

const told = (events: ReadonlyArray<Event.JobEvent>): ReadonlyArray<string> =>
  events.map((event) =>
    event._tag === "log" ? event.body.message : event._tag === "status" ? event.body.phase : event.kind
  )

const run = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const faults = yield* Faults
    const jobs: Array<{
      readonly count: number
      cancelled: boolean
      readonly handle: Effect.Effect.Success<ReturnType<typeof submit>>
      readonly collected: Fiber.Fiber<Chunk.Chunk<Event.JobEvent>, unknown>
      readonly observed: Array<Fiber.Fiber<Chunk.Chunk<Event.JobEvent>, unknown>>
    }> = []
    const submit = (count: number) => client.submit("counter", { count })
    for (const s of steps) {
      const of = "of" in s && jobs.length > 0 ? jobs[s.of % jobs.length] : undefined
      switch (s.act) {
        case "submit": {
          const handle = yield* submit(s.count)
          const collected = yield* Effect.fork(Stream.runCollect(handle.events))
          jobs.push({ count: s.count, cancelled: false, handle, collected, observed: [] })
          break
        }
        case "cut":
          yield* faults.cut
          break
        case "cutInbound":
          yield* faults.cutBeforeInbound(s.n)
          break
        case "cutOutbound":
          yield* faults.cutBeforeOutbound(s.n)
          break
        case "drop":
          yield* faults.dropInbound(s.n, (frame) => typeof frame === "string" && frame.includes('"event_seq"'))
          break
        case "cancel":
          if (of !== undefined) {
            of.cancelled = true
            // A job that has ended meanwhile refuses, which is an answer too.
            yield* Effect.ignore(of.handle.cancel("model"))
          }
          break
        case "observe":
          if (of !== undefined) {
            const observer = yield* Layer.build(observerClient)
            const second = Effect.flatMap(ArcpClient, (c) => c.subscribe(of.handle.jobId, { history: true }))
            const seen = yield* Effect.provide(second, observer)
            of.observed.push(yield* Effect.fork(Stream.runCollect(seen.events)))
          }
          break
        case "ping":
          yield* client.ping
          break
        case "list":
          yield* Stream.runCollect(client.listJobs({ pageSize: 2 }))
      }
    }
    // A lost frame shows when something follows it; nothing may follow the last one, so the session is resumed.
    yield* faults.dropInbound(0)
    yield* faults.cut
    for (const job of jobs) {
      const end = yield* Effect.either(job.handle.result)
      const events = told(Chunk.toReadonlyArray(yield* Fiber.join(job.collected)))
      const whole = ["running", ...Array.from({ length: job.count }, (_, i) => `event ${i + 1}`)]
      if (end._tag === "Right") expect(events).toEqual(whole)
      else {
        expect(job.cancelled).toBe(true)
        expect(end.left).toMatchObject({ code: "CANCELLED" })
        expect(events).toEqual(whole.slice(0, events.length))
      }
      for (const fiber of job.observed) expect(told(Chunk.toReadonlyArray(yield* Fiber.join(fiber)))).toEqual(events)
    }
    const listed = yield* Stream.runCollect(client.listJobs())
    expect(new Set(Chunk.toReadonlyArray(listed).map((j) => j.job_id))).toEqual(
      new Set(jobs.map((j) => j.handle.jobId))
    )
  })

describe("§6, §7, §8.3 a whole session against its model", () => {
  it.live(
    "random submits, cuts, losses, cancels and observers: every event once, in order, one end per job",
    () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), (steps) =>
            run(steps).pipe(
              Effect.scoped,
              Effect.provide(
                connect.pipe(Layer.provideMerge(faulty), Layer.provideMerge(undisturbed), Layer.provideMerge(world()))
              ),
              Effect.timeout("1 minute"),
              Effect.runPromise
            )
          ),
          { numRuns: runs(120), endOnFailure: true }
        )
      ),
    within(120_000)
  )
})
