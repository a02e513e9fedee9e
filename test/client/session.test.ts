/**
 * A client that never loops, never waits without end, and says why: back-off, time-outs, frames that end connections, peers that
 * are no runtime, tokens that expire, and features that were not negotiated.
 */
import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  Ref,
  Schedule,
  Stream,
  TestClock
} from "effect"
import { ArcpClient, type ClientOptions } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { isTyped } from "./typed.js"

const clientOf = (options: ClientOptions = {}) =>
  ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0, ...options }).pipe(
    Layer.provideMerge(MemoryTransport.layerEncoded),
    Layer.provideMerge(Ids.layerSeeded(9))
  )

const head = { session_id: "s" }
const all = ["heartbeat", "ack", "list_jobs", "subscribe", "result_chunk"]

const accepting = Effect.map(Stream.toPull(ScriptedPeer.accept), (pull) =>
  Effect.map(Effect.orDie(pull), Chunk.unsafeHead)
)

/** Waits, and moves the clock by little meanwhile: how far the client has come is not known on a busy machine. */
const ticking = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    while (Option.isNone(yield* Fiber.poll(fiber))) yield* TestClock.adjust("20 millis")
    return yield* Fiber.join(fiber)
  })

const greet = <R>(next: Effect.Effect<ScriptedPeer.ScriptedPeer, never, R>, features = all, more: object = {}) =>
  Effect.gen(function* () {
    const peer = yield* ticking(next)
    const hello = yield* peer.expect("session.hello")
    yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features }, ...more }, head)
    return { ...peer, hello }
  })

const failure = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) return expect.fail("succeeded")
  const error = Cause.failureOption(exit.cause)
  if (Option.isNone(error)) return expect.fail(Cause.pretty(exit.cause))
  expect(isTyped(error.value)).toBe(true)
  return error.value
}

/** Collects what is logged from a level on. */
const logged = Effect.map(Ref.make<ReadonlyArray<string>>([]), (lines) => ({
  lines: Ref.get(lines),
  layer: Logger.add(
    Logger.make(({ logLevel, message }) =>
      Effect.runSync(Ref.update(lines, (all) => [...all, `${logLevel.label} ${String(message)}`]))
    )
  )
}))

/** A runtime that does the same with every connection; counts them. */
const runtimeThat = <E, R>(each: (peer: ScriptedPeer.ScriptedPeer, n: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const count = yield* Ref.make(0)
    yield* ScriptedPeer.accept.pipe(
      Stream.mapEffect(
        (peer) =>
          Effect.flatMap(
            Ref.updateAndGet(count, (n) => n + 1),
            (n) => Effect.ignore(each(peer, n))
          ),
        { concurrency: "unbounded" }
      ),
      Stream.runDrain,
      Effect.forkScoped
    )
    return count
  })

const welcomeAndClose = (code: number) => (peer: ScriptedPeer.ScriptedPeer) =>
  Effect.gen(function* () {
    yield* peer.expect("session.hello")
    yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: all } }, head)
    yield* Effect.repeatN(Effect.yieldNow(), 50)
    yield* peer.close(code, "bye")
  })

