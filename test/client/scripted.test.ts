/** A client against a runtime that says what a test tells it to: numbers, errors and streams that should not be. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Either, Fiber, Layer, Option, Redacted, Schema, Stream, TestClock, Tracer } from "effect"
import { Agent } from "../../src/agent/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import { packageName, packageVersion } from "../../src/protocol/Package.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

// A scripted runtime answers no session.close, and nobody moves the clock when the scope ends.
const client = ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provideMerge(Ids.layerSeeded(9))
)

const Versioned = Agent.make("a", { version: "3.0.0", input: Schema.Null, output: Schema.Unknown })

const head = { session_id: "s" }

const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

const welcomed = <R>(next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>) =>
  Effect.gen(function* () {
    const peer = yield* next
    const hello = yield* peer.expect("session.hello")
    const features = ["ack", "list_jobs", "subscribe", "result_chunk"]
    yield* peer.send("session.welcome", { resume_token: "rt_1", capabilities: { features, agents: ["a"] } }, head)
    return { ...peer, hello }
  })

/** A client with one job, and the runtime's side of it. */
const withJob = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const next = yield* accepting
  const submitting = yield* Effect.fork(arcp.submit("a", 1))
  const peer = yield* welcomed(next)
  const submit = yield* peer.expect("job.submit")
  yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, { ...head, job_id: "j" })
  const job = yield* Fiber.join(submitting)
  const event = (seq: number, kind: string, body: object) =>
    peer.send("job.event", { kind, ts: "t", body }, { ...head, job_id: "j", event_seq: seq })
  const result = (seq: number, payload: object) =>
    peer.send("job.result", { final_status: "success", ...payload }, { ...head, job_id: "j", event_seq: seq })
  const chunk = (seq: number, chunk_seq: number, data: string, encoding = "utf8", more = true, result_id = "r") =>
    event(seq, "result_chunk", { result_id, chunk_seq, data, encoding, more })
  return { arcp, next, peer, job, event, result, chunk }
})

