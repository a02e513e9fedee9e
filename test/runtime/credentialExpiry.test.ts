/** §6.1 A credential that runs out while its session is connected: told, closed, and resumed with another one. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { PrincipalId } from "../../src/protocol/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { ArcpClient } from "../../src/client/index.js"
import { backends } from "./backends.js"
import { allFeatures, barrier, dial, hello, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")

/** `alice 1000` is alice's until 1,000 ms of the clock; `alice` is hers for good. */
const auth = Layer.succeed(Authenticator, {
  authenticate: ({ token }) => {
    const [id = "", until] = (token === undefined ? "" : Redacted.value(token)).split(" ")
    const principal = { id: PrincipalId(id), anonymous: false, claims: {} }
    return Effect.succeed(until === undefined ? principal : { ...principal, expiresAt: Number(until) })
  }
})

describe.each(backends)("a credential over %s", (_name, backend) => {
  it.scoped("§6.1 that runs out ends its connection: UNAUTHENTICATED, retryable, with the reason, 1008", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features, token: "alice 60000" })
      const lasting = yield* hello({ features, token: "alice" })
      const { job_id } = yield* submit(peer, "gate", { name: "expiry" })
      yield* peer.next("job.event", (frame) => frame.payload.body.message === "waiting")
      yield* TestClock.adjust("59 seconds")
      yield* barrier(peer)
      expect(peer.seen.some((frame) => frame.type === "session.error")).toBe(false)
      yield* TestClock.adjust("1 second")
      const { payload } = yield* peer.next("session.error")
      expect(payload).toMatchObject({
        code: "UNAUTHENTICATED",
        retryable: true,
        details: { reason: "credential_expired" }
      })
      expect(payload).not.toHaveProperty("request_id")
      expect((yield* peer.ended).code).toBe(1008)
      expect(peer.seen.at(-1)!.type).toBe("session.error")
      // The session can be resumed with another credential, and its job has gone on.
      const back = yield* hello({
        features,
        token: "alice",
        resume: {
          session_id: peer.sessionId,
          resume_token: peer.token,
          last_event_seq: peer.events().at(-1)!.event_seq
        }
      })
      yield* Deferred.succeed(gate("expiry"), undefined)
      expect((yield* back.terminal(job_id!)).payload.result).toBe("expiry")
      yield* TestClock.adjust("1 hour")
      yield* Effect.all([barrier(back), barrier(lasting)])
      // The same one again is refused for good.
      const stale = yield* dial
      yield* stale.send("session.hello", { auth: { scheme: "bearer", token: "alice 60000" } })
      expect((yield* stale.next("session.error")).payload).toMatchObject({ code: "UNAUTHENTICATED", retryable: false })
      expect((yield* stale.ended).code).toBe(1008)
    }).pipe(Effect.provide(world({ ...backend(), auth, runtime: { heartbeatInterval: "1 day" } })))
  )
})

describe("a credential that runs out", () => {
  it.scoped("§6.1 of a connection that another one has taken over ends neither", () =>
    Effect.gen(function* () {
      const first = yield* hello({ features, token: "alice 60000" })
      const second = yield* hello({
        features,
        token: "alice",
        resume: { session_id: first.sessionId, resume_token: first.token, last_event_seq: 0 }
      })
      yield* TestClock.adjust("2 minutes")
      yield* barrier(second)
      expect(second.seen.some((frame) => frame.type === "session.error")).toBe(false)
    }).pipe(Effect.provide(world({ auth, runtime: { heartbeatInterval: "1 day" } })))
  )

  it.effect("§6.1 is a JWT's exp, with the tolerance with which it is accepted", () =>
    Effect.gen(function* () {
      const secret = new TextEncoder().encode("s".repeat(32))
      const way = yield* Jwt.jwt({
        keys: { secret: Redacted.make("s".repeat(32)) },
        algorithms: ["HS256"],
        clockTolerance: "5 seconds",
        required: ["sub"]
      })
      const principal = (claims: jose.JWTPayload) =>
        Effect.flatMap(
          Effect.promise(() => new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret)),
          (token) =>
            way.authenticate({
              scheme: "bearer",
              token: Redacted.make(token),
              peer: { transport: "memory", secure: true }
            })
        )
      expect((yield* principal({ sub: "alice", exp: 60 })).expiresAt).toBe(65_000)
      expect(yield* principal({ sub: "alice" })).not.toHaveProperty("expiresAt")
    })
  )

  it.scopedLive("§6.1 costs a client with a new one neither its session nor its job", () =>
    Effect.gen(function* () {
      let asked = 0
      const token = Effect.map(Clock.currentTimeMillis, (now) =>
        Redacted.make(asked++ === 0 ? `alice ${now + 200}` : "alice")
      )
      const result = yield* Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit("gate", { name: "renewed" })
        yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => asked === 2 })
        yield* Deferred.succeed(gate("renewed"), undefined)
        return yield* job.result
      }).pipe(Effect.provide(Layer.fresh(ArcpClient.layer({ auth: { token } }))))
      expect(result).toBe("renewed")
      expect(asked).toBe(2)
    }).pipe(Effect.provide(world({ auth })))
  )
})