describe("back-off", () => {
  it.scoped.each([1000, 1001, 1006, 1008, 1011, 1013])(
    "a welcome alone does not reset the wait: a runtime that welcomes and closes with %s is asked ever more slowly",
    (code) =>
      Effect.gen(function* () {
        yield* ArcpClient
        const count = yield* runtimeThat(welcomeAndClose(code))
        // 100 ms, doubling to 10 s: about 7 in the first ten seconds, then one in 5 to 10 seconds.
        for (let i = 0; i < 240; i++) yield* TestClock.adjust("500 millis")
        const connections = yield* Ref.get(count)
        expect(connections).toBeGreaterThan(8)
        expect(connections).toBeLessThan(36)
      }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("a runtime that welcomes and then says that the session is gone is asked ever more slowly", () =>
    Effect.gen(function* () {
      yield* ArcpClient
      const count = yield* runtimeThat((peer, n) =>
        Effect.gen(function* () {
          yield* peer.expect("session.hello")
          const session_id = `s${n}`
          yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: all } }, { session_id })
          yield* peer.send("session.error", { code: "RESUME_WINDOW_EXPIRED", message: "gone" }, { session_id })
        })
      )
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("500 millis")
      expect(yield* Ref.get(count)).toBeGreaterThan(5)
      expect(yield* Ref.get(count)).toBeLessThan(25)
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("maxAttempts counts connections that were welcomed and brought nothing", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat(welcomeAndClose(1011))
      const last = yield* Effect.fork(Stream.runLast(arcp.status))
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("1 second")
      expect(Option.getOrThrow(yield* Fiber.join(last))).toMatchObject({
        _tag: "Closed",
        error: { _tag: "SessionEnded", reason: "gave_up", message: expect.stringContaining("bye") }
      })
      expect(yield* Ref.get(count)).toBe(5)
    }).pipe(Effect.provide(clientOf({ maxAttempts: 4 })))
  )

  it.scoped("a connection that lived for ten seconds, or brought an answer or an event, starts the waits again", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const submitting = yield* Effect.fork(arcp.submit("a"))
      for (const bring of ["life", "answer", "event"] as const) {
        for (let i = 0; i < 4; i++) {
          const peer = yield* greet(next)
          yield* TestClock.adjust(0)
          yield* peer.close(1011, "again")
          yield* TestClock.adjust("1600 millis")
        }
        const peer = yield* greet(next)
        if (bring === "life") yield* TestClock.adjust("10 seconds")
        else if (bring === "answer") {
          const submit = yield* peer.expect("job.submit")
          yield* peer.send(
            "job.accepted",
            { request_id: submit.id, job_id: "j", agent: "a@1" },
            { ...head, job_id: "j" }
          )
        } else {
          yield* peer.send(
            "job.event",
            { kind: "thought", ts: "t", body: { text: "x" } },
            { ...head, job_id: "j", event_seq: 1 }
          )
        }
        yield* TestClock.adjust(0)
        const waits = yield* Effect.fork(
          arcp.status.pipe(
            Stream.filterMap((s) => (s._tag === "Reconnecting" ? Option.some(s) : Option.none())),
            Stream.runHead
          )
        )
        yield* TestClock.adjust(0)
        yield* peer.close(1011, "again")
        const { attempt, delay } = Option.getOrThrow(yield* Fiber.join(waits))
        expect([bring, attempt, Duration.toMillis(delay) <= 100]).toEqual([bring, 1, true])
        yield* TestClock.adjust("100 millis")
      }
      expect((yield* Fiber.join(submitting)).jobId).toBe("j")
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("a given schedule decides the waits and the end", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat(welcomeAndClose(1011))
      const last = yield* Effect.fork(Stream.runLast(arcp.status))
      yield* TestClock.adjust("6 seconds")
      expect(yield* Ref.get(count)).toBe(1)
      yield* TestClock.adjust("1 second")
      expect(yield* Ref.get(count)).toBe(2)
      yield* TestClock.adjust("7 seconds")
      yield* TestClock.adjust("7 seconds")
      expect(yield* Ref.get(count)).toBe(3)
      expect(Option.getOrThrow(yield* Fiber.join(last))).toMatchObject({ error: { reason: "gave_up" } })
    }).pipe(Effect.provide(clientOf({ retry: Schedule.intersect(Schedule.spaced("7 seconds"), Schedule.recurs(2)) })))
  )

  it.scoped("a client that cannot connect logs a warning from the second failure on, with the reason", () =>
    Effect.gen(function* () {
      const log = yield* logged
      yield* Effect.gen(function* () {
        yield* runtimeThat((peer) => Effect.zipRight(peer.expect("session.hello"), peer.close(1013, "too busy")))
        yield* ArcpClient
        yield* TestClock.adjust(0)
        expect(yield* log.lines).toEqual([])
        yield* TestClock.adjust("100 millis")
        yield* TestClock.adjust("200 millis")
        const lines = yield* log.lines
        expect(lines.length).toBeGreaterThanOrEqual(1)
        for (const line of lines) expect(line).toMatch(/^WARN no session with memory: after \d+ attempts: too busy/)
      }).pipe(Effect.provide(Layer.provideMerge(clientOf(), log.layer)))
    })
  )
})

