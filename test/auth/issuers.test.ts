/** §6.1 JWTs of several issuers: whose key counts for whom, and who their principals are. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { Authenticator, type AuthenticatorService, bearer, bearerWith, firstOf } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { PrincipalId } from "../../src/protocol/index.js"

const peer = { transport: "memory", secure: true }
const ask = (way: AuthenticatorService, token: string, scheme?: string) =>
  way.authenticate({ scheme, token: Redacted.make(token), peer })
const refusal = (way: AuthenticatorService, token: string) =>
  Effect.map(Effect.flip(ask(way, token)), (error) => {
    expect(error).toMatchObject({ code: "UNAUTHENTICATED", retryable: false })
    return error.message
  })

const start = Date.UTC(2030, 0, 1)
const at = TestClock.setTime(start)
const [a, b] = ["https://a.example", "https://b.example"]
const secretOf = (name: string) => name.repeat(32)
const secret = (name: string) => ({ secret: Redacted.make(secretOf(name)) })
const sign = (claims: jose.JWTPayload, by: string, header: object = {}) =>
  Effect.promise(() =>
    new jose.SignJWT({ sub: "alice", exp: start / 1000 + 60, ...claims })
      .setProtectedHeader({ alg: "HS256", ...header })
      .sign(new TextEncoder().encode(secretOf(by)))
  )

const one = (issuer: string | undefined, by: string) =>
  Jwt.jwt({ keys: secret(by), algorithms: ["HS256"], ...(issuer === undefined ? {} : { issuer }) })
const both = Jwt.jwt({
  issuers: [
    { issuer: a, keys: secret("a") },
    { issuer: b, keys: secret("b") }
  ],
  algorithms: ["HS256"]
})

/** The ways in which a program can take tokens of A and B. */
const compositions: ReadonlyArray<readonly [string, Effect.Effect<AuthenticatorService, Jwt.JwtKeyError>]> = [
  ["one way", both],
  ["one way, in a composition", Effect.map(both, (way) => firstOf([way]))],
  ["two ways", Effect.map(Effect.all([one(a, "a"), one(b, "b")]), firstOf)],
  [
    "two ways beside a table",
    Effect.map(Effect.all([one(a, "a"), one(b, "b")]), (ways) => firstOf([bearer({ t: "carol" }), ...ways]))
  ],
  [
    "a composition of compositions",
    Effect.map(Effect.all([one(a, "a"), one(b, "b")]), ([x, y]) => firstOf([firstOf([x]), firstOf([firstOf([y])])]))
  ]
]

describe.each(compositions)("tokens of two issuers: %s", (_name, make) => {
  it.effect("§6.1 one subject of both is two principals, each with its own claims and expiry", () =>
    Effect.gen(function* () {
      yield* at
      const way = yield* make
      for (const [issuer, by] of [
        [a, "a"],
        [b, "b"]
      ] as const) {
        const principal = yield* ask(way, yield* sign({ iss: issuer }, by))
        expect(principal).toMatchObject({ id: `${issuer}|alice`, anonymous: false, claims: { iss: issuer } })
        expect(principal.expiresAt).toBe(start + 90_000)
      }
    })
  )

  it.effect("§6.1 the key of one counts for no token that claims the other, and neither for a third or none", () =>
    Effect.gen(function* () {
      yield* at
      const way = yield* make
      for (const [claims, by] of [
        [{ iss: a }, "b"],
        [{ iss: b }, "a"],
        [{ iss: "https://c.example" }, "a"],
        [{ iss: "" }, "a"],
        [{ iss: `${a}/` }, "a"],
        [{ iss: a, sub: "" }, "a"],
        [{}, "b"]
      ] as const) {
        expect(yield* refusal(way, yield* sign(claims, by))).not.toContain("alice")
      }
    })
  )
})

describe("one issuer", () => {
  it.effect("§6.1 names its principals by their subject alone, whatever stands beside it", () =>
    Effect.gen(function* () {
      yield* at
      const token = yield* sign({ iss: a }, "a")
      const listed = yield* Jwt.jwt({ issuers: [{ issuer: a, keys: secret("a"), algorithms: ["HS256"] }] })
      const inList = yield* Jwt.jwt({ keys: secret("a"), algorithms: ["HS256"], issuer: [a, a] })
      for (const way of [yield* one(a, "a"), yield* one(undefined, "a"), listed, inList]) {
        for (const whole of [way, firstOf([way]), firstOf([bearer({ t: "bob" }), firstOf([way])])]) {
          expect((yield* ask(whole, token)).id).toBe("alice")
        }
      }
    })
  )
})

