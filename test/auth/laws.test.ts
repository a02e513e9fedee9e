/** Every authenticator of this package keeps the laws of authenticators. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { createHmac } from "node:crypto"
import { anonymous, Authenticator, bearer, bearerWith } from "../../src/auth/index.js"
import { Jwt } from "../../src/auth/jwt.js"
import { Ids, PrincipalId } from "../../src/protocol/index.js"
import { type AuthenticatorLawOptions, authenticatorLaws } from "../../src/testing/index.js"

const secret = "s".repeat(32)

const jwt = (claims: object, by = secret, alg = "HS256"): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const text = `${part({ alg, typ: "JWT" })}.${part(claims)}`
  return `${text}.${createHmac("sha256", by).update(text).digest("base64url")}`
}

// far from now, whatever the clock of the test
const later = 32_503_680_000
const claims = { sub: "alice", iss: "https://us", exp: later }
const good = jwt(claims)
const badJwts = [
  jwt(claims, "t".repeat(32)),
  jwt({ ...claims, exp: 1 }),
  jwt({ ...claims, iss: "https://them" }),
  jwt({ ...claims, sub: undefined }),
  jwt(claims, secret, "none"),
  good.split(".").slice(0, 2).join("."),
  `${good.split(".")[0]}.${jwt({ ...claims, sub: "bob" }).split(".")[1]}.${good.split(".")[2]}`
].map((token) => ({ token }))

const hs256 = Jwt.jwt({
  keys: { secret: Redacted.make(secret) },
  algorithms: ["HS256"],
  issuer: "https://us"
})

const table = bearer({
  "alice-token": "alice",
  "bob-token": { id: PrincipalId("bob"), anonymous: false, claims: { role: "x" } }
})
const inTable = [
  { token: "alice-token", principal: "alice" },
  { token: "bob-token", scheme: "Bearer", principal: "bob" }
] as const

const ways: ReadonlyArray<readonly [string, Layer.Layer<Authenticator, unknown>, AuthenticatorLawOptions]> = [
  ["a table of bearer tokens", Layer.succeed(Authenticator, table), { accepted: inTable }],
  [
    "a function of the program's",
    Authenticator.layerBearerWith((token) =>
      Redacted.value(token) === "open sesame" ? Effect.succeed("ali") : Effect.fail("no")
    ),
    { accepted: [{ token: "open sesame", principal: "ali" }] }
  ],
  [
    "signed JWTs",
    Layer.effect(Authenticator, hs256),
    { accepted: [{ token: good, principal: "alice" }], refused: badJwts }
  ],
  ["anonymous access", Authenticator.layerAnonymous, { accepted: [{}, { token: "" }], everyone: true }],
  [
    "a table, JWTs and anonymous access",
    Layer.provide(Authenticator.layerFirstOf([table, hs256, anonymous]), Ids.layer),
    { accepted: [...inTable, { token: good, principal: "alice" }, {}], refused: badJwts }
  ],
  [
    "a composition of compositions",
    Authenticator.layerFirstOf([
      table,
      bearerWith((token) => Effect.succeed(Redacted.value(token) === "t-3" ? "carol" : undefined))
    ]),
    { accepted: [...inTable, { token: "t-3", principal: "carol" }] }
  ]
]

describe.each(ways)("%s", (_name, layer, options) => {
  for (const law of authenticatorLaws(layer, options)) it.scopedLive(law.name, () => law.check)
})
