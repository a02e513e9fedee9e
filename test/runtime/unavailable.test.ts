/** §6.1 §12 A credential that could not be judged: INTERNAL_ERROR, retryable, 1013; never UNAUTHENTICATED. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Logger, TestClock } from "effect"
import { AuthenticationUnavailable, Authenticator, type AuthenticatorService } from "../../src/auth/index.js"
import { Unauthenticated } from "../../src/protocol/index.js"
import { backends } from "./backends.js"
import { dial } from "./peer.js"
import { world } from "./world.js"

const quiet = Logger.replace(Logger.defaultLogger, Logger.none)

const verifiers: ReadonlyArray<readonly [string, AuthenticatorService["authenticate"]]> = [
  ["says that it is away", () => new AuthenticationUnavailable({ message: "secret host" })],
  ["fails with an error of its own", () => Effect.fail({ message: "secret host" } as unknown as Unauthenticated)],
  ["dies", () => Effect.dieMessage("secret host")],
  ["throws", () => JSON.parse("{")],
  ["interrupts itself", () => Effect.interrupt],
  ["is slower than the handshake", () => Effect.never],
  ["is slow and cannot be interrupted", () => Effect.uninterruptible(Effect.never)]
]

describe.each(backends)("a handshake over %s", (_name, backend) => {
  const over = (authenticate: AuthenticatorService["authenticate"]) =>
    Layer.provide(world({ ...backend(), auth: Layer.succeed(Authenticator, { authenticate }) }), quiet)
  const greet = Effect.gen(function* () {
    const peer = yield* dial
    const id = yield* peer.send("session.hello", {
      auth: { scheme: "bearer", token: "t" },
      capabilities: {},
      resume: { session_id: "sess_named", resume_token: "rt_x" }
    })
    yield* Effect.repeatN(
      Effect.zipRight(
        TestClock.adjust("1 second"),
        Effect.promise(() => new Promise(setImmediate))
      ),
      10
    )
    return { ...peer, id }
  })

  it.scoped.each(verifiers)("§6.1 with a verifier that %s may be tried again", ([_what, authenticate]) =>
    Effect.gen(function* () {
      const peer = yield* greet
      const { payload, session_id } = yield* peer.next("session.error")
      expect(payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true, request_id: peer.id })
      expect(session_id).toBe("sess_named")
      expect(JSON.stringify(payload)).not.toContain("secret")
      expect((yield* peer.ended).code).toBe(1013)
    }).pipe(Effect.provide(over(authenticate)))
  )

  it.scoped("§6.1 with a credential that was judged is final; a silent peer is INVALID_REQUEST", () =>
    Effect.gen(function* () {
      const peer = yield* greet
      expect((yield* peer.next("session.error")).payload).toMatchObject({ code: "UNAUTHENTICATED", retryable: false })
      expect((yield* peer.ended).code).toBe(1008)
      const silent = yield* dial
      yield* Effect.promise(() => new Promise(setImmediate))
      yield* Effect.repeatN(
        Effect.zipRight(
          TestClock.adjust("1 second"),
          Effect.promise(() => new Promise(setImmediate))
        ),
        10
      )
      // Nothing was judged: behind a slow network the next try may come in time.
      expect((yield* silent.next("session.error")).payload).toMatchObject({ code: "INVALID_REQUEST", retryable: true })
      expect((yield* silent.ended).code).toBe(1008)
    }).pipe(Effect.provide(over(() => new Unauthenticated({ message: "auth: no" }))))
  )
})
