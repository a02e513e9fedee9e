/** Jobs of which nothing may come any more: they are asked for, and end in a typed error, or go on where they run (§6.3, §7.2, §7.6). */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Option, Stream, TestClock } from "effect"
import type { ScriptedPeer } from "../../src/testing/ScriptedPeer.js"
import { allFeatures, client, failure, greet, head, sayer, submitted, textsOf, withJob } from "./dialogue.js"

const row = (status: string, job_id = "j") => ({ job_id, agent: "a", status, created_at: "t" })

/** Answers the next listing with these rows. */
const list = (peer: ScriptedPeer, ...jobs: ReadonlyArray<object>) =>
  Effect.flatMap(peer.expect("session.list_jobs"), ({ id }) =>
    peer.send("session.jobs", { request_id: id, jobs, next_cursor: null }, head)
  )

/** A client whose connection broke while its job ran; the session goes on. */
const resumed = (features?: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { arcp, job, next, peer, say } = yield* withJob(features)
    yield* say.thought(1)
    yield* TestClock.adjust(0)
    yield* peer.close(1001, "")
    yield* TestClock.adjust("1 second")
    const again = yield* greet(next, features)
    yield* TestClock.adjust(0)
    return { arcp, job, next, peer: again, ending: yield* Effect.fork(Effect.exit(job.result)) }
  })

const asked = (peer: ScriptedPeer) =>
  peer
    .seen()
    .map(({ type }) => type)
    .filter((type) => type === "session.list_jobs" || type === "job.subscribe" || type === "job.submit")

