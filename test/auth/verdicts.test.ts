/** §6.1 Several ways to authenticate, and what is no judgement of a credential. */
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Exit, FastCheck as fc, Fiber, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { createServer } from "node:http"
import {
  anonymous,
  AuthenticationUnavailable,
  Authenticator,
  type AuthenticatorService,
  bearer,
  bearerWith,
  firstOf
} from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { Ids, PrincipalId, Unauthenticated } from "../../src/protocol/index.js"
import { runs } from "../support/properties.js"

const peer = { transport: "memory", secure: true }
const ask = (way: AuthenticatorService, token?: string, scheme?: string) =>
  way.authenticate({ scheme, token: token === undefined ? undefined : Redacted.make(token), peer })

const start = Date.UTC(2030, 0, 1)
const secret = "s".repeat(32)
const sign = (claims: jose.JWTPayload, by = secret) =>
  Effect.promise(() =>
    new jose.SignJWT({ sub: "alice", exp: start / 1000 + 60, ...claims })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(by))
  )
const hs = (issuer?: string) =>
  Jwt.jwt({
    keys: { secret: Redacted.make(secret) },
    algorithms: ["HS256"],
    ...(issuer === undefined ? {} : { issuer })
  })

const principal = (id: string) => ({ id: PrincipalId(id), anonymous: false, claims: {} })
const notMine: ReturnType<typeof principal> | undefined = undefined
/** A way of a user, that takes its time. */
const plain = (kind: "accepts" | "refuses" | "fails" | "dies" | "not-mine", id: string, millis = 0) => {
  const after = <A, E>(effect: Effect.Effect<A, E>) => Effect.zipRight(Effect.sleep(millis), effect)
  const way: AuthenticatorService =
    kind === "not-mine"
      ? bearerWith(() => after(Effect.succeed(notMine)))
      : {
          authenticate: () =>
            after<ReturnType<typeof principal>, Unauthenticated | AuthenticationUnavailable>(
              kind === "accepts"
                ? Effect.succeed(principal(id))
                : kind === "refuses"
                  ? Effect.fail(new Unauthenticated({ message: `auth: ${id} says no` }))
                  : kind === "fails"
                    ? Effect.fail(new AuthenticationUnavailable({ message: "the database is away" }))
                    : Effect.dieMessage("a bug")
            )
        }
  return way
}

describe("several ways", () => {
  it.effect("§6.1 a table and JWTs take each its own, and refuse the rest with one text", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const jwt = hs("https://us")
      const good = yield* sign({ iss: "https://us" })
      const wrong = [
        "mallory",
        undefined,
        "",
        "a.b.c",
        yield* sign({ iss: "https://us" }, "t".repeat(32)),
        yield* sign({ iss: "https://us", exp: start / 1000 - 600 }),
        yield* sign({ iss: "https://them" }),
        yield* sign({})
      ]
      const table = bearer({ "alice-token": "alice", [wrong[6]!]: "looks like one" })
      for (const ways of [
        [table, yield* jwt],
        [yield* jwt, table],
        [firstOf([yield* jwt]), firstOf([table])]
      ]) {
        const way = firstOf(ways)
        expect((yield* ask(way, "alice-token")).id).toBe("alice")
        expect((yield* ask(way, good)).id).toBe("alice")
        // The table's own, though it looks like a JWT: its issuer is not one of the other's.
        expect((yield* ask(way, wrong[6]!)).id).toBe("looks like one")
        const texts = new Set<string>()
        for (const token of wrong.filter((_, i) => i !== 6)) {
          const error = yield* Effect.flip(ask(way, token))
          expect(error).toMatchObject({ code: "UNAUTHENTICATED", retryable: false })
          texts.add(error.message)
        }
        texts.add((yield* Effect.flip(ask(way, "alice-token", "basic"))).message)
        expect([...texts]).toHaveLength(1)
      }
      const layer = Authenticator.layerFirstOf([bearer({ "alice-token": "alice" }), jwt])
      expect((yield* ask(yield* Effect.provide(Authenticator, layer), good)).id).toBe("alice")
      // Without an issuer every token of three parts is its own.
      const any = firstOf([table, yield* hs()])
      expect((yield* ask(any, yield* sign({}))).id).toBe("alice")
      expect((yield* Effect.flip(ask(any, wrong[4]!))).code).toBe("UNAUTHENTICATED")
    })
  )

  it.effect(
    "§6.1 a token that one way accepts and another refuses is refused; a wrong one never becomes anonymous",
    () =>
      Effect.gen(function* () {
        const table = bearer({ t: "alice" })
        for (const ways of [
          [table, plain("refuses", "x")],
          [plain("refuses", "x"), table]
        ]) {
          expect((yield* Effect.flip(ask(firstOf(ways), "t"))).code).toBe("UNAUTHENTICATED")
        }
        const open = firstOf([yield* anonymous, table])
        expect((yield* Effect.flip(ask(open, "wrong"))).code).toBe("UNAUTHENTICATED")
        expect((yield* ask(open)).anonymous).toBe(true)
      }).pipe(Effect.provide(Ids.layerSeeded(1)))
  )

  it.effect("§6.1 neither the order of the ways nor the time that they take says which of them decided", () =>
    Effect.gen(function* () {
      const kinds = ["accepts", "refuses", "fails", "dies", "not-mine"] as const
      const cases = fc.sample(fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 5 }), {
        numRuns: runs(100),
        seed: 9
      })
      const texts = new Set<string>()
      for (const some of cases) {
        const expected = some.includes("refuses")
          ? "UNAUTHENTICATED"
          : some.includes("accepts")
            ? "accepted"
            : some.includes("fails") || some.includes("dies")
              ? "INTERNAL_ERROR"
              : "UNAUTHENTICATED"
        for (const order of [some, some.toReversed()]) {
          const before = yield* Clock.currentTimeMillis
          const way = firstOf(order.map((kind, i) => plain(kind, `${kind} ${i}`, 100)))
          const asking = yield* Effect.fork(Effect.exit(ask(way, "token")))
          yield* TestClock.adjust(99)
          expect(asking.unsafePoll()).toBe(null)
          yield* TestClock.adjust(1)
          const exit = yield* Fiber.join(asking)
          expect((yield* Clock.currentTimeMillis) - before).toBe(100)
          if (Exit.isSuccess(exit)) {
            expect([expected, exit.value.id]).toEqual(["accepted", `accepts ${order.indexOf("accepts")}`])
            continue
          }
          const error = yield* Effect.flip(exit)
          expect(error.code).toBe(expected)
          if (error.code === "UNAUTHENTICATED") texts.add(error.message)
        }
      }
      expect([...texts]).toHaveLength(1)
    })
  )
})

