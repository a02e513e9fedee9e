import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Capability from "../../src/authority/Capability.js"

describe("Capability", () => {
  it("§9.2 knows the reserved names and what their patterns are", () => {
    expect(Capability.reserved.map((name) => [name, Capability.kindOf(name)])).toEqual([
      ["fs.read", "path"],
      ["fs.write", "path"],
      ["net.fetch", "url"],
      ["tool.call", "name"],
      ["agent.delegate", "name"],
      ["cost.budget", "amount"],
      ["model.use", "name"]
    ])
    for (const name of Capability.reserved) expect(Capability.parse(name)).toEqual(Either.right(name))
  })

  it("§9.2 takes vendors' names", () => {
    for (const name of ["x-vendor.acme.db", "x-vendor.acme.kafka.publish", "x-vendor.a-b.readFile"] as const) {
      expect(Capability.parse(name)).toEqual(Either.right(name))
      expect(Capability.kindOf(name)).toBe("name")
    }
  })

  it.each([
    ["fs_read", "fs.read"],
    ["fs-read", "fs.read"],
    ["FsRead", "fs.read"],
    ["fsRead", "fs.read"],
    ["FS.READ", "fs.read"],
    ["Fs.Read", "fs.read"],
    ["fs.read ", "fs.read"],
    [" fs.read", "fs.read"],
    ["fs/read", "fs.read"],
    ["fs:read", "fs.read"],
    ["fs．read", "fs.read"],
    ["ｆｓ.read", "fs.read"],
    ["fs.reads", "fs.read"],
    ["fs_write", "fs.write"],
    ["netFetch", "net.fetch"],
    ["net.Fetch", "net.fetch"],
    ["tools.call", "tool.call"],
    ["toolCall", "tool.call"],
    ["tool_call", "tool.call"],
    ["agentDelegate", "agent.delegate"],
    ["costBudget", "cost.budget"],
    ["cost_budget", "cost.budget"],
    ["cost.budgets", "cost.budget"],
    ["modelUse", "model.use"],
    ["models.use", "model.use"],
    ["X-Vendor.acme.db", "x-vendor.<vendor>.<name>"],
    ["x_vendor.acme.db", "x-vendor.<vendor>.<name>"],
    ["x-vendor.acme", "x-vendor.<vendor>.<name>"],
    ["vendor.acme.db", "x-vendor.<vendor>.<name>"]
  ])("§9.2 refuses %j by name and hints at %s", (name, hint) => {
    const result = Capability.parse(name)
    expect(Either.isLeft(result)).toBe(true)
    if (Either.isRight(result)) return
    expect(result.left.code).toBe("INVALID_REQUEST")
    expect(result.left.message).toContain(JSON.stringify(name))
    expect(result.left.message).toContain(`did you mean ${hint}?`)
    expect(result.left.details).toMatchObject({ reason: "unknown_capability", hint })
  })

  it.each([
    "",
    "fs",
    "totally.bogus",
    "__proto__",
    "constructor",
    "toString",
    "x-acme.db",
    "fs.read.write",
    "job.submit",
    "x".repeat(100_000)
  ])("§9.2 refuses %j without a guess", (name) => {
    const result = Capability.parse(name)
    expect(Either.isLeft(result)).toBe(true)
    if (Either.isRight(result)) return
    expect(result.left.message).not.toContain("did you mean")
    expect(result.left.message.length).toBeLessThan(200)
    expect(JSON.stringify(result.left.details).length).toBeLessThan(200)
  })
})
