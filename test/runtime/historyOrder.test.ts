/** Where the answer to a subscribe stands while a resumed session is still being sent the same job's events (§6.3, §7.6). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { backends } from "./backends.js"
import { allFeatures, type Frame, hello, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat" && feature !== "ack")

/** The numbers before the answer, those behind it, and whether the latter are the whole history. */
const order = (seen: ReadonlyArray<Frame>, answer: string) => {
  const at = seen.findIndex((frame) => frame.payload.request_id === answer)
  const seqs = (frames: ReadonlyArray<Frame>) => frames.flatMap((frame) => frame.event_seq ?? [])
  const kinds = (frames: ReadonlyArray<Frame>) =>
    frames.flatMap((frame) => (frame.event_seq === undefined ? [] : [frame.payload.body?.message ?? frame.type]))
  return {
    answer: seen[at]!,
    before: seqs(seen.slice(0, at)),
    behind: seqs(seen.slice(at)),
    history: kinds(seen.slice(at))
  }
}

describe.each(backends)("a history that is asked for during a replay, over %s", (_, backend) => {
  const count = 20_000
  const logs = Array.from({ length: count }, (_, i) => `event ${i + 1}`)

  it.scoped("§7.6 of an ended job: the answer stands between the replay and the history, which is whole", () =>
    Effect.gen(function* () {
      const first = yield* hello({ features })
      const accepted = yield* submit(first, "counter", { count })
      const last = yield* first.terminal(accepted.job_id!)
      yield* first.drop
      yield* first.ended
      const { session_id, resume_token } = first.seen[0]!.payload
      const again = yield* hello({ features, resume: { session_id, resume_token, last_event_seq: 0 } })
      const asked = yield* again.send("job.subscribe", { job_id: accepted.job_id, history: true, from_event_seq: 0 })
      yield* again.reply(asked)
      yield* again.next("job.result", (frame) => frame.event_seq! > last.event_seq!)
      const { answer, before, behind, history } = order(again.seen, asked)
      expect(answer.payload).toMatchObject({ replayed: true, subscribed_from: 0 })
      expect(before).toEqual(Array.from({ length: last.event_seq! }, (_, i) => i + 1))
      expect(behind).toEqual(before.map((seq) => seq + before.length))
      expect(history).toEqual(["status", ...logs, "job.result"].map((kind) => (kind === "status" ? "job.event" : kind)))
    }).pipe(Effect.provide(world(backend())))
  )

  it.scoped("§7.6 of a job that runs, from a number in the middle: nothing of the replay comes behind the answer", () =>
    Effect.gen(function* () {
      const first = yield* hello({ features })
      const accepted = yield* submit(first, "gate", { name: "order" })
      const flood = yield* submit(first, "counter", { count })
      const last = yield* first.terminal(flood.job_id!)
      yield* first.drop
      yield* first.ended
      const { session_id, resume_token } = first.seen[0]!.payload
      const cursor = first.events().find((frame) => frame.payload.body?.message === "waiting")!.event_seq!
      const again = yield* hello({ features, resume: { session_id, resume_token, last_event_seq: cursor } })
      const asked = yield* again.send("job.subscribe", { job_id: accepted.job_id, history: true, from_event_seq: 0 })
      const { payload } = yield* again.reply(asked)
      expect(payload.replayed).toBe(true)
      yield* Deferred.succeed(gate("order"), undefined)
      yield* again.terminal(accepted.job_id!)
      const { behind, before } = order(again.seen, asked)
      expect(before.at(-1)).toBe(last.event_seq)
      expect(behind[0]).toBe(last.event_seq! + 1)
    }).pipe(Effect.provide(world(backend())))
  )
})
