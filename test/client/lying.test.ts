/**
 * A client against a runtime that lies, contradicts itself, falls silent or breaks off.
 *
 * Whatever comes, the client does not fail with a defect and does not hang: every call ends with what was asked for or
 * with a typed error, and no result is told that was not whole.
 */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Effect, Exit, Fiber, Layer, Option, Redacted, Stream, TestClock } from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { isTyped } from "./typed.js"

// Nobody moves the clock when the scope ends.
const client = (options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provideMerge(Ids.layerSeeded(9))
  )

const head = { session_id: "s" }
const features = ["heartbeat", "ack", "list_jobs", "subscribe", "result_chunk", "progress", "artifacts", "cost.budget"]
const welcome = { resume_token: "rt_1", capabilities: { features, agents: ["a"] } }

const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

const greet = <R>(
  next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>,
  payload: object = welcome,
  at: object = head
) =>
  Effect.gen(function* () {
    const peer = yield* next
    const hello = yield* peer.expect("session.hello")
    yield* peer.send("session.welcome", payload, at)
    return { ...peer, hello }
  })

type Peer = Effect.Effect.Success<ReturnType<typeof greet>>

const sayer = (peer: ScriptedPeer.ScriptedPeer, job_id = "j") => {
  const event = (seq: number | undefined, kind: string, body: unknown, more: object = {}) =>
    peer.send("job.event", { kind, ts: "t", body, ...more }, { ...head, job_id, event_seq: seq })
  return {
    event,
    thought: (seq: number, text = `${seq}`) => event(seq, "thought", { text }),
    chunk: (seq: number, chunk_seq: unknown, data: string, more: unknown, result_id = "r", encoding = "utf8") =>
      event(seq, "result_chunk", { result_id, chunk_seq, data, encoding, more }),
    result: (seq: number | undefined, payload: object) =>
      peer.send("job.result", { final_status: "success", ...payload }, { ...head, job_id, event_seq: seq }),
    error: (seq: number, payload: object = { code: "INTERNAL_ERROR", message: "broke" }) =>
      peer.send("job.error", { final_status: "error", ...payload }, { ...head, job_id, event_seq: seq })
  }
}

/** A client with one job, and the runtime's side of it. */
const withJob = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const next = yield* accepting
  const submitting = yield* Effect.fork(arcp.submit("a", 1))
  const peer = yield* greet(next)
  const submit = yield* peer.expect("job.submit")
  yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, { ...head, job_id: "j" })
  const job = yield* Fiber.join(submitting)
  return { arcp, next, peer, job, say: sayer(peer) }
})

/** The typed error that an effect failed with; a success or a defect fails the test. */
const failure = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) return expect.fail(`succeeded with ${JSON.stringify(exit.value)}`)
  const error = Cause.failureOption(exit.cause)
  if (Option.isNone(error)) return expect.fail(Cause.pretty(exit.cause))
  expect(isTyped(error.value)).toBe(true)
  return error.value
}

/** Asks whether the session goes on: a job is run through it. */
const isAlive = (arcp: ArcpClient["Type"], peer: ScriptedPeer.ScriptedPeer, seq: number) =>
  Effect.gen(function* () {
    const submitting = yield* Effect.fork(arcp.submit("alive"))
    const submit = yield* peer.expect("job.submit", (frame) => frame.payload.agent === "alive")
    yield* peer.send("job.accepted", { request_id: submit.id, job_id: "alive" }, { ...head, job_id: "alive" })
    yield* sayer(peer, "alive").result(seq, { result: "alive" })
    expect(yield* Effect.flatMap(Fiber.join(submitting), (job) => job.result)).toBe("alive")
  })

