import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Amount from "../../src/authority/Amount.js"
import * as Canonical from "../../src/authority/Canonical.js"
import type { Capability } from "../../src/authority/Capability.js"
import * as Glob from "../../src/authority/Glob.js"
import * as Lease from "../../src/authority/Lease.js"
import type { WireLease } from "../../src/protocol/Fields.js"

const compile = (wire: WireLease) => Either.getOrThrow(Lease.compile(wire))

/** Canonical form, then pattern: what the runtime does with an operation. */
const allows = (wire: WireLease, capability: Capability, text: string): boolean => {
  const target = Canonical.target(capability, text)
  return Either.isRight(target) && Lease.authorize(compile(wire), capability, target.right)._tag === "Allowed"
}

const error = (
  wire: unknown,
  constraints?: unknown,
  now?: number
): { readonly message: string; readonly [detail: string]: unknown } => {
  const result = Lease.compile(wire as WireLease, constraints as { expires_at?: string }, { now })
  if (Either.isRight(result)) throw new Error("let through")
  expect(result.left.code).toBe("INVALID_REQUEST")
  return { message: result.left.message, ...result.left.details }
}

describe("Lease.compile", () => {
  it("§9.2 what asks for nothing is one lease for all, which no holder can change", () => {
    expect(compile({})).toBe(Lease.emptyLease)
    expect(() => Object.assign(compile({}).wire, { "fs.read": ["/**"] })).toThrow(TypeError)
    expect(compile({}).wire).toEqual({})
    const ending = Either.getOrThrow(Lease.compile({}, { expires_at: "2030-01-01T00:00:00Z" }))
    expect([ending.wire, ending.constraints]).toEqual([{}, { expires_at: "2030-01-01T00:00:00Z" }])
  })

  const wire = {
    "fs.read": ["/workspace/myapp/**"],
    "fs.write": ["/workspace/myapp/src/**"],
    "net.fetch": ["https://API.example.com/**"],
    "tool.call": ["mcp:github/*", "humanq.*"],
    "agent.delegate": ["test-runner"],
    "cost.budget": ["USD:5.00", "credits:1000"],
    "model.use": ["tier-fast/*"],
    "x-vendor.acme.kafka.publish": ["topic-orders-*"]
  }

  it("§7.1 a lease comes back as it was spelled, in its order, with its constraints", () => {
    const constraints = { expires_at: "2026-05-13T23:42:00Z" }
    const lease = Either.getOrThrow(Lease.compile(wire, constraints, { now: 0 }))
    expect(JSON.stringify(Lease.toWire(lease))).toBe(JSON.stringify({ lease: wire, lease_constraints: constraints }))
    expect(lease.expiresAt).toBe(Date.parse("2026-05-13T23:42:00Z"))
    expect(Amount.toWire(Lease.budgetOf(lease))).toEqual({ USD: 5, credits: 1000 })
    expect(Lease.names(lease, "cost.budget")).toBe(true)
    expect(Lease.names(lease, "model.use")).toBe(true)
    expect(Lease.names(lease, "x-vendor.acme.db")).toBe(false)
  })

  it("§7.1 an empty lease is {} and has neither budget nor expiry", () => {
    expect(Lease.toWire(Lease.emptyLease)).toEqual({ lease: {} })
    expect(Lease.toWire(compile({}))).toEqual({ lease: {} })
    expect(Lease.budgetOf(Lease.emptyLease).size).toBe(0)
    expect(Lease.names(Lease.emptyLease, "cost.budget")).toBe(false)
  })

  it("a lease keeps nothing of what it was compiled from", () => {
    const patterns = ["/a"]
    const amounts = ["USD:1"]
    const lease = compile({ "fs.read": patterns, "cost.budget": amounts })
    patterns[0] = "/**"
    amounts[0] = "USD:100"
    expect(Lease.toWire(lease).lease).toEqual({ "fs.read": ["/a"], "cost.budget": ["USD:1"] })
    expect(Lease.authorize(lease, "fs.read", Either.getOrThrow(Canonical.path("/b")))._tag).toBe("Denied")
  })

  it("§9.2 a lease in another spelling is refused by name, never ignored", () => {
    expect(error({ fs_read: ["/a"] })).toMatchObject({
      message: 'lease_request: unknown capability "fs_read"; did you mean fs.read?',
      reason: "unknown_capability",
      capability: "fs_read",
      hint: "fs.read"
    })
    expect(error({ "fs.read": ["/a"], toolCall: [] }).reason).toBe("unknown_capability")
  })

  it("§9.2 names that are special in JavaScript are names like others", () => {
    for (const text of ['{"__proto__":["/a"]}', '{"constructor":["/a"]}', '{"toString":[]}']) {
      expect(error(JSON.parse(text)).reason).toBe("unknown_capability")
    }
    // what is inherited grants nothing
    const inherited = Object.create({ "fs.read": ["/**"] }) as WireLease
    expect(compile(inherited).grants.size).toBe(0)
    expect(allows({}, "constructor" as Capability, "x")).toBe(false)
  })

  it.each<[unknown, string]>([
    [{ "fs.read": "/a" }, "malformed"],
    [{ "fs.read": null }, "malformed"],
    [{ "fs.read": [1] }, "malformed"],
    [{ "fs.read": { 0: "/a", length: 1 } }, "malformed"],
    [{ "fs.read": ["data"] }, "pattern"],
    [{ "fs.read": ["/data/../etc"] }, "pattern"],
    [{ "net.fetch": ["example.com"] }, "pattern"],
    [{ "tool.call": ["a\\*"] }, "pattern"],
    [{ "cost.budget": [] }, "amount"],
    [{ "cost.budget": ["5 USD"] }, "amount"],
    [{ "cost.budget": ["USD:-5"] }, "amount"],
    [{ "cost.budget": ["USD:1", "USD:2"] }, "amount"],
    [{ "cost.budget": ["USD:1", "usd:2"] }, "amount"],
    [{ "fs.read": [`/${"a".repeat(Glob.maxPatternLength)}`] }, "too_large"],
    [{ "fs.read": Array.from({ length: Glob.maxPatterns + 1 }, (_, i) => `/${i}`) }, "too_large"],
    [{ "fs.read": Array.from({ length: 100 }, (_, i) => `/${i}/${"a".repeat(200)}`) }, "too_large"],
    [
      Object.fromEntries(
        Array.from({ length: 5 }, (_, n) => [
          `x-vendor.acme.c${n}`,
          Array.from({ length: 50 }, (_, i) => `${i}-${"a".repeat(200)}`)
        ])
      ),
      "too_large"
    ],
    [
      Object.fromEntries(Array.from({ length: Lease.maxCapabilities + 1 }, (_, n) => [`x-vendor.acme.c${n}`, []])),
      "too_large"
    ]
  ])("§9.2 %#: what is malformed or too large is refused", (lease, reason) => {
    const found = error(lease)
    expect(found.reason).toBe(reason)
    expect(found.message).toMatch(/^lease_request/)
    expect(found.message.length).toBeLessThan(300)
  })

  it("§9.2 a refused pattern is named, unless it holds user information", () => {
    expect(error({ "fs.read": ["/ok", "data/**"] }).message).toBe(
      'lease_request.fs.read: the pattern "data/**" is not absolute: it must begin with "/"'
    )
    const found = error({ "net.fetch": ["https://user:hunter2@h/**"] })
    expect(JSON.stringify(found)).not.toContain("hunter2")
    expect(found.message).toContain("user information")
  })

  it("§9.5 an expiry that cannot be parsed, is not UTC or is past is refused", () => {
    const now = Date.parse("2026-05-13T00:00:00Z")
    expect(error({}, { expires_at: "soon" }, now).reason).toBe("expiry_malformed")
    expect(error({}, { expires_at: "2026-05-14T00:00:00+00:00" }, now).reason).toBe("expiry_malformed")
    expect(error({}, { expires_at: 1 }, now).reason).toBe("expiry_malformed")
    expect(error({}, { expires_at: "2026-05-13T00:00:00Z" }, now).reason).toBe("expiry_past")
    expect(Either.isRight(Lease.compile({}, { expires_at: "2026-05-13T00:00:00.001Z" }, { now }))).toBe(true)
    expect(Either.getOrThrow(Lease.compile({}, {}, { now })).constraints).toBeUndefined()
  })

  it("§9.5 a constraint that nobody would enforce is refused", () => {
    expect(error({}, { expiresAt: "2026-05-13T00:00:00Z" })).toMatchObject({ reason: "unknown_constraint" })
    expect(error({}, { expiresAt: "2026-05-13T00:00:00Z" }).message).toContain("did you mean expires_at?")
    expect(error({}, { max_calls: 3 }).message).not.toContain("did you mean")
  })

  it("§9.2 the Schema decodes and encodes the wire", () => {
    const decode = Schema.decodeUnknownEither(Lease.LeaseFromWire)
    const lease = Either.getOrThrow(decode(wire))
    expect(Schema.encodeSync(Lease.LeaseFromWire)(lease)).toEqual(wire)
    const bad = decode({ fsRead: [] })
    expect(Either.isLeft(bad) && bad.left.message).toContain("did you mean fs.read?")
  })
})

