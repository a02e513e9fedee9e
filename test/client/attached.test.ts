/** Handles of one job beside each other, through our runtime: attached, observed and repeated (ARCP 1.1 §6.3, §7.2, §7.6). */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { gate, resetGates, world } from "../runtime/world.js"

const runtime = ArcpClient.layer({ auth: { token: Redacted.make("alice-token") } }).pipe(Layer.provideMerge(world()))
const utf8 = (bytes: Iterable<Uint8Array>) => Buffer.concat([...bytes]).toString("utf8")
const eventsOf = (job: { readonly events: Stream.Stream<object, unknown> }) =>
  Effect.map(Stream.runCollect(job.events), Chunk.size)

describe("attach", () => {
  it.scopedLive("§7.6 to a live job of this client, twice, shows each event once in each handle", () =>
    Effect.gen(function* () {
      resetGates()
      const arcp = yield* ArcpClient
      const job = yield* arcp.submit("gate", { name: "g" })
      const handles = yield* Effect.all([arcp.attach(job.jobId), arcp.attach(job.jobId)], { concurrency: 2 })
      const reading = yield* Effect.fork(Effect.all(handles.map(eventsOf), { concurrency: 2 }))
      yield* Deferred.succeed(gate("g"), undefined)
      for (const handle of [job, ...handles]) expect(yield* handle.result).toBe("g")
      expect(yield* Fiber.join(reading)).toEqual([3, 3])
      expect(yield* eventsOf(job)).toBe(3)
    }).pipe(Effect.provide(runtime))
  )

  it.scopedLive(
    "§6.3 to a job that this client has read to its end shows all of it again, whatever its facts tell",
    () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const job = yield* arcp.submit("counter", { count: 5 })
        const whole = yield* eventsOf(job)
        const streamed = yield* arcp.submit("stream", { chunks: ["a", "b", "c"] })
        expect(utf8(yield* Stream.runCollect(streamed.bytes))).toBe("abc")
        // Facts let ended jobs go.
        yield* arcp.session
        const again = yield* arcp.attach(job.jobId)
        expect(yield* again.result).toEqual({ count: 5 })
        expect(yield* eventsOf(again)).toBe(whole)
        expect(yield* (yield* arcp.attach(streamed.jobId)).result).toBe("abc")
      }).pipe(Effect.provide(runtime))
  )

  it.scopedLive("§7.6 to a job that nothing is known of fails with JOB_NOT_FOUND", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      expect(yield* Effect.flip(arcp.attach("job_unknown"))).toMatchObject({ code: "JOB_NOT_FOUND" })
    }).pipe(Effect.provide(runtime))
  )
})

describe("a repeated key of an ended streamed job", () => {
  it.scopedLive("§7.2, §8.4 gives its result, its chunks and its bytes, each time", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const submit = arcp.submit("stream", { chunks: ["a", "b", "c"] }, { idempotencyKey: "key" })
      for (const _ of [1, 2]) {
        expect(yield* (yield* submit).result).toBe("abc")
        expect(utf8(yield* Stream.runCollect((yield* submit).bytes))).toBe("abc")
        expect([...(yield* Stream.runCollect((yield* submit).chunks))]).toEqual(["a", "b", "c"])
      }
    }).pipe(Effect.provide(runtime))
  )
})
