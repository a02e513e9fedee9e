import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { mkdtempSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import {
  anonymous,
  Authenticator,
  type AuthenticatorService,
  bearer,
  bearerWith,
  firstOf,
  samePrincipal
} from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { Ids, PrincipalId } from "../../src/protocol/index.js"

const peer = { transport: "memory", secure: true }
const ask = (way: AuthenticatorService, token?: string, scheme?: string) =>
  way.authenticate({ scheme, token: token === undefined ? undefined : Redacted.make(token), peer })

describe("bearer", () => {
  const way = bearer({
    "alice-token": "alice",
    "bob-token": { id: PrincipalId("bob"), anonymous: false, claims: { role: "x" } }
  })

  it.effect("§6.1 a token of the table names its principal; any other is UNAUTHENTICATED without a secret", () =>
    Effect.gen(function* () {
      expect((yield* ask(way, "alice-token")).id).toBe("alice")
      expect((yield* ask(way, "bob-token", "Bearer")).claims).toEqual({ role: "x" })
      for (const [token, scheme] of [["mallory-token"], [""], [undefined], ["alice-token", "basic"]] as const) {
        const error = yield* Effect.flip(ask(way, token, scheme))
        expect(error.code).toBe("UNAUTHENTICATED")
        expect(error.message).not.toContain("mallory")
      }
      expect(inspect(way, { depth: 9 })).not.toContain("alice-token")
    })
  )

  it.effect("a function of the program's decides; what it fails with is not told", () =>
    Effect.gen(function* () {
      const own = bearerWith((token) =>
        Redacted.value(token) === "open sesame"
          ? Effect.succeed("ali")
          : Effect.fail({ _tag: "DatabaseError", message: "database password is hunter2" })
      )
      expect((yield* ask(own, "open sesame")).id).toBe("ali")
      expect((yield* Effect.flip(ask(own, "no"))).message).not.toContain("hunter2")
    })
  )
})

describe("anonymous and composition", () => {
  it.effect("each anonymous session is a principal of its own, and a wrong token never becomes anonymous", () =>
    Effect.gen(function* () {
      const way = firstOf([bearer({ good: "alice" }), yield* anonymous])
      const a = yield* ask(way)
      const b = yield* ask(way)
      expect(a.anonymous && b.anonymous).toBe(true)
      expect(samePrincipal(a, b)).toBe(false)
      expect((yield* ask(way, "good")).id).toBe("alice")
      expect((yield* Effect.flip(ask(way, "wrong"))).code).toBe("UNAUTHENTICATED")
      expect((yield* Effect.flip(ask(way, "good", "basic"))).code).toBe("UNAUTHENTICATED")
    }).pipe(Effect.provide(Ids.layerSeeded(1)))
  )

  it.effect("layers", () =>
    Effect.gen(function* () {
      const build = (layer: Layer.Layer<Authenticator, unknown>) => Effect.provide(Authenticator, layer)
      expect((yield* ask(yield* build(Authenticator.layerBearer({ t: "p" })), "t")).id).toBe("p")
      expect((yield* ask(yield* build(Authenticator.layerAnonymous))).anonymous).toBe(true)
      const both = Authenticator.layerFirstOf([bearer({ t: "p" }), anonymous]).pipe(Layer.provide(Ids.layer))
      expect((yield* ask(yield* build(both))).anonymous).toBe(true)
    })
  )
})

describe("JWT", () => {
  const start = Date.UTC(2030, 0, 1)
  const seconds = start / 1000
  const sign = (alg: string, key: jose.CryptoKey | Uint8Array, claims: jose.JWTPayload = {}, header: object = {}) =>
    Effect.promise(() =>
      new jose.SignJWT({ sub: "alice", exp: seconds + 60, ...claims }).setProtectedHeader({ alg, ...header }).sign(key)
    )
  const at = TestClock.setTime(start)

  for (const algorithm of Jwt.algorithms) {
    it.effect(`${algorithm} verifies, and only with its own key`, () =>
      Effect.gen(function* () {
        yield* at
        if (algorithm.startsWith("HS")) {
          const secret = "s".repeat(64)
          const way = yield* Jwt.jwt({ keys: { secret: Redacted.make(secret) }, algorithms: [algorithm] })
          const good = yield* sign(algorithm, new TextEncoder().encode(secret))
          expect((yield* ask(way, good)).id).toBe("alice")
          const bad = yield* sign(algorithm, new TextEncoder().encode("t".repeat(64)))
          expect((yield* Effect.flip(ask(way, bad))).code).toBe("UNAUTHENTICATED")
          return
        }
        const pair = yield* Effect.promise(() => jose.generateKeyPair(algorithm, { extractable: true }))
        const other = yield* Effect.promise(() => jose.generateKeyPair(algorithm, { extractable: true }))
        const pem = yield* Effect.promise(() => jose.exportSPKI(pair.publicKey))
        const way = yield* Jwt.jwt({ keys: { publicKey: pem }, algorithms: [algorithm] })
        expect((yield* ask(way, yield* sign(algorithm, pair.privateKey))).id).toBe("alice")
        expect((yield* Effect.flip(ask(way, yield* sign(algorithm, other.privateKey)))).message).toContain("signature")
      })
    )
  }

  it.effect("neither `none` nor a public key used as a secret gets through", () =>
    Effect.gen(function* () {
      yield* at
      const pair = yield* Effect.promise(() => jose.generateKeyPair("RS256", { extractable: true }))
      const pem = yield* Effect.promise(() => jose.exportSPKI(pair.publicKey))
      const way = yield* Jwt.jwt({ keys: { publicKey: pem }, algorithms: ["RS256"] })
      const none = new jose.UnsecuredJWT({ sub: "alice", exp: seconds + 60 }).encode()
      expect((yield* Effect.flip(ask(way, none))).code).toBe("UNAUTHENTICATED")
      const confused = yield* sign("HS256", new TextEncoder().encode(pem))
      expect((yield* Effect.flip(ask(way, confused))).message).toContain("algorithm")
      expect((yield* Effect.flip(Jwt.jwt({ keys: { publicKey: pem }, algorithms: ["HS256"] })))._tag).toBe(
        "JwtKeyError"
      )
      expect(
        (yield* Effect.flip(Jwt.jwt({ keys: { secret: Redacted.make("short") }, algorithms: ["HS256"] })))._tag
      ).toBe("JwtKeyError")
      expect((yield* Effect.flip(Jwt.jwt({ keys: { publicKey: "no pem" }, algorithms: ["RS256"] })))._tag).toBe(
        "JwtKeyError"
      )
    })
  )

  it.effect("iss, aud, exp, nbf and sub are required as configured, by the Clock, within the tolerance", () =>
    Effect.gen(function* () {
      yield* at
      const secret = "s".repeat(32)
      const key = new TextEncoder().encode(secret)
      const way = yield* Jwt.jwt({
        keys: { secret: Redacted.make(secret) },
        algorithms: ["HS256"],
        issuer: "https://issuer",
        audience: ["arcp"],
        clockTolerance: "5 seconds"
      })
      const claims = { iss: "https://issuer", aud: "arcp" }
      const good = yield* sign("HS256", key, claims)
      expect((yield* ask(way, good)).claims).toMatchObject({ iss: "https://issuer" })
      for (const wrong of [
        { ...claims, iss: "https://other" },
        { ...claims, aud: "other" },
        { iss: "https://issuer" },
        { ...claims, sub: undefined },
        { ...claims, exp: undefined },
        { ...claims, exp: seconds - 6 },
        { ...claims, nbf: seconds + 6 }
      ]) {
        const error = yield* Effect.flip(ask(way, yield* sign("HS256", key, wrong as jose.JWTPayload)))
        expect(error.code).toBe("UNAUTHENTICATED")
        expect(error.message).not.toContain("alice")
      }
      expect((yield* ask(way, yield* sign("HS256", key, { ...claims, exp: seconds - 4 }))).id).toBe("alice")
      yield* TestClock.adjust("66 seconds")
      expect((yield* Effect.flip(ask(way, good))).message).toContain("expired")
    })
  )

  it.live("key sets: from a file and from a URL, by kid, with rotation", () =>
    Effect.gen(function* () {
      const make = (kid: string) =>
        Effect.promise(() =>
          jose
            .generateKeyPair("ES256", { extractable: true })
            .then((pair) =>
              jose.exportJWK(pair.publicKey).then((jwk) => ({ pair, jwk: { ...jwk, kid, alg: "ES256" } }))
            )
        )
      const one = yield* make("one")
      const two = yield* make("two")
      const token = (kid: string, key: jose.CryptoKey) =>
        sign("ES256", key, { exp: Math.floor(performance.timeOrigin / 1000) + 3600 }, { kid })
      const file = join(mkdtempSync(join(tmpdir(), "arcp-jwks-")), "jwks.json")
      writeFileSync(file, JSON.stringify({ keys: [one.jwk] }))
      const fromFile = yield* Jwt.jwt({ keys: { jwksFile: file }, algorithms: ["ES256"] })
      expect((yield* ask(fromFile, yield* token("one", one.pair.privateKey))).id).toBe("alice")
      expect((yield* Effect.flip(ask(fromFile, yield* token("two", two.pair.privateKey)))).message).toContain("no key")
      expect((yield* Effect.flip(Jwt.jwt({ keys: { jwksFile: `${file}.none` }, algorithms: ["ES256"] })))._tag).toBe(
        "JwtKeyError"
      )
      let keys = [one.jwk]
      let fetched = 0
      const server = createServer((_request, response) => {
        fetched++
        response.setHeader("content-type", "application/json")
        response.end(JSON.stringify({ keys }))
      })
      yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
      const { port } = server.address() as { port: number }
      const fromUrl = yield* Jwt.jwt({ keys: { jwksUrl: `http://127.0.0.1:${port}/` }, algorithms: ["ES256"] })
      expect((yield* ask(fromUrl, yield* token("one", one.pair.privateKey))).id).toBe("alice")
      expect((yield* ask(fromUrl, yield* token("one", one.pair.privateKey))).id).toBe("alice")
      expect(fetched).toBe(1)
      keys = [one.jwk, two.jwk]
      const rotated = yield* Jwt.jwt({ keys: { jwksUrl: `http://127.0.0.1:${port}/` }, algorithms: ["ES256"] })
      expect((yield* ask(rotated, yield* token("two", two.pair.privateKey))).id).toBe("alice")
      server.close()
    })
  )

  it.effect("an oversized token is refused unread; text that is no JWT is UNAUTHENTICATED", () =>
    Effect.gen(function* () {
      const way = yield* Jwt.jwt({ keys: { secret: Redacted.make("s".repeat(32)) }, algorithms: ["HS256"] })
      expect((yield* Effect.flip(ask(way, "a.b.".padEnd(20_000, "x")))).message).toContain("longer")
      expect((yield* Effect.flip(ask(way, "a.b.c"))).code).toBe("UNAUTHENTICATED")
      expect((yield* Effect.flip(ask(way)))._tag).toBe("Unauthenticated")
    })
  )
})
