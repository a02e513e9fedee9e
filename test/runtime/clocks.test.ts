/**
 * The machine's clock is set, forth and back, while a runtime and a client run (ARCP 1.1 §6.3, §6.4, §7.3, §7.4, §9.5): what waits waits as long
 * as it would have, and what expires does so by the clock as it is.
 */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Clock, DateTime, Deferred, Effect, Fiber, Layer, Redacted, Stream, TestClock } from "effect"
import { Authenticator } from "../../src/auth/index.js"
import { ArcpClient } from "../../src/client/index.js"
import { PrincipalId } from "../../src/protocol/index.js"
import { greet } from "../client/dialogue.js"
import { accepting, clientOf } from "../client/scripts.js"
import { bySettableClock, type SettableClock } from "../support/settableClock.js"
import { leaseAgents, ran } from "./leaseWorld.js"
import { allFeatures, barrier, dial, hello, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(() => {
  resetGates()
  ran.length = 0
})

const features = allFeatures.filter((one) => one !== "heartbeat")
const sets: ReadonlyArray<readonly [string, (clock: SettableClock) => Effect.Effect<void>]> = [
  ["an hour back", (clock) => clock.back("1 hour")],
  ["an hour forth", (clock) => clock.forth("1 hour")],
  ["forth for a moment", (clock) => Effect.zipRight(clock.forth("1 hour"), clock.back("1 hour"))]
]

const settle = Effect.repeatN(Effect.yieldNow(), 20)
const main = world({
  runtime: { heartbeatInterval: "30 seconds", resumeWindow: "10 minutes" },
  limits: { cancelGrace: "5 seconds", handshakeTimeout: "10 seconds", sweepEvery: "100 days", messagesPerSecond: 10 }
})

describe.each(sets)("a runtime whose clock is set %s", (_name, set) => {
  it.scoped("§7.3 gives a job its max_runtime_sec, no more and no less", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { job_id } = yield* submit(peer, "never", null, { max_runtime_sec: 60 })
        yield* barrier(peer)
        yield* set(clock)
        yield* TestClock.adjust(59_999)
        yield* barrier(peer)
        expect(peer.seen.some(({ type }) => type === "job.error")).toBe(false)
        yield* TestClock.adjust(1)
        expect((yield* peer.terminal(job_id!)).payload).toMatchObject({ final_status: "timed_out", code: "TIMEOUT" })
      }).pipe(Effect.provide(main))
    )
  )

  it.scoped("§7.4 waits for a handler that does not unwind as long as it says", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { job_id } = yield* submit(peer, "stubborn")
        yield* peer.send("job.cancel", { reason: "enough" }, { job_id: job_id! })
        yield* peer.next("job.cancelled")
        yield* set(clock)
        yield* TestClock.adjust(4_999)
        yield* barrier(peer)
        expect(peer.seen.some(({ type }) => type === "job.error")).toBe(false)
        yield* TestClock.adjust(1)
        expect((yield* peer.terminal(job_id!)).payload).toMatchObject({ final_status: "cancelled" })
      }).pipe(Effect.provide(main))
    )
  )

  it.scoped("§6.4 pings an idle client and gives a silent one up, as if nothing had been", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* set(clock)
        yield* TestClock.adjust(29_999)
        yield* settle
        expect(peer.seen.some(({ type }) => type === "session.ping")).toBe(false)
        yield* TestClock.adjust(1)
        const { payload } = yield* peer.next("session.ping")
        expect(payload.sent_at).toBe(DateTime.formatIso(yield* DateTime.now))
        yield* set(clock)
        yield* TestClock.adjust(29_999)
        yield* settle
        expect(peer.seen.some(({ type }) => type === "session.error")).toBe(false)
        yield* TestClock.adjust(1)
        expect((yield* peer.next("session.error")).payload.code).toBe("HEARTBEAT_LOST")
      }).pipe(Effect.provide(main))
    )
  )

  it.scoped("§6.2 waits for a hello as long as it says", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const stranger = yield* dial
        yield* settle
        yield* set(clock)
        yield* TestClock.adjust(9_999)
        yield* settle
        expect(stranger.seen).toEqual([])
        yield* TestClock.adjust(1)
        expect((yield* stranger.next("session.error")).payload.message).toContain("within 10000 ms")
      }).pipe(Effect.provide(main))
    )
  )

  it.scoped("§6.3 lets a session be resumed for its window, and no longer", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        for (const [waits, code] of [
          [599_999, "session.welcome"],
          [600_000, "session.error"]
        ] as const) {
          const peer = yield* hello({ features })
          yield* peer.connection.close(1000, "gone")
          yield* settle
          yield* set(clock)
          yield* TestClock.adjust(waits)
          yield* settle
          const again = yield* dial
          yield* again.send("session.hello", {
            client: {},
            auth: { scheme: "bearer", token: "alice-token" },
            capabilities: { features },
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
          })
          yield* again.next(code)
        }
      }).pipe(Effect.provide(main))
    )
  )

  it.scoped("§14 answers a client at its pace", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const ask = Effect.repeatN(peer.send("session.ping", { nonce: "n" }), 9)
        // More than may come at once.
        yield* Effect.repeatN(ask, 9)
        yield* TestClock.adjust("1 minute")
        yield* barrier(peer)
        const before = peer.seen.filter(({ type }) => type === "session.pong").length
        yield* set(clock)
        yield* ask
        yield* TestClock.adjust("2 seconds")
        yield* settle
        expect(peer.seen.filter(({ type }) => type === "session.pong").length - before).toBe(10)
      }).pipe(Effect.provide(main))
    )
  )
})