const answers: Record<string, object> = {
  "job.accepted": { job_id: "other", agent: "a@1" },
  "session.jobs": { jobs: [{ job_id: "other", agent: "a", status: "running", created_at: "t" }], next_cursor: null },
  "job.subscribed": { job_id: "j", current_status: "running" },
  "job.unsubscribed": { job_id: "j" },
  "job.cancelled": { job_id: "j" },
  "artifact.ref": { artifact_id: "art", uri: "arcp://artifact/art", content_type: "a/b", byte_size: 1, sha256: "x" },
  "artifact.data": { artifact_id: "art", content_type: "a/b", data: "aGk=", sha256: "x" },
  "artifact.released": { artifact_id: "art" }
}

const requests: Record<
  string,
  {
    readonly right: string
    readonly ask: (
      arcp: ArcpClient["Type"],
      job: { readonly cancel: () => Effect.Effect<void, unknown> }
    ) => Effect.Effect<unknown, unknown>
  }
> = {
  "job.submit": { right: "job.accepted", ask: (arcp) => arcp.submit("b") },
  "session.list_jobs": { right: "session.jobs", ask: (arcp) => Stream.runCollect(arcp.listJobs()) },
  "job.subscribe": { right: "job.subscribed", ask: (arcp) => arcp.subscribe("k") },
  "job.cancel": { right: "job.cancelled", ask: (_, job) => job.cancel() },
  "artifact.put": {
    right: "artifact.ref",
    ask: (arcp) => arcp.artifacts.put(new Uint8Array(1), { contentType: "a/b" })
  },
  "artifact.fetch": { right: "artifact.data", ask: (arcp) => arcp.artifacts.fetch("art") },
  "artifact.release": { right: "artifact.released", ask: (arcp) => arcp.artifacts.release("art") }
}

