import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Amount from "../../src/authority/Amount.js"
import * as Canonical from "../../src/authority/Canonical.js"
import * as Delegated from "../../src/authority/Delegated.js"
import * as Lease from "../../src/authority/Lease.js"
import type { WireLease } from "../../src/protocol/Fields.js"
import { runs } from "../support/properties.js"

const compile = (wire: WireLease, expires?: string) =>
  Either.getOrThrow(Lease.compile(wire, expires === undefined ? undefined : { expires_at: expires }))

const amounts = (...texts: ReadonlyArray<string>) => Either.getOrThrow(Amount.parseAll(texts))

const violation = (child: Lease.Lease, parent: Lease.Lease, options?: Delegated.SubsetOptions) => {
  const result = Delegated.isSubset(child, parent, options)
  if (Either.isRight(result)) return undefined
  expect(result.left.code).toBe("LEASE_SUBSET_VIOLATION")
  expect(result.left.retryable).toBe(false)
  return { message: result.left.message, ...result.left.details }
}

describe("Delegated.isSubset", () => {
  const parent = compile(
    {
      "fs.read": ["/workspace/myapp/**"],
      "fs.write": ["/workspace/myapp/src/auth/**"],
      "tool.call": ["search.*", "mcp:github/*"],
      "agent.delegate": ["test-runner", "lint-*"],
      "model.use": ["tier-fast/*"],
      "cost.budget": ["USD:5.00"]
    },
    "2026-05-13T20:00:00Z"
  )

  it("§9.4 a lease contains itself, and what is less", () => {
    expect(violation(parent, parent)).toBeUndefined()
    expect(violation(compile({ "cost.budget": ["USD:0"] }), parent)).toBeUndefined()
    expect(
      violation(
        compile(
          {
            "fs.read": ["/workspace/myapp/src/*.ts", "/workspace/myapp"],
            "tool.call": ["search.web"],
            "agent.delegate": ["test-runner@1.2.0", "lint-js"],
            "model.use": ["tier-fast/small"],
            "cost.budget": ["USD:4.999"]
          },
          "2026-05-13T19:00:00Z"
        ),
        parent
      )
    ).toBeUndefined()
    expect(violation(Lease.emptyLease, Lease.emptyLease)).toBeUndefined()
    expect(violation(Lease.emptyLease, compile({ "fs.read": ["/**"] }))).toBeUndefined()
  })

  it.each<[string, WireLease, string, string]>([
    ["a capability that the parent lacks", { "net.fetch": ["https://h/"] }, "capability", "net.fetch"],
    [
      "the 1.0 figure's write outside the tree",
      { "fs.write": ["/workspace/myapp/test-output/**"] },
      "pattern",
      "fs.write"
    ],
    ["a wider path", { "fs.read": ["/workspace/**"] }, "pattern", "fs.read"],
    ["a sibling with the same start", { "fs.read": ["/workspace/myapp2/**"] }, "pattern", "fs.read"],
    ["one pattern too many", { "fs.read": ["/workspace/myapp/a", "/etc/passwd"] }, "pattern", "fs.read"],
    ["wider models", { "model.use": ["**"] }, "pattern", "model.use"],
    ["a deeper model", { "model.use": ["tier-fast/*-preview/*"] }, "pattern", "model.use"],
    ["wider tools", { "tool.call": ["search.**"] }, "pattern", "tool.call"],
    ["wider agents", { "agent.delegate": ["*"] }, "pattern", "agent.delegate"],
    ["more money", { "cost.budget": ["USD:5.000000000000000000001"] }, "budget", "cost.budget"],
    ["other money", { "cost.budget": ["USD:1", "EUR:1"] }, "capability", "cost.budget"],
    ["money in other case", { "cost.budget": ["usd:1"] }, "capability", "cost.budget"]
  ])("§9.4 %s is refused", (_, wire, reason, capability) => {
    const child = compile({ "cost.budget": ["USD:1"], ...wire })
    expect(violation(child, parent)).toMatchObject({ reason, capability })
  })

  it("§9.4 the refusal names the pattern and a text that only the child covers", () => {
    const found = violation(compile({ "fs.read": ["/data/**"] }), compile({ "fs.read": ["/data/*"] }))
    expect(found).toEqual({
      message: 'lease_request.fs.read: "/data/**" reaches further than the parent\'s lease, to "/data"',
      reason: "pattern",
      capability: "fs.read",
      pattern: "/data/**",
      witness: "/data"
    })
  })

  it("§9.4 a child without a budget, or without one in each currency, is refused under a parent with one", () => {
    expect(violation(compile({ "fs.read": ["/workspace/myapp/a"] }), parent)).toMatchObject({
      reason: "budget_missing"
    })
    const two = compile({ "cost.budget": ["USD:5", "credits:10"] })
    expect(violation(compile({ "cost.budget": ["USD:1"] }), two)).toMatchObject({
      reason: "budget_missing",
      currency: "credits"
    })
    expect(violation(compile({ "cost.budget": ["USD:1"] }), compile({}))).toMatchObject({ reason: "capability" })
  })

  it("§9.4 what counts is the parent's remaining budget", () => {
    const remaining = amounts("USD:2.00")
    expect(violation(compile({ "cost.budget": ["USD:2.00"] }), parent, { remaining })).toBeUndefined()
    expect(violation(compile({ "cost.budget": ["USD:2.01"] }), parent, { remaining })).toMatchObject({
      message: "lease_request.cost.budget: USD:2.01 exceeds the 2 that remain",
      reason: "budget",
      currency: "USD",
      remaining: 2
    })
    const overspent = new Map([["USD", Amount.subtract(Amount.zero, Either.getOrThrow(Amount.decimal("0.12")))]])
    expect(violation(compile({ "cost.budget": ["USD:0"] }), parent, { remaining: overspent })).toMatchObject({
      reason: "budget"
    })
    // a counter that is missing holds nothing
    expect(violation(compile({ "cost.budget": ["USD:1"] }), parent, { remaining: new Map() })).toMatchObject({
      reason: "budget"
    })
  })

  it("§9.4 a later expiry is refused, an earlier or absent one is not", () => {
    const wire = { "cost.budget": ["USD:1"] }
    expect(violation(compile(wire, "2026-05-13T20:00:00.001Z"), parent)).toMatchObject({ reason: "expiry" })
    expect(violation(compile(wire, "2026-05-13T20:00:00Z"), parent)).toBeUndefined()
    expect(violation(compile(wire, "2026-05-13T19:59:59Z"), parent)).toBeUndefined()
    expect(violation(compile(wire), parent)).toBeUndefined()
    expect(violation(compile({}, "2026-05-13T20:00:00Z"), Lease.emptyLease)).toBeUndefined()
  })

  it("1.0 §9.4 what cannot be proven is refused", () => {
    const child = compile({ "fs.read": [`/${"**a".repeat(300)}`] })
    expect(violation(child, compile({ "fs.read": [`/${"**aa".repeat(150)}`] }))).toMatchObject({
      reason: "too_complex"
    })
    const small = compile({ "fs.read": ["/a/**/b"] })
    expect(violation(small, compile({ "fs.read": ["/a/**"] }), { maxWork: 1 })).toMatchObject({ reason: "too_complex" })
  })
})