describe("a job that is silent after a resume", () => {
  it.scoped("is not asked for while something of it comes", () =>
    Effect.gen(function* () {
      const { job, peer } = yield* resumed()
      yield* sayer(peer).thought(2)
      yield* TestClock.adjust("10 minutes")
      expect(asked(peer)).toEqual([])
      yield* sayer(peer).result(3, { result: "right" })
      expect(yield* job.result).toBe("right")
    }).pipe(Effect.provide(client()))
  )

  it.scoped("goes on where the runtime says that it runs, and is looked for ever more rarely", () =>
    Effect.gen(function* () {
      const { job, peer } = yield* resumed()
      let answered = 0
      for (let tick = 0; tick < 30; tick++) {
        yield* TestClock.adjust("10 seconds")
        for (const { id, type } of peer.seen().slice(answered)) {
          answered++
          const jobs = [row("running", "other"), row("running")]
          if (type === "session.list_jobs") {
            yield* peer.send("session.jobs", { request_id: id, jobs, next_cursor: null }, head)
          } else if (type === "job.subscribe") {
            yield* peer.send("job.subscribed", { request_id: id, job_id: "j", current_status: "running" }, head)
          }
        }
      }
      expect(asked(peer).filter((type) => type === "job.subscribe").length).toBe(1)
      expect(asked(peer).length).toBeLessThan(20)
      expect(asked(peer).length).toBeGreaterThan(5)
      yield* sayer(peer).result(2, { result: "right" })
      expect(yield* job.result).toBe("right")
    }).pipe(Effect.provide(client()))
  )

  it.scoped("is looked for once on the next connection where this one ended before the listing was answered", () =>
    Effect.gen(function* () {
      const { next, peer } = yield* resumed()
      yield* TestClock.adjust("2 seconds")
      yield* peer.expect("session.list_jobs")
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const again = yield* greet(next)
      yield* TestClock.adjust("5 seconds")
      expect(asked(again)).toEqual(["session.list_jobs"])
    }).pipe(Effect.provide(client()))
  )

  for (const [status, error] of [
    ["success", { _tag: "ResultInvalid" }],
    ["error", { code: "INTERNAL_ERROR" }],
    ["cancelled", { code: "CANCELLED" }],
    ["timed_out", { code: "TIMEOUT" }]
  ] as const) {
    it.scoped(
      `and has ended as ${status} is asked for with its history, and ends in a typed error within ten seconds`,
      () =>
        Effect.gen(function* () {
          const { ending, job, peer } = yield* resumed()
          yield* TestClock.adjust("2 seconds")
          yield* list(peer, row(status))
          const subscribe = yield* peer.expect("job.subscribe")
          expect(subscribe.payload).toEqual({ job_id: "j", history: true, from_event_seq: 1 })
          const subscribed = { request_id: subscribe.id, job_id: "j", current_status: status, replayed: false }
          yield* peer.send("job.subscribed", subscribed, head)
          yield* TestClock.adjust("7 seconds")
          expect(failure(yield* Fiber.join(ending))).toMatchObject(error)
          failure(yield* Effect.exit(Stream.runCollect(job.events)))
        }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("and whose end comes with its history ends with that", () =>
    Effect.gen(function* () {
      const { job, peer } = yield* resumed()
      yield* TestClock.adjust("2 seconds")
      yield* list(peer, row("success"))
      const { id } = yield* peer.expect("job.subscribe")
      yield* peer.send(
        "job.subscribed",
        { request_id: id, job_id: "j", current_status: "success", replayed: true },
        head
      )
      yield* sayer(peer).thought(2)
      yield* TestClock.adjust("2 seconds")
      yield* sayer(peer).result(3, { result: "right" })
      expect(yield* job.result).toBe("right")
      expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["1", "2"])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("is read over all pages of the listing, and one that the runtime does not know is lost", () =>
    Effect.gen(function* () {
      const { ending, peer } = yield* resumed(allFeatures.filter((feature) => feature !== "subscribe"))
      yield* TestClock.adjust("2 seconds")
      for (const page of [1, 2]) {
        const list = yield* peer.expect("session.list_jobs")
        expect(list.payload.cursor).toBe(page === 1 ? undefined : "next")
        const next_cursor = page === 1 ? "next" : null
        yield* peer.send("session.jobs", { request_id: list.id, jobs: [row("running", "x")], next_cursor }, head)
      }
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ code: "JOB_NOT_FOUND" })
      expect(asked(peer)).toEqual(["session.list_jobs", "session.list_jobs"])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("is repeated under its key where the runtime has no subscriptions and says that it has ended", () =>
    Effect.gen(function* () {
      const { ending, peer } = yield* resumed(["list_jobs"])
      yield* TestClock.adjust("2 seconds")
      yield* list(peer, row("success"))
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j" }, head)
      yield* TestClock.adjust("10 seconds")
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ _tag: "ResultInvalid" })
      expect(asked(peer).filter((type) => type === "job.submit").length).toBe(1)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("is given up where the runtime sends other frames and never says what became of it", () =>
    Effect.gen(function* () {
      const { ending, peer } = yield* resumed()
      yield* TestClock.adjust("5 seconds")
      yield* peer.send("session.ping", { nonce: "n" }, head)
      yield* TestClock.adjust("25 seconds")
      expect(Option.isNone(yield* Fiber.poll(ending))).toBe(true)
      yield* TestClock.adjust("10 seconds")
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ code: "INTERNAL_ERROR" })
    }).pipe(Effect.provide(client()))
  )

  it.scoped("waits where the runtime offers nothing to ask with: it may work in silence", () =>
    Effect.gen(function* () {
      const { job, peer } = yield* resumed([])
      yield* TestClock.adjust("10 minutes")
      expect(asked(peer)).toEqual([])
      yield* sayer(peer).result(2, { result: "right" })
      expect(yield* job.result).toBe("right")
    }).pipe(Effect.provide(client()))
  )
})

describe("a job whose submit may be a repeat", () => {
  it.scoped("§7.2 is asked for where nothing follows its job.accepted; one under a fresh key is not", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob()
      yield* TestClock.adjust("1 minute")
      expect(asked(peer)).toEqual(["job.submit"])
      const { job } = yield* submitted(arcp, peer, "k", { idempotencyKey: "key" })
      const ending = yield* Effect.fork(Effect.exit(job.result))
      yield* TestClock.adjust("2 seconds")
      yield* list(peer, row("running"), row("cancelled", "k"))
      const { id: request_id } = yield* peer.expect("job.subscribe")
      yield* peer.send("session.error", { request_id, code: "JOB_NOT_FOUND", message: "no" }, head)
      yield* TestClock.adjust("10 seconds")
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ code: "CANCELLED" })
    }).pipe(Effect.provide(client()))
  )
})

describe("a job whose recovery is not answered", () => {
  it.scoped("§6.3 ends in a typed error, and the session is reported as replaced", () =>
    Effect.gen(function* () {
      const { arcp, job, next, peer } = yield* withJob()
      const ending = yield* Effect.fork(Effect.exit(job.result))
      const replaced = yield* Effect.fork(
        Stream.runHead(Stream.filter(arcp.status, ({ _tag }) => _tag === "SessionReplaced"))
      )
      yield* TestClock.adjust(0)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const other = yield* greet(next, undefined, { session_id: "t" })
      yield* TestClock.adjust("5 seconds")
      yield* other.send("session.ping", { nonce: "n" }, { session_id: "t" })
      yield* TestClock.adjust("40 seconds")
      expect(failure(yield* Fiber.join(ending))).toMatchObject({ code: "INTERNAL_ERROR" })
      expect(Option.getOrThrow(yield* Fiber.join(replaced))).toMatchObject({ recovered: 0, lost: 1 })
    }).pipe(Effect.provide(client()))
  )
})
