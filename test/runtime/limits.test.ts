/** Bounds at their edges, and that each is told where people look for it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, FastCheck as fc, Layer, Option, Fiber, TestClock } from "effect"
import { readFileSync } from "node:fs"
import { Agent, Job } from "../../src/agent/index.js"
import { ByteMarks } from "../../src/runtime/kernel/ByteMarks.js"
import { defaults, Limits } from "../../src/runtime/kernel/Limits.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { allFeatures, barrier, dial, eventsOf, hello, run, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"
import { runs } from "../support/properties.js"

beforeEach(resetGates)

const withoutHeartbeat = allFeatures.filter((feature) => feature !== "heartbeat")

/** Emits texts of a size, so many of them, then waits for the gate "large". */
const large = Agent.untyped("large", (input) =>
  Effect.gen(function* () {
    const { count, size } = input as { readonly count: number; readonly size: number }
    for (let n = 0; n < count; n++) yield* Job.log("x".repeat(size))
    yield* Job.log("all")
    yield* Deferred.await(gate("large"))
    return count
  })
)
const never = Agent.untyped("never", () => Effect.never)
const echo = Agent.untyped("echo", (input) => Effect.succeed(input))
const agents = Layer.mergeAll(large, never, echo)

const over = (options: WorldOptions) => world({ agents, ...options })

describe("§14 jobs of one principal", () => {
  it.scoped("that run or wait are bounded; an ended one makes room, and others have their own", () =>
    Effect.gen(function* () {
      const alice = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const first = yield* submit(alice, "never")
      yield* submit(alice, "never")
      expect((yield* submit(alice, "never")).payload).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        message: "you have 2 jobs that run or wait; try again when one has ended"
      })
      expect((yield* submit(bob, "never")).type).toBe("job.accepted")
      yield* alice.send("job.cancel", { job_id: first.job_id })
      yield* alice.terminal(first.job_id!)
      expect((yield* submit(alice, "never")).type).toBe("job.accepted")
    }).pipe(Effect.provide(over({ limits: { jobsPerPrincipal: 2, runningJobs: 2 } })))
  )
})

describe("§14 heartbeat amplification", () => {
  it.scoped("a session that does nothing makes room where there is none; one that works or speaks does not", () =>
    Effect.gen(function* () {
      const works = yield* hello({ features: withoutHeartbeat })
      yield* submit(works, "never")
      const idle = yield* hello({ features: withoutHeartbeat })
      yield* TestClock.adjust("9 minutes")
      // A sign of life is none of work.
      yield* barrier(idle)
      const refused = yield* dial
      const id = yield* refused.send("session.hello", { auth: { token: "alice-token" } })
      expect((yield* refused.reply(id)).payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
      yield* TestClock.adjust("1 minute")
      const next = yield* hello({ features: withoutHeartbeat })
      expect((yield* idle.next("session.error")).payload).toMatchObject({ details: { reason: "idle_session" } })
      expect((yield* idle.ended).code).toBe(1013)
      yield* barrier(works)
      yield* barrier(next)
    }).pipe(Effect.provide(over({ limits: { sessionsPerPrincipal: 2, idleSession: 600_000 } })))
  )
})

describe("messages of one connection in a second", () => {
  it.scoped(
    "are read no faster than the limit after a burst of ten seconds' worth; none is lost, others are read",
    () =>
      Effect.gen(function* () {
        const flooding = yield* hello({ features: withoutHeartbeat })
        const other = yield* hello({ features: withoutHeartbeat })
        const ids: Array<string> = []
        for (let i = 0; i < 60; i++) ids.push(yield* flooding.send("session.list_jobs", {}))
        yield* flooding.reply(ids[48]!)
        yield* barrier(other)
        const last = yield* Effect.fork(flooding.reply(ids[59]!))
        yield* barrier(other)
        expect(Option.isNone(yield* Fiber.poll(last))).toBe(true)
        for (let second = 0; second < 4; second++) {
          yield* TestClock.adjust("1 second")
          yield* barrier(other)
        }
        yield* Fiber.join(last)
        for (const id of ids) expect((yield* flooding.reply(id)).type).toBe("session.jobs")
      }).pipe(Effect.provide(over({ limits: { messagesPerSecond: 5 } })))
  )
})

describe("§6.5 a lag in bytes", () => {
  const limits = { ackLag: 1_000, ackLagBytes: 100_000 }

  it.scoped("slows the agent as one in events does, until half of it is acknowledged", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      yield* peer.send("session.ack", { last_processed_seq: 0 })
      yield* barrier(peer)
      const { job_id } = yield* submit(peer, "large", { count: 400, size: 10_000 })
      const slowed = yield* peer.next("job.event", (frame) => frame.payload.body?.phase === "back_pressure")
      yield* barrier(peer)
      // Few events, many bytes: no more than what was on its way to the store when the mark was met.
      const count = eventsOf(peer, job_id!).length
      expect(count).toBeLessThanOrEqual(220)
      yield* peer.send("session.ack", { last_processed_seq: 3 })
      yield* barrier(peer)
      expect(eventsOf(peer, job_id!).length).toBe(count)
      yield* peer.send("session.ack", { last_processed_seq: slowed.event_seq })
      yield* peer.next("job.event", (frame) => frame.event_seq! > slowed.event_seq!)
      // It goes on as long as it is acknowledged.
      while (!eventsOf(peer, job_id!).some((frame) => frame.payload.body?.message === "all")) {
        yield* peer.send("session.ack", { last_processed_seq: peer.events().at(-1)!.event_seq })
        yield* barrier(peer)
        // The writer gives the event loop a turn after a large batch; this loop would not.
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      expect(eventsOf(peer, job_id!).filter((f) => f.payload.kind === "log").length).toBe(401)
    }).pipe(Effect.provide(over({ limits })))
  )

  it.scoped("under the mark slows nobody", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      yield* peer.send("session.ack", { last_processed_seq: 0 })
      const { job_id } = yield* submit(peer, "large", { count: 9, size: 10_000 })
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "all")
      expect(eventsOf(peer, job_id!).some((frame) => frame.payload.body?.phase === "back_pressure")).toBe(false)
    }).pipe(Effect.provide(over({ limits })))
  )
})

