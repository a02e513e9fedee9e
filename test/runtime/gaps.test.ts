/** What is gone of a history is said, never left out silently (§7.6, §6.3, §6.5). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { backends } from "./backends.js"
import { allFeatures, barrier, dial, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")
const without = (...names: ReadonlyArray<string>) => features.filter((feature) => !names.includes(feature))

/** Logs 1..count, waits for the gate of its name, logs "through". */
const narrator = Agent.untyped("narrator", (input) =>
  Effect.gen(function* () {
    const { count, name } = input as { readonly count: number; readonly name: string }
    for (let n = 1; n <= count; n++) yield* Job.log(String(n))
    yield* Deferred.await(gate(name))
    yield* Job.log("through")
    return name
  })
)
/** Reports progress only, then waits for its gate. */
const worker = Agent.untyped("worker", (input) =>
  Effect.gen(function* () {
    for (let n = 1; n <= 60; n++) yield* Job.progress({ current: n })
    yield* Deferred.await(gate((input as { readonly name: string }).name))
    return "worked"
  })
)
/** Logs 1..5, waits for its gate, logs 6..65, waits for another one. */
const phases = Agent.untyped("phases", (input) =>
  Effect.gen(function* () {
    const { name } = input as { readonly name: string }
    for (let n = 1; n <= 5; n++) yield* Job.log(String(n))
    yield* Deferred.await(gate(name))
    for (let n = 6; n <= 65; n++) yield* Job.log(String(n))
    yield* Deferred.await(gate(`${name} ends`))
    yield* Job.log("through")
    return name
  })
)
const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
const agents = Layer.mergeAll(narrator, worker, phases, echo)

/** Of a job of 61 events, the first 41 to 51 go once they are written. */
const limits = { historyEvents: 10, bufferedEvents: 10 }

const subscribe = (peer: Peer, jobId: string, payload: object = { history: true, from_event_seq: 0 }) =>
  Effect.flatMap(peer.send("job.subscribe", { job_id: jobId, ...payload }), peer.reply)

const messages = (frames: ReadonlyArray<Frame>) =>
  frames.map((frame) => frame.payload.body?.message ?? frame.payload.body?.phase ?? frame.type)

const resumed = (
  peer: { readonly sessionId: string; readonly token: string },
  lastEventSeq: number,
  offered = features
) =>
  hello({
    features: offered,
    resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: lastEventSeq }
  })

/** A running job of 61 events whose beginning is gone, after another job of the same owner. */
const trimmed = (owner: Peer, name: string) =>
  Effect.gen(function* () {
    yield* run(owner, "echo", "first")
    const { job_id } = yield* submit(owner, "narrator", { count: 60, name }, { idempotency_key: name })
    const last = yield* owner.next("job.event", (frame) => frame.payload.body?.message === "60")
    // The trim is written behind the event that it follows.
    yield* run(owner, "echo", "last")
    yield* barrier(owner)
    return { jobId: job_id!, last: last.event_seq! }
  })

