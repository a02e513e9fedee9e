/** §6.1 What the id of a principal may be, whatever names it. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, FastCheck as fc, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { Authenticator, type AuthenticatorService, bearer, bearerWith } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { problemOf } from "../../src/auth/PrincipalIds.js"
import { PrincipalId } from "../../src/protocol/index.js"
import { runs } from "../support/properties.js"
import { dial } from "../runtime/peer.js"
import { world } from "../runtime/world.js"

const wrong: ReadonlyArray<string> = [
  "",
  " ",
  "\u00a0\u3000",
  " alice",
  "alice\t",
  "alice\n",
  "\ufeffalice",
  "ali\u0000ce",
  "ali\u007fce",
  "ali\u0085ce",
  "ali\nce",
  "ali\u00adce",
  "ali\u200bce",
  "ali\u200dce",
  "ali\u202ece",
  "ali\u2028ce",
  "ali\u2800ce",
  "ali\u3164ce",
  "ali\u00a0ce",
  "ali\ufe0fce",
  "ali\u{e0041}ce",
  "ali\ud800ce",
  "anonymous:",
  "anonymous:01KDWPVNG0YF4YQZ9B63R5RW3R",
  "Anonymous:1",
  "ANONYMOUS:1",
  "anonymous\uff1a1",
  "\uff21nonymous:1",
  "x".repeat(1_025)
]
const right: ReadonlyArray<string> = [
  "a",
  "alice",
  "alice@example.com",
  "Alice B. Smith",
  "https://issuer.example|alice",
  "Zoë",
  "アリス",
  "😀",
  "anonymous",
  "anonymousness:1",
  "an:anonymous:1",
  "x".repeat(1_024)
]

const peer = { transport: "memory", secure: true }
const ask = (way: AuthenticatorService) => way.authenticate({ scheme: undefined, token: Redacted.make("t"), peer })
const principal = (id: string, anonymous = false) => ({ id: PrincipalId(id), anonymous, claims: {} })

describe("a principal's id", () => {
  it("§6.1 is none where it is blank, has what is not seen, is too long, or is an anonymous client's", () => {
    for (const id of wrong) expect([id, problemOf(id, false)]).toEqual([id, expect.any(String)])
    for (const id of right) expect([id, problemOf(id, false)]).toEqual([id, undefined])
    expect(problemOf("anonymous:1", true)).toBeUndefined()
    expect(problemOf("anonymous:\u200b1", true)).toBeDefined()
  })

  it("§6.1 that is one is shown as it is: two that differ are not the same without what is invisible", () => {
    const bare = (id: string) =>
      id
        .replaceAll(/[\p{C}\p{Default_Ignorable_Code_Point}]/gu, "")
        .replaceAll(/\s+/g, " ")
        .trim()
    const samples = fc.sample(fc.tuple(fc.string({ unit: "binary", maxLength: 20 }), fc.boolean()), {
      numRuns: runs(2_000),
      seed: 3
    })
    for (const [id, anonymous] of samples) {
      // Characters of private use and unassigned ones are shown as boxes.
      if (/[\p{Co}\p{Cn}]/u.test(id) || problemOf(id, anonymous) !== undefined) continue
      expect(bare(id)).toBe(id.replaceAll(/ +/g, " "))
    }
  })

  it.effect("§6.1 of a JWT's subject, of a function and of the program's own claims is UNAUTHENTICATED", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2030, 0, 1))
      const secret = "s".repeat(32)
      const keys = { secret: Redacted.make(secret) }
      const jwt = yield* Jwt.jwt({ keys, algorithms: ["HS256"] })
      const refused = (way: AuthenticatorService, token = "t") =>
        Effect.map(Effect.flip(way.authenticate({ scheme: undefined, token: Redacted.make(token), peer })), (error) => {
          expect(error).toMatchObject({ code: "UNAUTHENTICATED", retryable: false })
          expect(error.message).toMatch(/^auth[ -~]{1,200}$/)
        })
      for (const id of wrong) {
        const token = yield* Effect.promise(() =>
          new jose.SignJWT({ sub: id, exp: Date.UTC(2031, 0, 1) / 1000 })
            .setProtectedHeader({ alg: "HS256" })
            .sign(new TextEncoder().encode(secret))
        )
        yield* refused(jwt, token)
        const own = yield* Jwt.jwt({ keys, algorithms: ["HS256"], principal: () => principal(id) })
        yield* refused(own, token)
        yield* refused(bearerWith(() => Effect.succeed(id)))
        yield* refused(bearerWith(() => Effect.succeed(principal(id))))
      }
      for (const id of right) expect((yield* ask(bearerWith(() => Effect.succeed(id)))).id).toBe(id)
      expect((yield* ask(bearerWith(() => Effect.succeed(principal("anonymous:1", true))))).id).toBe("anonymous:1")
    })
  )

  it.effect("§6.1 of a table is refused when the table is read, without its token", () =>
    Effect.gen(function* () {
      for (const id of wrong) {
        for (const value of [id, principal(id)]) {
          expect(() => bearer({ good: "alice", "secret-token": value })).toThrow(RangeError)
          expect(() => bearer(new Map([["secret-token", value]]))).toThrow(/^(?!.*secret-token).*entry 1 /)
        }
        const exit = yield* Effect.exit(Effect.scoped(Layer.build(Authenticator.layerBearer({ t: id }))))
        expect(Exit.isFailure(exit) && Cause.isDieType(exit.cause) && exit.cause.defect).toBeInstanceOf(RangeError)
      }
      expect(() => bearer({ t: null as unknown as string })).toThrow(RangeError)
      expect(() => bearer({ t: { id: 1 } as unknown as string })).toThrow(RangeError)
      expect((yield* ask(bearer({ t: principal("anonymous:1", true) }))).id).toBe("anonymous:1")
      for (const id of wrong.filter((id) => id !== "" && !/[\n\r,]/.test(id) && id.trimEnd() === id)) {
        const config = Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["ARCP_TOKENS", `secret-token=${id}`]])))
        const error = yield* Effect.flip(
          Effect.scoped(Layer.build(Layer.provide(Authenticator.layerBearerConfig(), config)))
        )
        expect(String(error)).toContain("ARCP_TOKENS")
        expect(String(error)).not.toContain("secret-token")
      }
    })
  )
})

describe("a hello", () => {
  let id = ""
  const auth = Layer.succeed(Authenticator, { authenticate: () => Effect.succeed(principal(id)) })

  it.scoped(
    "§6.1 whose principal has such an id from an authenticator of the program's own is UNAUTHENTICATED, 1008",
    () =>
      Effect.gen(function* () {
        for (id of wrong) {
          const client = yield* dial
          yield* client.send("session.hello", { auth: { scheme: "bearer", token: "t" } })
          expect((yield* client.next("session.error")).payload).toMatchObject({
            code: "UNAUTHENTICATED",
            retryable: false
          })
          expect((yield* client.ended).code).toBe(1008)
        }
        for (id of right) {
          const client = yield* dial
          yield* client.send("session.hello", { auth: { scheme: "bearer", token: "t" } })
          yield* client.next("session.welcome")
        }
      }).pipe(Effect.provide(world({ auth })))
  )
})