describe("what is no runtime", () => {
  it.scoped.each([
    ["another protocol", "HTTP/1.1 400 Bad Request"],
    ["another version", JSON.stringify({ arcp: "2.0", id: "1", type: "session.welcome", payload: {} })],
    [
      "a welcome that breaks its schema",
      JSON.stringify({ arcp: "1.1", id: "1", type: "session.welcome", payload: {} })
    ],
    ["no object", "[]"]
  ])("three connections in a row that begin with %s end the client with the reason", ([, text]) =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat((peer) =>
        Effect.zipRight(peer.expect("session.hello"), peer.sendText(String(text)))
      )
      const call = yield* Effect.fork(Effect.exit(arcp.submit("a")))
      for (let i = 0; i < 60; i++) yield* TestClock.adjust("100 millis")
      expect(failure(yield* Fiber.join(call))).toMatchObject({ _tag: "SessionEnded", reason: "incompatible" })
      expect(yield* Ref.get(count)).toBe(3)
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("a line before the welcome is passed over", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      for (let i = 0; i < 4; i++) {
        const peer = yield* ticking(next)
        yield* peer.expect("session.hello")
        yield* peer.sendText("listening")
        yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: all } }, head)
        yield* arcp.connected
        yield* TestClock.adjust("10 seconds")
        yield* peer.close(1001, "")
        yield* TestClock.adjust("100 millis")
      }
      yield* greet(next)
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("a refused version ends the client with what the runtime says", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* ticking(next)
      yield* peer.expect("session.hello")
      yield* peer.send("session.error", {
        code: "INVALID_REQUEST",
        message: "arcp: 1.0 is spoken here",
        retryable: false
      })
      expect(failure(yield* Effect.exit(arcp.connected))).toMatchObject({
        _tag: "SessionEnded",
        reason: "refused",
        message: expect.stringContaining("1.0 is spoken here")
      })
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("five bare closes before any welcome end the client, codes that ask to come back do not", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat((peer, n) =>
        Effect.zipRight(peer.expect("session.hello"), peer.close(n % 2 === 0 ? 1000 : 1013, ""))
      )
      const call = yield* Effect.fork(Effect.exit(arcp.submit("a")))
      for (let i = 0; i < 100; i++) yield* TestClock.adjust("1 second")
      expect(failure(yield* Fiber.join(call))).toMatchObject({
        _tag: "SessionEnded",
        reason: "refused",
        message: expect.stringContaining("token")
      })
      expect(yield* Ref.get(count)).toBe(10)
    }).pipe(Effect.provide(clientOf()))
  )
})

