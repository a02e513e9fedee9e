/** Where the beginning of a job's events is gone, its streams say so: as a failure, or as a mark. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Redacted, Stream, TestClock } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Faults, layer as faulty } from "../../src/testing/FaultyTransport.js"
import { gate, resetGates, world } from "../runtime/world.js"
import { clientOf, greet, head, withJob } from "./scripts.js"

const scripted = clientOf()

const texts = (events: Chunk.Chunk<object>) =>
  Chunk.toReadonlyArray(events).map((e) =>
    "missed" in e
      ? [(e as { from?: number }).from, (e as { to?: number }).to]
      : (e as { body: { text: string } }).body.text
  )

const over = (limits: object, options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, ...options }).pipe(
    Layer.provideMerge(faulty),
    Layer.provideMerge(world({ limits, runtime: { resumeWindow: 600_000 } }))
  )

describe("events that are gone", () => {
  it.scoped(
    "§7.6 a late observer's history that starts later fails events with the owner's numbers that are gone",
    () =>
      Effect.gen(function* () {
        const { arcp, peer } = yield* withJob
        const subscribing = yield* Effect.fork(arcp.subscribe("k", { history: true, fromEventSeq: 3 }))
        const asked = yield* peer.expect("job.subscribe")
        yield* peer.send(
          "job.subscribed",
          { request_id: asked.id, job_id: "k", current_status: "running", subscribed_from: 10, replayed: true },
          head
        )
        const event = (seq: number, text: string) =>
          peer.send("job.event", { kind: "thought", ts: "t", body: { text } }, { ...head, job_id: "k", event_seq: seq })
        yield* event(1, "11")
        yield* event(2, "12")
        yield* peer.send(
          "job.result",
          { final_status: "success", result: "all" },
          { ...head, job_id: "k", event_seq: 3 }
        )
        const job = yield* Fiber.join(subscribing)
        expect(yield* Effect.flip(Stream.runCollect(job.events))).toMatchObject({
          _tag: "EventsMissed",
          jobId: "k",
          from: 4,
          to: 10,
          missed: 7
        })
        expect(texts(yield* Stream.runCollect(job.eventsWith({ onGap: "mark" })))).toEqual([[4, 10], "11", "12"])
        expect(yield* Effect.flip(Stream.runCollect(job.eventsWith({ onGap: "fail" })))).toMatchObject({
          _tag: "EventsMissed"
        })
        expect(yield* job.result).toBe("all")
      }).pipe(Effect.provide(scripted))
  )

  it.scoped("§7.6 a history that starts where it was asked for is no gap, whatever live subscriptions are told", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      for (const [jobId, history, said] of [
        ["whole", true, { subscribed_from: 3, replayed: true }],
        ["live", false, { subscribed_from: 40, replayed: false }],
        ["nothing", true, { subscribed_from: 40, replayed: false }]
      ] as const) {
        const subscribing = yield* Effect.fork(arcp.subscribe(jobId, { history, fromEventSeq: 3 }))
        const asked = yield* peer.expect("job.subscribe")
        yield* peer.send(
          "job.subscribed",
          { request_id: asked.id, job_id: jobId, current_status: "running", ...said },
          head
        )
        const job = yield* Fiber.join(subscribing)
        const collecting = yield* Effect.fork(Stream.runCollect(job.events))
        yield* arcp.unsubscribe(jobId).pipe(Effect.fork)
        const un = yield* peer.expect("job.unsubscribe")
        yield* peer.send("job.unsubscribed", { request_id: un.id, job_id: jobId }, head)
        expect((yield* Effect.flip(Fiber.join(collecting)))._tag).toBe("ClientClosed")
      }
    }).pipe(Effect.provide(scripted))
  )

  it.scoped(
    "§6.3 a replaced session whose history starts after the last event that was seen is a gap in its place",
    () =>
      Effect.gen(function* () {
        const { job, next, peer, event } = yield* withJob
        yield* event(1, "thought", { text: "1" })
        yield* event(2, "thought", { text: "2" })
        yield* TestClock.adjust(0)
        yield* peer.close(1001, "")
        yield* TestClock.adjust("1 second")
        const other = { session_id: "other" }
        const again = yield* greet(next, other)
        const subscribe = yield* again.expect("job.subscribe")
        expect(subscribe.payload).toMatchObject({ from_event_seq: 2 })
        yield* again.send(
          "job.subscribed",
          { request_id: subscribe.id, job_id: "j", current_status: "running", subscribed_from: 45_003, replayed: true },
          other
        )
        const submit = yield* again.expect("job.submit")
        yield* again.send("job.accepted", { request_id: submit.id, job_id: "j" }, other)
        const say = (seq: number, text: string) =>
          again.send(
            "job.event",
            { kind: "thought", ts: "t", body: { text } },
            { ...other, job_id: "j", event_seq: seq }
          )
        yield* say(1, "45004")
        yield* again.send("job.result", { final_status: "success", result: 5 }, { ...other, job_id: "j", event_seq: 2 })
        expect(yield* job.result).toBe(5)
        expect(yield* Effect.flip(Stream.runCollect(job.events))).toMatchObject({
          _tag: "EventsMissed",
          from: 3,
          to: 45_003,
          missed: 45_001
        })
        expect(texts(yield* Stream.runCollect(job.eventsWith({ onGap: "mark" })))).toEqual([
          "1",
          "2",
          [3, 45_003],
          "45004"
        ])
      }).pipe(Effect.provide(scripted))
  )

  it.scoped("§7.6 an observer whose history is trimmed below what it has seen gets the rest once, and no gap", () =>
    Effect.gen(function* () {
      const { arcp, next, peer } = yield* withJob
      const subscribing = yield* Effect.fork(arcp.subscribe("k", { history: true }))
      const asked = yield* peer.expect("job.subscribe")
      const on = (p: typeof peer, session_id: string) => ({
        subscribed: (request_id: string, subscribed_from: number) =>
          p.send(
            "job.subscribed",
            { request_id, job_id: "k", current_status: "running", subscribed_from, replayed: true },
            { session_id }
          ),
        event: (event_seq: number, n: number) =>
          p.send(
            "job.event",
            { kind: "thought", ts: `2026-01-01T00:00:0${n}Z`, body: { text: `${n}` } },
            { session_id, job_id: "k", event_seq }
          )
      })
      const first = on(peer, "s")
      yield* first.subscribed(asked.id, 0)
      for (const n of [1, 2, 3, 4]) yield* first.event(n, n)
      const job = yield* Fiber.join(subscribing)
      const reading = yield* Effect.fork(Stream.runCollect(job.eventsWith({ onGap: "mark" })))
      yield* TestClock.adjust(0)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const again = yield* greet(next, { session_id: "other" })
      const asksAgain = yield* again.expect("job.subscribe", (frame) => frame.payload.job_id === "k")
      const second = on(again as typeof peer, "other")
      yield* second.subscribed(asksAgain.id, 2)
      for (const [seq, n] of [
        [1, 3],
        [2, 4],
        [3, 5]
      ] as const)
        yield* second.event(seq, n)
      yield* again.send("job.result", { final_status: "success" }, { session_id: "other", job_id: "k", event_seq: 4 })
      expect(texts(yield* Fiber.join(reading))).toEqual(["1", "2", "3", "4", "5"])
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("§8.4 chunks whose first are gone with a gap fail chunks, bytes and result with EventsMissed", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const subscribing = yield* Effect.fork(arcp.subscribe("k", { history: true }))
      const asked = yield* peer.expect("job.subscribe")
      yield* peer.send(
        "job.subscribed",
        { request_id: asked.id, job_id: "k", current_status: "running", subscribed_from: 10, replayed: true },
        head
      )
      const body = { result_id: "r", chunk_seq: 7, data: "late", encoding: "utf8", more: false }
      yield* peer.send("job.event", { kind: "result_chunk", ts: "t", body }, { ...head, job_id: "k", event_seq: 1 })
      yield* peer.send("job.result", { result_id: "r", result_size: 4 }, { ...head, job_id: "k", event_seq: 2 })
      const job = yield* Fiber.join(subscribing)
      const gone = { _tag: "EventsMissed", from: 1, to: 10 }
      expect(yield* Effect.flip(job.result)).toMatchObject(gone)
      expect(yield* Effect.flip(Stream.runCollect(job.chunks))).toMatchObject(gone)
      expect(yield* Effect.flip(Stream.runCollect(job.bytes))).toMatchObject(gone)
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("§6.5 a buffer that ran over says which numbers are gone, and marks them where asked to", () =>
    Effect.gen(function* () {
      const { event, job, result } = yield* withJob
      for (let n = 1; n <= 40; n++) yield* event(n, "thought", { text: `${n}` })
      yield* result(41, { result: "right" })
      expect(yield* job.result).toBe("right")
      const error = yield* Effect.flip(Stream.runCollect(job.events))
      if (error._tag !== "EventsMissed") return expect.fail(error._tag)
      expect(error).toMatchObject({ from: 1, missed: error.to })
      const [gap, ...rest] = texts(yield* Stream.runCollect(job.eventsWith({ onGap: "mark" })))
      expect(gap).toEqual([1, error.to])
      expect(rest).toEqual(Array.from({ length: 40 - error.to }, (_, i) => `${error.to + 1 + i}`))
    }).pipe(Effect.provide(clientOf({ eventBuffer: 8 })))
  )

  it.scoped("§6.5 the buffer counts encoded bytes too: a hundred large events are not kept", () =>
    Effect.gen(function* () {
      const { event, job, result } = yield* withJob
      const text = "x".repeat(10_000)
      for (let n = 1; n <= 100; n++) yield* event(n, "thought", { text })
      yield* result(101, { result: "right" })
      expect(yield* job.result).toBe("right")
      const kept = yield* Stream.runCollect(Stream.filter(job.eventsWith({ onGap: "mark" }), (e) => e._tag !== "gap"))
      expect(Chunk.size(kept)).toBeGreaterThan(4)
      expect(Chunk.size(kept)).toBeLessThanOrEqual(10)
    }).pipe(Effect.provide(clientOf({ eventBufferBytes: 105_000 })))
  )

  it.scopedLive("§7.6 a late observer of our runtime with small limits is told that the beginning is gone", () =>
    Effect.gen(function* () {
      resetGates()
      const client = yield* ArcpClient
      const job = yield* client.submit("counter", { count: 3_000 })
      yield* job.result
      const observed = yield* client.subscribe(job.jobId, { history: true })
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(observed.eventsWith({ onGap: "mark" })))
      const [gap] = events
      if (gap?._tag !== "gap") return expect.fail(`starts with ${gap?._tag}`)
      const [first] = events.flatMap((e) => (e._tag === "log" ? [Number(e.body.message.slice(6))] : []))
      // The status comes first, and statuses of back-pressure between, so that event n has at least the number n + 1 with its owner.
      expect(gap.from).toBe(1)
      expect(gap.to).toBeGreaterThanOrEqual(first!)
      expect(yield* Effect.flip(Stream.runCollect(observed.events))).toMatchObject({
        _tag: "EventsMissed",
        to: gap.to
      })
      expect(yield* observed.result).toEqual({ count: 3_000 })
    }).pipe(Effect.provide(over({ historyEvents: 20, ackLag: 30 }, { ackEvery: 10 })))
  )

  it.scopedLive("§6.3 a client that was away while more came than the runtime keeps is not silently short", () =>
    Effect.gen(function* () {
      resetGates()
      const client = yield* ArcpClient
      const faults = yield* Faults
      const job = yield* client.submit("pacer")
      const seen = yield* Deferred.make<void>()
      const reading = yield* Effect.fork(
        job.eventsWith({ onGap: "mark" }).pipe(
          Stream.tap((e) =>
            e._tag === "log" && e.body.message === "pace 50" ? Deferred.succeed(seen, undefined) : Effect.void
          ),
          Stream.takeUntil((e) => e._tag === "log" && e.body.message === "pace 2000"),
          Stream.runCollect
        )
      )
      yield* Deferred.await(seen)
      yield* faults.refuseConnects(4)
      yield* faults.cut
      yield* Deferred.succeed(gate("pace"), undefined)
      const events = Chunk.toReadonlyArray(yield* Fiber.join(reading))
      const numbers = events.flatMap((e) => (e._tag === "log" ? [Number(e.body.message.slice(5))] : []))
      const gaps = events.flatMap((e) => (e._tag === "gap" ? [e] : []))
      expect(new Set(numbers).size).toBe(numbers.length)
      expect(gaps.length).toBe(1)
      expect(numbers.length + gaps[0]!.missed).toBe(2_000)
    }).pipe(Effect.provide(over({ historyEvents: 20, bufferedEvents: 100 }, { backoff: 200 })))
  )
})