describe("Delegated.inherit", () => {
  it("§9.4 the child expires with its parent at the latest", () => {
    const parent = compile({}, "2026-05-13T20:00:00Z")
    const heir = Delegated.inherit(compile({ "fs.read": ["/a"] }), parent)
    expect(Lease.toWire(heir)).toEqual({
      lease: { "fs.read": ["/a"] },
      lease_constraints: { expires_at: "2026-05-13T20:00:00Z" }
    })
    expect(heir.expiresAt).toBe(parent.expiresAt)
    const sooner = compile({}, "2026-05-13T19:00:00Z")
    expect(Delegated.inherit(sooner, parent).constraints).toEqual({ expires_at: "2026-05-13T19:00:00Z" })
    expect(Delegated.inherit(sooner, Lease.emptyLease).expiresAt).toBe(sooner.expiresAt)
    expect(Delegated.inherit(parent, sooner).expiresAt).toBe(sooner.expiresAt)
  })

  it("§9.7 a child that asks for no models has none where the parent's are limited", () => {
    const parent = compile({ "model.use": ["tier-fast/*"] })
    const heir = Delegated.inherit(compile({ "cost.budget": ["USD:1"] }), parent)
    expect(Lease.toWire(heir).lease).toEqual({ "cost.budget": ["USD:1"], "model.use": [] })
    const target = Either.getOrThrow(Canonical.name("tier-fast/a"))
    expect(Lease.authorize(heir, "model.use", target)).toMatchObject({ _tag: "Denied", reason: "pattern" })
    // where nobody limits models, policy decides
    expect(Lease.names(Delegated.inherit(compile({}), compile({})), "model.use")).toBe(false)
  })
})

describe("Delegated.withRemaining", () => {
  it("§10 what is handed over is what is left, never more than was granted and never less than nothing", () => {
    const lease = compile(
      { "fs.read": ["/a"], "cost.budget": ["USD:5.00", "EUR:1", "credits:3"] },
      "2999-01-01T00:00:00Z"
    )
    const remaining = new Map([
      ["USD", Either.getOrThrow(Amount.decimal("1.25"))],
      ["EUR", Amount.subtract(Amount.zero, Either.getOrThrow(Amount.decimal("1")))],
      ["credits", Either.getOrThrow(Amount.decimal("9"))]
    ])
    const handed = Delegated.withRemaining(lease, remaining)
    expect(Lease.toWire(handed)).toEqual({
      lease: { "fs.read": ["/a"], "cost.budget": ["USD:1.25", "EUR:0", "credits:3"] },
      lease_constraints: { expires_at: "2999-01-01T00:00:00Z" }
    })
    expect(violation(handed, lease)).toBeUndefined()
  })
})