describe("frames that are too large for the peer", () => {
  /** Reads frames of at most `limit` characters; accepts every submit that it reads. */
  const smallReader = (limit: number) => (peer: ScriptedPeer.ScriptedPeer) =>
    Effect.gen(function* () {
      yield* peer.expect("session.hello")
      yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: all } }, head)
      return yield* Effect.forever(
        Effect.gen(function* () {
          const submit = yield* peer.expect("job.submit")
          if (JSON.stringify(submit).length > limit) return yield* peer.close(1009, "too large")
          const job_id = `job ${String(submit.payload.input).slice(0, 9)}`
          yield* peer.send("job.accepted", { request_id: submit.id, job_id, agent: "a@1" }, { ...head, job_id })
        })
      )
    })

  it.scoped("§14 a close with 1009 fails the largest request, which is not repeated; the others go on", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat(smallReader(65_536))
      const large = yield* Effect.forEach([100_000, 90_000, 70_000], (n) =>
        Effect.fork(Effect.exit(arcp.submit("a", "x".repeat(n))))
      )
      const small = yield* Effect.fork(arcp.submit("a", "small"))
      for (let i = 0; i < 40; i++) yield* TestClock.adjust("100 millis")
      for (const fiber of large) {
        expect(failure(yield* Fiber.join(fiber))).toMatchObject({ code: "INVALID_REQUEST" })
      }
      expect((yield* Fiber.join(small)).jobId).toBe("job small")
      expect(yield* Ref.get(count)).toBeLessThanOrEqual(4)
      // What the runtime does not read is known by now.
      expect(failure(yield* Effect.exit(arcp.submit("a", "x".repeat(200_000))))).toMatchObject({
        code: "INVALID_REQUEST"
      })
      expect(yield* Ref.get(count)).toBeLessThanOrEqual(4)
      expect((yield* arcp.submit("a", "another")).jobId).toBe("job another")
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped(
    "a large request that ends three connections in a row by another code is given up, a small one is not",
    () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const count = yield* runtimeThat((peer, n) =>
          n > 3
            ? smallReader(1_000_000)(peer)
            : Effect.gen(function* () {
                yield* peer.expect("session.hello")
                yield* peer.send("session.welcome", { resume_token: "rt", capabilities: { features: all } }, head)
                yield* peer.expect("job.submit")
                yield* peer.close(1006, "")
              })
        )
        const large = yield* Effect.fork(Effect.exit(arcp.submit("a", "x".repeat(40_000))))
        const small = yield* Effect.fork(arcp.submit("a", "small"))
        for (let i = 0; i < 40; i++) yield* TestClock.adjust("100 millis")
        expect(failure(yield* Fiber.join(large))).toMatchObject({ code: "INVALID_REQUEST" })
        expect((yield* Fiber.join(small)).jobId).toBe("job small")
        expect(yield* Ref.get(count)).toBe(4)
      }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("1009 without a request that could be meant ends the client after three connections", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const count = yield* runtimeThat(welcomeAndClose(1009))
      const last = yield* Effect.fork(Stream.runLast(arcp.status))
      for (let i = 0; i < 40; i++) yield* TestClock.adjust("100 millis")
      expect(Option.getOrThrow(yield* Fiber.join(last))).toMatchObject({
        error: { _tag: "SessionEnded", reason: "gave_up", message: expect.stringContaining("maxFrameBytes") }
      })
      expect(yield* Ref.get(count)).toBe(3)
    }).pipe(Effect.provide(clientOf()))
  )
})