describe("answers", () => {
  for (const [type, { ask, right }] of Object.entries(requests)) {
    it.scoped(`an answer of another kind fails its ${type} with a typed error, and nothing else`, () =>
      Effect.gen(function* () {
        const { arcp, job, peer } = yield* withJob
        for (const [answer, payload] of Object.entries(answers)) {
          if (answer === right) continue
          const asking = yield* Effect.fork(Effect.exit(ask(arcp, job as never)))
          const request = yield* peer.expect(type)
          yield* peer.send(answer, { ...payload, request_id: request.id }, head)
          const error = failure(yield* Fiber.join(asking))
          const ofBytes = answer.startsWith("artifact.") && (type === "artifact.put" || type === "artifact.fetch")
          expect(error).toMatchObject(
            ofBytes
              ? { _tag: "ArtifactInvalid" }
              : { code: "INTERNAL_ERROR", message: `${type} was answered with ${answer}` }
          )
        }
        yield* isAlive(arcp, peer, 1)
      }).pipe(Effect.provide(client()))
    )
  }

  it.scoped("answers whose fields have other types fail their request, whatever names it", () =>
    Effect.gen(function* () {
      const { arcp, job, peer } = yield* withJob
      const names: ReadonlyArray<(id: string) => readonly [payload: object, at: object]> = [
        (id) => [{ request_id: id }, head],
        (id) => [{ reply_to: id }, head],
        (id) => [{}, { ...head, correlation_id: id }],
        () => [{}, head]
      ]
      for (const [type, { ask, right }] of Object.entries(requests)) {
        for (const name of names) {
          const asking = yield* Effect.fork(Effect.exit(ask(arcp, job as never)))
          const request = yield* peer.expect(type)
          const [named, at] = name(request.id)
          const field =
            type === "session.list_jobs"
              ? "jobs"
              : type === "job.cancel"
                ? "reason"
                : type.startsWith("artifact")
                  ? "artifact_id"
                  : "job_id"
          yield* peer.send(right, { ...answers[right], ...named, [field]: 7 }, at)
          const error = failure(yield* Fiber.join(asking)) as Error
          expect(error.message).toContain(`payload.${field}`)
        }
      }
      yield* isAlive(arcp, peer, 1)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("answers to requests that nobody made change nothing", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      for (const [type, payload] of Object.entries(answers)) {
        for (const named of [{ request_id: "nobody" }, {}]) yield* peer.send(type, { ...payload, ...named }, head)
      }
      yield* peer.send("session.pong", { ping_nonce: "nobody" }, head)
      yield* peer.send("session.error", { code: "JOB_NOT_FOUND", message: "m", request_id: "nobody" }, head)
      yield* say.result(1, { result: "right" })
      expect(yield* job.result).toBe("right")
      yield* isAlive(arcp, peer, 2)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§6.6 a listing whose cursor does not advance ends with an error, not never", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const listing = yield* Effect.fork(Effect.exit(Stream.runCollect(arcp.listJobs())))
      for (let i = 0; i < 2; i++) {
        const request = yield* peer.expect("session.list_jobs")
        yield* peer.send("session.jobs", { request_id: request.id, jobs: [], next_cursor: "c" }, head)
      }
      expect(failure(yield* Fiber.join(listing))).toMatchObject({ code: "INTERNAL_ERROR" })
      yield* isAlive(arcp, peer, 1)
    }).pipe(Effect.provide(client()))
  )
})

describe("welcomes", () => {
  it.scoped("§6.2 features that were never asked for are not had", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const had = yield* Effect.fork(arcp.features)
      const peer = yield* greet(next)
      expect([...(yield* Fiber.join(had))]).toEqual(["ack"])
      expect(failure(yield* Effect.exit(arcp.subscribe("k")))).toMatchObject({ _tag: "NotNegotiated" })
      expect(peer.seen().map((frame) => frame.type)).toEqual(["session.hello"])
    }).pipe(Effect.provide(client({ features: ["ack", "progress_of_mine"] })))
  )

  it.scoped("§6.2 a second welcome changes nothing: no request is sent again, and the session keeps its name", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      const subscribing = yield* Effect.fork(arcp.subscribe("k"))
      const request = yield* peer.expect("job.subscribe")
      yield* peer.send("session.welcome", { ...welcome, resume_token: "rt_2" }, { session_id: "other" })
      yield* peer.send("job.subscribed", { request_id: request.id, job_id: "k", current_status: "running" }, head)
      yield* Fiber.join(subscribing)
      expect((yield* arcp.session)?.sessionId).toBe("s")
      yield* say.result(1, { result: "right" })
      expect(yield* job.result).toBe("right")
      expect(peer.seen().filter((frame) => frame.type === "job.subscribe").length).toBe(1)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§6.3 a resume that is answered with another session is a new session: its numbers count from one", () =>
    Effect.gen(function* () {
      const { arcp, job, next, peer, say } = yield* withJob
      yield* say.thought(1)
      yield* say.thought(2)
      yield* TestClock.adjust(0)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const other = { session_id: "other" }
      const again = yield* greet(next, welcome, other)
      expect(again.hello.payload).toMatchObject({ resume: { session_id: "s", last_event_seq: 2 } })
      const subscribe = yield* again.expect("job.subscribe")
      expect(subscribe.payload).toMatchObject({ job_id: "j", history: true, from_event_seq: 2 })
      yield* again.send("job.subscribed", { request_id: subscribe.id, job_id: "j", current_status: "running" }, other)
      const submit = yield* again.expect("job.submit")
      yield* again.send("job.accepted", { request_id: submit.id, job_id: "j" }, other)
      yield* sayer(again).thought(1, "3")
      yield* sayer(again).result(2, { result: "right" })
      expect(yield* job.result).toBe("right")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => e._tag === "thought" && e.body.text)).toEqual(["1", "2", "3"])
      expect(yield* arcp.session).toMatchObject({ sessionId: "other", lastEventSeq: 2 })
    }).pipe(Effect.provide(client()))
  )

  it.scoped(
    "§6.3 a session that is replaced again before its jobs are taken up loses no event, and shows none twice",
    () =>
      Effect.gen(function* () {
        const { job, next, peer, say } = yield* withJob
        yield* say.thought(1)
        yield* say.thought(2)
        yield* TestClock.adjust(0)
        yield* peer.close(1001, "")
        let last: ScriptedPeer.ScriptedPeer = peer
        for (const [session_id, from_event_seq] of [
          ["second", 2],
          ["third", 0]
        ] as const) {
          yield* TestClock.adjust("1 second")
          last = yield* greet(next, welcome, { session_id })
          const subscribe = yield* last.expect("job.subscribe")
          expect(subscribe.payload).toMatchObject({ job_id: "j", history: true, from_event_seq })
          const subscribed = { request_id: subscribe.id, job_id: "j", current_status: "running" }
          yield* last.send("job.subscribed", subscribed, { session_id })
          const submit = yield* last.expect("job.submit")
          if (session_id === "third") {
            // Whether the second session had become the owner's is not known, so that all is asked for.
            for (const seq of [1, 2, 3, 4]) yield* sayer(last).thought(seq)
            yield* last.send("job.accepted", { request_id: submit.id, job_id: "j" }, { session_id })
            yield* sayer(last).result(5, { result: "right" })
          } else {
            yield* sayer(last).thought(1, "3")
            yield* TestClock.adjust(0)
            yield* last.close(1001, "")
          }
        }
        expect(yield* job.result).toBe("right")
        const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
        expect(events.map((e) => e._tag === "thought" && e.body.text)).toEqual(["1", "2", "3", "4"])
        expect(last.seen().filter((frame) => frame.type === "job.submit").length).toBe(1)
      }).pipe(Effect.provide(client()))
  )

  it.scoped("a token that cannot be had ends the client; nothing waits for ever", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      expect(failure(yield* Effect.exit(arcp.submit("a")))).toMatchObject({ _tag: "SessionEnded" })
      yield* arcp.close
    }).pipe(Effect.provide(client({ auth: { token: Effect.die(new Error("no key chain")) } })))
  )

  it.scoped("a welcome without a session, and one that never comes, end when the attempts do", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const submitting = yield* Effect.fork(Effect.exit(arcp.submit("a")))
      yield* greet(next, welcome, {})
      yield* TestClock.adjust("1 second")
      yield* (yield* next).expect("session.hello")
      yield* TestClock.adjust("11 seconds")
      yield* (yield* next).sendText('{"arcp":"1.1","id":"x","type":"session.welcome","payload":{"resume_token":7}}')
      yield* TestClock.adjust("11 seconds")
      expect(failure(yield* Fiber.join(submitting))).toMatchObject({ _tag: "SessionEnded", reason: "gave_up" })
    }).pipe(Effect.provide(client({ maxAttempts: 2 })))
  )
})

