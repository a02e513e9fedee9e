import { describe, expect, it } from "@effect/vitest"
import { Chunk, Duration, Effect, Fiber, Layer, Queue, Redacted, Schema, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type ClientStatus } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import { ScriptedPeer, TestArcp } from "../../src/testing/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

class Greet extends Agent.make("greet", { input: Schema.String, output: Schema.String }) {}
const GreetLive = Greet.toLayer((name) => Effect.as(Job.log(`greeting ${name}`), `hello ${name}`))
const SlowLive = Agent.untyped("slow", () => Effect.as(Effect.sleep("10 minutes"), "slept"))

describe("TestArcp", () => {
  it.scoped("gives a client and a runtime in memory, with the same ids in every run", () =>
    Effect.gen(function* () {
      const run = Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit(Greet, "world")
        return [job.jobId, yield* job.result] as const
      }).pipe(Effect.provide(Layer.fresh(TestArcp.layer(GreetLive, { seed: 3 }))))
      const [first, second] = [yield* run, yield* run]
      expect(first[1]).toBe("hello world")
      expect(second).toEqual(first)
    })
  )

  it.scoped("TestClock drives the agent's time", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const job = yield* client.submit("slow")
      const result = yield* Effect.fork(job.result)
      yield* client.ping
      yield* TestClock.adjust("10 minutes")
      expect(yield* Fiber.join(result)).toBe("slept")
    }).pipe(
      Effect.provide(
        TestArcp.layer(SlowLive, {
          runtime: { heartbeatInterval: "30 days" },
          client: { features: ["ack", "heartbeat"] }
        })
      )
    )
  )
})

/** A client against a runtime that a test plays. */
const scripted = Effect.gen(function* () {
  const peers = yield* Queue.unbounded<ScriptedPeer.ScriptedPeer>()
  yield* Effect.forkScoped(Stream.runForEach(ScriptedPeer.accept, (peer) => Queue.offer(peers, peer)))
  return { next: Queue.take(peers) }
})

const welcome = (peer: ScriptedPeer.ScriptedPeer, sessionId = "sess_1", more: object = {}) =>
  Effect.gen(function* () {
    const hello = yield* peer.expect("session.hello")
    yield* peer.send(
      "session.welcome",
      {
        resume_token: `rt_${Math.floor(peer.seen().length)}`,
        resume_window_sec: 600,
        heartbeat_interval_sec: 30,
        capabilities: { features: ["heartbeat", "ack", "list_jobs", "subscribe"], agents: ["a"] },
        ...more
      },
      { session_id: sessionId }
    )
    return hello
  })

// A scripted runtime answers no session.close, and nobody moves the clock when the scope ends.
const client = ArcpClient.layer({
  auth: { token: Redacted.make("t") },
  backoff: 100,
  maxBackoff: 1_000,
  closeTimeout: 0
}).pipe(Layer.provideMerge(MemoryTransport.layerEncoded), Layer.provideMerge(Ids.layerSeeded(5)))

const statuses = (into: Array<ClientStatus>) =>
  Effect.flatMap(ArcpClient, (c) =>
    Effect.forkScoped(Stream.runForEach(c.status, (s) => Effect.sync(() => into.push(s))))
  )

