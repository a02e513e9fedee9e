/** What anonymous principals are granted, and who is warned of it. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer, Logger, Redacted } from "effect"
import { PrincipalId } from "../../src/protocol/index.js"
import { Lease } from "../../src/authority/index.js"
import { anonymous, Authenticator, type AuthenticatorService, bearer, firstOf } from "../../src/auth/index.js"
import { Ids } from "../../src/protocol/Ids.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { allFeatures, hello, submit } from "./peer.js"
import { world } from "./world.js"

/** Collects the warnings, as a reader of the log sees them. */
const warnings = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel.label === "WARN") lines.push(String(message))
  })
  return { lines, layer: Logger.add(logger) }
}

const everything = {
  "fs.read": ["/data/**"],
  "fs.write": ["/out/**"],
  "net.fetch": ["https://**"],
  "tool.call": ["mcp:github/*"],
  "agent.delegate": ["**"],
  "model.use": ["**"],
  "cost.budget": ["USD:1.00"],
  "x-vendor.acme.deploy": ["**"]
}

const granted = (token: string) =>
  Effect.gen(function* () {
    const peer = yield* hello({ token, features: allFeatures })
    return (yield* submit(peer, "echo", 1, { lease_request: everything })).payload["lease"] as Record<string, unknown>
  })

/** The capabilities that allow something; a budget only limits. */
const allows = (lease: Readonly<Record<string, unknown>>) =>
  Object.keys(lease).filter((name) => name !== "cost.budget" && (lease[name] as ReadonlyArray<string>).length > 0)

const composed = Effect.map(anonymous, (way) => firstOf([bearer({ "alice-token": "alice" }), way]))

const layerOf = (way: Effect.Effect<AuthenticatorService, never, Ids>) =>
  Layer.provide(Layer.effect(Authenticator, way), Ids.layer)

/** How an anonymous principal may be admitted: the layer, and the token that it presents. */
const ways: ReadonlyArray<readonly [string, Layer.Layer<Authenticator>, string]> = [
  ["anonymous alone", Authenticator.layerAnonymous, ""],
  ["composed with tokens", layerOf(composed), ""],
  ["in a composition of compositions", layerOf(Effect.map(composed, (way) => firstOf([way]))), ""],
  [
    "a token for an anonymous principal",
    Authenticator.layerBearer({ guest: { id: PrincipalId("guest"), anonymous: true, claims: {} } }),
    "guest"
  ]
]

/** An authenticator of one's own, which does not declare whom it admits. */
const undeclared: AuthenticatorService = {
  authenticate: ({ token }) =>
    Effect.succeed(
      token === undefined || Redacted.value(token) === ""
        ? { id: PrincipalId("nobody"), anonymous: true, claims: {} }
        : { id: PrincipalId("alice"), anonymous: false, claims: {} }
    )
}

describe("§14 anonymous access without a policy", () => {
  it.scoped.each(ways)("%s: the runtime warns at its start, once, and says what to provide", ([, auth, token]) => {
    const { layer, lines } = warnings()
    return Effect.gen(function* () {
      expect(lines).toEqual([expect.stringContaining("LeasePolicy.layer({ allowed })")])
      yield* hello({ token })
      yield* hello({ token })
      expect(lines).toHaveLength(1)
    }).pipe(Effect.provide(Layer.provide(world({ auth }), layer)))
  })

  it.scoped.each(ways)("%s: an anonymous principal is granted tool.call only, and told so", ([, auth, token]) =>
    Effect.gen(function* () {
      const lease = yield* granted(token)
      expect(allows(lease)).toEqual(["tool.call"])
      expect(lease["tool.call"]).toEqual(everything["tool.call"])
      // A budget only limits: without it, charges would be free.
      expect(lease["cost.budget"]).toEqual(["USD:1.00"])
    }).pipe(Effect.provide(world({ auth })))
  )

  it.scoped("an authenticator that declares nothing: the runtime warns at the first anonymous principal, once", () => {
    const { layer, lines } = warnings()
    return Effect.gen(function* () {
      expect(Object.keys(yield* granted("alice-token"))).toEqual(Object.keys(everything))
      expect(lines).toEqual([])
      expect(allows(yield* granted(""))).toEqual(["tool.call"])
      yield* granted("")
      expect(lines.filter((line) => line.includes("anonymous"))).toHaveLength(1)
    }).pipe(Effect.provide(Layer.provide(world({ auth: Layer.succeed(Authenticator, undeclared) }), layer)))
  })

  it.scoped("beside it, a principal that presented a token is granted what it asked for", () =>
    Effect.gen(function* () {
      expect(yield* granted("alice-token")).toEqual(everything)
    }).pipe(Effect.provide(world({ auth: layerOf(composed) })))
  )

  it.scoped("a policy that decides other things alone leaves this as it is", () => {
    const { layer, lines } = warnings()
    return Effect.gen(function* () {
      expect(lines).toHaveLength(1)
      expect(allows(yield* granted(""))).toEqual(["tool.call"])
    }).pipe(
      Effect.provide(
        world({ auth: Authenticator.layerAnonymous }).pipe(
          Layer.provide(LeasePolicy.layer({ exhaustion: "fatal" })),
          Layer.provide(layer)
        )
      )
    )
  })
})

describe("§14 no warning", () => {
  const quiet: ReadonlyArray<readonly [string, Layer.Layer<Authenticator>, Layer.Layer<never>, string]> = [
    [
      "where everybody presents a token",
      Authenticator.layerBearer({ "alice-token": "alice" }),
      Layer.empty,
      "alice-token"
    ],
    ["where a policy decides", Authenticator.layerAnonymous, LeasePolicy.layer({ allowed: () => undefined }), ""],
    [
      "where a composition is of tokens",
      Layer.succeed(Authenticator, firstOf([bearer({ t: "alice" })])),
      Layer.empty,
      "t"
    ]
  ]

  it.scoped.each(quiet)("%s, and all is granted", ([, auth, policy, token]) => {
    const { layer, lines } = warnings()
    return Effect.gen(function* () {
      expect(yield* granted(token)).toEqual(everything)
      expect(lines).toEqual([])
    }).pipe(Effect.provide(world({ auth }).pipe(Layer.provide(policy), Layer.provide(layer))))
  })

  it.scoped("a policy decides for anonymous principals", () =>
    Effect.gen(function* () {
      expect(allows(yield* granted(""))).toEqual(["fs.read"])
    }).pipe(
      Effect.provide(
        Layer.provide(
          world({ auth: Authenticator.layerAnonymous }),
          LeasePolicy.layer({
            allowed: ({ anonymous }) =>
              anonymous ? Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"] })) : undefined
          })
        )
      )
    )
  )
})