describe("numbers", () => {
  it.scoped("§8.3 a number that comes again with another payload is the first one; going back changes nothing", () =>
    Effect.gen(function* () {
      const { job, say } = yield* withJob
      for (const [seq, text] of [
        [1, "a"],
        [2, "b"],
        [2, "B"],
        [1, "A"],
        [0, "zero"],
        [3, "c"]
      ] as const) {
        yield* say.thought(seq, text)
      }
      yield* say.result(3, { result: "stale" })
      yield* say.result(4, { result: "right" })
      expect(yield* job.result).toBe("right")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => e._tag === "thought" && e.body.text)).toEqual(["a", "b", "c"])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§8.3 numbers that are no numbers, and times that are no text, do not spoil the next event", () =>
    Effect.gen(function* () {
      const { job, peer, say } = yield* withJob
      for (const seq of ["1", 1.5, -1, 1e300, Number.MAX_SAFE_INTEGER + 1, null, true, [1], {}]) {
        yield* peer.send(
          "job.event",
          { kind: "thought", body: { text: "no" } },
          { ...head, job_id: "j", event_seq: seq }
        )
      }
      yield* say.event(1, "thought", { text: "a" }, { ts: 5 })
      yield* say.event(2, "thought", { text: "b" }, { ts: { $date: 1 } })
      yield* say.result(3, { result: "right" })
      expect(yield* job.result).toBe("right")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => [e.seq, e.ts])).toEqual([
        [1, ""],
        [2, ""]
      ])
    }).pipe(Effect.provide(client()))
  )

  it.scoped(
    "§6.3 a gap that a resume does not close is a session whose events are gone: a new one is made, ever more slowly",
    () =>
      Effect.gen(function* () {
        const { arcp, job, next, peer, say } = yield* withJob
        const ending = yield* Effect.fork(Effect.exit(job.result))
        const hellos: Array<object> = []
        yield* say.thought(1)
        yield* say.thought(3)
        yield* TestClock.adjust("2 seconds")
        yield* peer.ended
        // However often it is asked, the second event does not come.
        yield* Effect.forkScoped(
          Effect.forever(
            Effect.gen(function* () {
              const again = yield* greet(next)
              hellos.push(again.hello.payload)
              yield* sayer(again).thought(3)
            })
          )
        )
        yield* TestClock.adjust("5 minutes")
        expect(hellos[0]).toMatchObject({ resume: { session_id: "s", last_event_seq: 1 } })
        expect(hellos[1]).toMatchObject({ resume: { session_id: "s", last_event_seq: 1 } })
        expect(hellos[2]).not.toHaveProperty("resume")
        // Doubling from 100 ms to 10 s: about 40 attempts fit five minutes, and ten times as many at an even pace.
        expect(hellos.length).toBeLessThan(80)
        expect(failure(yield* Fiber.join(ending))).toMatchObject({ _tag: "SessionEnded", reason: "gave_up" })
        expect(failure(yield* Effect.exit(arcp.ping))).toMatchObject({ _tag: "SessionEnded" })
      }).pipe(Effect.provide(client({ maxAttempts: 20 })))
  )

  it.scoped("events of jobs that nobody knows, and of none, reach no handle", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      const stranger = sayer(peer, "stranger")
      yield* stranger.thought(1)
      yield* peer.send("job.event", { kind: "thought", body: { text: "of none" } }, { ...head, event_seq: 2 })
      yield* stranger.result(3, { result: "theirs" })
      yield* peer.send("job.result", { result: "of none" }, { ...head, event_seq: 4 })
      yield* say.result(5, { result: "right" })
      expect(yield* job.result).toBe("right")
      expect(Chunk.size(yield* Stream.runCollect(job.events))).toBe(0)
      yield* isAlive(arcp, peer, 6)
    }).pipe(Effect.provide(client()))
  )
})

