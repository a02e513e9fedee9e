/** Tokens that are none: whatever comes, `UNAUTHENTICATED` in one line, never a principal and never a defect. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck as fc, Option, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { type AuthenticatorService, bearer, firstOf } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { Unauthenticated } from "../../src/protocol/index.js"
import { runs } from "../support/properties.js"

const secret = "s".repeat(32)
const key = new TextEncoder().encode(secret)
const start = Date.UTC(2030, 0, 1)
const seconds = start / 1000

const sign = (claims: jose.JWTPayload, alg = "HS256", by: Uint8Array | jose.CryptoKey = key) =>
  Effect.promise(() => new jose.SignJWT(claims).setProtectedHeader({ alg }).sign(by))

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

const headers = fc.constantFrom<unknown>(
  { alg: "none" },
  { alg: "None" },
  { alg: "" },
  { alg: null },
  { alg: ["HS256"] },
  { alg: "HS512" },
  { alg: "RS256" },
  { alg: "HS256", crit: ["exp"] },
  { alg: "HS256", b64: false, crit: ["b64"] },
  { alg: "HS256", jwk: { kty: "oct", k: "AAAA" } },
  { alg: "HS256", kid: "../../dev/null" },
  JSON.parse('{"__proto__":{"alg":"HS256"}}'),
  null,
  [],
  "HS256"
)

/** Three parts that were signed; each mutation makes another token of them. */
const mutations = (good: string, other: string): fc.Arbitrary<string> => {
  const parts = good.split(".")
  const others = other.split(".")
  const [head, body, mac] = parts as [string, string, string]
  return fc.oneof(
    fc.tuple(headers, fc.boolean()).map(([header, signed]) => `${base64url(header)}.${body}.${signed ? mac : ""}`),
    fc.constantFrom(
      `${body}.${head}.${mac}`,
      `${head}.${mac}.${body}`,
      `${head}.${others[1]}.${mac}`,
      `${head}.${body}.${others[2]}`,
      `${head}.${body}`,
      `${head}.${body}.`,
      `${good}.`,
      `${good}.${mac}`,
      `.${good}`,
      "..",
      `${good}\n`,
      ` ${good}`,
      `Bearer ${good}`,
      `${good}\u0000`,
      `${good}é`,
      good.repeat(400)
    ),
    // One character is another one; not the last one of a part, whose spare bits mean nothing.
    fc.tuple(fc.nat(), fc.constantFrom("A", "B", "-", "_", "é", "\u0000", ".", "=", "+", "/")).map(([at, c]) => {
      const places = [...good].flatMap((was, i) =>
        was !== "." && was !== c && good[i + 1] !== "." && i + 1 < good.length ? [i] : []
      )
      const i = places[at % places.length]!
      return good.slice(0, i) + c + good.slice(i + 1)
    }),
    fc
      .record({ sub: fc.jsonValue(), exp: fc.jsonValue(), iss: fc.jsonValue() })
      .map((claims) => `${head}.${base64url(claims)}.${mac}`),
    fc.string({ unit: "binary", maxLength: 200 }),
    fc.array(fc.base64String({ maxLength: 40 }), { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join("."))
  )
}

const refuses = (way: AuthenticatorService, token: string, scheme: string | undefined) =>
  Effect.gen(function* () {
    const peer = { transport: "memory", secure: true }
    const exit = yield* Effect.exit(way.authenticate({ scheme, token: Redacted.make(token), peer }))
    const told = JSON.stringify({ token, scheme })
    if (Exit.isSuccess(exit)) return expect.fail(`${told} is ${JSON.stringify(exit.value)}`)
    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
    expect(error, `${told}: ${Cause.pretty(exit.cause)}`).toBeInstanceOf(Unauthenticated)
    expect(error?.message).toMatch(/^auth[^\n\r]{1,200}$/)
    if (token.trim().length > 8) expect(error?.message).not.toContain(token.trim())
  })

const schemes = fc.constantFrom(undefined, "bearer", "BEARER", "jwt", "basic", "")

describe("authenticators", () => {
  it.effect("§6.1 no mutation of a real token is a token, and the real one stays one", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const good = yield* sign({ sub: "alice", exp: seconds + 60, iss: "us" })
      const other = yield* sign(
        { sub: "root", exp: seconds + 60, iss: "us" },
        "HS256",
        new TextEncoder().encode("t".repeat(32))
      )
      const keyPair = yield* Effect.promise(() => jose.generateKeyPair("ES256", { extractable: true }))
      const signed = yield* sign({ sub: "alice", exp: seconds + 60, iss: "us" }, "ES256", keyPair.privateKey)
      const pem = yield* Effect.promise(() => jose.exportSPKI(keyPair.publicKey))
      const hs = yield* Jwt.jwt({ keys: { secret: Redacted.make(secret) }, algorithms: ["HS256"], issuer: "us" })
      const es = yield* Jwt.jwt({ keys: { publicKey: pem }, algorithms: ["ES256"], issuer: "us" })
      const both = firstOf([bearer({ "table-token": "bob" }), hs])
      for (const [ways, token] of [
        [[hs, both], good],
        [[es], signed]
      ] as const) {
        for (const [mutated, scheme] of fc.sample(fc.tuple(mutations(token, other), schemes), {
          numRuns: runs(250),
          seed: 5
        })) {
          for (const way of ways) yield* refuses(way, mutated, scheme)
        }
      }
      // Signed with a secret that is the other's public key.
      yield* refuses(
        es,
        yield* sign({ sub: "root", exp: seconds + 60, iss: "us" }, "HS256", new TextEncoder().encode(pem)),
        "jwt"
      )
      for (const claims of [
        { exp: seconds + 60 },
        { sub: "", exp: seconds + 60 },
        { sub: "a" },
        { sub: "a", exp: seconds - 60 },
        { sub: "a", exp: 1e300, iss: "them" }
      ]) {
        yield* refuses(hs, yield* sign({ iss: "us", ...claims }), "jwt")
      }
      const peer = { transport: "memory", secure: true }
      for (const [way, token] of [
        [hs, good],
        [es, signed]
      ] as const) {
        expect((yield* way.authenticate({ scheme: "jwt", token: Redacted.make(token), peer })).id).toBe("alice")
      }
    })
  )

  it.effect("§6.1 a table of tokens knows its own only: not its keys' prototypes, and not what looks like them", () =>
    Effect.gen(function* () {
      const way = bearer({ "table-token": "bob", tökén: "carol" })
      const tokens = fc.oneof(
        fc.constantFrom(
          "__proto__",
          "constructor",
          "toString",
          "table-token ",
          "TABLE-TOKEN",
          "table-token\u0000",
          "to\u0308ke\u0301n",
          "x".repeat(100_000)
        ),
        fc.string({ unit: "binary", maxLength: 60 })
      )
      for (const [token, scheme] of fc.sample(fc.tuple(tokens, schemes), { numRuns: runs(200), seed: 6 })) {
        yield* refuses(way, token, scheme)
      }
    })
  )
})
