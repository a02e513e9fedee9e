import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Layer, Redacted, Stream, TestClock } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { allFeatures, barrier, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { closeCodeOver, transports } from "./backends.js"
import { resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const mark = 100
const queue = 16
const limits = { ackLag: mark, queuedEvents: queue }
const features = allFeatures.filter((f) => f !== "heartbeat")

const lastSeq = (peer: Peer): number => peer.events().at(-1)?.event_seq ?? 0
const ack = (peer: Peer, seq: number) => peer.send("session.ack", { last_processed_seq: seq })
const isSignal = (frame: Frame) => frame.payload.body?.phase === "back_pressure"

/** Says hello and acknowledges what a first job has emitted. */
const acknowledging = (options: Parameters<typeof hello>[0] = {}) =>
  Effect.gen(function* () {
    const peer = yield* hello({ features, ...options })
    yield* run(peer, "echo")
    yield* ack(peer, lastSeq(peer))
    return peer
  })

/** How many events there are once the agent does not go on: all that was emitted has come, and nothing more comes. */
const standstill = (peer: Peer) =>
  Effect.gen(function* () {
    for (let before = -1; before !== lastSeq(peer); ) {
      before = lastSeq(peer)
      for (let i = 0; i < 5; i++) yield* barrier(peer)
    }
    return lastSeq(peer)
  })

/** A job that talks until it is held. */
const heldTalker = (peer: Peer, rest: object = {}) =>
  Effect.gen(function* () {
    const accepted = yield* submit(peer, "talker", null, rest)
    yield* peer.next("job.event", isSignal)
    return { jobId: accepted.job_id!, at: yield* standstill(peer) }
  })

describe.each(transports)("back-pressure over %s", (name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), limits, ...options })
  const main = over()

  it.scoped("§6.5 beyond the mark the job says so once and waits; at half the mark it goes on", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const base = lastSeq(peer)
      const accepted = yield* submit(peer, "counter", { count: 400 })
      const signal = yield* peer.next("job.event", isSignal)
      expect(signal.payload.kind).toBe("status")
      const told = /^consumer lag (\d+) events$/.exec(signal.payload.body.message)
      expect(Number(told?.[1])).toBeGreaterThan(mark)
      const held = yield* standstill(peer)
      expect(held - base).toBeLessThanOrEqual(mark + queue + 3)
      // Not yet: it has to fall to half the mark, or agents would stop and go with every acknowledgement.
      yield* ack(peer, held - mark / 2 - 1)
      expect(yield* standstill(peer)).toBe(held)
      yield* ack(peer, held - mark / 2)
      yield* peer.next("job.event", isSignal)
      let episodes = 2
      for (;;) {
        yield* standstill(peer)
        yield* ack(peer, lastSeq(peer))
        const next = yield* Effect.raceFirst(
          Effect.as(peer.next("job.event", isSignal), "again" as const),
          Effect.as(peer.terminal(accepted.job_id!), "end" as const)
        )
        if (next === "end") break
        episodes++
      }
      const events = eventsOf(peer, accepted.job_id!)
      expect(events.filter(isSignal).length).toBe(episodes)
      expect(events.flatMap((f) => (f.payload.kind === "log" ? [f.payload.body.message] : []))).toEqual(
        Array.from({ length: 400 }, (_, i) => `event ${i + 1}`)
      )
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 a session that did not negotiate ack is never slowed, and may not acknowledge", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: features.filter((f) => f !== "ack") })
      const id = yield* ack(peer, 0)
      expect((yield* peer.reply(id)).payload.code).toBe("INVALID_REQUEST")
      const end = yield* run(peer, "counter", { count: 1_000 })
      expect(eventsOf(peer, end.job_id!).some(isSignal)).toBe(false)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 a session that negotiated ack and never acknowledges is slowed from its first event on", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const accepted = yield* submit(peer, "counter", { count: 1_000 })
      yield* peer.next("job.event", isSignal)
      const held = yield* standstill(peer)
      expect(held).toBeLessThanOrEqual(mark + queue + 3)
      // Its very first acknowledgement lets the agent go on.
      yield* ack(peer, held)
      yield* peer.next("job.event", isSignal)
      expect(yield* standstill(peer)).toBeGreaterThan(held + mark)
      expect(eventsOf(peer, accepted.job_id!).some((f) => f.type === "job.result")).toBe(false)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 an owner that drops holds nobody; all of it is there on resume, the end too", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const accepted = yield* submit(peer, "counter", { count: 500 })
      yield* peer.next("job.event", isSignal)
      const seen = yield* standstill(peer)
      const watcher = yield* hello({ features })
      yield* Effect.flatMap(watcher.send("job.subscribe", { job_id: accepted.job_id, history: true }), watcher.reply)
      yield* peer.drop
      yield* watcher.terminal(accepted.job_id!)
      const again = yield* hello({
        features,
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: seen }
      })
      yield* again.terminal(accepted.job_id!)
      const logs = [...eventsOf(peer, accepted.job_id!), ...eventsOf(again, accepted.job_id!)].filter(
        (f) => f.payload.kind === "log"
      )
      expect(logs.length).toBe(500)
      expect(again.events().map((f) => f.event_seq)).toEqual(again.events().map((_, i) => seen + 1 + i))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 a resume that shows what was seen lets the agent go on, without an acknowledgement", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const accepted = yield* submit(peer, "counter", { count: mark + queue })
      yield* peer.next("job.event", isSignal)
      const seen = yield* standstill(peer)
      // A takeover: the session is connected all the time.
      const second = yield* hello({
        features,
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: seen }
      })
      expect((yield* second.terminal(accepted.job_id!)).payload.result).toEqual({ count: mark + queue })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.4 cancel ends a held job at once, and what its finalizer emits comes before the end", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const { jobId } = yield* heldTalker(peer)
      const id = yield* peer.send("job.cancel", { job_id: jobId })
      expect((yield* peer.reply(id)).type).toBe("job.cancelled")
      expect((yield* peer.terminal(jobId)).payload.final_status).toBe("cancelled")
      const last = eventsOf(peer, jobId).slice(-3)
      expect(last.map((f) => f.payload.body?.message ?? f.type)).toEqual(["cleaning", "cleaned", "job.error"])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.3 max_runtime_sec ends a held job in time", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const { jobId } = yield* heldTalker(peer, { max_runtime_sec: 5 })
      yield* TestClock.adjust("6 seconds")
      expect((yield* peer.terminal(jobId)).payload.code).toBe("TIMEOUT")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 an observer that is behind holds back neither the owner nor the other observers", () =>
    Effect.gen(function* () {
      const owner = yield* acknowledging()
      const slow = yield* acknowledging()
      const other = yield* hello({ features })
      const accepted = yield* submit(owner, "gate", { name: "before" })
      for (const peer of [slow, other]) {
        yield* Effect.flatMap(peer.send("job.subscribe", { job_id: accepted.job_id }), peer.reply)
      }
      yield* Effect.flatMap(owner.send("job.cancel", { job_id: accepted.job_id }), owner.reply)
      const job = yield* submit(owner, "counter", { count: 2_000 })
      for (const peer of [slow, other]) {
        yield* Effect.flatMap(peer.send("job.subscribe", { job_id: job.job_id, history: true }), peer.reply)
      }
      // The owner keeps up; the slow one acknowledged once and then no more.
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.zipRight(
            Effect.suspend(() => ack(owner, lastSeq(owner))),
            barrier(owner)
          )
        )
      )
      yield* owner.terminal(job.job_id!)
      yield* other.terminal(job.job_id!)
      yield* slow.terminal(job.job_id!)
      expect(eventsOf(slow, job.job_id!).filter((f) => f.payload.kind === "log").length).toBe(2_000)
      expect(lastSeq(slow)).toBeGreaterThan(10 * mark)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.2 a job waits for the slowest of its owners that are connected", () =>
    Effect.gen(function* () {
      const one = yield* acknowledging()
      const two = yield* hello({ features: features.filter((f) => f !== "ack") })
      const rest = { idempotency_key: "moves" }
      const accepted = yield* submit(one, "counter", { count: 800 }, rest)
      yield* one.next("job.event", isSignal)
      yield* standstill(one)
      expect((yield* submit(two, "counter", { count: 800 }, rest)).job_id).toBe(accepted.job_id)
      const before = two.seen.length
      yield* standstill(two)
      expect(eventsOf(two, accepted.job_id!).some((frame) => frame.type === "job.result")).toBe(false)
      expect(two.seen.length).toBeGreaterThanOrEqual(before)
      yield* one.drop
      expect((yield* two.terminal(accepted.job_id!)).payload.result).toEqual({ count: 800 })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 one held session slows no other, of the same principal and agent neither", () =>
    Effect.gen(function* () {
      const held = yield* acknowledging()
      yield* heldTalker(held)
      const other = yield* hello({ features: features.filter((f) => f !== "ack") })
      expect((yield* run(other, "counter", { count: 1_000 })).payload.final_status).toBe("success")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 a reader that never acknowledges again holds its agent for the patience, not for ever", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const accepted = yield* submit(peer, "counter", { count: 400 })
      yield* peer.next("job.event", isSignal)
      const held = yield* standstill(peer)
      yield* TestClock.adjust("40 seconds")
      // It moves, though not enough: the patience begins anew.
      yield* ack(peer, held - mark)
      yield* barrier(peer)
      yield* TestClock.adjust("40 seconds")
      expect(yield* standstill(peer)).toBe(held)
      yield* TestClock.adjust("21 seconds")
      yield* peer.terminal(accepted.job_id!)
      expect(eventsOf(peer, accepted.job_id!).filter(isSignal).length).toBe(1)
      // An acknowledgement makes it count again.
      yield* ack(peer, lastSeq(peer))
      yield* heldTalker(peer)
    }).pipe(Effect.provide(over({ slowConsumers: { patience: 60_000 } })))
  )

  it.scoped("§6.5 policy buffer: the agent is never slowed", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const end = yield* run(peer, "counter", { count: 1_000 })
      expect(eventsOf(peer, end.job_id!).length).toBe(1_002)
      expect(peer.events().some(isSignal)).toBe(false)
    }).pipe(Effect.provide(over({ slowConsumers: { policy: "buffer" } })))
  )

  it.scoped("§13.2 policy disconnect: INTERNAL_ERROR and the end of the connection; the session resumes", () =>
    Effect.gen(function* () {
      const peer = yield* acknowledging()
      const watcher = yield* hello({ features })
      const accepted = yield* submit(peer, "counter", { count: 1_000 })
      yield* Effect.flatMap(watcher.send("job.subscribe", { job_id: accepted.job_id, history: true }), watcher.reply)
      const error = yield* peer.next("session.error")
      expect(error.payload).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        details: { reason: "slow_consumer" }
      })
      expect((yield* peer.ended).code).toBe(closeCodeOver(name, 1013))
      // The agent goes on while nobody is there.
      yield* watcher.terminal(accepted.job_id!)
      const again = yield* hello({
        features,
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: lastSeq(peer) }
      })
      expect((yield* again.terminal(accepted.job_id!)).payload.result).toEqual({ count: 1_000 })
      // The replay was larger than the mark; that alone does not make it slow.
      expect((yield* run(again, "echo", "still here")).payload.result).toBe("still here")
      yield* run(again, "counter", { count: mark / 2 })
      yield* submit(again, "talker")
      expect((yield* again.ended).code).toBe(closeCodeOver(name, 1013))
    }).pipe(Effect.provide(over({ slowConsumers: { policy: "disconnect" } })))
  )
})

