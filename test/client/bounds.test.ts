/** What a runtime can make its client keep. */
import { describe, expect, it } from "@effect/vitest"
import { defaultBounds } from "../../src/client/internal/bounds.js"
import { Core } from "../../src/client/internal/core.js"
import type { Pending } from "../../src/client/internal/match.js"
import type { Frame } from "../../src/transport/Connection.js"

const make = () => {
  let ids = 0
  const core = new Core({
    features: ["ack"],
    bounds: { ...defaultBounds, events: 16 },
    newId: () => `id${++ids}`,
    newTraceId: () => "0".repeat(32),
    times: { mono: () => 0, wall: () => 0 }
  })
  const read = (type: string, payload: object, more: object = {}) =>
    core.read(JSON.stringify({ arcp: "1.1", id: `r${++ids}`, type, session_id: "s", payload, ...more }))
  read("session.welcome", { resume_token: "rt", capabilities: { features: ["ack"] } })
  return { core, read }
}

const types = (frames: ReadonlyArray<Frame>) =>
  frames.map((frame) => (typeof frame === "string" ? (JSON.parse(frame) as { type: string }).type : frame.type))

describe("a client keeps", () => {
  it("events of jobs that it does not know up to 64 MiB, and has room again when one becomes known", () => {
    const { core, read } = make()
    const text = "x".repeat(35_000_000)
    let seq = 0
    const event = (job_id: string, message: string) =>
      read("job.event", { kind: "log", ts: "t", body: { level: "info", message } }, { job_id, event_seq: ++seq })
    event("a", text)
    event("b", text)
    event("b", "short")
    const adopted = (jobId: string) =>
      core
        .adopt(jobId, { _tag: "observer", from: 0 })
        .events.map((one) => (one._tag === "log" ? one.body.message.length : 0))
    expect(adopted("a")).toEqual([text.length])
    event("c", text)
    expect(adopted("b")).toEqual(["short".length])
    expect(adopted("c")).toEqual([text.length])
    expect(core.lastSeq).toBe(4)
  })

  it("§6.4 a thousand pongs for a runtime that asks and does not read", () => {
    const { core, read } = make()
    for (let n = 0; n < 3_000; n++) read("session.ping", { nonce: `n${n}`, sent_at: "t" })
    expect(types(core.outgoing.take()).filter((type) => type === "session.pong").length).toBe(1_024)
    read("session.ping", { nonce: "after", sent_at: "t" })
    expect(types(core.outgoing.take())).toEqual(["session.pong"])
  })

  it("§6.3 no frame and no request that was queued for a connection which has ended", () => {
    const { core, read } = make()
    read("session.ping", { nonce: "n", sent_at: "t" })
    const answered = () => {}
    core.request({ type: "job.submit", request: '"payload":{"agent":"a"}}', answered, failed: answered })
    expect(core.outgoing.size).toBe(2)
    core.disconnected()
    core.connects()
    expect(core.outgoing.take()).toEqual([])
    expect(core.outgoing.takeUnwritten()).toEqual([])
  })

  it("§7.1 the places of 64 submits whose callers have stopped waiting", () => {
    const { core } = make()
    for (let n = 0; n < 100; n++) {
      const answered = () => {}
      const pending: Pending = {
        type: "job.submit",
        request: `"payload":{"agent":"a${n}"}}`,
        answered,
        failed: answered
      }
      core.request(pending)
      core.abandon(pending)
    }
    expect(core.pending.size).toBe(64)
    expect([...core.pending.values()].at(-1)?.request).toContain("a99")
  })
})
