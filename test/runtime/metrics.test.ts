/** What operators can watch. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Metric, MetricState, TestClock } from "effect"
import { readFileSync } from "node:fs"
import { defaults } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { allFeatures, barrier, dial, hello, run, submit } from "./peer.js"
import { faulty } from "./faultyWorld.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")

/** The value of a metric of the runtime `effect-arcp`, under another tag where one is given. */
const value = (name: string, tag?: string): number => {
  const found = Metric.unsafeSnapshot().find(
    ({ metricKey: { name: found, tags } }) =>
      found === name &&
      tags.some(({ key, value }) => key === "runtime" && value === "effect-arcp") &&
      (tag === undefined || tags.some(({ key, value }) => key !== "runtime" && value === tag))
  )
  if (found === undefined) return 0
  const state = found.metricState
  return MetricState.isCounterState(state) || MetricState.isGaugeState(state)
    ? Number("count" in state ? state.count : state.value)
    : MetricState.isHistogramState(state)
      ? state.count
      : Number.NaN
}

const since = () => {
  const before = new Map<string, number>()
  const key = (name: string, tag?: string) => `${name} ${tag ?? ""}`
  return {
    from: (name: string, tag?: string) => void before.set(key(name, tag), value(name, tag)),
    by: (name: string, tag?: string) => value(name, tag) - before.get(key(name, tag))!
  }
}

describe("metrics", () => {
  it.scoped("show sessions, connections, jobs and what the store has taken", () =>
    Effect.gen(function* () {
      const { by, from } = since()
      for (const name of ["arcp_events_stored", "arcp_commit_milliseconds", "arcp_session_resumes"]) from(name)
      from("arcp_jobs_ended", "success")
      from("arcp_jobs_ended", "cancelled")
      from("arcp_limit_reached", "pendingJobs")
      const peer = yield* hello({ features })
      const first = yield* submit(peer, "gate", { name: "slot" })
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
      const second = yield* submit(peer, "echo", 1)
      expect([value("arcp_sessions"), value("arcp_connections")]).toEqual([1, 1])
      expect([value("arcp_jobs_running"), value("arcp_jobs_pending")]).toEqual([1, 1])
      yield* submit(peer, "echo", 2)
      expect(by("arcp_limit_reached", "pendingJobs")).toBe(1)
      yield* peer.send("job.cancel", { job_id: second.job_id })
      yield* peer.terminal(second.job_id!)
      expect(value("arcp_jobs_pending")).toBe(0)
      yield* Deferred.succeed(gate("slot"), undefined)
      yield* peer.terminal(first.job_id!)
      yield* barrier(peer)
      expect(value("arcp_jobs_running")).toBe(0)
      expect([by("arcp_jobs_ended", "success"), by("arcp_jobs_ended", "cancelled")]).toEqual([1, 1])
      expect(by("arcp_events_stored")).toBe(peer.events().length)
      expect(by("arcp_commit_milliseconds")).toBeGreaterThan(3)
      yield* peer.drop
      yield* hello({
        features,
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: peer.events().length }
      })
      expect([value("arcp_sessions"), value("arcp_connections"), by("arcp_session_resumes")]).toEqual([1, 1, 1])
    }).pipe(Effect.provide(world({ limits: { runningJobs: 1, pendingJobs: 1 } })))
  )

  it.scoped("count which bounds are reached, by their names", () =>
    Effect.gen(function* () {
      const { by, from } = since()
      const bounds = ["sessionsPerPrincipal", "eventPayload", "inlineResult", "badFramesInARow", "handshakeTimeout"]
      for (const bound of bounds) from("arcp_limit_reached", bound)
      from("arcp_bad_messages")
      const peer = yield* hello({ features })
      const refused = yield* dial
      yield* refused.send("session.hello", {
        client: { name: "test", version: "1" },
        auth: { scheme: "bearer", token: "alice-token" },
        capabilities: { encodings: ["json"], features }
      })
      yield* refused.next("session.error")
      yield* run(peer, "long-log", 201)
      yield* run(peer, "echo", "x".repeat(101))
      const silent = yield* dial
      yield* TestClock.adjust(10_000)
      yield* silent.ended
      for (let n = 0; n < 2; n++) yield* peer.raw("{")
      yield* peer.ended
      for (const bound of bounds) expect([bound, by("arcp_limit_reached", bound)]).toEqual([bound, 1])
      expect(by("arcp_bad_messages")).toBe(2)
    }).pipe(
      Effect.provide(
        world({ limits: { sessionsPerPrincipal: 1, eventPayload: 200, inlineResult: 100, badFramesInARow: 2 } })
      )
    )
  )

  it.scoped("count what the store refuses, and what it does not answer to", () =>
    Effect.gen(function* () {
      const { by, from } = since()
      from("arcp_store_failures")
      from("arcp_limit_reached", "storeTime")
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      // Its first message has confirmed its token, which is written too.
      yield* barrier(peer)
      yield* faults.fail("commit")
      yield* submit(peer, "echo", 1)
      expect(by("arcp_store_failures")).toBe(1)
      yield* faults.heal
      yield* TestClock.adjust("1 second")
      yield* faults.stall("commit")
      yield* peer.send("job.submit", { agent: "echo", input: 1 })
      yield* barrier(peer)
      const behind = yield* peer.send("job.submit", { agent: "echo", input: 2 })
      yield* barrier(peer)
      yield* TestClock.adjust(defaults.storeTime)
      yield* peer.reply(behind)
      yield* faults.heal
      expect([by("arcp_store_failures"), by("arcp_limit_reached", "storeTime")]).toEqual([2, 1])
    }).pipe(Effect.provide(faulty(() => MemoryStore.layer)))
  )

  it("each has its place in the guide", () => {
    const guide = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8")
    const source = readFileSync(new URL("../../src/runtime/kernel/Metrics.ts", import.meta.url), "utf8")
    const names = [...source.matchAll(/"(arcp_[a-z_]+)"/g)].map(([, name]) => name!)
    expect(names.length).toBeGreaterThan(10)
    for (const name of names) expect(guide).toContain(`| \`${name}\``)
  })
})