describe("a client against what should not be", () => {
  it.scoped("§6.1 a hello names this package and its version", () =>
    Effect.gen(function* () {
      yield* ArcpClient
      const { hello } = yield* welcomed(yield* accepting)
      expect(hello.payload.client).toEqual({ name: packageName, version: packageVersion })
    }).pipe(Effect.provide(client))
  )

  it.scoped("§8.3 duplicates are dropped, and the highest number never goes back", () =>
    Effect.gen(function* () {
      const { event, job, peer, result } = yield* withJob
      for (const seq of [1, 2, 2, 1, 3, 2, 1]) yield* event(seq, "thought", { text: `${seq}` })
      yield* result(3, { result: "stale" })
      yield* result(4, { result: "right" })
      yield* result(4, { result: "again" })
      expect(yield* job.result).toBe("right")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => [e.seq, e._tag === "thought" && e.body.text])).toEqual([
        [1, "1"],
        [2, "2"],
        [3, "3"]
      ])
      yield* TestClock.adjust("1 second")
      expect((yield* peer.expect("session.ack")).payload).toEqual({ last_processed_seq: 4 })
    }).pipe(Effect.provide(client))
  )

  it.scoped(
    "§8.3 a gap of two seconds ends the connection, and the resume asks for what comes after the last without one",
    () =>
      Effect.gen(function* () {
        const { event, job, next, peer } = yield* withJob
        yield* event(1, "thought", { text: "1" })
        yield* event(3, "thought", { text: "3" })
        yield* TestClock.adjust("2 seconds")
        yield* peer.ended
        yield* TestClock.adjust("1 second")
        const again = yield* welcomed(next)
        expect(again.hello.payload).toMatchObject({ resume: { session_id: "s", last_event_seq: 1 } })
        for (const seq of [2, 3]) {
          yield* again.send(
            "job.event",
            { kind: "thought", ts: "t", body: { text: `${seq}` } },
            { ...head, job_id: "j", event_seq: seq }
          )
        }
        yield* again.send("job.result", { final_status: "success" }, { ...head, job_id: "j", event_seq: 4 })
        const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
        expect(events.map((e) => e._tag === "thought" && e.body.text)).toEqual(["1", "2", "3"])
      }).pipe(Effect.provide(client))
  )

  it.scoped("§10 a child whose job.accepted was lost is known by the delegate event, and announced once", () =>
    Effect.gen(function* () {
      const { arcp, event, peer, result } = yield* withJob
      const children = yield* arcp.children.pipe(Stream.take(2), Stream.runCollect, Effect.fork)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      const delegate = (n: number) => ({ delegate_id: `d${n}`, child_job_id: `c${n}`, agent: "b", lease_request: {} })
      const ofChild = (n: number, seq: number) =>
        peer.send("job.result", { final_status: "success", result: n }, { ...head, job_id: `c${n}`, event_seq: seq })
      yield* event(1, "delegate", delegate(1))
      yield* ofChild(1, 2)
      yield* event(3, "delegate", delegate(2))
      yield* peer.send(
        "job.accepted",
        { job_id: "c2", agent: "b@2", parent_job_id: "j", delegate_id: "d2" },
        { ...head, job_id: "c2" }
      )
      yield* ofChild(2, 4)
      yield* result(5, {})
      const [first, second] = Chunk.toReadonlyArray(yield* Fiber.join(children))
      expect([first, second]).toMatchObject([
        { jobId: "c1", agent: "b", parentJobId: "j" },
        { jobId: "c2", agent: "b@2", parentJobId: "j" }
      ])
      expect([yield* first!.result, yield* second!.result]).toEqual([1, 2])
    }).pipe(Effect.provide(client))
  )

  it.scoped("one refused request fails only its own caller, also when errors come in another order", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const calls = yield* Effect.fork(
        Effect.all(
          [
            Effect.either(Effect.map(arcp.submit("b"), (job) => job.jobId)),
            Effect.either(Effect.map(arcp.subscribe("job_x"), (job) => job.jobId)),
            Effect.either(Effect.map(Stream.runCollect(arcp.listJobs()), Chunk.size))
          ],
          { concurrency: "unbounded" }
        )
      )
      const submit = yield* peer.expect("job.submit")
      const subscribe = yield* peer.expect("job.subscribe")
      const list = yield* peer.expect("session.list_jobs")
      // About nobody's request: with several pending it is not guessed whose.
      yield* peer.send("session.error", { code: "INTERNAL_ERROR", message: "hm", retryable: true }, head)
      const refuse = (code: string, request_id: string) =>
        peer.send("session.error", { code, message: "no", retryable: false, request_id }, head)
      yield* refuse("JOB_NOT_FOUND", subscribe.id)
      yield* peer.send("session.jobs", { request_id: list.id, jobs: [], next_cursor: null }, head)
      yield* refuse("AGENT_NOT_AVAILABLE", submit.id)
      const [b, x, jobs] = yield* Fiber.join(calls)
      expect(Either.isLeft(b) && b.left).toMatchObject({ code: "AGENT_NOT_AVAILABLE" })
      expect(Either.isLeft(x) && x.left).toMatchObject({ code: "JOB_NOT_FOUND" })
      expect(jobs).toEqual(Either.right(0))
    }).pipe(Effect.provide(client))
  )

  it.scoped("§8.4 base64 is strict: what is not is a typed error, not other bytes", () =>
    Effect.gen(function* () {
      const { chunk, job, result } = yield* withJob
      yield* chunk(1, 0, "YWI*", "base64", false)
      yield* result(2, { result_id: "r", result_size: 3 })
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultInvalid" })
      expect(yield* Effect.flip(Stream.runCollect(job.chunks))).toMatchObject({ _tag: "ResultInvalid" })
    }).pipe(Effect.provide(client))
  )

  it.scoped(
    "§8.4 a result that begins anew, as after a restart of the runtime, is the new one whole, never a mixture",
    () =>
      Effect.gen(function* () {
        const { chunk, job, result } = yield* withJob
        yield* chunk(1, 0, "old, ")
        const reading = yield* Effect.fork(Effect.flip(Stream.runCollect(job.chunks)))
        yield* chunk(2, 1, "half")
        yield* TestClock.adjust(0)
        yield* chunk(3, 0, "new, ", "utf8", true, "again")
        yield* chunk(4, 1, "whole", "utf8", false, "again")
        yield* result(5, { result_id: "again", result_size: 10 })
        expect(yield* job.result).toBe("new, whole")
        expect(yield* Fiber.join(reading)).toMatchObject({
          _tag: "ResultInvalid",
          message: "the result began anew, since the runtime was restarted: read it again"
        })
        expect(Chunk.toReadonlyArray(yield* Stream.runCollect(job.chunks))).toEqual(["new, ", "whole"])
      }).pipe(Effect.provide(client))
  )

  for (const [what, chunks, end] of [
    [
      "a missing chunk",
      [
        [0, "a"],
        [2, "c"]
      ],
      { result_id: "r", result_size: 2 }
    ],
    [
      "another size than announced",
      [
        [0, "a"],
        [1, "b"]
      ],
      { result_id: "r", result_size: 3 }
    ],
    [
      "another stream's id",
      [
        [0, "a"],
        [1, "b"]
      ],
      { result_id: "other", result_size: 2 }
    ]
  ] as const) {
    it.scoped(`§8.4 ${what} fails the result`, () =>
      Effect.gen(function* () {
        const { chunk, job, result } = yield* withJob
        let seq = 1
        for (const [n, data] of chunks) yield* chunk(seq++, n, data)
        yield* result(seq, end)
        expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultInvalid" })
      }).pipe(Effect.provide(client))
    )
  }

  it.scoped("§11 a submit carries the trace of the span that it is in", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const traceId = yield* Effect.withSpan(
        Effect.gen(function* () {
          const span = yield* Effect.currentSpan
          yield* Effect.forkScoped(Effect.ignore(arcp.submit("traced")))
          return span.traceId
        }),
        "caller"
      )
      const submit = yield* peer.expect("job.submit", (frame) => frame.payload.agent === "traced")
      expect(submit.trace_id).toBe(traceId)
    }).pipe(Effect.provide(client), Effect.orDie)
  )

  it.scoped("§11 a submit carries the trace of a span of another process that its fiber is in", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const [traceId, spanId] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"]
      yield* arcp
        .submit("traced")
        .pipe(
          Effect.withParentSpan(Tracer.externalSpan({ traceId, spanId, sampled: false })),
          Effect.ignore,
          Effect.forkScoped
        )
      const submit = yield* peer.expect("job.submit", (frame) => frame.payload.agent === "traced")
      expect(submit.trace_id).toBe(traceId)
      expect(submit.extensions).toEqual({
        "x-vendor.opentelemetry.tracecontext": { parent_span_id: spanId, sampled: false }
      })
    }).pipe(Effect.provide(client), Effect.orDie)
  )

  it.scoped("§6.2 what was not negotiated is not asked for", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const calls = yield* Effect.fork(
        Effect.all([Effect.either(arcp.subscribe("job_1")), Effect.either(Stream.runCollect(arcp.listJobs()))], {
          concurrency: "unbounded"
        })
      )
      const submitting = yield* Effect.fork(arcp.submit(Versioned, null))
      const peer = yield* next
      yield* peer.expect("session.hello")
      yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: [], agents: ["a"] } }, head)
      expect((yield* Fiber.join(calls)).map((outcome) => outcome._tag)).toEqual(["Left", "Left"])
      const submit = yield* peer.expect("job.submit")
      // Asked for before the welcome: the version is left out, since agent_versions was not negotiated.
      expect(submit.payload.agent).toBe("a")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j" }, { ...head, job_id: "j" })
      const job = yield* Fiber.join(submitting)
      yield* peer.send("job.result", { final_status: "success" }, { ...head, job_id: "j", event_seq: 1 })
      yield* job.result
      yield* TestClock.adjust("5 minutes")
      expect(peer.seen().map((frame) => frame.type)).toEqual(["session.hello", "job.submit"])
    }).pipe(Effect.provide(client))
  )

  it.scoped("§6.7 a program that is interrupted says so, and waits for the answer as long as it may", () =>
    Effect.gen(function* () {
      const next = yield* accepting
      const using = yield* Effect.flatMap(ArcpClient, ({ connected }) => Effect.zipRight(connected, Effect.never)).pipe(
        Effect.provide(ArcpClient.layerNoIds({ auth: { token: Redacted.make("t") }, closeTimeout: "2 seconds" })),
        Effect.fork
      )
      const peer = yield* welcomed(next)
      // The client has read the welcome when it sends what needs one.
      yield* TestClock.adjust(0)
      const interrupting = yield* Effect.fork(Fiber.interrupt(using))
      const close = yield* peer.expect("session.close")
      yield* TestClock.adjust("1 second")
      expect(Option.isNone(yield* Fiber.poll(interrupting))).toBe(true)
      yield* peer.send("session.closed", { request_id: close.id }, head)
      yield* Fiber.join(interrupting)
    }).pipe(Effect.provide(Layer.merge(MemoryTransport.layerEncoded, Ids.layerSeeded(9))))
  )

  it.scoped("§8.2 unknown kinds, fields, messages and bodies of another shape pass without harm", () =>
    Effect.gen(function* () {
      const { event, job, peer, result } = yield* withJob
      yield* event(1, "x-vendor.acme.note", { any: [1, null] })
      yield* event(2, "from_the_future", { deep: { er: true } })
      yield* event(3, "log", { level: 5 })
      yield* peer.send("arcpx.acme.v1", { x: 1 }, head)
      yield* peer.send("job.from_the_future", { x: 1 }, { ...head, job_id: "j" })
      yield* peer.sendText("not JSON")
      yield* result(4, { result: 1, more_of_it: {} })
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => e.kind)).toEqual(["x-vendor.acme.note", "from_the_future", "log"])
      expect(yield* job.result).toBe(1)
    }).pipe(Effect.provide(client))
  )
})