describe("requestTimeout", () => {
  it.scoped("every call fails with RequestTimeout, and a late answer harms nothing", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const submitting = yield* Effect.fork(arcp.submit("a"))
      const peer = yield* greet(next, [...all, "artifacts"], { heartbeat_interval_sec: 3_600 })
      const submit = yield* peer.expect("job.submit")
      yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, { ...head, job_id: "j" })
      const job = yield* Fiber.join(submitting)
      const calls: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["job.submit", arcp.submit("a")],
        ["session.list_jobs", Stream.runCollect(arcp.listJobs())],
        ["job.subscribe", arcp.subscribe("k")],
        ["session.ping", arcp.ping],
        ["job.cancel", job.cancel()],
        ["artifact.fetch", arcp.artifacts.fetch("art")],
        ["artifact.release", arcp.artifacts.release("art")]
      ]
      const exits = yield* Effect.forEach(calls, ([type, call]) =>
        Effect.map(Effect.fork(Effect.exit(call)), (f) => [type, f] as const)
      )
      yield* TestClock.adjust("29 seconds")
      for (const [, fiber] of exits) expect(Option.isNone(yield* Fiber.poll(fiber))).toBe(true)
      yield* TestClock.adjust("1 second")
      for (const [request, fiber] of exits) {
        expect(failure(yield* Fiber.join(fiber))).toMatchObject({ _tag: "RequestTimeout", request, timeout: 30_000 })
      }
      const late = yield* peer.expect("session.list_jobs", () => true).pipe(Effect.option)
      if (Option.isSome(late))
        yield* peer.send("session.jobs", { request_id: late.value.id, jobs: [], next_cursor: null }, head)
      const again = yield* Effect.fork(arcp.submit("b"))
      const other = yield* peer.expect("job.submit", (f) => f.payload.agent === "b")
      yield* peer.send("job.accepted", { request_id: other.id, job_id: "k", agent: "b@1" }, { ...head, job_id: "k" })
      expect((yield* Fiber.join(again)).jobId).toBe("k")
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("it counts on a live session only, anew after each resume; a submit may set more", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const first = yield* greet(next, all, { heartbeat_interval_sec: 3_600 })
      const short = yield* Effect.fork(Effect.exit(arcp.submit("short")))
      const long = yield* Effect.fork(Effect.exit(arcp.submit("long", null, { requestTimeout: "2 minutes" })))
      yield* TestClock.adjust("29 seconds")
      yield* first.close(1011, "")
      yield* TestClock.adjust("100 millis")
      const silent = yield* ticking(next)
      yield* TestClock.adjust("9 seconds")
      yield* silent.close(1013, "")
      yield* TestClock.adjust("200 millis")
      const second = yield* greet(next, all, { heartbeat_interval_sec: 3_600 })
      yield* second.expect("job.submit")
      yield* TestClock.adjust("29 seconds")
      expect(Option.isNone(yield* Fiber.poll(short))).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(failure(yield* Fiber.join(short))).toMatchObject({ _tag: "RequestTimeout", timeout: 30_000 })
      yield* TestClock.adjust("89 seconds")
      expect(Option.isNone(yield* Fiber.poll(long))).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(failure(yield* Fiber.join(long))).toMatchObject({ _tag: "RequestTimeout", timeout: 120_000 })
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("what the runtime says of no request is logged, and is the reason of what follows", () =>
    Effect.gen(function* () {
      const log = yield* logged
      yield* Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const peer = yield* greet(next, all, { heartbeat_interval_sec: 3_600 })
        const calls = yield* Effect.forEach(["a", "b"], (agent) => Effect.fork(Effect.exit(arcp.submit(agent))))
        yield* peer.expect("job.submit")
        yield* peer.expect("job.submit")
        yield* peer.send("session.error", { code: "INTERNAL_ERROR", message: "the disk is full" }, head)
        yield* TestClock.adjust("30 seconds")
        for (const call of calls) {
          expect(failure(yield* Fiber.join(call))).toMatchObject({
            _tag: "RequestTimeout",
            message: expect.stringContaining("the disk is full")
          })
        }
        expect(yield* log.lines).toContain("WARN the runtime reports INTERNAL_ERROR: the disk is full")
        const lost = yield* Effect.fork(
          arcp.status.pipe(
            Stream.filter((s) => s._tag === "Disconnected"),
            Stream.runHead
          )
        )
        yield* TestClock.adjust(0)
        yield* peer.close(1011, "")
        expect(Option.getOrThrow(yield* Fiber.join(lost))).toMatchObject({
          reason: "INTERNAL_ERROR: the disk is full"
        })
      }).pipe(Effect.provide(Layer.provideMerge(clientOf(), log.layer)))
    })
  )
})

describe("heartbeats", () => {
  it.scoped("§6.4 the first connection is watched with the interval of its welcome", () =>
    Effect.gen(function* () {
      yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next, all, { heartbeat_interval_sec: 2 })
      yield* TestClock.adjust("4 seconds")
      expect(peer.seen().filter((f) => f.type === "session.ping").length).toBeGreaterThanOrEqual(1)
      yield* TestClock.adjust("1 second")
      expect(yield* peer.ended).toMatchObject({ code: 1008, reason: "HEARTBEAT_LOST" })
    }).pipe(Effect.provide(clientOf()))
  )
})