describe("§6.3 bytes kept for who is away", () => {
  const limits = { historyBytes: 200_000, bufferedBytes: 300_000 }
  const store = () => SqliteStore.layer({ filename: ":memory:" })

  for (const [count, answer] of [
    [25, "session.welcome"],
    [100, "session.error"]
  ] as const) {
    it.scoped(`${count * 10_000} of at most 300,000: ${answer}`, () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: withoutHeartbeat })
        const { job_id } = yield* submit(peer, "large", { count, size: 10_000 })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "all")
        yield* peer.drop
        const back = yield* dial
        const id = yield* back.send("session.hello", {
          auth: { scheme: "bearer", token: "alice-token" },
          capabilities: { features: withoutHeartbeat },
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 1 }
        })
        const first = yield* Effect.raceFirst(back.next("session.welcome"), back.reply(id))
        expect(first.type).toBe(answer)
        if (answer === "session.error") {
          expect(first.payload.code).toBe("RESUME_WINDOW_EXPIRED")
        } else {
          yield* Deferred.succeed(gate("large"), undefined)
          yield* back.terminal(job_id!)
          expect(back.events().map((frame) => frame.event_seq)).toEqual(back.events().map((_, i) => i + 2))
        }
      }).pipe(Effect.provide(over({ limits, store: store() })))
    )
  }
})

describe("marks of bytes", () => {
  it("are few, and never tell more than there was", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 2_000 }), (sizes) => {
        const marks = new ByteMarks()
        const sums = [0]
        for (const [i, size] of sizes.entries()) {
          sums.push(sums[i]! + size)
          marks.add(i + 1, sums[i + 1]!)
        }
        const total = sums.at(-1)!
        expect(marks.at(sizes.length)).toBe(total)
        for (const seq of [1, sizes.length >> 1, sizes.length]) {
          expect(marks.at(seq)).toBeLessThanOrEqual(sums[seq]!)
          const upTo = marks.upTo(sums[seq]!)
          expect(sums[upTo]).toBeLessThanOrEqual(sums[seq]!)
        }
        const middle = sizes.length >> 1
        const told = marks.at(middle)
        marks.forget(middle)
        expect(marks.at(middle)).toBe(told)
        expect(marks.at(sizes.length)).toBe(total)
      }),
      { numRuns: runs(50) }
    )
  })
})

describe("the bounds", () => {
  it("are in the documentation, each with its default, and no other", () => {
    const table = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8")
    const rows = new Map(
      [...table.matchAll(/^\| `(\w+)` \| ([\d,]+) /gm)].map(([, name, value]) => [
        name!,
        Number(value!.replaceAll(",", ""))
      ])
    )
    expect(Object.fromEntries([...rows].sort())).toEqual(Object.fromEntries(Object.entries(defaults).sort()))
  })

  it("are numbers that make sense: others are refused with what is wrong", () => {
    for (const changes of [
      { sessions: -1 },
      { ackLag: Number.NaN },
      { queuedEvents: 0 },
      { listPage: 1.5 },
      { messagesPerSecond: 0 }
    ]) {
      expect(() => Limits.layer(changes)).toThrow(/^Limits: \w+ must be a whole number, at least [01]; it is /)
    }
    expect(() => Limits.layer({ ackLag: 0, leaseGrace: 0, runningJobs: Number.POSITIVE_INFINITY })).not.toThrow()
  })

  it.effect("§14 times are durations, and milliseconds inside", () =>
    Effect.gen(function* () {
      const limits = yield* Effect.provide(
        Limits,
        Limits.layer({
          handshakeTimeout: "3 seconds",
          keyLifetime: Duration.hours(1),
          cancelGrace: 250,
          storeTime: Duration.infinity,
          leaseGrace: 0,
          sweepEvery: 5n
        })
      )
      expect(limits).toEqual({
        ...defaults,
        handshakeTimeout: 3_000,
        keyLifetime: 3_600_000,
        cancelGrace: 250,
        storeTime: Number.POSITIVE_INFINITY,
        leaseGrace: 0,
        // five nanoseconds: a whole millisecond, not none
        sweepEvery: 1
      })
      for (const value of [-1, Number.NaN, "-5 seconds", "soon", null]) {
        expect(() => Limits.layer({ keyLifetime: value as never })).toThrow(
          `Limits: keyLifetime must be a duration of zero or more; it is ${String(value)}`
        )
      }
      expect(() => Limits.layer({ handshakeTimeout: 0 })).toThrow(
        "Limits: handshakeTimeout must be a duration of more than zero; it is 0"
      )
    })
  )

  it.scoped("a page of a listing at its bound is whole", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      for (let n = 0; n < 3; n++) yield* run(peer, "echo", n)
      const page = (limit: number) =>
        Effect.map(Effect.flatMap(peer.send("session.list_jobs", { limit }), peer.reply), ({ payload }) => [
          payload.jobs.length,
          payload.next_cursor === null
        ])
      expect(yield* page(2)).toEqual([2, false])
      expect(yield* page(3)).toEqual([3, true])
      expect(yield* page(4)).toEqual([3, true])
    }).pipe(Effect.provide(over({ limits: { listPage: 3 } })))
  )
})
