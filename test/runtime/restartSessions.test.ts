/** What a kill of the runtime leaves of a session: its jobs, tokens, features and window (ARCP 1.1 §6.2, §6.3, §7.4). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ask, connect, echo, features, hears, machine, numbers, resume, waiting } from "./machine.js"
import { barrier, dial, hello, type Peer, submit } from "./peer.js"
import { resetGates } from "./world.js"

beforeEach(resetGates)

describe("§7.4 after a kill a job's owners", () => {
  it.scoped("are the sessions that asked for it: each is told of the job, and may cancel it", () =>
    Effect.gen(function* () {
      const { start } = machine(waiting("again", { onRestart: "rerun" }))
      const first = yield* start
      const [submitter, taker] = [yield* connect(first), yield* connect(first)]
      const keyed = (peer: Peer) => submit(peer, "again", 1, { idempotency_key: "k" })
      const jobId = (yield* keyed(submitter)).job_id!
      yield* hears(submitter, "again 1")
      expect((yield* keyed(taker)).job_id).toBe(jobId)
      const second = yield* start
      const [before, owner] = [yield* resume(second, submitter, 2), yield* resume(second, taker, 0)]
      yield* hears(owner, "again 2")
      const stranger = yield* connect(second)
      expect((yield* ask(stranger, "job.cancel", { job_id: jobId })).payload.code).toBe("PERMISSION_DENIED")
      expect((yield* ask(owner, "job.cancel", { job_id: jobId })).type).toBe("job.cancelled")
      expect((yield* owner.terminal(jobId)).payload.final_status).toBe("cancelled")
      expect(numbers(owner.events())).toEqual([1, 2, 3])
      expect((yield* before.terminal(jobId)).payload.final_status).toBe("cancelled")
      expect(numbers(before.events())).toEqual([3, 4, 5])
    })
  )
})

describe("§6.3 after a kill a session", () => {
  it.scoped("has the tokens that it had: the one before the last until the last has been shown", () =>
    Effect.gen(function* () {
      const { start } = machine(echo)
      const first = yield* start
      const peer = yield* connect(first)
      yield* submit(peer, "echo")
      // Its welcome is lost with the process: nothing has been said since.
      const unheard = yield* resume(first, peer, 0)
      expect(unheard.token).not.toBe(peer.token)
      const second = yield* start
      const back = yield* resume(second, peer, 0)
      // Stored when the job is: it has shown that it holds the token.
      yield* submit(back, "echo")
      const third = yield* start
      for (const token of [peer.token, unheard.token]) {
        const late = yield* Effect.provide(dial, third)
        const id = yield* late.send("session.hello", {
          auth: { scheme: "bearer", token: "alice-token" },
          resume: { session_id: peer.sessionId, resume_token: token, last_event_seq: 0 }
        })
        expect((yield* late.reply(id)).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }
      expect((yield* resume(third, back, 0)).sessionId).toBe(peer.sessionId)
    })
  )

  it.scoped("§6.2 has the features that it had: a result that it cannot be streamed comes in one", () =>
    Effect.gen(function* () {
      const { start } = machine(
        Agent.untyped(
          "streams",
          () =>
            Effect.gen(function* () {
              const { attempt } = yield* Job
              yield* Job.progress({ current: attempt })
              yield* Job.log(`streams ${attempt}`)
              if (attempt === 1) return yield* Effect.never
              return yield* Job.streamResult(Stream.make("a", "b"))
            }),
          { onRestart: "rerun" }
        )
      )
      const few = features.filter((feature) => feature !== "progress" && feature !== "result_chunk")
      const first = yield* start
      const [some, every] = [yield* Effect.provide(hello({ features: few }), first), yield* connect(first)]
      const jobId = (yield* submit(some, "streams")).job_id!
      yield* hears(some, "streams 1")
      yield* ask(every, "job.subscribe", { job_id: jobId })
      const second = yield* start
      // A resume that offers nothing keeps what there was.
      const back = yield* Effect.provide(dial, second)
      yield* back.send("session.hello", {
        auth: { scheme: "bearer", token: "alice-token" },
        resume: { session_id: some.sessionId, resume_token: some.token, last_event_seq: 2 }
      })
      const welcome = yield* back.next("session.welcome")
      expect(welcome.payload.capabilities.features).toEqual(some.welcome.payload.capabilities.features)
      expect((yield* back.terminal(jobId)).payload.result).toBe("ab")
      expect(back.events().map(({ event_seq, payload, type }) => [event_seq, payload.kind ?? type])).toEqual([
        [3, "status"],
        [4, "log"],
        [5, "job.result"]
      ])
      const observer = yield* resume(second, every, 0)
      yield* observer.terminal(jobId)
      expect(observer.events().map(({ payload, type }) => payload.kind ?? type)).toEqual([
        "status",
        "progress",
        "log",
        "job.result"
      ])
    })
  )

  it.scoped("is gone once its window is over, and stays gone; the time in which nothing ran does not count", () =>
    Effect.gen(function* () {
      const { start } = machine(echo, { sweepEvery: 86_400_000 })
      const peer = yield* connect(yield* start)
      yield* TestClock.adjust("6 minutes")
      const second = yield* start
      yield* TestClock.adjust("6 minutes")
      const back = yield* resume(second, peer, 0)
      yield* submit(back, "echo")
      yield* back.drop
      yield* barrier(yield* connect(second))
      yield* TestClock.adjust("10 minutes")
      yield* submit(yield* connect(second), "echo")
      const late = yield* Effect.provide(dial, yield* start)
      const id = yield* late.send("session.hello", {
        auth: { scheme: "bearer", token: "alice-token" },
        resume: { session_id: peer.sessionId, resume_token: back.token, last_event_seq: 0 }
      })
      expect((yield* late.reply(id)).payload.code).toBe("RESUME_WINDOW_EXPIRED")
    })
  )
})
