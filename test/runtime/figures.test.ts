/** Figures of the specification that no other suite reproduces, message by message. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { backends } from "./backends.js"
import { allFeatures, eventsOf, hello, submit } from "./peer.js"
import { world } from "./world.js"

const size = 31_457_280
const chunk = 1_040_000

const report = Agent.untyped("report", () =>
  Effect.gen(function* () {
    // the job's first event says that it runs
    for (let n = 2; n <= 40; n++) yield* Job.log(`step ${n}`)
    const lengths = Array.from({ length: 31 }, (_, i) => Math.min(chunk, size - i * chunk))
    return yield* Job.streamResult(Stream.fromIterable(lengths.map((length, i) => String(i % 10).repeat(length))), {
      summary: "Report generated, 31 MB, 31 chunks."
    })
  })
)

describe.each(backends)("figures over %s", (_name, backend) => {
  it.scopedLive("§13.6 a streamed result: forty events, thirty-one chunks, one end that names them", () =>
    Effect.gen(function* () {
      // It acknowledges nothing, and does not say that it would: 31 MiB are more than a reader may be behind.
      const peer = yield* hello({ features: allFeatures.filter((feature) => feature !== "ack") })
      const accepted = yield* submit(peer, "report")
      const end = yield* peer.terminal(accepted.job_id!)
      const events = eventsOf(peer, accepted.job_id!)
      expect(events.map((frame) => frame.event_seq)).toEqual(Array.from({ length: 72 }, (_, i) => i + 1))
      expect(events.slice(0, 40).map((frame) => frame.payload.kind)).toEqual(["status", ...Array(39).fill("log")])
      const chunks = events.slice(40, 71).map((frame) => frame.payload)
      expect(chunks.map(({ body, kind }) => [kind, body.chunk_seq, body.encoding, body.more])).toEqual(
        Array.from({ length: 31 }, (_, i) => ["result_chunk", i, "utf8", i < 30])
      )
      const [id, ...others] = new Set(chunks.map(({ body }) => body.result_id as string))
      expect(others).toEqual([])
      expect(chunks.reduce((sum, { body }) => sum + body.data.length, 0)).toBe(size)
      expect([end.type, end.event_seq, end.payload]).toMatchObject([
        "job.result",
        72,
        {
          final_status: "success",
          result_id: id,
          result_size: size,
          summary: "Report generated, 31 MB, 31 chunks."
        }
      ])
      expect(end.payload).not.toHaveProperty("result")
      // The figure's chunks are larger than a frame is by default.
    }).pipe(Effect.provide(world({ ...backend(), agents: report, limits: { maxFrameBytes: 2_000_000 } })))
  )
})
