import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Duration, Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { Agent } from "../../src/agent/index.js"
import { ArcpClient, type ClientOptions, type ClientStatus } from "../../src/client/index.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import { gate, world, type WorldOptions } from "../runtime/world.js"

const Counter = Agent.make("counter", {
  input: Schema.Struct({ count: Schema.Number, kind: Schema.optional(Schema.String) }),
  output: Schema.Struct({ count: Schema.Number })
})

const clientOf = (options: ClientOptions = {}, worldOptions: WorldOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, ...options }).pipe(
    Layer.provideMerge(faulty),
    Layer.provideMerge(world(worldOptions))
  )

const main = clientOf()

describe("client", () => {
  it.scoped("§7.1 typed submit, events and result", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Counter, { count: 3 })
      const events = yield* Stream.runCollect(job.events)
      expect(Chunk.toReadonlyArray(events).map((e) => e._tag)).toEqual(["status", "log", "log", "log"])
      expect(yield* job.result).toEqual({ count: 3 })
      expect(job.agent).toBe("counter@1.0.0")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§12 a failing job fails with its code, a refused submit with its own", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("fail")
      const error = yield* Effect.flip(job.result)
      expect(error).toMatchObject({ _tag: "VendorError", code: "NO_LUCK" })
      expect(yield* Effect.flip(client.submit("nobody"))).toMatchObject({ _tag: "AgentNotAvailable" })
      expect(yield* Effect.flip(client.submit(Counter, { count: "x" } as never))).toMatchObject({
        _tag: "InvalidRequest"
      })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§8.4 a streamed result is assembled, and its chunks can be read", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("stream", { chunks: ["ab", "cd"] })
      expect(yield* job.result).toBe("abcd")
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(job.chunks))).toEqual(["ab", "cd"])
      const bytes = yield* client.submit("stream", { chunks: ["ab", "cd"], encoding: "base64" })
      expect(yield* bytes.result).toEqual(new TextEncoder().encode("abcd"))
      const broken = yield* client.submit("stream", { chunks: ["ab"], fail: true })
      expect(yield* Effect.flip(Stream.runCollect(broken.chunks))).toMatchObject({ code: "BROKEN" })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("§6.3 a cut in the middle is not noticed: every event once, in order", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const faults = yield* Faults
      yield* client.connected
      for (const n of [3, 10, 17]) {
        yield* faults.cutBeforeInbound(n)
        const job = yield* client.submit(Counter, { count: 500 })
        const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
        expect(events.flatMap((e) => (e._tag === "log" ? [e.body.message] : []))).toEqual(
          Array.from({ length: 500 }, (_, i) => `event ${i + 1}`)
        )
        expect(yield* job.result).toEqual({ count: 500 })
      }
      expect((yield* faults.counts).cuts).toBe(3)
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("§7.2 a submit in flight during a cut is repeated under its key and is one job", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const faults = yield* Faults
      yield* client.connected
      // The submit arrives, its answer does not.
      yield* faults.cutBeforeInbound(1)
      const job = yield* client.submit("echo", "once")
      expect(yield* job.result).toBe("once")
      // The submit itself is lost.
      yield* faults.cutBeforeOutbound(1)
      const other = yield* client.submit("echo", "twice")
      expect(yield* other.result).toBe("twice")
      const jobs = yield* Stream.runCollect(client.listJobs())
      expect(Chunk.size(jobs)).toBe(2)
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("§8.3 a gap triggers a resume; a duplicate is dropped", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const faults = yield* Faults
      yield* client.connected
      yield* faults.dropInbound(1, (frame) => typeof frame === "string" && frame.includes('event 7"'))
      const job = yield* client.submit(Counter, { count: 20 })
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.filter((e) => e._tag === "log").length).toBe(20)
      expect((yield* faults.counts).connects).toBe(2)
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("cancel, ping, list and subscribe work after a resume", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const faults = yield* Faults
      const job = yield* client.submit("never")
      yield* faults.cut
      yield* job.cancel("enough")
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "Cancelled" })
      yield* faults.cut
      expect(Duration.toMillis(yield* client.ping)).toBeGreaterThanOrEqual(0)
      const again = yield* client.subscribe(job.jobId, { history: true })
      expect(yield* Effect.flip(again.result)).toMatchObject({ _tag: "Cancelled" })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("§6.3 when the window has expired the session is replaced and the jobs are recovered", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const faults = yield* Faults
      const replaced = yield* Effect.fork(
        client.status.pipe(
          Stream.filter((s: ClientStatus) => s._tag === "SessionReplaced"),
          Stream.runHead
        )
      )
      const job = yield* client.submit("gate", { name: "window" })
      const collector = yield* Effect.fork(Stream.runCollect(job.events))
      yield* client.ping
      yield* faults.refuseConnects(3)
      yield* faults.cut
      yield* Deferred.succeed(gate("window"), undefined).pipe(Effect.delay(600))
      expect(yield* job.result).toBe("window")
      const events = Chunk.toReadonlyArray(yield* Fiber.join(collector))
      expect(events.flatMap((e) => (e._tag === "log" ? [e.body.message] : []))).toEqual(["waiting", "through"])
      expect(yield* Fiber.join(replaced)).toMatchObject({ value: { _tag: "SessionReplaced", recovered: 1, lost: 0 } })
    }).pipe(Effect.provide(clientOf({ backoff: 100 }, { runtime: { resumeWindow: 50 } })))
  )

  it.scopedLive("§6.1 a refused token ends the client with a typed error; nothing waits for ever", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      expect(yield* Effect.flip(client.submit("echo"))).toMatchObject({ _tag: "Unauthenticated" })
      const last = yield* Stream.runLast(client.status)
      expect(last._tag === "Some" && last.value._tag).toBe("Closed")
      expect(yield* Effect.flip(client.ping)).toMatchObject({ _tag: "Unauthenticated" })
    }).pipe(Effect.provide(clientOf({ auth: { token: Redacted.make("wrong") } })))
  )

  it.scopedLive("close is polite and fails what waits; the job goes on", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("never")
      const waiting = yield* Effect.fork(Effect.flip(job.result))
      yield* Effect.yieldNow()
      yield* client.close
      yield* client.close
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "ClientClosed" })
      expect(yield* Effect.flip(client.ping)).toMatchObject({ _tag: "ClientClosed" })
    }).pipe(Effect.provide(main))
  )

  it.scopedLive("events that nobody consumed over the buffer fail with how many are gone", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Counter, { count: 500 })
      yield* job.result
      expect(yield* Effect.flip(Stream.runCollect(job.events))).toMatchObject({ _tag: "EventsMissed" })
    }).pipe(Effect.provide(clientOf({ eventBuffer: 100 })))
  )

  it.scopedLive("a consumer that is slow loses nothing", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Counter, { count: 2_000 })
      const events = yield* job.events.pipe(
        Stream.rechunk(10),
        Stream.mapChunksEffect((chunk) =>
          Effect.as(
            Effect.promise(() => new Promise((r) => setImmediate(r))),
            chunk
          )
        ),
        Stream.runCollect
      )
      expect(Chunk.size(events)).toBe(2_001)
    }).pipe(Effect.provide(clientOf({ eventBuffer: 50 })))
  )
})
