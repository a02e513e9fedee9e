/** Ends that must come, and loops that must not: a closed client, its streams, a held connection, a session that is ended at once. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Redacted, Scope, Stream, TestClock } from "effect"
import { SessionId } from "../../src/protocol/index.js"
import { ArcpClient } from "../../src/client/index.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { accepting, client, failure, greet, head, sayer, withJob } from "./dialogue.js"

describe("the end of a client", () => {
  it.live("§6.7 a scope that closes before the client has taken its first step ends it", () =>
    Effect.gen(function* () {
      const closing = yield* Effect.forkDaemon(Effect.scoped(ArcpClient.make()))
      expect(Option.isSome(yield* Effect.timeoutOption(Fiber.await(closing), "2 seconds"))).toBe(true)
    }).pipe(Effect.provide(MemoryTransport.layerEncoded))
  )

  it.live("§6.7 calls after the end of the scope fail with ClientClosed, and so does connected", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const arcp = yield* ArcpClient.make().pipe(Scope.extend(scope))
      yield* Scope.close(scope, Exit.void)
      const calls: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        arcp.submit("a"),
        arcp.subscribe("j"),
        arcp.attach("j"),
        arcp.unsubscribe("j"),
        arcp.ping,
        arcp.agents,
        arcp.features,
        arcp.connected,
        arcp.artifacts.fetch("art_1"),
        Stream.runDrain(arcp.listJobs())
      ]
      for (const call of calls) {
        expect((yield* Effect.flip(Effect.timeout(call, "2 seconds")))._tag).toBe("ClientClosed")
      }
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layerEncoded))
  )

  it.scoped("§6.7 after a session, connected, agents and features fail, and streams of children end", () =>
    Effect.gen(function* () {
      const { arcp } = yield* withJob()
      const children = yield* Effect.fork(Stream.runCollect(arcp.children))
      yield* TestClock.adjust(0)
      yield* arcp.close
      for (const call of [arcp.connected, arcp.agents, arcp.features]) {
        expect(failure(yield* Effect.exit(call as Effect.Effect<unknown, { _tag: string }>))._tag).toBe("ClientClosed")
      }
      yield* TestClock.adjust(0)
      expect(Option.isSome(yield* Fiber.poll(children))).toBe(true)
      yield* Stream.runDrain(arcp.children)
    }).pipe(Effect.provide(client()))
  )
})

describe("frames after the one that ends the session", () => {
  it.scoped("§6.3 are not read, also where they come in one chunk with it", () =>
    Effect.gen(function* () {
      const { job, peer } = yield* withJob()
      const frame = (type: string, payload: object, more: object = {}) =>
        JSON.stringify({ arcp: "1.1", id: type, type, ...head, payload, ...more })
      const details = { reason: "taken_over" }
      yield* peer.connection.send([
        frame("session.error", { code: "PERMISSION_DENIED", message: "gone", details }),
        frame("job.result", { final_status: "success", result: "late" }, { job_id: "j", event_seq: 1 })
      ])
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "SessionEnded", reason: "taken_over" })
    }).pipe(Effect.provide(client()))
  )
})

describe("a stream of session changes", () => {
  it.scoped("§6.7 that has nothing to show ends with the client", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      yield* greet(yield* accepting)
      const changes = yield* Effect.fork(Stream.runCollect(arcp.sessionChanges))
      yield* TestClock.adjust("10 seconds")
      yield* arcp.close
      yield* TestClock.adjust("1 second")
      expect(Option.isSome(yield* Fiber.poll(changes))).toBe(true)
    }).pipe(Effect.provide(client()))
  )
})

describe("a runtime that ends each session at once", () => {
  it.scoped("§6.3 by RESUME_WINDOW_EXPIRED after the welcome is asked ever more slowly", () =>
    Effect.gen(function* () {
      yield* ArcpClient
      const next = yield* accepting
      let connections = 0
      yield* Effect.fork(
        Effect.forever(
          Effect.gen(function* () {
            const peer = yield* greet(next, undefined, { session_id: `s${connections++}` })
            if (connections > 200) return yield* Effect.never
            yield* peer.send("session.error", { code: "RESUME_WINDOW_EXPIRED", message: "gone", retryable: false })
          })
        )
      )
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("500 millis")
      expect(connections).toBeGreaterThan(3)
      expect(connections).toBeLessThan(20)
    }).pipe(Effect.provide(client()))
  )
})

describe("a stream that holds up the connection", () => {
  it.scoped("§6.5, §7.6 holds it no longer once its job is unsubscribed", () =>
    Effect.gen(function* () {
      const { arcp, peer } = yield* withJob()
      const subscribing = yield* Effect.fork(arcp.subscribe("k"))
      const { id: request_id } = yield* peer.expect("job.subscribe")
      yield* peer.send("job.subscribed", { request_id, job_id: "k", current_status: "running", replayed: false }, head)
      const observed = yield* Fiber.join(subscribing)
      yield* Effect.fork(Stream.runForEach(observed.events, () => Effect.never))
      yield* TestClock.adjust(0)
      for (let seq = 1; seq < 40; seq++) {
        yield* sayer(peer, "k").thought(seq)
        yield* TestClock.adjust(0)
      }
      yield* arcp.unsubscribe("k")
      yield* TestClock.adjust(0)
      const listing = yield* Effect.fork(Stream.runCollect(arcp.listJobs()))
      const list = yield* peer.expect("session.list_jobs")
      yield* peer.send("session.jobs", { request_id: list.id, jobs: [], next_cursor: null }, head)
      yield* TestClock.adjust("1 second")
      expect(Option.isSome(yield* Fiber.poll(listing))).toBe(true)
    }).pipe(Effect.provide(client({ eventBuffer: 4 })))
  )
})

describe("a stream of a job that is lost", () => {
  it.scoped("§6.5, §7.2 with its repeated submit holds the connection no longer", () =>
    Effect.gen(function* () {
      const features = ["ack", "list_jobs"]
      const { arcp, job, next, peer } = yield* withJob(features)
      yield* Effect.fork(Stream.runForEach(job.events, () => Effect.never))
      yield* TestClock.adjust(0)
      yield* peer.close(1001, "")
      yield* TestClock.adjust("1 second")
      const at = { session_id: "t" }
      const again = yield* greet(next, features, at)
      yield* again.expect("job.submit")
      for (let seq = 1; seq < 40; seq++) {
        yield* sayer(again).thought(seq, "", at)
        yield* TestClock.adjust(0)
      }
      yield* TestClock.adjust("10 seconds")
      const listing = yield* Effect.fork(Effect.exit(Stream.runCollect(arcp.listJobs())))
      const list = yield* again.expect("session.list_jobs")
      yield* again.send("session.jobs", { request_id: list.id, jobs: [], next_cursor: null }, at)
      yield* TestClock.adjust("1 second")
      expect(Option.isNone(yield* Fiber.poll(listing))).toBe(true)
      yield* TestClock.adjust("20 seconds")
      expect(failure(yield* Effect.exit(job.result))).toMatchObject({ _tag: "RequestTimeout", request: "job.submit" })
      expect(Option.map(yield* Fiber.poll(listing), Exit.flatten)).toMatchObject(Option.some({ _tag: "Success" }))
    }).pipe(Effect.provide(client({ eventBuffer: 4 })))
  )
})

describe("values that a program passes", () => {
  for (const [name, resume] of [
    ["null", null],
    ["a text", "s"],
    [
      "a throwing getter",
      {
        get sessionId(): string {
          throw new Error("no")
        },
        resumeToken: Redacted.make("t"),
        lastEventSeq: 0
      }
    ],
    [
      "a revoked proxy",
      (() => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        return proxy
      })()
    ]
  ] as ReadonlyArray<readonly [string, unknown]>) {
    it.live(`§6.3 facts that are ${name} fail each call with INVALID_REQUEST`, () =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient.make({ resume: resume as never })
        const exit = yield* Effect.exit(Effect.timeout(arcp.submit("a"), "2 seconds"))
        expect(failure(exit)).toMatchObject({ code: "INVALID_REQUEST", message: expect.stringContaining("resume") })
      }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layerEncoded))
    )
  }

  it.scoped("§6.3 facts with the number -1 resume from the beginning", () =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const peer = yield* greet(yield* accepting)
      expect(peer.hello.payload.resume).toMatchObject({ last_event_seq: 0 })
      const attaching = yield* Effect.fork(arcp.attach("j"))
      const { id: request_id } = yield* peer.expect("job.subscribe")
      yield* peer.send("job.subscribed", { request_id, job_id: "j", current_status: "running", replayed: false }, head)
      const job = yield* Fiber.join(attaching)
      yield* sayer(peer).thought(1)
      yield* sayer(peer).result(2, { result: "right" })
      yield* TestClock.adjust("1 second")
      expect(yield* job.result).toBe("right")
    }).pipe(
      Effect.provide(
        client({ resume: { sessionId: SessionId("s"), resumeToken: Redacted.make("t"), lastEventSeq: -1 } })
      )
    )
  )

  it.scoped("§8 options of eventsWith that cannot be read fail the stream with INVALID_REQUEST", () =>
    Effect.gen(function* () {
      const { job } = yield* withJob()
      const hostile = {
        get onGap(): "mark" {
          throw new Error("no")
        }
      }
      for (const options of [hostile, null as never]) {
        const exit = yield* Effect.exit(Stream.runCollect(job.eventsWith(options)))
        expect(failure(exit)).toMatchObject({ code: "INVALID_REQUEST" })
      }
    }).pipe(Effect.provide(client()))
  )
})
