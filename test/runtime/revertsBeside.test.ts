/**
 * What the runtime writes by itself, when a commit of it fails (ARCP 1.1 §6.3, §7.3, §9.8, §14): starts of jobs that waited, trims,
 * purges, the removal of idle sessions, rotations. Each is a batch of its own: what was there before its first call is there after it was
 * undone.
 */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, LogLevel, TestClock } from "effect"
import { Credentials } from "../../src/runtime/index.js"
import { EventLog } from "../../src/runtime/log/EventLog.js"
import { MemoryStore } from "../../src/store/index.js"
import { type Batch, Store, StoreError } from "../../src/store/Store.js"
import { Copies, reached, same, watchBatches } from "../support/liveState.js"
import { dial, eventsOf, hello, submit } from "./peer.js"
import { leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { agents, type Client, features, Room, sees } from "./revertActs.js"
import { gate, resetGates, type WorldOptions, worldWithConcerns } from "./world.js"

beforeEach(resetGates)

/** A store that refuses, so many times, the batches that have something. */
class Refusals {
  private left = 0
  private matches: (batch: Batch) => boolean = () => false
  refused = 0

  begin(times: number, matches: (batch: Batch) => boolean): void {
    this.left = times
    this.matches = matches
  }

  get over(): boolean {
    return this.left === 0
  }

  readonly store = Layer.effect(
    Store,
    Effect.map(Store, (store) =>
      Store.of({
        ...store,
        immediate: false,
        commit: (batch) =>
          Effect.suspend(() => {
            if (this.left === 0 || !this.matches(batch)) return store.commit(batch)
            this.left--
            this.refused++
            return Effect.fail(new StoreError({ operation: "commit", message: "refused" }))
          })
      })
    )
  ).pipe(Layer.provide(MemoryStore.layer))
}

/** Once the store has refused what a test waits for, and has taken it: no batch that was undone has left anything. */
const watched = (room: Room) =>
  Effect.gen(function* () {
    const journal = yield* EventLog
    const copies = new Copies()
    const undone = yield* watchBatches(copies, () =>
      reached(room.clients.map(({ sessionId }) => journal.sessions.get(sessionId)))
    )
    return () => {
      expect(undone.length).toBeGreaterThan(1)
      for (const { after, before } of undone) same(after, before)
    }
  })

/** The waits before a batch is written again. */
const retried = (room: Room) =>
  Effect.forEach([0, 50, 100], (millis) => Effect.zipRight(TestClock.adjust(millis), room.settled), { discard: true })

const over = (refusals: Refusals, options: WorldOptions = {}) =>
  worldWithConcerns({ agents, ...options, store: refusals.store })

const resumeFrom = (client: Client, after: number) =>
  Effect.gen(function* () {
    const late = yield* dial
    yield* late.send("session.hello", {
      client: { name: "test", version: "1" },
      auth: { scheme: "bearer", token: "alice-token" },
      capabilities: { encodings: ["json"], features },
      resume: { session_id: client.sessionId, resume_token: client.token, last_event_seq: after }
    })
    return (yield* late.next("session.error")).payload.code
  })

const logs = (count: number) => Array.from({ length: count }, (_, n) => ({ do: "log", message: `log ${n}` }))
const quietly = Logger.withMinimumLogLevel(LogLevel.None)

describe("a commit that fails", () => {
  it.scoped("§7.3 of the start of a job that waited for a slot: it starts when the store takes it", () => {
    const refusals = new Refusals()
    return Effect.gen(function* () {
      const room = new Room()
      const peer = yield* room.connect()
      const first = (yield* submit(peer, "single", { name: "first" })).job_id!
      const second = (yield* submit(peer, "single", { name: "second" })).job_id!
      yield* room.settled
      const check = yield* watched(room)
      refusals.begin(2, ({ jobStates }) =>
        jobStates.some(({ jobId, status }) => jobId === second && status === "running")
      )
      yield* Deferred.succeed(gate("first"), undefined)
      yield* peer.terminal(first)
      yield* room.settled
      expect(eventsOf(peer, second)).toEqual([])
      yield* retried(room)
      expect(refusals.over).toBe(true)
      check()
      yield* Deferred.succeed(gate("second"), undefined)
      yield* peer.terminal(second)
      expect(eventsOf(peer, second).map(({ payload, type }) => payload.body?.phase ?? type)).toEqual([
        "running",
        "job.result"
      ])
      expect(peer.events().map(({ event_seq }) => event_seq)).toEqual([1, 2, 3, 4])
    }).pipe(Effect.provide(over(refusals)), quietly)
  })

  it.scoped("§6.3 of a trim: the session's floor is where it was, until the store takes it", () => {
    const refusals = new Refusals()
    return Effect.gen(function* () {
      const room = new Room()
      const peer = yield* room.connect({ features: features.filter((feature) => feature !== "ack") })
      const steps = [{ do: "wait", gate: "trim" }, ...logs(60), { do: "wait", gate: "end" }]
      const jobId = (yield* submit(peer, "script", { steps })).job_id!
      yield* room.settled
      const check = yield* watched(room)
      const session = (yield* EventLog).sessions.get(peer.sessionId)!
      refusals.begin(2, ({ trims }) => trims.length > 0)
      yield* Deferred.succeed(gate("trim"), undefined)
      yield* room.settled
      expect(session.floorSeq).toBe(0)
      yield* retried(room)
      yield* sees(peer, ({ payload }) => payload.body?.message === "log 59")
      yield* room.settled
      expect(refusals.over).toBe(true)
      check()
      expect(session.floorSeq).toBeGreaterThan(0)
      yield* Deferred.succeed(gate("end"), undefined)
      yield* peer.terminal(jobId)
      yield* room.drop(peer)
      expect(yield* resumeFrom(peer, 0)).toBe("RESUME_WINDOW_EXPIRED")
    }).pipe(
      Effect.provide(over(refusals, { limits: { historyEvents: 10, bufferedEvents: 5, queuedEvents: 8 } })),
      quietly
    )
  })

  it.scoped("§6.3 of a purge: the session's floor is where it was, until a later one succeeds", () => {
    const refusals = new Refusals()
    const sweepEvery = 30_000
    return Effect.gen(function* () {
      const room = new Room()
      const peer = yield* room.connect()
      for (const input of [1, 2, 3]) yield* peer.terminal((yield* submit(peer, "echo", input)).job_id!)
      yield* room.settled
      const check = yield* watched(room)
      const session = (yield* EventLog).sessions.get(peer.sessionId)!
      refusals.begin(2, ({ jobsRemoved }) => jobsRemoved.length > 0)
      for (const refused of [1, 2]) {
        yield* TestClock.adjust(sweepEvery)
        yield* room.settled
        expect([refusals.refused, session.floorSeq]).toEqual([refused, 0])
      }
      yield* TestClock.adjust(sweepEvery)
      yield* room.settled
      check()
      expect(session.floorSeq).toBe(4)
      yield* room.drop(peer)
      expect(yield* resumeFrom(peer, 0)).toBe("RESUME_WINDOW_EXPIRED")
    }).pipe(Effect.provide(over(refusals, { limits: { retainEndedJobs: 1, sweepEvery } })), quietly)
  })

  it.scoped("§14 of the removal of an idle session: it is gone, and the store hears of it when it takes it", () => {
    const refusals = new Refusals()
    return Effect.gen(function* () {
      const room = new Room()
      const idle = yield* room.connect()
      const other = yield* room.connect()
      const running = (yield* submit(other, "single", { name: "idle" })).job_id!
      yield* TestClock.adjust(2_000)
      yield* room.settled
      const check = yield* watched(room)
      refusals.begin(2, ({ sessionsRemoved }) => sessionsRemoved.length > 0)
      const coming = yield* dial
      yield* coming.send("session.hello", {
        client: { name: "test", version: "1" },
        auth: { scheme: "bearer", token: "alice-token" },
        capabilities: { encodings: ["json"], features }
      })
      room.left(idle)
      // The removal stays queued; the new session, which is in the same batch, is refused.
      expect((yield* coming.next("session.error")).payload.code).toBe("INTERNAL_ERROR")
      yield* retried(room)
      expect(refusals.over).toBe(true)
      check()
      yield* idle.ended
      yield* room.connect()
      expect(yield* resumeFrom(idle, 0)).toBe("RESUME_WINDOW_EXPIRED")
      yield* Deferred.succeed(gate("idle"), undefined)
      yield* other.terminal(running)
    }).pipe(Effect.provide(over(refusals, { limits: { sessionsPerPrincipal: 2, idleSession: 1_000 } })), quietly)
  })

  it.scoped("§9.8.2 of a rotation: the value is told once, to the owner alone", () => {
    const refusals = new Refusals()
    const backend = provisionedBackends[0]![1]()
    return Effect.gen(function* () {
      const room = new Room()
      const owner = yield* hello()
      const accepted = yield* submit(owner, "keeper", { name: "rotated" }, leased)
      const jobId = accepted.job_id!
      const observer = yield* hello()
      yield* Effect.flatMap(observer.send("job.subscribe", { job_id: jobId, history: true }), observer.reply)
      for (const peer of [owner, observer]) room.clients.push({ peer, sessionId: peer.sessionId, gone: false })
      yield* room.settled
      const check = yield* watched(room)
      refusals.begin(2, ({ segments }) =>
        segments.some(({ payloads }) => payloads.some((payload) => payload.includes("credential_rotated")))
      )
      const { rotate } = yield* Credentials
      const rotating = yield* Effect.fork(rotate(jobId, accepted.payload.credentials[0].id))
      yield* room.settled
      yield* retried(room)
      expect(refusals.over).toBe(true)
      yield* rotating
      yield* room.settled
      check()
      const values = [owner, observer].map((peer) =>
        eventsOf(peer, jobId).flatMap(({ payload }) =>
          payload.body?.phase === "credential_rotated" ? [typeof payload.body.value] : []
        )
      )
      expect(values).toEqual([["string"], ["undefined"]])
      yield* Deferred.succeed(gate("rotated"), undefined)
      yield* Effect.all([owner.terminal(jobId), observer.terminal(jobId)])
      for (const peer of [owner, observer])
        expect(peer.events().map(({ event_seq }) => event_seq)).toEqual(peer.events().map((_, n) => n + 1))
    }).pipe(Effect.provide(provisioned({ ...backend, store: Layer.merge(backend.store, refusals.store) }, {})), quietly)
  })
})
