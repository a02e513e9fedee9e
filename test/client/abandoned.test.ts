/** Requests whose caller has stopped waiting, and requests that wait through a change of session (ARCP 1.1 §6.2, §7.1). */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { accepting, client, failure, greet, head, sayer } from "./dialogue.js"

const accepted = (job_id: string) => [{ job_id, agent: "a" }, head] as const

describe("a submit whose caller waits no longer, with a peer that names no request", () => {
  for (const [how, leave] of [
    ["was interrupted", (call: Fiber.RuntimeFiber<unknown, unknown>) => Fiber.interrupt(call)],
    [
      "was interrupted longer ago than requestTimeout",
      (call: Fiber.RuntimeFiber<unknown, unknown>) =>
        Effect.zipRight(Fiber.interrupt(call), TestClock.adjust("45 seconds"))
    ],
    ["has timed out", () => TestClock.adjust("31 seconds")]
  ] as const) {
    it.scoped(`§7.1 and ${how}: its answer is not given to the next submit`, () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const peer = yield* greet(yield* accepting)
        const one = yield* Effect.fork(Effect.exit(arcp.submit("a", 1)))
        yield* peer.expect("job.submit")
        yield* leave(one)
        const two = yield* Effect.fork(arcp.submit("a", 2))
        yield* peer.expect("job.submit")
        yield* peer.send("job.accepted", ...accepted("one"))
        yield* peer.send("job.accepted", ...accepted("two"))
        const job = yield* Fiber.join(two)
        expect(job.jobId).toBe("two")
        // The end of the first job refuses nothing.
        const three = yield* Effect.fork(arcp.submit("a", 3))
        yield* peer.expect("job.submit")
        yield* sayer(peer, "one").error("NO_LUCK", { event_seq: 1 })
        yield* peer.send("job.accepted", ...accepted("three"))
        expect((yield* Fiber.join(three)).jobId).toBe("three")
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("§7.1 and is never answered costs one later submit its answer at most", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const peer = yield* greet(yield* accepting)
      const lost = yield* Effect.fork(Effect.exit(arcp.submit("a", 0)))
      yield* peer.expect("job.submit")
      yield* TestClock.adjust("30 seconds")
      expect(failure(yield* Fiber.join(lost))).toMatchObject({ _tag: "RequestTimeout" })
      const second = yield* Effect.fork(Effect.exit(arcp.submit("a", 1)))
      yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", ...accepted("1"))
      yield* TestClock.adjust("30 seconds")
      expect(failure(yield* Fiber.join(second))).toMatchObject({ _tag: "RequestTimeout" })
      for (const n of [2, 3]) {
        const call = yield* Effect.fork(arcp.submit("a", n))
        yield* peer.expect("job.submit")
        yield* peer.send("job.accepted", ...accepted(`${n}`))
        expect((yield* Fiber.join(call)).jobId).toBe(`${n}`)
      }
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§6.3 is not sent again after a reconnect", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next)
      const one = yield* Effect.fork(Effect.exit(arcp.submit("a", 1)))
      yield* peer.expect("job.submit")
      yield* Fiber.interrupt(one)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const again = yield* greet(next)
      const two = yield* Effect.fork(arcp.submit("a", 2))
      expect((yield* again.expect("job.submit")).payload.input).toBe(2)
      yield* again.send("job.accepted", ...accepted("two"))
      expect((yield* Fiber.join(two)).jobId).toBe("two")
    }).pipe(Effect.provide(client()))
  )
})

describe("a request that waits through a change of session", () => {
  for (const session_id of ["s", "other"]) {
    it.scoped(`§6.2 fails with NotNegotiated where session ${session_id} has not its feature, and is not sent`, () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const peer = yield* greet(next)
        const listing = yield* Effect.fork(Effect.exit(Stream.runCollect(arcp.listJobs())))
        yield* peer.expect("session.list_jobs")
        yield* peer.close(1001, "")
        yield* TestClock.adjust("1 second")
        const again = yield* greet(next, ["subscribe"], { session_id })
        yield* TestClock.adjust("1 second")
        expect(failure(yield* Fiber.join(listing))).toMatchObject({ _tag: "NotNegotiated", feature: "list_jobs" })
        expect(again.seen().map(({ type }) => type)).toEqual(["session.hello"])
      }).pipe(Effect.provide(client()))
    )
  }
})