describe("tokens", () => {
  it.scoped("the token's Effect runs before the client dials, for each connection, and has a time", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0)
      const token = Effect.flatMap(
        Ref.updateAndGet(runs, (n) => n + 1),
        (n) => (n === 1 ? Effect.never : Effect.as(Effect.sleep("20 seconds"), Redacted.make(`t${n}`)))
      )
      yield* Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const dialled = yield* Effect.fork(greet(next))
        yield* TestClock.adjust("30 seconds")
        yield* TestClock.adjust("100 millis")
        yield* TestClock.adjust("19 seconds")
        expect(Option.isNone(yield* Fiber.poll(dialled))).toBe(true)
        yield* TestClock.adjust("1 second")
        const peer = yield* Fiber.join(dialled)
        expect(peer.hello.payload).toMatchObject({ auth: { token: "t2" } })
        yield* arcp.connected
      }).pipe(Effect.provide(clientOf({ auth: { token } })))
    })
  )

  it.scoped("an expired credential is replaced and the session resumed; the call in flight is not refused by it", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0)
      const token = Effect.map(
        Ref.updateAndGet(runs, (n) => n + 1),
        (n) => Redacted.make(`t${n}`)
      )
      yield* Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const first = yield* greet(next)
        const call = yield* Effect.fork(arcp.submit("a"))
        yield* first.expect("job.submit")
        yield* first.send(
          "session.error",
          { code: "UNAUTHENTICATED", message: "expired", retryable: true, details: { reason: "credential_expired" } },
          head
        )
        yield* first.close(1008, "")
        yield* TestClock.adjust("100 millis")
        const second = yield* greet(next)
        expect(second.hello.payload).toMatchObject({ auth: { token: "t2" }, resume: { session_id: "s" } })
        const submit = yield* second.expect("job.submit")
        yield* second.send(
          "job.accepted",
          { request_id: submit.id, job_id: "j", agent: "a@1" },
          { ...head, job_id: "j" }
        )
        expect((yield* Fiber.join(call)).jobId).toBe("j")
      }).pipe(Effect.provide(clientOf({ auth: { token } })))
    })
  )

  it.scoped.each([
    ["INTERNAL_ERROR", true, "again"],
    ["UNAUTHENTICATED", true, "again"],
    ["UNAUTHENTICATED", false, "end"]
  ] as const)("§6.1 a hello refused with %s, retryable %s: %s", ([code, retryable, then]) =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* ticking(next)
      yield* peer.expect("session.hello")
      yield* peer.send("session.error", { code, message: "no", retryable })
      yield* peer.close(1013, "")
      yield* TestClock.adjust("100 millis")
      if (then === "again") {
        yield* greet(next)
        yield* arcp.connected
      } else expect(failure(yield* Effect.exit(arcp.connected))).toMatchObject({ code: "UNAUTHENTICATED" })
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped.each(["PERMISSION_DENIED", "JOB_NOT_FOUND", "INVALID_REQUEST", "RESUME_WINDOW_EXPIRED"])(
    "§6.3 a resume that is refused with %s is a session that is gone: a new one is opened at once",
    (code) =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const next = yield* accepting
        const first = yield* greet(next)
        yield* first.close(1001, "")
        yield* TestClock.adjust("100 millis")
        const second = yield* ticking(next)
        expect((yield* second.expect("session.hello")).payload.resume).toBeDefined()
        yield* second.send("session.error", { code, message: "no" })
        const third = yield* greet(next)
        expect(third.hello.payload.resume).toBeUndefined()
        yield* arcp.connected
      }).pipe(Effect.provide(clientOf()))
  )
})

describe("§6.2 what the runtime calls itself", () => {
  it.scoped("is what the last welcome says, and nothing where that says nothing", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const asked = yield* Effect.fork(arcp.runtime)
      const first = yield* greet(next, all, { runtime: { name: "one", version: "1" } })
      expect(yield* Fiber.join(asked)).toEqual({ name: "one", version: "1" })
      yield* first.close(1001, "bye")
      const second = yield* greet(next, all, { runtime: { name: "two" } })
      yield* ticking(
        arcp.status.pipe(
          Stream.filter(({ _tag }) => _tag === "Resumed"),
          Stream.runHead
        )
      )
      expect(yield* arcp.runtime).toEqual({ name: "two" })
      yield* second.close(1001, "bye")
      yield* greet(next, all)
      yield* ticking(Effect.repeat(arcp.runtime, { until: ({ name }) => name === undefined }))
      expect(yield* arcp.runtime).toEqual({})
    }).pipe(Effect.provide(clientOf()))
  )
})