describe("Lease.authorize", () => {
  it("§9.3 an operation that the lease does not name is refused, also when the lease is empty or has only constraints", () => {
    const path = Either.getOrThrow(Canonical.path("/data/a"))
    const constrained = Either.getOrThrow(Lease.compile({}, { expires_at: "2999-01-01T00:00:00Z" }))
    const budgeted = compile({ "cost.budget": ["USD:1"] })
    for (const lease of [Lease.emptyLease, constrained, budgeted, compile({ "fs.write": ["/**"] })]) {
      expect(Lease.authorize(lease, "fs.read", path)).toMatchObject({ _tag: "Denied", reason: "capability" })
    }
    for (const lease of [{ "fs.read": [] }, { "fs.read": [""] }, { "fs.read": ["/data"] }]) {
      expect(Lease.authorize(compile(lease), "fs.read", path)).toMatchObject({ _tag: "Denied", reason: "pattern" })
    }
  })

  it("§9.3 the pattern that covers is named as it was spelled", () => {
    const lease = compile({ "fs.read": ["/tmp/*", "/data//x/**"] })
    const decision = Lease.authorize(lease, "fs.read", Either.getOrThrow(Canonical.path("/data/x/y")))
    expect(decision).toEqual({ _tag: "Allowed", capability: "fs.read", pattern: "/data//x/**" })
  })

  it("§9.6 cost.budget covers no operation", () => {
    const target = Either.getOrThrow(Canonical.name("USD:1"))
    expect(Lease.authorize(compile({ "cost.budget": ["USD:1"] }), "cost.budget", target)._tag).toBe("Denied")
  })

  it("§7.5 an agent's name covers its versions, a version only itself", () => {
    const lease = { "agent.delegate": ["helper", "team-*", "pinned@2.**"] }
    for (const name of ["helper", "helper@1.2.0", "team-a@3", "pinned@2.0.1"]) {
      expect([name, allows(lease, "agent.delegate", name)]).toEqual([name, true])
    }
    for (const name of ["helpers", "helper2@1", "pinned", "pinned@1.0", "other@helper"]) {
      expect([name, allows(lease, "agent.delegate", name)]).toEqual([name, false])
    }
  })

  it.each([
    "/data/../etc/passwd",
    "/data/a/../../etc/passwd",
    "/data/..",
    "/data/./../etc/passwd",
    "/data//../etc/passwd",
    "/data\0/../../etc/passwd",
    "/data/%2e%2e/etc/passwd",
    "/data/..%2fetc/passwd",
    "/data/%252e%252e/etc/passwd",
    "/data/．．/etc/passwd",
    "/data\\..\\..\\etc\\passwd",
    "/database/a",
    "/DATA/a",
    "data/a",
    "./data/a",
    "/ data/a",
    "//etc/data/a",
    "/etc/data/a",
    "/dаta/a" // Cyrillic а
  ])("1.0 §14 %j does not get around /data/**", (text) => {
    expect(allows({ "fs.read": ["/data/**"] }, "fs.read", text)).toBe(false)
  })

  it.each([
    "/data",
    "/data/",
    "/data/a",
    "//data/a",
    "/data/./a",
    "/x/../data/a",
    "/../data/a",
    "/data/a/../b",
    "/data/..a"
  ])("1.0 §14 %j is below /data/**", (text) => {
    expect(allows({ "fs.read": ["/data/**"] }, "fs.read", text)).toBe(true)
  })

  it.each([
    "http://api.example.com/v1/a",
    "https://api.example.com:8443/v1/a",
    "https://api.example.com.evil.com/v1/a",
    "https://evil.com/https://api.example.com/v1/a",
    "https://evil.com/?https://api.example.com/v1/a",
    "https://evil.com#https://api.example.com/v1/a",
    "https://api.example.com@evil.com/v1/a",
    "https://user:pw@api.example.com/v1/a",
    "https://evil.com\\@api.example.com/v1/a",
    "https://api.example.com\\.evil.com/v1/a",
    "https://api.example.com/v1/../admin",
    "https://api.example.com/v1/%2e%2e/admin",
    "https://api.example.com/v1/.%2E/admin",
    "https://api.example.com/v1/..%2fadmin",
    "https://api.example.com/v1/%252e%252e/admin",
    "https://api.example.com/v1/..;/admin",
    "https://api.example.com/v1/．．/admin",
    "https://api.example.com/v1/%c0%ae%c0%ae/admin",
    "https://api.example.com/v10/a",
    "https://api.example.com/V1/a",
    "https://аpi.example.com/v1/a", // Cyrillic а
    "https://api-example.com/v1/a",
    "//api.example.com/v1/a",
    "https:api.example.com/v1/a",
    "ftp://api.example.com/v1/a"
  ])("1.0 §14 %j does not get around https://api.example.com/v1/**", (text) => {
    expect(allows({ "net.fetch": ["https://api.example.com/v1/**"] }, "net.fetch", text)).toBe(false)
  })

  it.each([
    "https://api.example.com/v1/a",
    "HTTPS://API.EXAMPLE.COM:443/v1/a",
    "https://api.example.com./v1/a",
    "https://api.example.com/v1/a?x=../../admin",
    "https://api.example.com/v2/../v1/a",
    "https://api.example.com/%76%31/a",
    "https://ａｐｉ.example.com/v1/a",
    "https://api.example.com/v1"
  ])("1.0 §14 %j is below https://api.example.com/v1/**", (text) => {
    expect(allows({ "net.fetch": ["https://api.example.com/v1/**"] }, "net.fetch", text)).toBe(true)
  })

  it.each([
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0177.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://127.0.0.1:80/x"
  ])("1.0 §14 %s is loopback however it is spelled", (text) => {
    expect(allows({ "net.fetch": ["http://127.0.0.1/**"] }, "net.fetch", text)).toBe(true)
    expect(allows({ "net.fetch": ["https://*.example.com/**", "http://10.*/**"] }, "net.fetch", text)).toBe(false)
  })

  it("1.0 §14 an IPv6 address has one spelling, and is not the IPv4 address that it maps", () => {
    const lease = { "net.fetch": ["http://[::1]/**"] }
    expect(allows(lease, "net.fetch", "http://[0:0:0:0:0:0:0:1]:80/a")).toBe(true)
    expect(allows(lease, "net.fetch", "http://[::1]:8080/a")).toBe(false)
    expect(allows({ "net.fetch": ["http://127.0.0.1/**"] }, "net.fetch", "http://[::ffff:127.0.0.1]/a")).toBe(false)
  })

  it("1.0 §14 a redirect is a new check", () => {
    const lease = compile({ "net.fetch": ["https://api.example.com/v1/**"] })
    const from = Either.getOrThrow(Canonical.url("https://api.example.com/v1/a"))
    const follows = (location: string) => {
      const to = Canonical.redirect(from, location)
      return Either.isRight(to) && Lease.authorize(lease, "net.fetch", to.right)._tag === "Allowed"
    }
    expect(["b", "/v1/b", "https://api.example.com/v1/b"].map(follows)).toEqual([true, true, true])
    expect(
      ["/admin", "../admin", "//evil.com/v1/b", "http://api.example.com/v1/b", "%2e%2e/%2e%2e/admin"].map(follows)
    ).toEqual([false, false, false, false, false])
  })

  it("§12 a denial is PERMISSION_DENIED and shows no query", () => {
    const lease = compile({ "net.fetch": ["https://h/a"], "fs.read": ["/data/**"] })
    const deny = (capability: Capability, text: string) => {
      const decision = Lease.authorize(lease, capability, Either.getOrThrow(Canonical.target(capability, text)))
      if (decision._tag === "Allowed") throw new Error("allowed")
      return Lease.toPermissionDenied(decision)
    }
    expect(deny("fs.read", "/etc/passwd")).toMatchObject({
      code: "PERMISSION_DENIED",
      retryable: false,
      message: 'fs.read of "/etc/passwd" is not covered by the lease'
    })
    expect(deny("tool.call", "x").message).toBe("tool.call is not in the lease")
    const query = deny("net.fetch", "https://h/a?key=hunter2")
    expect(JSON.stringify(query) + query.message).not.toContain("hunter2")
    expect(query.message).toContain("the query is matched too")
  })

  it("§9.2 no lease that is accepted makes a check slow", () => {
    const pattern = `/${"*a".repeat(500)}`
    const lease = compile({
      "fs.read": Array.from({ length: 16 }, (_, i) => `${pattern.slice(0, -4)}${"*a".repeat(i % 3)}b${i}`)
    })
    const target = Either.getOrThrow(Canonical.path(`/${"a".repeat(4000)}`))
    const steps = { count: 0 }
    expect(Glob.find(lease.grants.get("fs.read")!, target, steps)).toBeUndefined()
    expect(steps.count).toBeLessThanOrEqual(target.length * Math.ceil((2 * Glob.maxSetLength) / 32))
  })
})