describe("a client of this package under back-pressure", () => {
  const connected = (options: ClientOptions = {}, worldOptions: WorldOptions = {}) =>
    ArcpClient.layer({ auth: { token: Redacted.make("alice-token") }, ...options }).pipe(
      Layer.provideMerge(world(worldOptions))
    )

  it.scopedLive(
    "§6.5 at default settings 300,000 events reach a slow consumer, each once, and the agent was slowed",
    () =>
      Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit("counter", { count: 300_000 })
        let signals = 0
        let chunks = 0
        let logs = 0
        // Counted, and expected once: 300,000 expectations take longer than the events.
        let misplaced = 0
        yield* job.events.pipe(
          Stream.rechunk(5_000),
          // Slower and slower until it has been told so, on a machine that is busy with other things too.
          Stream.mapChunksEffect((chunk) =>
            Effect.as(
              Effect.suspend(() => Effect.sleep(signals === 0 ? 200 * ++chunks : 10)),
              chunk
            )
          ),
          Stream.runForEachChunk((chunk) =>
            Effect.sync(() => {
              for (const event of chunk) {
                if (event._tag === "log") {
                  if (event.body.message !== `event ${++logs}`) misplaced++
                } else if (event._tag === "status" && event.body.phase === "back_pressure") signals++
              }
            })
          )
        )
        expect(logs).toBe(300_000)
        expect(misplaced).toBe(0)
        expect(signals).toBeGreaterThan(0)
        expect(yield* job.result).toEqual({ count: 300_000 })
      }).pipe(Effect.provide(connected())),
    120_000
  )

  it.scopedLive("§6.5 a consumer that runs a talkative job for each event of another does not stop it", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const outer = yield* client.submit("counter", { count: 3 })
      const results = yield* outer.events.pipe(
        Stream.mapEffect(() =>
          Effect.flatMap(client.submit("counter", { count: 2_000 }), (inner) =>
            Effect.zipRight(Effect.fork(Stream.runDrain(inner.events)), inner.result)
          )
        ),
        Stream.runCollect
      )
      expect(Chunk.size(results)).toBe(4)
    }).pipe(Effect.provide(connected({}, { limits: { ackLag: 500 } })))
  )

  it.scoped("§13.2 a client that is disconnected as too slow comes back, and its pending request is repeated", () =>
    Effect.gen(function* () {
      const client = yield* ArcpClient
      const accepting = yield* Stream.toPull(ScriptedPeer.accept)
      const next = Effect.map(Effect.orDie(accepting), Chunk.unsafeHead)
      const submitting = yield* Effect.fork(client.submit("a", null, { idempotencyKey: "k" }))
      const first = yield* next
      yield* first.expect("session.hello")
      const welcome = { resume_token: "rt_1", capabilities: { features: ["ack"], agents: ["a"] } }
      yield* first.send("session.welcome", welcome, { session_id: "s" })
      yield* first.expect("job.submit")
      const error = {
        code: "INTERNAL_ERROR",
        message: "too slow",
        retryable: true,
        details: { reason: "slow_consumer" }
      }
      yield* first.send("session.error", error, { session_id: "s" })
      yield* first.close(1013, "slow consumer")
      yield* TestClock.adjust("1 second")
      const second = yield* next
      expect((yield* second.expect("session.hello")).payload).toMatchObject({ resume: { session_id: "s" } })
      yield* second.send("session.welcome", welcome, { session_id: "s" })
      const again = yield* second.expect("job.submit")
      expect(again.payload.idempotency_key).toBe("k")
      yield* second.send("job.accepted", { request_id: again.id, job_id: "j" }, { session_id: "s" })
      expect((yield* submitting).jobId).toBe("j")
    }).pipe(
      Effect.provide(
        ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
          Layer.provideMerge(MemoryTransport.layerEncoded),
          Layer.provideMerge(Ids.layerSeeded(3))
        )
      )
    )
  )
})