describe("a lease whose clock is set", () => {
  const leased = world({ limits: { sweepEvery: "100 days", leaseGrace: 0 }, agents: leaseAgents })
  const lease = (now: number, seconds: number) => ({
    lease_request: { "fs.read": ["/data/**"] },
    lease_constraints: { expires_at: new Date(now + seconds * 1000).toISOString() }
  })
  const steps = [
    { wait: "before" },
    { authorize: ["fs.read", "/data/x"] },
    { log: "allowed" },
    { wait: "after" },
    { authorize: ["fs.read", "/data/x"] },
    { log: "allowed again" },
    { wait: "end" }
  ]
  const open = (name: string) => Deferred.succeed(gate(name), undefined)

  it.scoped("§9.5 forth for a moment goes on allowing what it allows", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { job_id } = yield* submit(peer, "script", { steps }, lease(yield* Clock.currentTimeMillis, 60))
        yield* clock.forth("61 seconds")
        // Everything that reads the clock has read it.
        yield* barrier(peer)
        yield* clock.back("61 seconds")
        yield* open("before")
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "allowed")
        yield* TestClock.adjust(59_000)
        yield* open("after")
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "allowed again")
        yield* TestClock.adjust(1_000)
        expect((yield* peer.terminal(job_id!)).payload.code).toBe("LEASE_EXPIRED")
      }).pipe(Effect.provide(leased))
    )
  )

  it.scoped("§9.5 back goes on until the clock has reached its end", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { job_id } = yield* submit(peer, "script", { steps }, lease(yield* Clock.currentTimeMillis, 60))
        yield* clock.back("1 hour")
        yield* TestClock.adjust("59 minutes")
        yield* open("before")
        yield* peer.next("job.event", (frame) => frame.payload.body.message === "allowed")
        yield* TestClock.adjust("2 minutes")
        expect((yield* peer.terminal(job_id!)).payload.code).toBe("LEASE_EXPIRED")
      }).pipe(Effect.provide(leased))
    )
  )

  it.scoped("§9.5 forth refuses at once, and ends a job that does nothing within 30 seconds", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const now = yield* Clock.currentTimeMillis
        const trying = yield* submit(peer, "script", { steps }, lease(now, 480))
        const idle = yield* submit(peer, "idle", null, lease(now, 480))
        yield* barrier(peer)
        yield* clock.forth("1 hour")
        yield* open("before")
        expect((yield* peer.terminal(trying.job_id!)).payload.code).toBe("LEASE_EXPIRED")
        expect(peer.seen.some((frame) => frame.type === "job.error" && frame.job_id === idle.job_id)).toBe(false)
        yield* TestClock.adjust("30 seconds")
        expect((yield* peer.terminal(idle.job_id!)).payload.code).toBe("LEASE_EXPIRED")
      }).pipe(Effect.provide(leased))
    )
  )
})

describe("a credential whose clock is set", () => {
  const auth = Layer.succeed(Authenticator, {
    authenticate: ({ token }) =>
      Effect.succeed({
        id: PrincipalId("alice"),
        anonymous: false,
        claims: {},
        expiresAt: Number(token === undefined ? 0 : Redacted.value(token))
      })
  })

  it.scoped("§6.1 ends its connection when the clock has reached its end, not when the time has passed", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const peer = yield* hello({ features, token: String((yield* Clock.currentTimeMillis) + 60_000) })
        yield* clock.back("1 minute")
        yield* TestClock.adjust(119_999)
        yield* barrier(peer)
        expect(peer.seen.some(({ type }) => type === "session.error")).toBe(false)
        yield* TestClock.adjust(1)
        expect((yield* peer.next("session.error")).payload.details).toMatchObject({ reason: "credential_expired" })
        const other = yield* hello({ features, token: String((yield* Clock.currentTimeMillis) + 480_000) })
        yield* clock.forth("8 minutes")
        yield* TestClock.adjust("30 seconds")
        expect((yield* other.next("session.error")).payload.details).toMatchObject({ reason: "credential_expired" })
      }).pipe(Effect.provide(world({ auth })))
    )
  )
})

describe.each(sets)("a client whose clock is set %s", (_name, set) => {
  const client = clientOf({ requestTimeout: "30 seconds" })

  it.scoped("§6.4 fails a request that is not answered when its time is over", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const peer = yield* Effect.flatMap(accepting, (next) => greet(next))
        const listing = yield* Effect.fork(Effect.flip(Stream.runCollect(arcp.listJobs())))
        yield* peer.expect("session.list_jobs")
        yield* set(clock)
        yield* TestClock.adjust(29_000)
        yield* settle
        expect(yield* Fiber.poll(listing)).toMatchObject({ _tag: "None" })
        yield* TestClock.adjust(2_000)
        expect(yield* Fiber.join(listing)).toMatchObject({ _tag: "RequestTimeout" })
      }).pipe(Effect.provide(client))
    )
  )

  it.scoped("§6.4 measures a ping by what has passed", () =>
    bySettableClock((clock) =>
      Effect.gen(function* () {
        const arcp = yield* ArcpClient
        const peer = yield* Effect.flatMap(accepting, (next) => greet(next, ["heartbeat"]))
        const pinging = yield* Effect.fork(arcp.ping)
        const { payload } = yield* peer.expect("session.ping")
        expect(payload["sent_at"]).toBe(DateTime.formatIso(yield* DateTime.now))
        yield* set(clock)
        yield* TestClock.adjust(25)
        yield* peer.send("session.pong", { ping_nonce: payload["nonce"], received_at: "t" }, { session_id: "s" })
        expect(yield* Fiber.join(pinging)).toMatchObject({ value: { millis: 25 } })
      }).pipe(Effect.provide(client))
    )
  )
})