describe("ends", () => {
  it.scoped("§7.3 the first of two ends counts: a result after an error is none", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      yield* say.error(1)
      yield* say.result(2, { result: "after all" })
      yield* say.error(3, { code: "TIMEOUT", message: "late" })
      yield* isAlive(arcp, peer, 4)
      expect(failure(yield* Effect.exit(job.result))).toMatchObject({ code: "INTERNAL_ERROR", message: "broke" })
    }).pipe(Effect.provide(client()))
  )

  it.scoped.each([
    ["a result that says that it is none", "job.result", { final_status: "error", result: "x" }, "error"],
    [
      "a result that cannot be read",
      "job.result",
      { final_status: "success", result_id: 5, result: "x" },
      "payload.result_id"
    ],
    ["a result of a negative size", "job.result", { result_id: "r", result_size: -1 }, "payload.result_size"],
    ["an error without a code", "job.error", { message: "m" }, "payload.code"],
    [
      "an error that says that all went well",
      "job.error",
      { final_status: "success", code: "CANCELLED", message: "m" },
      "m"
    ]
  ] as const)("§7.3 %s ends the job with a typed error", ([, type, payload, told]) =>
    Effect.gen(function* () {
      const { arcp, job, peer } = yield* withJob
      const reading = yield* Effect.fork(Effect.exit(Stream.runCollect(job.chunks)))
      yield* peer.send(type, payload, { ...head, job_id: "j", event_seq: 1 })
      const error = failure(yield* Effect.exit(job.result)) as Error
      expect(error.message).toContain(told)
      failure(yield* Fiber.join(reading))
      yield* isAlive(arcp, peer, 2)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§7.3 an end that cannot be read ends the job also where it comes before its job.accepted", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob
      const submitting = yield* Effect.fork(arcp.submit("b"))
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.result", { summary: 7 }, { ...head, job_id: "b", event_seq: 1 })
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "b" }, head)
      const error = failure(yield* Effect.exit(Effect.flatMap(Fiber.join(submitting), (b) => b.result))) as Error
      expect(error.message).toContain("payload.summary")
      yield* isAlive(arcp, peer, 2)
    }).pipe(Effect.provide(client()))
  )
})