describe("the options of several issuers", () => {
  const keyError = (options: unknown) =>
    Effect.map(Effect.flip(Jwt.jwt(options as Jwt.JwtOptions)), (error) => {
      expect(error).toBeInstanceOf(Jwt.JwtKeyError)
      return error.message
    })
  const common = { algorithms: ["HS256"] }

  it.effect("§6.1 refuse one set of keys for several issuers, and say what to do", () =>
    Effect.gen(function* () {
      for (const keys of [secret("a"), { jwksUrl: "https://a.example/keys" }, { jwks: { keys: [] } }]) {
        expect(yield* keyError({ keys, algorithms: ["ES256"], issuer: [a, b] })).toContain(
          "issuers: [{ issuer, keys }]"
        )
      }
    })
  )

  it.effect("§6.1 refuse names that are none or cannot be told apart, and keys that are nobody's", () =>
    Effect.gen(function* () {
      const wrong: ReadonlyArray<readonly [object, string]> = [
        [{ issuers: [] }, "at least one"],
        [{ issuers: [{ issuer: "", keys: secret("a") }] }, "without a name"],
        [{ issuers: [a, a].map((issuer) => ({ issuer, keys: secret("a") })) }, "named twice"],
        [{ issuers: [a, "b|c"].map((issuer) => ({ issuer, keys: secret("a") })) }, '"|"'],
        [{ issuers: [{ issuer: a, keys: secret("a") }], keys: secret("b") }, "either issuers"],
        [{ issuers: [{ issuer: a, keys: secret("a") }], issuer: a }, "either issuers"],
        [{ issuers: [{ issuer: a, keys: secret("a"), algorithms: [] }] }, "algorithm"],
        [{ issuers: [{ issuer: a, keys: secret("a"), audience: "" }] }, "audience"],
        // jose would take these for no condition at all.
        [{ keys: secret("a"), issuer: "" }, "issuer"],
        [{ keys: secret("a"), issuer: [] }, "issuer"],
        [{ keys: secret("a"), audience: "" }, "audience"],
        [{ keys: { ...secret("a"), kid: "" } }, "kid"]
      ]
      for (const [options, text] of wrong) expect(yield* keyError({ ...common, ...options })).toContain(text)
    })
  )

  it.effect("§6.1 give each issuer its algorithms and audience, or those of all", () =>
    Effect.gen(function* () {
      yield* at
      const way = yield* Jwt.jwt({
        issuers: [
          { issuer: a, keys: secret("a") },
          { issuer: b, keys: { secret: Redacted.make(secretOf("bb")) }, algorithms: ["HS512"], audience: "b-arcp" }
        ],
        algorithms: ["HS256"],
        audience: "arcp"
      })
      const hs512 = { alg: "HS512" }
      expect((yield* ask(way, yield* sign({ iss: a, aud: "arcp" }, "a"))).id).toBe(`${a}|alice`)
      expect((yield* ask(way, yield* sign({ iss: b, aud: "b-arcp" }, "bb", hs512))).id).toBe(`${b}|alice`)
      expect(yield* refusal(way, yield* sign({ iss: b, aud: "b-arcp" }, "bb"))).toContain("algorithm")
      expect(yield* refusal(way, yield* sign({ iss: b, aud: "arcp" }, "bb", hs512))).toContain("aud")
      expect(yield* refusal(way, yield* sign({ iss: a, aud: "b-arcp" }, "a"))).toContain("aud")
    })
  )

  it.effect("§6.1 leave an id to the program's own function, also among several", () =>
    Effect.gen(function* () {
      yield* at
      const way = yield* Jwt.jwt({
        issuers: [
          { issuer: a, keys: secret("a") },
          { issuer: b, keys: secret("b") }
        ],
        algorithms: ["HS256"],
        principal: ({ iss, sub }) => ({
          id: PrincipalId(`${iss === a ? "a" : "b"}:${sub}`),
          anonymous: false,
          claims: {}
        })
      })
      for (const whole of [way, firstOf([way])]) {
        expect((yield* ask(whole, yield* sign({ iss: b }, "b"))).id).toBe("b:alice")
      }
    })
  )
})

