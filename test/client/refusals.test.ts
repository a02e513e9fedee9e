/** Refusals in the ways that runtimes send them: by `job.error`, under other ids, and naming nothing (1.0 §12, 1.1 §7). */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Fiber, Option, Stream, TestClock } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { accepting, client, failure, greet, head, sayer, submitted, textsOf, withJob } from "./dialogue.js"

const refusal = (code: string) => ({ final_status: "error", code, message: "no", retryable: false })
const codeOf = <A, E>(either: Either.Either<A, E>) =>
  Either.isLeft(either) ? (either.left as { readonly code?: string }).code : "success"

/** A client that has heard no answer yet, and the peer. */
const fresh = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const next = yield* accepting
  return { arcp, next, peer: yield* greet(next) }
})

describe("a submit that is refused by a job.error", () => {
  for (const [how, at, alone] of [
    ["under the request's id", (submit: { id: string }) => ({ id: submit.id }), false],
    [
      "under a fresh job_id, by the trace",
      (s: { trace_id?: string }) => ({ job_id: "never", trace_id: s.trace_id }),
      false
    ],
    [
      "under a fresh job_id and with a number, by the trace",
      (s: { trace_id?: string }) => ({ job_id: "never", trace_id: s.trace_id, event_seq: 1 }),
      false
    ],
    ["by nothing, with a peer that names no request: the oldest", () => ({ job_id: "never" }), true]
  ] as ReadonlyArray<readonly [string, (submit: never) => object, boolean]>) {
    it.scoped(`§7.1 ${how}: its call fails at once, and the next job.accepted is given to the next call`, () =>
      Effect.gen(function* () {
        const { arcp, peer } = yield* fresh
        const one = yield* Effect.fork(Effect.either(arcp.submit("a", 1)))
        const first = yield* peer.expect("job.submit")
        const two = yield* Effect.fork(arcp.submit("a", 2))
        const second = yield* peer.expect("job.submit")
        const refused = alone ? first : second
        yield* peer.send("job.error", refusal("AGENT_NOT_AVAILABLE"), { ...head, ...at(refused as never) })
        yield* peer.send("job.accepted", { job_id: "j" }, { ...head, job_id: "j" })
        if (alone) {
          expect(codeOf(yield* Fiber.join(one))).toBe("AGENT_NOT_AVAILABLE")
          expect((yield* Fiber.join(two)).jobId).toBe("j")
        } else {
          expect(Either.getOrThrow(yield* Fiber.join(one)).jobId).toBe("j")
          expect(codeOf(yield* Effect.either(Fiber.join(two)))).toBe("AGENT_NOT_AVAILABLE")
        }
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("is not guessed by order with a peer that names requests, nor where the job has sent events", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const one = yield* Effect.fork(Effect.either(arcp.submit("a", 1)))
      const first = yield* peer.expect("job.submit")
      // Events that overtake their job.accepted are those of a job.
      yield* sayer(peer, "early").thought(1)
      yield* sayer(peer, "early").error("NO_LUCK", { event_seq: 2 })
      yield* peer.send("job.accepted", { job_id: "early", request_id: first.id }, head)
      const early = Either.getOrThrow(yield* Fiber.join(one))
      expect(yield* Effect.flip(early.result)).toMatchObject({ code: "NO_LUCK" })
      const two = yield* Effect.fork(Effect.either(arcp.submit("a", 2)))
      const second = yield* peer.expect("job.submit")
      yield* sayer(peer, "of another").error("NO_LUCK", { event_seq: 3 })
      yield* peer.send("job.accepted", { job_id: "j", request_id: second.id }, head)
      expect(Either.getOrThrow(yield* Fiber.join(two)).jobId).toBe("j")
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§11 submits of one span have the span's trace and are told apart all the same", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const span = { traceId: "0af7651916cd43dd8448eb211c80319c", parentSpanId: "b7ad6b7169203331" }
      const calls = yield* Effect.forEach([1, 2, 3], (n) =>
        Effect.fork(Effect.either(arcp.submit("a", n, { trace: span })))
      )
      const submits = yield* Effect.forEach([1, 2, 3], () => peer.expect("job.submit"))
      expect(submits[0]?.trace_id).toBe(span.traceId)
      expect(new Set(submits.map(({ trace_id }) => trace_id)).size).toBe(3)
      yield* peer.send("job.error", refusal("INVALID_REQUEST"), {
        ...head,
        job_id: "n",
        trace_id: submits[1]?.trace_id
      })
      for (const at of [2, 0]) {
        const accepted = { ...head, job_id: `j${at}`, trace_id: submits[at]?.trace_id }
        yield* peer.send("job.accepted", { job_id: `j${at}` }, accepted)
      }
      const ends = yield* Effect.forEach(calls, (call) => Fiber.join(call))
      expect(ends.map((end) => (Either.isRight(end) ? end.right.jobId : codeOf(end)))).toEqual([
        "j0",
        "INVALID_REQUEST",
        "j2"
      ])
      const later = yield* Effect.fork(arcp.submit("a", 4, { trace: span }))
      expect((yield* peer.expect("job.submit")).trace_id).toBe(span.traceId)
      yield* Fiber.interrupt(later)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§11 every submit has a trace, and one that a peer has named requests to keeps the span's own", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const one = yield* Effect.fork(arcp.submit("a", 1))
      const submit = yield* peer.expect("job.submit")
      expect(submit.trace_id).toMatch(/^[0-9a-f]{32}$/)
      expect(submit.payload.input).toBe(1)
      yield* peer.send("job.accepted", { job_id: "j", request_id: submit.id }, head)
      yield* Fiber.join(one)
      const trace = { traceId: "0af7651916cd43dd8448eb211c80319c" }
      for (const n of [1, 2]) yield* Effect.fork(arcp.submit("a", n, { trace }))
      for (const _ of [1, 2]) expect((yield* peer.expect("job.submit")).trace_id).toBe(trace.traceId)
      yield* Effect.fork(arcp.submit("a"))
      expect((yield* peer.expect("job.submit", (f) => f.payload.input === null)).payload).toHaveProperty("input", null)
    }).pipe(Effect.provide(client()))
  )
})

describe("a job.error that names a running job", () => {
  it.scoped("§7.2 DUPLICATE_KEY answers the submit with that job's key, and the job goes on", () =>
    Effect.gen(function* () {
      const { arcp, peer, say } = yield* withJob()
      const { job } = yield* submitted(arcp, peer, "k", { idempotencyKey: "key" })
      const other = yield* Effect.fork(Effect.either(arcp.submit("b")))
      yield* peer.expect("job.submit")
      const again = yield* Effect.fork(Effect.either(arcp.submit("b", 2, { idempotencyKey: "key" })))
      yield* peer.expect("job.submit")
      yield* sayer(peer, "k").error("DUPLICATE_KEY", { event_seq: 1 })
      expect(codeOf(yield* Fiber.join(again))).toBe("DUPLICATE_KEY")
      yield* peer.send("job.accepted", { job_id: "l" }, head)
      expect(Either.getOrThrow(yield* Fiber.join(other)).jobId).toBe("l")
      yield* say.thought(2)
      yield* sayer(peer, "k").result(3, { result: "right" })
      expect(yield* job.result).toBe("right")
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§7.2 DUPLICATE_KEY that nothing asked for ends no job", () =>
    Effect.gen(function* () {
      const { job, say } = yield* withJob()
      yield* say.error("DUPLICATE_KEY", { event_seq: 1 })
      yield* say.result(2, { result: "right" })
      expect(yield* job.result).toBe("right")
    }).pipe(Effect.provide(client()))
  )

  for (const code of ["JOB_NOT_FOUND", "PERMISSION_DENIED"]) {
    it.scoped(`§7.4, §7.6 ${code} answers a pending cancel or subscribe of it first; else it is its end`, () =>
      Effect.gen(function* () {
        const { arcp, job, peer, say } = yield* withJob()
        const cancelling = yield* Effect.fork(Effect.either(job.cancel()))
        yield* peer.expect("job.cancel")
        yield* say.error(code)
        expect(codeOf(yield* Fiber.join(cancelling))).toBe(code)
        const subscribing = yield* Effect.fork(Effect.either(arcp.subscribe("unknown")))
        yield* peer.expect("job.subscribe")
        yield* sayer(peer, "unknown").error(code)
        expect(codeOf(yield* Fiber.join(subscribing))).toBe(code)
        yield* say.thought(1)
        yield* say.error(code, { event_seq: 2 })
        expect(yield* Effect.flip(job.result)).toMatchObject({ code })
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped(
    "§7.4 a numbered PERMISSION_DENIED while a cancel waits may be the end: the job is asked for, and not waited for",
    () =>
      Effect.gen(function* () {
        const { job, peer, say } = yield* withJob()
        const cancelling = yield* Effect.fork(Effect.either(job.cancel()))
        yield* peer.expect("job.cancel")
        yield* say.error("PERMISSION_DENIED", { event_seq: 1 })
        yield* Fiber.join(cancelling)
        const ending = yield* Effect.fork(Effect.exit(job.result))
        yield* TestClock.adjust("2 seconds")
        const list = yield* peer.expect("session.list_jobs")
        const rows = [{ job_id: "j", agent: "a", status: "error", created_at: "t" }]
        yield* peer.send("session.jobs", { request_id: list.id, jobs: rows, next_cursor: null }, head)
        const subscribe = yield* peer.expect("job.subscribe")
        yield* peer.send("session.error", { ...refusal("JOB_NOT_FOUND"), request_id: subscribe.id }, head)
        expect(failure(yield* Fiber.join(ending))).toMatchObject({ code: "INTERNAL_ERROR" })
      }).pipe(Effect.provide(client()))
  )

  it.scoped("§7.4 the end of a job settles its cancel: as acknowledged where it was cancelled, else as refused", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob()
      const { job: other } = yield* submitted(arcp, peer, "k")
      const cancelling = yield* Effect.forEach([job, other], (one) => Effect.fork(Effect.either(one.cancel())))
      const cancel = yield* peer.expect("job.cancel")
      expect(cancel.payload.reason).toEqual(expect.any(String))
      yield* say.result(1, { final_status: "cancelled", result: null })
      yield* sayer(peer, "k").result(2, { result: "done" })
      expect((yield* Effect.forEach(cancelling, (one) => Fiber.join(one))).map(codeOf)).toEqual([
        "success",
        "INVALID_REQUEST"
      ])
      expect(yield* Effect.flip(job.result)).toMatchObject({ code: "CANCELLED" })
      expect(codeOf(yield* Effect.either(other.cancel()))).toBe("INVALID_REQUEST")
      expect(peer.seen().filter(({ type }) => type === "job.cancel").length).toBe(2)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§7.3 a job.result that says timed_out is TIMEOUT", () =>
    Effect.gen(function* () {
      const { job, say } = yield* withJob()
      yield* say.result(1, { final_status: "timed_out", summary: "ten seconds", result: null })
      expect(yield* Effect.flip(job.result)).toMatchObject({ code: "TIMEOUT", message: "ten seconds" })
    }).pipe(Effect.provide(client()))
  )
})

describe("an error that names nothing", () => {
  const say = { code: "INTERNAL_ERROR", message: "who?", retryable: false, details: null }

  it.scoped("settles the request that is left when the others have been answered", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const calls = yield* Effect.forEach(["a", "b", "c"], (agent) => Effect.fork(Effect.either(arcp.submit(agent))))
      const submits = yield* Effect.forEach(calls, () => peer.expect("job.submit"))
      yield* peer.send("session.error", say, head)
      for (const at of [2, 0]) {
        expect(Option.isNone(yield* Fiber.poll(calls[1]!))).toBe(true)
        yield* peer.send("job.accepted", { job_id: `j${at}`, request_id: submits[at]?.id }, head)
      }
      expect((yield* Effect.forEach(calls, (call) => Fiber.join(call))).map(codeOf)).toEqual([
        "success",
        "INTERNAL_ERROR",
        "success"
      ])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("fails all where there are as many errors as requests, and those alone that it can be about", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const list = yield* Effect.fork(Effect.either(Stream.runCollect(arcp.listJobs())))
      const request = yield* peer.expect("session.list_jobs")
      const calls = yield* Effect.forEach(["a", "b"], (agent) => Effect.fork(Effect.either(arcp.submit(agent))))
      for (const _ of calls) yield* peer.expect("job.submit")
      for (const _ of calls) yield* peer.send("session.error", { ...say, code: "AGENT_NOT_AVAILABLE" }, head)
      for (const call of calls) expect(codeOf(yield* Fiber.join(call))).toBe("AGENT_NOT_AVAILABLE")
      yield* peer.send("session.jobs", { request_id: request.id, jobs: [], next_cursor: null }, head)
      expect(codeOf(yield* Fiber.join(list))).toBe("success")
    }).pipe(Effect.provide(client()))
  )

  it.scoped("is about none where the peer names its errors, or where a call that may be meant was interrupted", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* fresh
      const calls = yield* Effect.forEach(["a", "b", "c"], (agent) => Effect.fork(Effect.either(arcp.submit(agent))))
      const submits = yield* Effect.forEach(calls, () => peer.expect("job.submit"))
      yield* peer.send("session.error", say, head)
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(calls[0]!)
      yield* peer.send("job.accepted", { job_id: "j1", request_id: submits[1]?.id }, head)
      expect(codeOf(yield* Fiber.join(calls[1]!))).toBe("success")
      expect(Option.isNone(yield* Fiber.poll(calls[2]!))).toBe(true)
      yield* peer.send("session.error", { ...refusal("AGENT_NOT_AVAILABLE"), request_id: submits[2]?.id }, head)
      expect(codeOf(yield* Fiber.join(calls[2]!))).toBe("AGENT_NOT_AVAILABLE")
    }).pipe(Effect.provide(client()))
  )
})

describe("a job.error before any welcome", () => {
  it.scoped("§6.1 refuses the session", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const peer = yield* yield* accepting
      yield* peer.expect("session.hello")
      yield* peer.send("job.error", refusal("UNAUTHENTICATED"))
      expect(yield* Effect.flip(arcp.connected)).toMatchObject({ code: "UNAUTHENTICATED" })
    }).pipe(Effect.provide(client()))
  )

  for (const [code, type] of [
    ["RESUME_WINDOW_EXPIRED", "job.error"],
    ["PERMISSION_DENIED", "session.error"],
    ["JOB_NOT_FOUND", "session.error"],
    ["INVALID_REQUEST", "job.error"]
  ] as const) {
    it.scoped(`§6.3 ${type} ${code} to a resume means a new session, in which the jobs are taken up`, () =>
      Effect.gen(function* () {
        const { job, next, peer, say } = yield* withJob()
        yield* say.thought(1)
        yield* TestClock.adjust(0)
        yield* peer.close(1001, "")
        yield* TestClock.adjust("1 second")
        const refusing = yield* next
        expect((yield* refusing.expect("session.hello")).payload).toHaveProperty("resume")
        yield* refusing.send(type, refusal(code))
        yield* TestClock.adjust("1 second")
        const last = yield* greet(next, undefined, { session_id: "t" })
        expect(last.hello.payload).not.toHaveProperty("resume")
        const subscribe = yield* last.expect("job.subscribe")
        yield* last.send("job.subscribed", { request_id: subscribe.id, job_id: "j", current_status: "running" }, head)
        // A refused repeat does not lose a job that is observed (§7.2).
        const submit = yield* last.expect("job.submit")
        yield* last.send("job.error", refusal("DUPLICATE_KEY"), { ...head, id: submit.id })
        yield* sayer(last).thought(1, "2")
        yield* sayer(last).result(2, { result: "right" })
        expect(yield* job.result).toBe("right")
        expect(textsOf(yield* Stream.runCollect(job.events))).toEqual(["1", "2"])
      }).pipe(Effect.provide(client()))
    )
  }
})
