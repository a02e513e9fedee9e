import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Decimal from "../../src/protocol/Decimal.js"
import { runs } from "../support/properties.js"

describe("decimals as programs spell them", () => {
  it.each([
    ["9e-7", "0.0000009"],
    ["1.5e-10", "0.00000000015"],
    ["1e21", "1000000000000000000000"],
    ["1e+21", "1000000000000000000000"],
    ["1.25e1", "12.5"],
    ["125e-2", "1.25"],
    ["007", "7"],
    ["0e9", "0"],
    ["0.50", "0.50"],
    ["1e400", `1${"0".repeat(400)}`]
  ])("§9.6 %s is %s", (text, expected) => {
    expect(Decimal.spellOut(text)).toBe(expected)
  })

  it("§9.6 a number stays the same number, without an exponent", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (n) => {
        const plain = Decimal.spellOut(String(n))!
        expect(plain).toMatch(/^[0-9]+(\.[0-9]+)?$/)
        expect(Number(plain)).toBe(n === 0 ? 0 : n)
      }),
      { numRuns: runs(1000) }
    )
  })

  it("§9.6 other texts are none", () => {
    for (const text of [
      "",
      "-1",
      "+1",
      ".5",
      "5.",
      "1e",
      "e1",
      "1e401",
      "1e-401",
      "1e99999",
      "NaN",
      "Infinity",
      "0x1"
    ]) {
      expect(Decimal.spellOut(text), text).toBeUndefined()
    }
    expect(Decimal.spellOut("1".repeat(1_000_000))).toBeUndefined()
  })

  it("§9.6 a lease's budget is spelled out, and nothing else of it is touched", () => {
    const lease = { "fs.read": ["/1e5/**"], "cost.budget": ["USD:9e-7", "EUR:1", "x:1e", 5], "net.fetch": ["USD:1e3"] }
    const plain = { ...lease, "cost.budget": ["USD:0.0000009", "EUR:1", "x:1e", 5] }
    expect(Decimal.plainBudget(lease)).toEqual(plain)
    expect(Decimal.plainBudgetText(JSON.stringify(lease))).toBe(JSON.stringify(plain))
    const hostile = '{"__proto__":{"a":1},"cost.budget":["USD:1e2"]}'
    expect(Decimal.plainBudgetText(hostile)).toBe('{"__proto__":{"a":1},"cost.budget":["USD:100"]}')
    for (const text of ["null", "[]", '"cost.budget 1e5"', '{"cost.budget":"USD:1e5"}']) {
      expect(Decimal.plainBudgetText(text)).toBe(text)
    }
  })
})