describe("issuers of several ways", () => {
  const twice = (ways: ReadonlyArray<AuthenticatorService>) => () => firstOf(ways)

  it.effect("§6.1 that clash are refused when the composition is made, nested ones too", () =>
    Effect.gen(function* () {
      const [ofA, ofB, any, again] = yield* Effect.all([one(a, "a"), one(b, "b"), one(undefined, "c"), one(a, "c")])
      const pipe = yield* one("b|c", "c")
      for (const ways of [
        [ofA, again],
        [ofA, bearer({ t: "x" }), firstOf([ofB, again])],
        [yield* both, ofB]
      ]) {
        expect(twice(ways)).toThrow(RangeError)
        expect(twice(ways)).toThrow(/named twice.*name it once/)
      }
      for (const ways of [
        [any, ofA],
        [firstOf([ofB, ofA]), firstOf([any])]
      ]) {
        expect(twice(ways)).toThrow(/any issuer.*name its issuer/)
      }
      expect(twice([pipe, ofA])).toThrow(/"\|"/)
      // Alone its subjects need no prefix.
      expect(firstOf([pipe, bearer({ t: "x" })]).authorities).toEqual(["b|c"])
      const layer = Authenticator.layerFirstOf([one(a, "a"), one(a, "c")])
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      expect(Exit.isFailure(exit) && Cause.isDieType(exit.cause) && exit.cause.defect).toBeInstanceOf(RangeError)
    })
  )

  it.effect("§6.1 a way of the program's own names its authority, and is told apart by it", () =>
    Effect.gen(function* () {
      yield* at
      const principal = { id: PrincipalId("alice"), anonymous: false, claims: {} }
      const own: AuthenticatorService = {
        authorities: ["directory"],
        judge: ({ token }) =>
          Effect.succeed(
            token !== undefined && Redacted.value(token) === "opaque"
              ? { _tag: "Accepted", principal, authority: "directory" }
              : { _tag: "NotMine" }
          ),
        authenticate: () => Effect.succeed(principal)
      }
      const way = firstOf([own, yield* one(a, "a")])
      expect((yield* ask(way, "opaque")).id).toBe("directory|alice")
      expect((yield* ask(way, yield* sign({ iss: a }, "a"))).id).toBe(`${a}|alice`)
      expect((yield* ask(firstOf([own]), "opaque")).id).toBe("alice")
    })
  )

  it.effect("§6.1 a subject cannot make the id of another issuer's principal, nor one that is too long", () =>
    Effect.gen(function* () {
      yield* at
      const ways = yield* Effect.all([one(a, "a"), one(b, "b")])
      for (const way of [firstOf(ways), yield* both]) {
        expect((yield* ask(way, yield* sign({ iss: b, sub: `${a}|alice` }, "b"))).id).toBe(`${b}|${a}|alice`)
        const longest = 1_024 - a.length - 1
        expect((yield* ask(way, yield* sign({ iss: a, sub: "x".repeat(longest) }, "a"))).id.length).toBe(1_024)
        yield* refusal(way, yield* sign({ iss: a, sub: "x".repeat(longest + 1) }, "a"))
        yield* refusal(way, yield* sign({ iss: a, sub: "Anonymous:1" }, "a"))
      }
    })
  )
})

describe("the name of a key", () => {
  const key = (kid?: string) =>
    Effect.promise(async () => {
      const { privateKey, publicKey } = await jose.generateKeyPair("ES256", { extractable: true })
      const jwk = { ...(await jose.exportJWK(publicKey)), alg: "ES256", ...(kid === undefined ? {} : { kid }) }
      return { privateKey, jwk, pem: await jose.exportSPKI(publicKey) }
    })
  const signed = ({ privateKey }: { readonly privateKey: jose.CryptoKey }, kid?: unknown) =>
    Effect.promise(() =>
      new jose.SignJWT({ sub: "alice", exp: start / 1000 + 60 })
        .setProtectedHeader({ alg: "ES256", ...(kid === undefined ? {} : { kid: kid as string }) })
        .sign(privateKey)
    )

  it.effect("§6.1 of a token is the only key that verifies it, in a set and of a single key", () =>
    Effect.gen(function* () {
      yield* at
      const [x, y] = [yield* key("x"), yield* key("y")]
      const set = yield* Jwt.jwt({ keys: { jwks: { keys: [x.jwk, y.jwk] } }, algorithms: ["ES256"] })
      const pem = yield* Jwt.jwt({ keys: { publicKey: x.pem, kid: "x" }, algorithms: ["ES256"] })
      for (const way of [set, pem]) {
        expect((yield* ask(way, yield* signed(x, "x"))).id).toBe("alice")
        expect(yield* refusal(way, yield* signed(x, "z"))).toContain("no key")
        yield* refusal(way, yield* signed(y, "x"))
        yield* refusal(way, yield* signed(x, "y"))
        for (const kid of [1, null, ["x"], { x: 1 }]) yield* refusal(way, yield* signed(x, kid))
      }
      // A token that names none goes with the single key, and with none of several that would fit.
      expect((yield* ask(pem, yield* signed(x))).id).toBe("alice")
      yield* refusal(set, yield* signed(x))
      const unnamed = yield* key()
      const oneUnnamed = yield* Jwt.jwt({ keys: { jwks: { keys: [unnamed.jwk] } }, algorithms: ["ES256"] })
      yield* refusal(oneUnnamed, yield* signed(unnamed, "x"))
    })
  )

  it.effect("§6.1 of a shared secret counts too; a single key without a name verifies tokens of any", () =>
    Effect.gen(function* () {
      yield* at
      const named = yield* Jwt.jwt({ keys: { ...secret("a"), kid: "2030" }, algorithms: ["HS256"] })
      expect((yield* ask(named, yield* sign({}, "a", { kid: "2030" }))).id).toBe("alice")
      expect(yield* refusal(named, yield* sign({}, "a", { kid: "2029" }))).toContain("no key")
      const unnamed = yield* one(undefined, "a")
      expect((yield* ask(unnamed, yield* sign({}, "a", { kid: "2029" }))).id).toBe("alice")
      yield* refusal(unnamed, yield* sign({}, "a", { kid: 2029 }))
    })
  )
})

it.effect("§6.1 among several ways the refusal of a principal's id has the one text too", () =>
  Effect.gen(function* () {
    yield* at
    const way = firstOf([bearerWith((token) => Effect.succeed(Redacted.value(token) === "t" ? "\u200b" : undefined))])
    const unknown = yield* refusal(way, "u")
    expect(yield* refusal(way, "t")).toBe(unknown)
  })
)
