/** Streamed results as streams: who owns one, what is released, and what `result` says then (ARCP 1.1 §8.4). */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Fiber, Layer, Redacted, Schema, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { world } from "../runtime/world.js"
import { accepting, clientOf, greet, head, withJob } from "./scripts.js"

const scripted = clientOf()
const utf8 = (bytes: Iterable<Uint8Array>) => Buffer.concat([...bytes]).toString("utf8")

describe("§8.4 a streamed result", () => {
  it.scoped("is owned by the stream that reads it before the first chunk; result then fails with ResultStreamed", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      const reading = yield* Effect.fork(Stream.runCollect(job.bytes))
      yield* TestClock.adjust(0)
      yield* chunk(1, 0, "one, ")
      yield* chunk(2, 1, "twö", "utf8", false)
      yield* result(3, { result_id: "r", result_size: 9 })
      expect(utf8(yield* Fiber.join(reading))).toBe("one, twö")
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultStreamed", jobId: "j" })
      expect(yield* Effect.flip(Stream.runCollect(job.chunks))).toMatchObject({ _tag: "ResultStreamed" })
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("is owned by the stream that opens directly after the submit, though chunks come with job.accepted", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const reading = yield* Effect.fork(
        Effect.flatMap(arcp.submit("a", 1), (job) =>
          Effect.map(Stream.runCollect(job.bytes), (read) => ({ job, read: utf8(read) }))
        )
      )
      const peer = yield* greet(next)
      const submit = yield* peer.expect("job.submit")
      const frame = (type: string, payload: object, event_seq?: number) =>
        JSON.stringify({ arcp: "1.1", id: `${type} ${event_seq}`, type, ...head, job_id: "j", event_seq, payload })
      const chunk = (chunk_seq: number, data: string, more: boolean) => ({
        kind: "result_chunk",
        ts: "t",
        body: { result_id: "r", chunk_seq, data, encoding: "utf8", more }
      })
      yield* peer.connection.send([
        frame("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }),
        frame("job.event", chunk(0, "one, ", true), 1),
        frame("job.event", chunk(1, "two", false), 2)
      ])
      yield* TestClock.adjust(0)
      yield* peer.connection.send([frame("job.result", { final_status: "success", result_id: "r", result_size: 8 }, 3)])
      const { job, read } = yield* Fiber.join(reading)
      expect(read).toBe("one, two")
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultStreamed", jobId: "j" })
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("stays whole for result where its stream opens after the first chunk", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      yield* chunk(1, 0, "one, ")
      yield* TestClock.adjust(0)
      const reading = yield* Effect.fork(Stream.runCollect(job.chunks))
      yield* TestClock.adjust(0)
      yield* chunk(2, 1, "two", "utf8", false)
      yield* result(3, { result_id: "r", result_size: 8 })
      expect(Chunk.toReadonlyArray(yield* Fiber.join(reading))).toEqual(["one, ", "two"])
      expect(yield* job.result).toBe("one, two")
      expect(utf8(yield* Stream.runCollect(job.bytes))).toBe("one, two")
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("that is inline is available beside streams of chunks and bytes, which are empty", () =>
    Effect.gen(function* () {
      const { job, result } = yield* withJob
      const reading = yield* Effect.fork(Effect.all([Stream.runCollect(job.bytes), Stream.runCollect(job.chunks)]))
      yield* TestClock.adjust(0)
      yield* result(1, { result: "inline" })
      const [bytes, chunks] = yield* Fiber.join(reading)
      expect([Chunk.size(bytes), Chunk.size(chunks), yield* job.result]).toEqual([0, 0, "inline"])
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("whose owner closes half-way is dropped, and its end is still told", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      const reading = yield* Effect.fork(Stream.runCollect(Stream.take(job.chunks, 1)))
      yield* TestClock.adjust(0)
      yield* chunk(1, 0, "one, ")
      expect(Chunk.size(yield* Fiber.join(reading))).toBe(1)
      yield* chunk(2, 1, "two", "utf8", false)
      yield* result(3, { result_id: "r", result_size: 8 })
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultStreamed" })
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("has in events the place of each chunk and no body, whether it was read or not", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      yield* chunk(1, 0, "one, ")
      yield* chunk(2, 1, "two", "utf8", false)
      yield* result(3, { result_id: "r", result_size: 8 })
      const bodies = () =>
        Effect.map(Stream.runCollect(job.events), (events) => Chunk.toReadonlyArray(events).map((e) => e.body))
      const expected = [
        { result_id: "r", chunk_seq: 0, data: "", encoding: "utf8", more: true },
        { result_id: "r", chunk_seq: 1, data: "", encoding: "utf8", more: false }
      ]
      expect(yield* bodies()).toEqual(expected)
      expect(yield* job.result).toBe("one, two")
      expect(yield* bodies()).toEqual(expected)
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("of more than maxResultBytes is a typed error that says to read bytes", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      for (let n = 0; n < 12; n++) yield* chunk(n + 1, n, "x".repeat(10), "utf8", n < 11)
      yield* result(13, { result_id: "r", result_size: 120 })
      const error = yield* Effect.flip(job.result)
      expect(error).toMatchObject({ _tag: "ResultTooLarge", size: 120 })
      expect(error.message).toContain("read bytes")
      expect(yield* Effect.flip(Stream.runCollect(job.bytes))).toMatchObject({ _tag: "ResultTooLarge" })
    }).pipe(Effect.provide(clientOf({ maxResultBytes: 100 })))
  )

  it.scoped("that is not as long as announced fails bytes, chunks and result", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      const reading = yield* Effect.fork(Effect.flip(Stream.runDrain(job.bytes)))
      yield* TestClock.adjust(0)
      yield* chunk(1, 0, "abc", "utf8", false)
      yield* result(2, { result_id: "r", result_size: 4 })
      expect(yield* Fiber.join(reading)).toMatchObject({ _tag: "ResultInvalid" })
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("keeps a character whose two halves come in two chunks", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      yield* chunk(1, 0, "a\ud83d")
      yield* chunk(2, 1, "\ude00b", "utf8", false)
      yield* result(3, { result_id: "r", result_size: 6 })
      expect(yield* job.result).toBe("a😀b")
      expect(utf8(yield* Stream.runCollect(job.bytes))).toBe("a😀b")
    }).pipe(Effect.provide(scripted))
  )

  it.scoped("that is read slowly by its owner is not acknowledged, and the connection is not read on", () =>
    Effect.gen(function* () {
      const { chunk, job, peer, result } = yield* withJob
      const go = yield* Deferred.make<void>()
      const reading = yield* Effect.fork(
        job.bytes.pipe(
          Stream.mapEffect((bytes) => Effect.as(Deferred.await(go), bytes.length)),
          Stream.runCollect
        )
      )
      yield* TestClock.adjust(0)
      for (let n = 0; n < 40; n++) {
        yield* chunk(n + 1, n, "x".repeat(1_000), "utf8", n < 39)
        yield* TestClock.adjust("1 second")
      }
      const acked = () =>
        peer.seen().flatMap((f) => (f.type === "session.ack" ? [Number(f.payload.last_processed_seq)] : []))
      // The first chunk was handed out; what waits is more than half of the buffer from the seventh on.
      expect(Math.max(...acked())).toBeLessThan(10)
      yield* Deferred.succeed(go, undefined)
      yield* result(41, { result_id: "r", result_size: 40_000 })
      expect(Chunk.size(yield* Fiber.join(reading))).toBe(40)
      yield* TestClock.adjust("1 second")
      expect(Math.max(...acked())).toBe(41)
    }).pipe(Effect.provide(clientOf({ eventBufferBytes: 10_000, ackEvery: 1 })))
  )
})

class Big extends Agent.make("big", {
  input: Schema.Struct({ chunks: Schema.Number, size: Schema.Number }),
  output: Schema.Unknown
}) {}

describe("§6.5 events that come in one chunk with job.accepted", () => {
  it.scoped("are all shown by a stream that opens directly after the submit, however small the buffer", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const reading = yield* Effect.fork(Effect.flatMap(arcp.submit("a", 1), (job) => Stream.runCollect(job.events)))
      const peer = yield* greet(yield* accepting)
      const submit = yield* peer.expect("job.submit")
      const frame = (type: string, payload: object, event_seq?: number) =>
        JSON.stringify({ arcp: "1.1", id: `${type} ${event_seq}`, type, ...head, job_id: "j", event_seq, payload })
      const thoughts = Array.from({ length: 40 }, (_, i) =>
        frame("job.event", { kind: "thought", ts: "t", body: { text: `${i + 1}` } }, i + 1)
      )
      yield* peer.connection.send([
        frame("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }),
        ...thoughts,
        frame("job.result", { final_status: "success" }, 41)
      ])
      const seen = yield* Fiber.join(reading)
      expect(Array.from(seen, ({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1))
    }).pipe(Effect.provide(clientOf({ eventBuffer: 4 })))
  )
})

describe("§8.4 a large result through our runtime", () => {
  it.scopedLive("passes a slow reader of bytes whole", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit(Big, { chunks: 64, size: 65_536 })
      let length = 0
      yield* Stream.runForEach(job.bytes, (bytes) => {
        length += bytes.length
        return Effect.yieldNow()
      })
      expect(length).toBe(64 * 65_536)
    }).pipe(
      Effect.provide(
        ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, eventBufferBytes: 262_144 }).pipe(
          Layer.provideMerge(
            world({
              limits: { ackLagBytes: 524_288 },
              agents: Big.toLayer(({ chunks, size }) => {
                const piece = new Uint8Array(size)
                return Job.streamResult(Stream.map(Stream.range(1, chunks), () => piece))
              })
            })
          )
        )
      )
    )
  )
})