describe("streamed results", () => {
  const streams: ReadonlyArray<readonly [string, ReadonlyArray<readonly [unknown, string, unknown, string?]>, object]> =
    [
      ["one whose last chunk never came", [[0, "ab", true]], { result_id: "r", result_size: 2 }],
      [
        "one whose last chunk never came, of no announced size",
        [
          [0, "ab", true],
          [1, "cd", true]
        ],
        { result_id: "r" }
      ],
      ["one of which nothing came", [], { result_id: "r" }],
      ["one of which nothing came, of size nothing", [], { result_id: "r", result_size: 0 }],
      [
        "chunks in another order",
        [
          [1, "cd", false],
          [0, "ab", true]
        ],
        { result_id: "r", result_size: 4 }
      ],
      [
        "a chunk twice",
        [
          [0, "ab", true],
          [0, "ab", true],
          [1, "cd", false]
        ],
        { result_id: "r", result_size: 4 }
      ],
      [
        "chunks after the last",
        [
          [0, "ab", false],
          [1, "cd", false]
        ],
        { result_id: "r", result_size: 4 }
      ],
      [
        "a smaller total than announced",
        [
          [0, "ab", true],
          [1, "cd", false]
        ],
        { result_id: "r", result_size: 5 }
      ],
      [
        "a greater total than announced",
        [
          [0, "ab", true],
          [1, "cd", false]
        ],
        { result_id: "r", result_size: 3 }
      ],
      ["characters counted for bytes", [[0, "é", false]], { result_id: "r", result_size: 1 }],
      [
        "a last chunk that is none",
        [
          [0, "ab", true],
          ["1", "cd", false]
        ],
        { result_id: "r" }
      ],
      [
        "a last chunk that does not say so",
        [
          [0, "ab", true],
          [1, "cd", "no"]
        ],
        { result_id: "r" }
      ],
      [
        "two streams mixed",
        [
          [0, "ab", true],
          [1, "cd", false, "q"]
        ],
        { result_id: "r", result_size: 2 }
      ],
      ["another stream than the one that came", [[0, "ab", false]], { result_id: "q", result_size: 2 }]
    ]
  it.scoped.each(streams)("§8.4 %s is no result", ([, chunks, end]) =>
    Effect.gen(function* () {
      const { job, say } = yield* withJob
      let seq = 1
      for (const [n, data, more, id] of chunks) yield* say.chunk(seq++, n, data, more, id)
      yield* say.result(seq, end)
      expect(failure(yield* Effect.exit(job.result))).toMatchObject({ _tag: "ResultInvalid" })
      // Who reads the pieces learns it too, unless what is wrong is a sum that only the end tells.
      if (chunks.some(([, , more]) => more === false) === false) {
        expect(failure(yield* Effect.exit(Stream.runCollect(job.chunks)))).toMatchObject({ _tag: "ResultInvalid" })
      }
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§8.4 what is in order is the result: the same chunks, told as they should be", () =>
    Effect.gen(function* () {
      const { job, say } = yield* withJob
      yield* say.chunk(1, 0, "aé", true)
      yield* say.chunk(2, 1, "", true)
      yield* say.chunk(3, 2, "cd", false)
      yield* say.result(4, { result_id: "r", result_size: 5 })
      expect(yield* job.result).toBe("aécd")
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(job.chunks))).toEqual(["aé", "", "cd"])
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§8.4 a stream that is broken off by an error, or by the end of the client, fails with it", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      yield* say.chunk(1, 0, "ab", true)
      yield* say.error(2)
      expect(failure(yield* Effect.exit(job.result))).toMatchObject({ code: "INTERNAL_ERROR" })
      const submitting = yield* Effect.fork(arcp.submit("b"))
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "b" }, head)
      const b = yield* Fiber.join(submitting)
      yield* sayer(peer, "b").chunk(3, 0, "ab", true)
      const reading = yield* Effect.fork(Effect.exit(Stream.runCollect(b.chunks)))
      yield* TestClock.adjust(0)
      yield* arcp.close
      expect(failure(yield* Fiber.join(reading))).toMatchObject({ _tag: "ClientClosed" })
    }).pipe(Effect.provide(client()))
  )
})