describe("a client against a scripted runtime", () => {
  it.scoped("§6.3 says hello with resume in both spellings, and repeats what was in flight with its key", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const arcp = yield* ArcpClient
      const submitting = yield* Effect.fork(arcp.submit("a", 1))
      const first = yield* next
      yield* welcome(first)
      const submit = yield* first.expect("job.submit")
      yield* first.send(
        "job.event",
        { kind: "log", ts: "t", body: { level: "info", message: "early" } },
        { job_id: "job_1", event_seq: 1, session_id: "sess_1" }
      )
      yield* arcp.ping.pipe(Effect.fork)
      yield* first.expect("session.ping")
      yield* first.close(1006, "gone")
      yield* TestClock.adjust("1 second")
      const second = yield* next
      const hello = yield* welcome(second)
      const resume = { session_id: "sess_1", resume_token: "rt_1", last_event_seq: 1 }
      expect(hello.payload).toMatchObject({ resume, ...resume })
      const again = yield* second.expect("job.submit")
      expect(again.payload).toEqual(submit.payload)
      expect(again.id).not.toBe(submit.id)
      yield* second.send(
        "job.accepted",
        { request_id: again.id, job_id: "job_1", agent: "a@1" },
        { job_id: "job_1", session_id: "sess_1" }
      )
      const job = yield* Fiber.join(submitting)
      yield* second.send(
        "job.result",
        { final_status: "success", result: 7 },
        { job_id: "job_1", event_seq: 2, session_id: "sess_1" }
      )
      expect(yield* job.result).toBe(7)
      const events = yield* Stream.runCollect(job.events)
      expect(Chunk.toReadonlyArray(events).map((e) => e._tag === "log" && e.body.message)).toEqual(["early"])
    }).pipe(Effect.provide(client))
  )

  it.scoped("replies in any order, and in the spellings of other runtimes, reach their own callers", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const arcp = yield* ArcpClient
      const all = yield* Effect.fork(
        Effect.all(
          ["a", "b", "c", "d"].map((agent) => arcp.submit(agent)),
          { concurrency: "unbounded" }
        )
      )
      const peer = yield* next
      yield* welcome(peer)
      const submits = []
      for (let i = 0; i < 4; i++) submits.push(yield* peer.expect("job.submit"))
      type Frame = (typeof submits)[number]
      const [a, b, c, d] = submits as [Frame, Frame, Frame, Frame]
      const send = (frame: Frame, how: object, head: object = {}) =>
        peer.send(
          "job.accepted",
          { job_id: `job_${String(frame.payload.agent)}`, ...how },
          { session_id: "sess_1", ...head }
        )
      yield* send(d, { reply_to: d!.id })
      yield* send(b, {}, { correlation_id: b!.id })
      yield* send(c, { request_id: c!.id })
      yield* send(a, {})
      expect((yield* Fiber.join(all)).map((job) => job.jobId)).toEqual(["job_a", "job_b", "job_c", "job_d"])
    }).pipe(Effect.provide(client))
  )

  it.scoped("§6.4 answers pings, pings when idle, and gives up a silent runtime", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const seen: Array<ClientStatus> = []
      yield* statuses(seen)
      const peer = yield* next
      yield* welcome(peer)
      yield* peer.send("session.ping", { nonce: "n1" }, { session_id: "sess_1" })
      expect((yield* peer.expect("session.pong")).payload).toMatchObject({ ping_nonce: "n1" })
      yield* TestClock.adjust("31 seconds")
      yield* peer.expect("session.ping")
      yield* TestClock.adjust("31 seconds")
      expect((yield* peer.ended).reason).toBe("HEARTBEAT_LOST")
      yield* TestClock.adjust("1 second")
      yield* welcome(yield* next)
    }).pipe(Effect.provide(client))
  )

  it.scoped("a session that was taken over ends for good; nothing reconnects", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const arcp = yield* ArcpClient
      const peer = yield* next
      yield* welcome(peer)
      yield* arcp.connected
      yield* peer.send(
        "session.error",
        { code: "PERMISSION_DENIED", message: "m", details: { reason: "taken_over" } },
        { session_id: "sess_1" }
      )
      yield* peer.ended
      expect(yield* Effect.flip(arcp.ping)).toMatchObject({ _tag: "SessionEnded", reason: "taken_over" })
    }).pipe(Effect.provide(client))
  )

  it.scoped("backs off with a cap and jitter, and gives up after the attempts that it was given", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const arcp = yield* ArcpClient
      const seen: Array<ClientStatus> = []
      yield* statuses(seen)
      for (let i = 0; i < 6; i++) {
        const peer = yield* next
        yield* peer.close(1013, "busy")
        yield* Effect.repeatN(Effect.yieldNow(), 30)
        yield* TestClock.adjust("1 second")
      }
      expect(yield* Effect.flip(arcp.ping)).toMatchObject({ _tag: "SessionEnded", reason: "gave_up" })
      const delays = seen.flatMap((s) => (s._tag === "Reconnecting" ? [Duration.toMillis(s.delay)] : []))
      expect(delays.length).toBe(5)
      delays.forEach((delay, i) => {
        const longest = Math.min(100 * 2 ** i, 1_000)
        expect(delay).toBeGreaterThanOrEqual(longest / 2)
        expect(delay).toBeLessThanOrEqual(longest)
      })
    }).pipe(
      Effect.provide(
        ArcpClient.layer({ backoff: 100, maxBackoff: 1_000, maxAttempts: 5 }).pipe(
          Layer.provideMerge(MemoryTransport.layerEncoded),
          Layer.provideMerge(Ids.layerSeeded(5))
        )
      )
    )
  )

  it.scoped("§6.5 acknowledges what was processed, coalesced", () =>
    Effect.gen(function* () {
      const { next } = yield* scripted
      const arcp = yield* ArcpClient
      const submitting = yield* Effect.fork(arcp.submit("a"))
      const peer = yield* next
      yield* welcome(peer)
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j" }, { session_id: "sess_1" })
      yield* Fiber.join(submitting)
      for (let seq = 1; seq <= 20; seq++) {
        yield* peer.send(
          "job.event",
          { kind: "thought", ts: "", body: { text: "t" } },
          { job_id: "j", event_seq: seq, session_id: "sess_1" }
        )
      }
      yield* Effect.fork(arcp.ping)
      yield* peer.expect("session.ping")
      yield* TestClock.adjust("1 second")
      const ack = yield* peer.expect("session.ack")
      expect(ack.payload).toEqual({ last_processed_seq: 20 })
      expect(peer.seen().filter((f) => f.type === "session.ack").length).toBe(1)
    }).pipe(Effect.provide(client))
  )
})
