/** What retention removes while it is being asked for: by a resume, and by a subscribe (ARCP 1.1 §6.3, §7.6). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { MemoryStore } from "../../src/store/index.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { faulty } from "./faultyWorld.js"
import { barrier, dial, eventsOf, hello, type Peer, run } from "./peer.js"
import { resetGates } from "./world.js"

beforeEach(resetGates)

const turns = Effect.repeatN(
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
  20
)

const limits = { retainEndedFor: 60_000, sweepEvery: 10_000 }

/** A commit hangs, and a sweep that removes what ended at the beginning comes behind it; what comes before `heal` is in its batch. */
const held = (other: Peer, ...present: ReadonlyArray<Peer>) =>
  Effect.gen(function* () {
    const faults = yield* StoreFaults
    for (let n = 0; n < 7; n++) {
      yield* TestClock.adjust(n === 6 ? 9_900 : 10_000)
      yield* Effect.forEach([other, ...present], barrier)
    }
    yield* faults.stall("commit")
    yield* other.send("job.submit", { agent: "echo", input: 1 })
    yield* turns
    expect((yield* faults.counts("commit")).stalled).toBe(1)
    return faults
  })

const sweeps = Effect.zipRight(TestClock.adjust(100), turns)

describe("a resume while retention removes", () => {
  it.scoped("§6.3 what goes while its token is being stored refuses it: no welcome comes before", () =>
    Effect.gen(function* () {
      const away = yield* hello()
      const other = yield* hello({ token: "bob-token" })
      yield* run(away, "counter", { count: 5 })
      const last = away.events().at(-1)!.event_seq!
      yield* away.drop
      const faults = yield* held(other)
      yield* sweeps
      const peer = yield* dial
      const resume = { session_id: away.sessionId, resume_token: away.token, last_event_seq: last - 3 }
      const id = yield* peer.send("session.hello", { auth: { scheme: "bearer", token: "alice-token" }, resume })
      yield* turns
      yield* faults.heal
      const answer = yield* Effect.raceFirst(peer.next("session.welcome"), peer.reply(id))
      expect(answer.payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED", details: { oldest_resumable: last } })
      // The token that the client has is the session's still, and what it has is where it goes on.
      const back = yield* hello({ resume: { ...resume, last_event_seq: last } })
      expect(back.sessionId).toBe(away.sessionId)
    }).pipe(Effect.provide(faulty(() => MemoryStore.layer, { limits })))
  )
})

describe("a subscribe while retention removes", () => {
  const ended = Effect.gen(function* () {
    const owner = yield* hello()
    const observer = yield* hello()
    const other = yield* hello({ token: "bob-token" })
    const { job_id = "" } = yield* run(owner, "counter", { count: 5 })
    return { faults: yield* held(other, observer), observer, job_id }
  })
  const subscribe = ({ job_id, observer }: { readonly job_id: string; readonly observer: Peer }) =>
    observer.send("job.subscribe", { job_id, history: true })
  const whole = ({ job_id, observer }: { readonly job_id: string; readonly observer: Peer }) =>
    Effect.gen(function* () {
      yield* observer.terminal(job_id)
      expect(eventsOf(observer, job_id)).toHaveLength(7)
      yield* barrier(observer)
    })
  const inMemory = Effect.provide(faulty(() => MemoryStore.layer, { limits }))

  it.scoped(
    "§7.6 that comes behind the sweep, before the removal is written: the job stays until its history has been sent",
    () =>
      Effect.gen(function* () {
        const world = yield* ended
        yield* sweeps
        yield* subscribe(world)
        yield* turns
        yield* world.faults.heal
        yield* whole(world)
      }).pipe(inMemory)
  )

  it.scoped("§7.6 that comes before the sweep: the job stays until its history has been sent", () =>
    Effect.gen(function* () {
      const world = yield* ended
      yield* subscribe(world)
      yield* turns
      yield* sweeps
      yield* world.faults.heal
      yield* whole(world)
    }).pipe(inMemory)
  )

  it.scoped("§7.6 while the removal itself is being stored: the job is gone, and the connection stays", () =>
    Effect.gen(function* () {
      const world = yield* ended
      yield* world.faults.heal
      yield* turns
      yield* world.faults.stall("commit")
      yield* sweeps
      const id = yield* subscribe(world)
      yield* turns
      yield* world.faults.heal
      expect((yield* world.observer.reply(id)).payload).toMatchObject({ code: "JOB_NOT_FOUND" })
      yield* barrier(world.observer)
    }).pipe(inMemory)
  )
})
