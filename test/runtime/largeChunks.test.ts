/**
 * Large chunks of a streamed result (ARCP 1.1 §8.4), which go through the runtime as bytes: the same whatever the store and the transport,
 * live, as history, and where a session is resumed.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { runsOf } from "../../src/runtime/log/Replay.js"
import { decorate, MemoryStore, type SegmentHead, Store } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { backends, pipes } from "./backends.js"
import { allFeatures, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { world, type WorldOptions } from "./world.js"
import { storeKey } from "../support/storeKeys.js"

const features = allFeatures.filter((feature) => feature !== "heartbeat" && feature !== "ack")

const texts = [
  "small",
  "x".repeat(70_000),
  '{"quoted":"\\ and \n"}'.repeat(4_000),
  "é€😀\u2028".repeat(2_000),
  "y".repeat(4_096),
  "\0end"
]

const agents = Layer.mergeAll(
  Agent.untyped("texts", () => Job.streamResult(Stream.fromIterable(texts))),
  // One array for all: what was handed over is changed afterwards.
  Agent.untyped("bytes", () => {
    const shared = new Uint8Array(50_000)
    return Job.streamResult(
      Stream.map(Stream.rechunk(Stream.range(1, 8), 1), (n) => shared.fill(n).subarray(0, n * 6_000)),
      { encoding: "base64" }
    )
  })
)

const wantedBytes = Buffer.concat(Array.from({ length: 8 }, (_, i) => Buffer.alloc((i + 1) * 6_000, i + 1)))

/** A store that knows texts alone: any other package's. */
const textsAlone = Layer.effect(
  Store,
  Effect.map(Store, (store) => decorate(store, (_, run) => run))
).pipe(Layer.provide(MemoryStore.layer))

const sealed = SqliteStore.layer({ filename: ":memory:", encryptionKey: storeKey() })

const everywhere: ReadonlyArray<readonly [string, () => WorldOptions]> = [
  ...backends,
  ["lines, encrypted SQLite", () => ({ transport: pipes, store: sealed })],
  ["memory encoded, a store of texts", () => ({ store: textsAlone })]
]

/** What was sent of a job, but for what is each session's own. */
const sentOf = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).map(({ payload, type }: Frame) => JSON.stringify({ type, payload }))

const chunksOf = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).flatMap(({ payload }) => (payload.kind === "result_chunk" ? [payload.body] : []))

it("segments that continue each other are one run: a large chunk is a segment of its own", () => {
  const head = (cls: SegmentHead["class"], firstSeq: number, lastSeq = firstSeq): SegmentHead => ({
    jobId: "j",
    class: cls,
    firstSeq,
    lastSeq
  })
  const heads = [head("event", 1), head("chunk", 2), head("chunk", 3, 5), head("chunk", 7), head("result", 8)]
  expect(runsOf(heads)).toEqual([
    { class: "event", first: 1, last: 1 },
    { class: "chunk", first: 2, last: 5 },
    { class: "chunk", first: 7, last: 7 },
    { class: "result", first: 8, last: 8 }
  ])
})

describe.each(everywhere)("§8.4 large chunks over %s", (_, options) => {
  it.scopedLive("are the same live, as history, and to a session that is resumed", () =>
    Effect.gen(function* () {
      const owner = yield* hello({ features })
      const { payload: welcome, session_id } = owner.seen[0]!
      const ofTexts = (yield* submit(owner, "texts")).job_id!
      yield* owner.terminal(ofTexts)
      expect(chunksOf(owner, ofTexts).map(({ data }) => data)).toEqual(texts)
      expect(chunksOf(owner, ofTexts).map(({ chunk_seq, more }) => [chunk_seq, more])).toEqual(
        texts.map((__, i) => [i, i < texts.length - 1])
      )
      const ofBytes = (yield* submit(owner, "bytes")).job_id!
      yield* owner.terminal(ofBytes)
      const parts = chunksOf(owner, ofBytes).map(({ data }) => Buffer.from(data, "base64"))
      expect(Buffer.concat(parts).equals(wantedBytes)).toBe(true)
      const live = [ofTexts, ofBytes].map((jobId) => sentOf(owner, jobId))

      const observer = yield* hello({ features })
      for (const [i, job_id] of [ofTexts, ofBytes].entries()) {
        yield* observer.send("job.subscribe", { job_id, history: true })
        yield* observer.terminal(job_id)
        expect(sentOf(observer, job_id)).toEqual(live[i])
      }

      yield* owner.drop
      const resume = { session_id, resume_token: welcome.resume_token, last_event_seq: 0 }
      const again = yield* hello({ features, resume })
      yield* again.terminal(ofBytes)
      expect([ofTexts, ofBytes].map((jobId) => sentOf(again, jobId))).toEqual(live)

      const inline = yield* hello({ features: features.filter((feature) => feature !== "result_chunk") })
      for (const [job_id, result] of [
        [ofTexts, texts.join("")],
        [ofBytes, wantedBytes.toString("base64")]
      ] as const) {
        yield* inline.send("job.subscribe", { job_id, history: true })
        expect((yield* inline.terminal(job_id)).payload.result).toBe(result)
      }
    }).pipe(Effect.provide(world({ ...options(), agents, limits: { bufferedEvents: 1_000 } })))
  )
})