describe("§6.2 what was not negotiated", () => {
  it.scoped("fails with NotNegotiated and is not sent", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next, [])
      const calls: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["heartbeat", arcp.ping],
        ["list_jobs", Stream.runCollect(arcp.listJobs())],
        ["subscribe", arcp.subscribe("j")],
        ["subscribe", arcp.unsubscribe("j")],
        ["agent_versions", arcp.submit("a@1.0.0")],
        ["lease_expires_at", arcp.submit("a", null, { expiresAt: 4_102_444_800_000 })],
        ["cost.budget", arcp.submit("a", null, { lease: { "cost.budget": ["USD:1"] } })],
        ["model.use", arcp.submit("a", null, { lease: { "model.use": ["*"] } })],
        ["artifacts", arcp.artifacts.fetch("art")]
      ]
      for (const [feature, call] of calls) {
        expect([feature, failure(yield* Effect.exit(call))]).toMatchObject([
          feature,
          { _tag: "NotNegotiated", feature }
        ])
      }
      yield* TestClock.adjust("5 minutes")
      expect(peer.seen().map((f) => f.type)).toEqual(["session.hello"])
    }).pipe(Effect.provide(clientOf()))
  )
})

describe("the end of an observation", () => {
  it.scoped("§7.6 unsubscribe ends it at once, whatever the runtime answers, and what still comes is dropped", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next)
      const subscribing = yield* Effect.fork(arcp.subscribe("j"))
      const subscribe = yield* peer.expect("job.subscribe")
      yield* peer.send("job.subscribed", { request_id: subscribe.id, job_id: "j", current_status: "running" }, head)
      const job = yield* Fiber.join(subscribing)
      const events = yield* Effect.fork(Effect.exit(Stream.runCollect(job.events)))
      yield* TestClock.adjust(0)
      yield* arcp.unsubscribe("j")
      expect(failure(yield* Fiber.join(events))).toMatchObject({ _tag: "ClientClosed" })
      expect((yield* peer.expect("job.unsubscribe")).job_id).toBe("j")
      yield* peer.send(
        "job.event",
        { kind: "thought", ts: "t", body: { text: "late" } },
        { ...head, job_id: "j", event_seq: 1 }
      )
      yield* peer.send("session.error", { code: "INVALID_REQUEST", message: "type: is not known" }, head)
      yield* TestClock.adjust(0)
      const again = yield* Effect.fork(arcp.subscribe("j"))
      const second = yield* peer.expect("job.subscribe")
      yield* peer.send("job.subscribed", { request_id: second.id, job_id: "j", current_status: "running" }, head)
      yield* peer.send(
        "job.event",
        { kind: "thought", ts: "t", body: { text: "new" } },
        { ...head, job_id: "j", event_seq: 2 }
      )
      const first = yield* Stream.runHead((yield* Fiber.join(again)).events)
      expect(Option.getOrThrow(first)).toMatchObject({ seq: 2 })
    }).pipe(Effect.provide(clientOf()))
  )

  it.scoped("§6.7 a close that is answered with an error counts as closed at once", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const next = yield* accepting
      const peer = yield* greet(next)
      yield* arcp.connected
      const closing = yield* Effect.fork(arcp.close)
      yield* peer.expect("session.close")
      yield* peer.send(
        "session.error",
        { code: "INVALID_REQUEST", message: "unknown envelope type", details: null },
        head
      )
      yield* Fiber.join(closing)
    }).pipe(Effect.provide(clientOf({ closeTimeout: "1 hour" })))
  )
})
