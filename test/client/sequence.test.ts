/** §8.3 Numbers as a client reads them: out of order, of replies, of copies, and of a subscription's own. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, Stream, TestClock } from "effect"
import { Copies, maxAhead, Numbers } from "../../src/client/internal/numbers.js"
import { client, failure, greet, head, sayer, submitted, textsOf, withJob } from "./dialogue.js"

describe("§8.3 the numbers of a session", () => {
  it("the next one is taken, one that was is not, one ahead is remembered, and nothing missing is passed over", () => {
    const numbers = new Numbers()
    expect([1, 2, 2, 1, 5, 5, 4].map((seq) => numbers.take(seq))).toEqual([
      "next",
      "next",
      "seen",
      "seen",
      "ahead",
      "seen",
      "ahead"
    ])
    expect([numbers.last, numbers.open]).toEqual([2, true])
    expect(numbers.take(3)).toBe("next")
    expect([numbers.last, numbers.open]).toEqual([5, false])
  })

  it("4,096 numbers are remembered ahead of a missing one; the next is a gap, and is not used up", () => {
    const numbers = new Numbers()
    for (let seq = 2; seq < 2 + maxAhead; seq++) expect(numbers.take(seq)).toBe("ahead")
    expect(maxAhead).toBe(4_096)
    expect(numbers.take(maxAhead + 2)).toBe("gap")
    expect(numbers.take(1)).toBe("next")
    expect(numbers.last).toBe(maxAhead + 1)
    expect(numbers.take(maxAhead + 2)).toBe("next")
  })

  it("directly after a resume a number beyond the next one is a gap, also one that had come before", () => {
    const numbers = new Numbers()
    for (const seq of [1, 3]) numbers.take(seq)
    numbers.resumed()
    expect([numbers.take(1), numbers.take(3), numbers.take(4)]).toEqual(["seen", "gap", "gap"])
    expect(numbers.take(2)).toBe("next")
    expect([numbers.last, numbers.take(5)]).toEqual([3, "ahead"])
  })

  it("copies are known by their id among the last 4,096, whatever order ids have", () => {
    const copies = new Copies()
    for (const id of ["b", "c"]) expect(copies.isCopy(id)).toBe(false)
    expect([copies.isCopy("c"), copies.isCopy("a"), copies.isCopy("b"), copies.isCopy("a")]).toEqual([
      true,
      false,
      true,
      true
    ])
    for (let n = 0; n < 4_096; n++) expect(copies.isCopy(`n${n}`)).toBe(false)
    expect([copies.isCopy("n0"), copies.isCopy("n4095")]).toEqual([true, true])
    expect(copies.isCopy("b")).toBe(false)
  })
})

describe("§8.3 a client", () => {
  it.scoped("takes frames that came out of order in the order of their numbers, and stays connected", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob()
      const { job: other } = yield* submitted(arcp, peer, "k")
      const ofOther = sayer(peer, "k")
      yield* ofOther.result(6, { result: "k" })
      yield* say.thought(3)
      yield* ofOther.thought(1)
      yield* say.thought(4)
      yield* TestClock.adjust("1 second")
      // Acknowledged is what nothing before is missing of.
      expect((yield* peer.expect("session.ack")).payload).toEqual({ last_processed_seq: 1 })
      expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(other.result)))).toBe(true)
      yield* ofOther.thought(2)
      yield* say.result(5, { result: "j" })
      expect([yield* job.result, yield* other.result]).toEqual(["j", "k"])
      expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["3", "4"])
      expect(textsOf(yield* Stream.runCollect(other.events))).toEqual(["1", "2"])
      yield* TestClock.adjust("1 minute")
      expect((yield* peer.expect("session.ack")).payload).toEqual({ last_processed_seq: 6 })
      expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(peer.ended)))).toBe(true)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("resumes from below a number that is missing for two seconds, not before, and loses nothing", () =>
    Effect.gen(function* () {
      const { job, next, peer, say } = yield* withJob()
      yield* say.thought(1)
      yield* say.thought(3)
      yield* say.result(4, { result: "right" })
      yield* TestClock.adjust("1900 millis")
      expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(peer.ended)))).toBe(true)
      yield* TestClock.adjust("100 millis")
      expect(yield* peer.ended).toMatchObject({ code: 1008, reason: "event 2 did not come" })
      yield* TestClock.adjust("1 second")
      const again = yield* greet(next)
      expect(again.hello.payload).toMatchObject({ resume: { last_event_seq: 1 } })
      // A resume that begins beyond what is missing is a gap at once.
      yield* sayer(again).thought(3)
      yield* again.ended
      yield* TestClock.adjust("1 second")
      const last = yield* greet(next)
      for (const seq of [2, 3]) yield* sayer(last).thought(seq)
      expect(yield* job.result).toBe("right")
      expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["1", "2", "3"])
    }).pipe(Effect.provide(client()))
  )

  for (const [what, type, payload] of [
    ["job.cancelled", "job.cancelled", { job_id: "j" }],
    ["a reply that answers nothing", "session.jobs", { jobs: [], next_cursor: null, request_id: "none" }],
    ["a reply that cannot be read", "job.subscribed", { job_id: 7, request_id: "none" }],
    ["a message of a later version", "job.from_the_future", {}],
    ["an error", "session.error", { code: "INTERNAL_ERROR", message: "hm" }]
  ] as const) {
    it.scoped(`uses the number of a frame up, whatever it is: ${what}`, () =>
      Effect.gen(function* () {
        const { job, peer, say } = yield* withJob()
        yield* say.thought(1)
        yield* peer.send(type, payload, { ...head, job_id: "j", event_seq: 2 })
        yield* say.result(3, { result: "right" })
        expect(yield* job.result).toBe("right")
        yield* TestClock.adjust("1 minute")
        expect((yield* peer.expect("session.ack", (f) => f.payload.last_processed_seq === 3)).type).toBe("session.ack")
        expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(peer.ended)))).toBe(true)
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("shows an event once that comes under two numbers, and reads a reply whose number was used before", () =>
    Effect.gen(function* () {
      const { job, peer, say } = yield* withJob()
      yield* say.thought(1, "a", { id: "e1" })
      yield* say.thought(2, "a", { id: "e1" })
      yield* say.thought(3, "b", { id: "e0" })
      yield* say.thought(4, "b", { id: "e0" })
      const cancelling = yield* Effect.fork(job.cancel())
      yield* peer.expect("job.cancel")
      yield* peer.send("job.cancelled", { job_id: "j" }, { ...head, job_id: "j", event_seq: 0 })
      yield* Fiber.join(cancelling)
      yield* say.result(5, { result: "right" })
      yield* job.result
      expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["a", "b"])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§7.6 reads a subscription that counts its events (replayed: 2) apart from the session's numbers", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob()
      yield* say.thought(1)
      const subscribing = yield* Effect.fork(arcp.subscribe("k", { history: true }))
      const subscribe = yield* peer.expect("job.subscribe")
      const ofOther = sayer(peer, "k")
      // Its history comes first.
      yield* ofOther.thought(1, "k1")
      yield* ofOther.thought(2, "k2")
      yield* say.thought(2)
      const subscribed = { request_id: subscribe.id, job_id: "k", current_status: "running", replayed: 2 }
      yield* peer.send("job.subscribed", subscribed, { ...head, job_id: "k" })
      const observed = yield* Fiber.join(subscribing)
      yield* ofOther.thought(3, "k3")
      yield* say.thought(3)
      yield* ofOther.result(4, { result: "k" })
      yield* say.result(4, { result: "j" })
      expect([yield* observed.result, yield* job.result]).toEqual(["k", "j"])
      expect(textsOf(yield* Stream.runCollect(observed.events))).toEqual(["k1", "k2", "k3"])
      expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["1", "2", "3"])
      yield* TestClock.adjust("1 minute")
      expect((yield* arcp.session)?.lastEventSeq).toBe(4)
      expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(peer.ended)))).toBe(true)
    }).pipe(Effect.provide(client()))
  )

  for (const [what, answer] of [
    ["is refused", undefined],
    ["is answered as usual", { current_status: "running", replayed: true }],
    ["is not answered", null]
  ] as const) {
    it.scoped(`§7.6 counts what came before the answer of a subscribe that ${what} by the session's numbers`, () =>
      Effect.gen(function* () {
        const { arcp, job, peer, say } = yield* withJob()
        const subscribing = yield* Effect.fork(Effect.either(arcp.subscribe("k")))
        const { id: request_id } = yield* peer.expect("job.subscribe")
        yield* sayer(peer, "k").thought(1)
        yield* say.result(2, { result: "right" })
        if (answer === undefined) {
          yield* peer.send("session.error", { code: "JOB_NOT_FOUND", message: "no", request_id }, head)
          expect(Either.isLeft(yield* Fiber.join(subscribing))).toBe(true)
        } else if (answer !== null) {
          yield* peer.send("job.subscribed", { ...answer, request_id, job_id: "k" }, head)
          const observed = Either.getOrThrow(yield* Fiber.join(subscribing))
          yield* sayer(peer, "k").result(3)
          expect(textsOf(yield* Stream.runCollect(observed.events))).toEqual(["1"])
        } else yield* TestClock.adjust("4 seconds")
        expect(yield* job.result).toBe("right")
        yield* TestClock.adjust("10 seconds")
        expect(Option.isNone(yield* Fiber.poll(yield* Effect.fork(peer.ended)))).toBe(true)
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("ends a number that never comes, over and over, in a typed error", () =>
    Effect.gen(function* () {
      const { job, next, say } = yield* withJob([])
      const ending = yield* Effect.fork(Effect.exit(job.result))
      yield* say.result(2)
      yield* Effect.forkScoped(Effect.forever(Effect.flatMap(greet(next, []), (peer) => sayer(peer).result(2))))
      yield* TestClock.adjust("5 minutes")
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ _tag: "SessionEnded" })
    }).pipe(Effect.provide(client({ maxAttempts: 10 })))
  )
})