describe("frames", () => {
  it.scoped("§5 garbage, bytes, depth and a huge frame between good frames change nothing", () =>
    Effect.gen(function* () {
      const { arcp, job, peer, say } = yield* withJob
      yield* say.thought(1)
      const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`
      for (const text of [
        "",
        "{",
        "null",
        "[]",
        "\u0000\u0001",
        '{"arcp":"1.1"}',
        '{"arcp":"9","id":"x","type":"job.result","job_id":"j","event_seq":2,"payload":{"result":"wrong"}}',
        '{"arcp":"1.1","id":"x","type":"job.result","job_id":"j","event_seq":2,"payload":[]}',
        '{"arcp":"1.1","id":"x","type":"__proto__","payload":{}}',
        `{"arcp":"1.1","id":"x","type":"job.event","job_id":"j","payload":${deep}}`,
        deep,
        "x".repeat(4_000_000)
      ]) {
        yield* peer.sendText(text)
      }
      yield* say.event(2, "from_the_future", JSON.parse(`{"a":"${"y".repeat(1_000_000)}"}`))
      yield* peer.sendText(
        `{"arcp":"1.1","id":"x","type":"job.event","job_id":"j","event_seq":3,"payload":{"kind":"deep","body":${deep}}}`
      )
      yield* say.result(4, { result: "right" })
      expect(yield* job.result).toBe("right")
      const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
      expect(events.map((e) => e.kind)).toEqual(["thought", "from_the_future", "deep"])
      yield* isAlive(arcp, peer, 5)
    }).pipe(Effect.provide(client()))
  )

  it.scoped("§6.4 silence, and every close in the middle, end in a resume; the result comes whole", () =>
    Effect.gen(function* () {
      const { job, next, peer, say } = yield* withJob
      const result = yield* Effect.fork(job.result)
      yield* say.chunk(1, 0, "ab", true)
      yield* TestClock.adjust(0)
      let last: Peer = { ...peer }
      for (const code of [1000, 1001, 1006, 1008, 1009, 1011, 1013]) {
        yield* last.close(code, "\u001b[31mred")
        // The longest wait: none of these connections brings anything.
        yield* TestClock.adjust("6.4 seconds")
        last = yield* greet(next, { ...welcome, heartbeat_interval_sec: 5 })
        expect(last.hello.payload).toMatchObject({ resume: { session_id: "s", last_event_seq: 1 } })
      }
      // Nothing comes any more, nor does the connection end.
      yield* TestClock.adjust("12 seconds")
      expect(yield* last.ended).toMatchObject({ code: 1008, reason: "HEARTBEAT_LOST" })
      const again = yield* greet(next)
      yield* sayer(again).chunk(2, 1, "cd", false)
      yield* sayer(again).result(3, { result_id: "r", result_size: 4 })
      expect(yield* Fiber.join(result)).toBe("abcd")
    }).pipe(Effect.provide(client()))
  )
})