for (const [name, options] of backends) {
  const whole = world({ ...options(), agents })
  const short = world({ ...options(), agents, limits })

  describe(`gaps over ${name}`, () => {
    it.scoped("§7.6 a late observer is told behind which of the owner's events its history begins", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        const { jobId } = yield* trimmed(owner, "late")
        for (const offered of [features, without("ack")]) {
          const observer = yield* hello({ features: offered })
          const { payload } = yield* subscribe(observer, jobId)
          yield* barrier(observer)
          const first = eventsOf(observer, jobId)[0]!
          const original = eventsOf(owner, jobId).find((frame) => frame.payload.body.message === messages([first])[0])!
          expect(payload).toMatchObject({ current_status: "running", replayed: true })
          expect(payload.subscribed_from).toBeGreaterThan(0)
          expect(payload.subscribed_from).toBe(original.event_seq! - 1)
        }
        yield* Deferred.succeed(gate("late"), undefined)
        yield* owner.terminal(jobId)
        // The job has ended: the same is said, and its end comes.
        const observer = yield* hello({ features })
        const { payload } = yield* subscribe(observer, jobId)
        yield* observer.terminal(jobId)
        const first = messages(eventsOf(observer, jobId))[0]
        const original = eventsOf(owner, jobId).find((frame) => messages([frame])[0] === first)!
        expect(payload).toMatchObject({
          current_status: "success",
          replayed: true,
          subscribed_from: original.event_seq! - 1
        })
        expect(payload.subscribed_from).toBeGreaterThan(0)
      }).pipe(Effect.provide(short))
    )

    it.scoped("§7.6 from_event_seq before, at and behind what is gone", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        const { jobId, last } = yield* trimmed(owner, "from")
        const first = yield* hello({ features })
        const start = (yield* subscribe(first, jobId)).payload.subscribed_from as number
        for (const from of [1, start - 1, start, start + 1, last - 1, last, last + 1]) {
          const observer = yield* hello({ features })
          const { payload } = yield* subscribe(observer, jobId, { history: true, from_event_seq: from })
          yield* barrier(observer)
          const expected = eventsOf(owner, jobId).filter((frame) => frame.event_seq! > Math.max(from, start))
          expect(messages(eventsOf(observer, jobId)), `from ${from}`).toEqual(messages(expected))
          expect(payload.replayed, `from ${from}`).toBe(expected.length > 0)
          // Greater than what was asked for exactly where something of it is gone.
          expect(payload.subscribed_from, `from ${from}`).toBe(expected.length > 0 ? Math.max(from, start) : last)
        }
      }).pipe(Effect.provide(short))
    )

    it.scoped("§7.6 a whole history begins where it was asked for, and replayed is true only where events follow", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        yield* run(owner, "echo", "first")
        const { job_id } = yield* submit(owner, "narrator", { count: 5, name: "whole" })
        const last = (yield* owner.next("job.event", (frame) => frame.payload.body?.message === "5")).event_seq!
        const observer = yield* hello({ features })
        expect((yield* subscribe(observer, job_id!)).payload).toMatchObject({ replayed: true, subscribed_from: 0 })
        // It is there already: nothing follows.
        expect((yield* subscribe(observer, job_id!)).payload).toMatchObject({ replayed: false, subscribed_from: last })
        const live = yield* hello({ features })
        expect((yield* subscribe(live, job_id!, {})).payload).toMatchObject({ replayed: false, subscribed_from: last })
        const none = yield* hello({ features })
        const answer = yield* subscribe(none, job_id!, { history: true, from_event_seq: last })
        expect(answer.payload).toMatchObject({ replayed: false, subscribed_from: last })
        const livePoint = yield* hello({ features })
        const point = yield* subscribe(livePoint, job_id!, { history: true, from_event_seq: "live" })
        expect(point.payload).toMatchObject({ replayed: false, subscribed_from: last })
        // The submitter has had its own.
        expect((yield* subscribe(owner, job_id!)).payload).toMatchObject({ replayed: false, subscribed_from: last })
        for (const peer of [observer, live, none, livePoint, owner]) yield* barrier(peer)
        expect(messages(eventsOf(observer, job_id!))).toEqual(["running", "1", "2", "3", "4", "5"])
        for (const peer of [live, none, livePoint]) expect(eventsOf(peer, job_id!)).toEqual([])
        expect(eventsOf(owner, job_id!).length).toBe(6)
        yield* Deferred.succeed(gate("whole"), undefined)
        for (const peer of [observer, live, none, livePoint, owner]) {
          yield* peer.terminal(job_id!)
          expect(messages(eventsOf(peer, job_id!)).slice(-2)).toEqual(["through", "job.result"])
        }
      }).pipe(Effect.provide(whole))
    )

    it.scoped(
      "§7.6 an owner in a new session of the same principal is told what is gone, also once it has the job",
      () =>
        Effect.gen(function* () {
          const owner = yield* hello({ features: without("ack") })
          const { jobId } = yield* trimmed(owner, "owner")
          const next = yield* hello({ features: without("ack") })
          const accepted = yield* submit(next, "narrator", { count: 60, name: "owner" }, { idempotency_key: "owner" })
          expect(accepted.payload.job_id).toBe(jobId)
          const observer = yield* hello({ features })
          const { payload } = yield* subscribe(observer, jobId)
          yield* barrier(observer)
          expect(payload.replayed).toBe(true)
          expect(payload.subscribed_from).toBeGreaterThan(0)
          expect(eventsOf(observer, jobId).length).toBeGreaterThan(0)
          yield* Deferred.succeed(gate("owner"), undefined)
          yield* next.terminal(jobId)
        }).pipe(Effect.provide(short))
    )

    it.scoped("§7.6 in a session that was resumed, history means the job's history, once for each connection", () =>
      Effect.gen(function* () {
        const before = yield* hello({ features: without("ack") })
        const { job_id } = yield* submit(before, "narrator", { count: 5, name: "again" })
        const last = (yield* before.next("job.event", (frame) => frame.payload.body?.message === "5")).event_seq!
        yield* before.drop
        yield* before.ended
        const peer = yield* resumed(before, last, without("ack"))
        expect((yield* subscribe(peer, job_id!)).payload).toMatchObject({ replayed: true, subscribed_from: 0 })
        expect((yield* subscribe(peer, job_id!)).payload).toMatchObject({ replayed: false })
        yield* barrier(peer)
        expect(messages(eventsOf(peer, job_id!))).toEqual(["running", "1", "2", "3", "4", "5"])
        yield* Deferred.succeed(gate("again"), undefined)
        yield* peer.terminal(job_id!)
        expect(messages(eventsOf(peer, job_id!)).slice(6)).toEqual(["through", "job.result"])
        const numbers = peer.events().map((frame) => frame.event_seq)
        expect(numbers).toEqual(numbers.map((_, i) => last + 1 + i))
      }).pipe(Effect.provide(whole))
    )

    it.scoped("§7.6 a subscribe that is repeated since its answer was lost shows the history once", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        const { job_id } = yield* submit(owner, "narrator", { count: 5, name: "lost" })
        yield* owner.next("job.event", (frame) => frame.payload.body?.message === "5")
        const before = yield* hello({ features: without("ack") })
        yield* subscribe(before, job_id!)
        yield* before.next("job.event", (frame) => frame.payload.body?.message === "5")
        yield* before.drop
        yield* before.ended
        // As a client that has received neither the answer nor an event: all of it comes on this connection.
        const peer = yield* resumed(before, 0, without("ack"))
        expect((yield* subscribe(peer, job_id!)).payload).toMatchObject({ replayed: false })
        yield* Deferred.succeed(gate("lost"), undefined)
        yield* peer.terminal(job_id!)
        expect(messages(eventsOf(peer, job_id!))).toEqual([
          ...["running", "1", "2", "3", "4", "5"],
          ...["through", "job.result"]
        ])
      }).pipe(Effect.provide(whole))
    )

    it.scoped("§7.6 another owner that was resumed is told in its own numbers where the history begins", () =>
      Effect.gen(function* () {
        const first = yield* hello({ features: without("ack") })
        const second = yield* hello({ features: without("ack") })
        yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7], (n) => run(second, "echo", n))
        const key = { idempotency_key: "numbers" }
        const { job_id } = yield* submit(first, "phases", { name: "numbers" }, key)
        yield* first.next("job.event", (frame) => frame.payload.body?.message === "5")
        yield* submit(second, "phases", { name: "numbers" }, key)
        yield* Deferred.succeed(gate("numbers"), undefined)
        yield* second.next("job.event", (frame) => frame.payload.body?.message === "65")
        // The trim is written behind the event that it follows.
        yield* run(first, "echo")
        yield* barrier(second)
        const seen = eventsOf(second, job_id!)
        yield* second.drop
        yield* second.ended
        const back = yield* resumed(second, seen.at(-1)!.event_seq!, without("ack"))
        const { payload } = yield* subscribe(back, job_id!)
        yield* barrier(back)
        const begins = messages(eventsOf(back, job_id!))[0]
        const original = seen.find((frame) => messages([frame])[0] === begins)!
        expect(payload).toMatchObject({ replayed: true, subscribed_from: original.event_seq! - 1 })
      }).pipe(Effect.provide(short))
    )

    it.scoped("§7.2 §7.6 an owner that came later may have the history before it, once", () =>
      Effect.gen(function* () {
        const first = yield* hello({ features })
        const second = yield* hello({ features })
        const key = { idempotency_key: "later" }
        const { job_id } = yield* submit(first, "phases", { name: "later" }, key)
        yield* first.next("job.event", (frame) => frame.payload.body?.message === "5")
        yield* submit(second, "phases", { name: "later" }, key)
        yield* barrier(second)
        expect(eventsOf(second, job_id!)).toEqual([])
        expect((yield* subscribe(second, job_id!)).payload).toMatchObject({ replayed: true, subscribed_from: 0 })
        expect((yield* subscribe(second, job_id!)).payload).toMatchObject({ replayed: false })
        // The one that submitted it first has had its own.
        expect((yield* subscribe(first, job_id!)).payload).toMatchObject({ replayed: false })
        yield* Deferred.succeed(gate("later"), undefined)
        yield* Deferred.succeed(gate("later ends"), undefined)
        yield* Effect.forEach([first, second], (peer) => peer.terminal(job_id!))
        expect(messages(eventsOf(second, job_id!))).toEqual(messages(eventsOf(first, job_id!)))
        expect(second.events().map((frame) => frame.event_seq)).toEqual(second.events().map((_, i) => i + 1))
      }).pipe(Effect.provide(whole))
    )

    it.scoped("§6.3 what went while a session was away is RESUME_WINDOW_EXPIRED, never a shorter replay", () =>
      Effect.gen(function* () {
        const first = yield* hello({ features })
        const { job_id } = yield* submit(first, "phases", { name: "away" })
        const last = (yield* first.next("job.event", (frame) => frame.payload.body?.message === "5")).event_seq!
        yield* first.drop
        yield* first.ended
        const peer = yield* resumed(first, last)
        yield* subscribe(peer, job_id!)
        yield* barrier(peer)
        // What was replayed came behind what it had.
        expect(peer.events().length).toBe(last)
        yield* peer.drop
        yield* peer.ended
        const watching = yield* hello({ features: without("ack") })
        yield* subscribe(watching, job_id!, {})
        yield* Deferred.succeed(gate("away"), undefined)
        yield* watching.next("job.event", (frame) => frame.payload.body?.message === "65")
        yield* run(watching, "echo")
        for (const cursor of [0, 1, last, last + 3, 2 * last]) {
          const back = yield* dial
          const id = yield* back.send("session.hello", {
            auth: { scheme: "bearer", token: "alice-token" },
            capabilities: { features },
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: cursor }
          })
          expect((yield* back.reply(id)).payload.code, String(cursor)).toBe("RESUME_WINDOW_EXPIRED")
          yield* back.ended
        }
        const cursor = 2 * last + 55
        const back = yield* resumed(peer, cursor)
        yield* Deferred.succeed(gate("away ends"), undefined)
        yield* back.terminal(job_id!)
        const numbers = back.events().map((frame) => frame.event_seq!)
        expect(numbers).toEqual(numbers.map((_, i) => cursor + 1 + i))
        expect(messages(back.events())).toEqual(["61", "62", "63", "64", "65", "through", "job.result"])
      }).pipe(Effect.provide(short))
    )

    it.scoped("§6.5 a history that was replayed once more is kept until it is acknowledged", () =>
      Effect.gen(function* () {
        const first = yield* hello({ features })
        const { job_id } = yield* submit(first, "phases", { name: "kept" })
        yield* first.next("job.event", (frame) => frame.payload.body?.message === "5")
        yield* first.drop
        yield* first.ended
        const peer = yield* resumed(first, 3)
        yield* subscribe(peer, job_id!)
        yield* barrier(peer)
        yield* Deferred.succeed(gate("kept"), undefined)
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "65")
        yield* run(peer, "echo")
        yield* peer.drop
        yield* peer.ended
        const back = yield* resumed(peer, 3)
        yield* barrier(back)
        expect(messages(eventsOf(back, job_id!)).slice(0, 10)).toEqual([
          "3",
          "4",
          "5",
          "running",
          "1",
          "2",
          "3",
          "4",
          "5",
          "6"
        ])
        const numbers = back.events().map((frame) => frame.event_seq!)
        expect(numbers).toEqual(numbers.map((_, i) => 4 + i))
      }).pipe(Effect.provide(world({ ...options(), agents, limits: { historyEvents: 10 } })))
    )

    it.scoped("§7.6 kinds that were not negotiated are no gap, and nothing follows where there are no others", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        const { job_id } = yield* submit(owner, "worker", { name: "kinds" })
        const last = (yield* owner.next("job.event", (frame) => frame.payload.body?.current === 60)).event_seq!
        const observer = yield* hello({ features: without("progress") })
        const answer = yield* subscribe(observer, job_id!)
        yield* barrier(observer)
        expect(answer.payload).toMatchObject({ replayed: true, subscribed_from: 0 })
        expect(messages(eventsOf(observer, job_id!))).toEqual(["running"])
        const other = yield* hello({ features: without("progress") })
        const later = yield* subscribe(other, job_id!, { history: true, from_event_seq: 2 })
        expect(later.payload).toMatchObject({ replayed: false, subscribed_from: last })
        yield* Deferred.succeed(gate("kinds"), undefined)
        yield* observer.terminal(job_id!)
      }).pipe(Effect.provide(whole))
    )
  })
}

describe("§7.6 nothing kept for history", () => {
  it.scoped("an observer of a job of which all events are gone is told so", () =>
    Effect.gen(function* () {
      const owner = yield* hello({ features: without("ack") })
      const { jobId } = yield* trimmed(owner, "none")
      const observer = yield* hello({ features })
      const { payload } = yield* subscribe(observer, jobId)
      yield* barrier(observer)
      expect(payload.subscribed_from).toBeGreaterThan(0)
      expect(payload.replayed).toBe(eventsOf(observer, jobId).length > 0)
      expect(payload.replayed).toBe(true)
    }).pipe(Effect.provide(world({ agents, limits: { historyEvents: 0, bufferedEvents: 1 } })))
  )
})
