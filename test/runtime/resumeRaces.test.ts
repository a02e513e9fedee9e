/** What happens to a session while it is being resumed (ARCP 1.1 §6.3). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { MemoryStore } from "../../src/store/index.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { faulty } from "./faultyWorld.js"
import { barrier, dial, hello, run } from "./peer.js"
import { resetGates } from "./world.js"

beforeEach(resetGates)

const turns = Effect.repeatN(
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
  20
)

describe("a resume while retention removes", () => {
  const limits = { retainEndedFor: 60_000, sweepEvery: 10_000 }

  it.scoped("§6.3 what goes while its token is being stored refuses it: no welcome comes before", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const away = yield* hello()
      const other = yield* hello({ token: "bob-token" })
      yield* run(away, "counter", { count: 5 })
      const last = away.events().at(-1)!.event_seq!
      yield* away.drop
      for (let n = 0; n < 7; n++) {
        yield* TestClock.adjust(n === 6 ? 9_900 : 10_000)
        yield* barrier(other)
      }
      // A commit that hangs for a moment: what comes meanwhile is one batch.
      yield* faults.stall("commit")
      yield* other.send("job.submit", { agent: "echo", input: 1 })
      yield* turns
      expect((yield* faults.counts("commit")).stalled).toBe(1)
      yield* TestClock.adjust(100)
      yield* turns
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
