import { describe, expect, it } from "@effect/vitest"
import * as Withheld from "../../src/authority/Withheld.js"
import type { WireLease } from "../../src/protocol/Fields.js"

const lines = (asked: WireLease | undefined, granted: WireLease, from?: string, to?: string) =>
  Withheld.describe(
    { lease: asked, constraints: from === undefined ? undefined : { expires_at: from } },
    { lease: granted, constraints: to === undefined ? undefined : { expires_at: to } }
  )

describe("Withheld.describe", () => {
  it("§7.1 what was granted as asked for has no line", () => {
    const lease = { "fs.read": ["/a/**", "/b"], "cost.budget": ["USD:5.00"], "model.use": [] }
    expect(lines(lease, lease, "2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000Z")).toEqual([])
    expect(lines(undefined, {})).toEqual([])
    expect(lines({}, { "model.use": [] })).toEqual([])
  })

  it("§7.1 names each pattern that is missing, what is there instead, an added budget and an earlier expiry", () => {
    expect(
      lines(
        { "fs.read": ["/**", "/a"], "tool.call": ["x"], "net.fetch": ["https://h/a?key=secret"] },
        { "fs.read": ["/data/**", "/a"], "cost.budget": ["USD:1.00"] },
        "2030-01-01T00:00:00Z",
        "2029-01-01T00:00:00Z"
      )
    ).toEqual([
      'fs.read: "/**" was not granted, only "/data/**", "/a"',
      'tool.call: "x" was not granted',
      'net.fetch: "https://h/a?…" was not granted',
      'cost.budget: limited to "USD:1.00"',
      "the lease expires at 2029-01-01T00:00:00Z"
    ])
    expect(lines({}, {}, undefined, "2029-01-01T00:00:00Z")).toEqual(["the lease expires at 2029-01-01T00:00:00Z"])
  })

  it("its lines are bounded, and names of the prototype are ordinary names", () => {
    const many = Array.from({ length: 256 }, (_, i) => `/${i}/${"x".repeat(1000)}`)
    const [line] = lines({ "fs.read": many }, {})
    expect(line!.length).toBeLessThan(600)
    expect(line).toContain("and 251 more")
    expect(lines(JSON.parse('{"__proto__": ["a"], "constructor": ["b"]}') as WireLease, {})).toEqual([
      '__proto__: "a" was not granted',
      'constructor: "b" was not granted'
    ])
  })
})