describe("Delegated.narrow", () => {
  const narrowed = (requested: WireLease, allowed: WireLease) =>
    Lease.toWire(Delegated.narrow(compile(requested), compile(allowed))).lease

  it.each<[WireLease, WireLease, WireLease]>([
    [{ "fs.read": ["/a/x"] }, { "fs.read": ["/a/**"] }, { "fs.read": ["/a/x"] }],
    [{ "fs.read": ["/**"] }, { "fs.read": ["/a/**", "/b"] }, { "fs.read": ["/a/**", "/b"] }],
    [{ "fs.read": ["/a/x", "/**"] }, { "fs.read": ["/a/**"] }, { "fs.read": ["/a/x", "/a/**"] }],
    [{ "fs.read": ["/a*/b"] }, { "fs.read": ["/*a/b"] }, { "fs.read": [] }],
    [{ "fs.read": ["/a"], "fs.write": ["/a"] }, { "fs.read": ["/**"] }, { "fs.read": ["/a"] }],
    [{ "tool.call": ["x"] }, {}, {}],
    [{ "cost.budget": ["USD:5.00"] }, { "cost.budget": ["USD:2"] }, { "cost.budget": ["USD:2"] }],
    [{ "cost.budget": ["USD:1.00"] }, { "cost.budget": ["USD:2"] }, { "cost.budget": ["USD:1.00"] }],
    [{}, { "cost.budget": ["USD:2"] }, { "cost.budget": ["USD:2"] }],
    [{ "cost.budget": ["EUR:1"] }, { "cost.budget": ["USD:2"] }, { "cost.budget": ["EUR:1", "USD:2"] }],
    [{ "cost.budget": ["usd:9"] }, { "cost.budget": ["USD:2"] }, { "cost.budget": ["USD:2"] }],
    [{}, { "model.use": ["a"] }, { "model.use": [] }],
    [{ "model.use": ["a"] }, {}, { "model.use": [] }],
    [{ "model.use": ["**"] }, { "model.use": ["a"] }, { "model.use": ["a"] }]
  ])("§9 %j under a policy of %j is %j", (requested, allowed, expected) => {
    expect(narrowed(requested, allowed)).toEqual(expected)
  })

  it("§9.5 the earlier expiry counts", () => {
    const early = compile({}, "2026-01-01T00:00:00Z")
    const late = compile({}, "2027-01-01T00:00:00Z")
    for (const [a, b] of [
      [early, late],
      [late, early],
      [early, Lease.emptyLease],
      [Lease.emptyLease, early]
    ] as const) {
      expect(Delegated.narrow(a, b).expiresAt).toBe(early.expiresAt)
      expect(Delegated.narrow(a, b).constraints).toEqual({ expires_at: "2026-01-01T00:00:00Z" })
    }
  })

  it("§9 narrowing never widens: the outcome is within the request and within the policy", () => {
    const pattern = fc.constantFrom("/**", "/a", "/a/**", "/a/*", "/a*", "/b/**", "/*/x", "/a/x", "/a/**/x", "/*b/**")
    const lease = fc.record({ "fs.read": fc.array(pattern, { maxLength: 4 }) })
    fc.assert(
      fc.property(lease, lease, (requested, allowed) => {
        const [r, a] = [compile(requested), compile(allowed)]
        const outcome = Delegated.narrow(r, a)
        expect(violation(outcome, r)).toBeUndefined()
        expect(violation(outcome, a)).toBeUndefined()
        // what needs no narrowing stays as it is
        if (violation(r, a) === undefined) expect(violation(r, outcome)).toBeUndefined()
      })
    )
  })

  it("§9.4 down a chain of delegations nothing grows", () => {
    const piece = fc.constantFrom("a", "b", "*", "**")
    const path = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => `/${pieces.join("/")}`)
    const paths = ["/a", "/b", "/a/b", "/b/a", "/a/a/a", "/a/b/b", "/c"].map((text) =>
      Either.getOrThrow(Canonical.path(text))
    )
    let accepted = 0
    fc.assert(
      fc.property(fc.array(fc.array(path, { minLength: 1, maxLength: 2 }), { minLength: 2, maxLength: 4 }), (chain) => {
        const root = compile({ "fs.read": chain[0]! })
        let current = root
        for (const patterns of chain.slice(1)) {
          const child = compile({ "fs.read": patterns })
          if (violation(child, current) === undefined) {
            accepted++
            current = Delegated.inherit(child, current)
          }
        }
        for (const target of paths) {
          if (Lease.authorize(current, "fs.read", target)._tag === "Allowed") {
            expect(Lease.authorize(root, "fs.read", target)._tag).toBe("Allowed")
          }
        }
      }),
      { numRuns: runs(500) }
    )
    expect(accepted).toBeGreaterThan(50)
  })
})