describe("what is no judgement of a credential", () => {
  it.effect("§12 an error of a user's verifier is unavailable where it says so, and a refusal otherwise", () =>
    Effect.gen(function* () {
      const away = new AuthenticationUnavailable({ message: "away" })
      const judged = (error: unknown) =>
        Effect.map(
          Effect.flip(
            ask(
              bearerWith(() => Effect.fail(error)),
              "t"
            )
          ),
          (e) => e.code
        )
      expect(yield* judged(away)).toBe("INTERNAL_ERROR")
      expect(yield* judged("wrong")).toBe("UNAUTHENTICATED")
      const slow = bearerWith(() => Effect.timeout(Effect.never, "1 second"))
      const asking = yield* Effect.fork(Effect.flip(ask(slow, "t")))
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(asking)).code).toBe("INTERNAL_ERROR")
    })
  )

  it.live("§6.1 a key set that is away, is none, or may not be fetched again yet", () =>
    Effect.gen(function* () {
      const pair = yield* Effect.promise(() => jose.generateKeyPair("ES256", { extractable: true }))
      const jwk = yield* Effect.promise(() => jose.exportJWK(pair.publicKey))
      const key = (kid: string) => ({ ...jwk, kid, alg: "ES256" })
      let answer: { readonly status: number; readonly body: string } = { status: 503, body: "" }
      const server = createServer((_request, response) => {
        response.statusCode = answer.status
        response.end(answer.body)
      })
      yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
      const { port } = server.address() as { port: number }
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const token = (kid: string, by = pair.privateKey) =>
        Effect.promise(() =>
          new jose.SignJWT({ sub: "alice", exp: now + 600 }).setProtectedHeader({ alg: "ES256", kid }).sign(by)
        )
      const make = Jwt.jwt({ keys: { jwksUrl: `http://127.0.0.1:${port}/` }, algorithms: ["ES256"] })
      const one = yield* token("one")
      const way = yield* make
      for (const next of [
        answer,
        { status: 200, body: "<html>" },
        { status: 200, body: "{}" },
        { status: 200, body: '{"keys":[{"kty":"EC","kid":"one","crv":"P-256","x":"!","y":"!","alg":"ES256"}]}' }
      ]) {
        answer = next
        expect(yield* Effect.flip(ask(yield* make, one))).toMatchObject({ _tag: "AuthenticationUnavailable" })
        if (next.body !== "" && next.body.includes("keys")) continue
        expect(yield* Effect.flip(ask(firstOf([bearer({ t: "x" }), way]), one))).toMatchObject({
          code: "INTERNAL_ERROR"
        })
        expect((yield* ask(firstOf([bearer({ t: "x" }), way]), "t")).id).toBe("x")
      }
      answer = { status: 200, body: JSON.stringify({ keys: [key("one")] }) }
      const fresh = yield* make
      // Judged by a set that has just been fetched.
      expect((yield* Effect.flip(ask(fresh, yield* token("two"))))._tag).toBe("Unauthenticated")
      expect((yield* ask(fresh, one)).id).toBe("alice")
      // Rotated within the cooldown.
      expect(yield* Effect.flip(ask(fresh, yield* token("two")))).toMatchObject({ _tag: "AuthenticationUnavailable" })
      const other = yield* Effect.promise(() => jose.generateKeyPair("ES256"))
      expect((yield* Effect.flip(ask(fresh, yield* token("one", other.privateKey))))._tag).toBe("Unauthenticated")
      server.closeAllConnections()
      server.close()
      expect(yield* Effect.flip(ask(yield* make, one))).toMatchObject({ _tag: "AuthenticationUnavailable" })
    })
  )
})
