import { describe, expect, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Either from "effect/Either"
import * as fc from "effect/FastCheck"
import * as Amount from "../../src/authority/Amount.js"
import { runs } from "../support/properties.js"

const value = (text: string) => Either.getOrThrow(Amount.decimal(text))
const number = (n: number) => Either.getOrThrow(Amount.fromNumber(n))
const why = (result: Either.Either<unknown, Amount.AmountError>) =>
  Either.isLeft(result) ? result.left.message : "let through"

describe("Amount", () => {
  it.each([
    ["USD:5.00", "USD", "5"],
    ["credits:1000", "credits", "1000"],
    ["EUR:0", "EUR", "0"],
    ["USD:0.000000000000000000000000000001", "USD", "0.000000000000000000000000000001"],
    ["USD:007.10", "USD", "7.1"],
    ["x-tokens_2.b:1", "x-tokens_2.b", "1"],
    ["USD:999999999999999999999999999999.5", "USD", "999999999999999999999999999999.5"]
  ])("§9.6 %s is %s %s, exactly", (text, currency, expected) => {
    const amount = Either.getOrThrow(Amount.parse(text))
    expect(amount.currency).toBe(currency)
    expect(Amount.format(amount.value)).toBe(expected)
    expect(Amount.print(amount)).toBe(`${currency}:${expected}`)
  })

  it.each([
    "",
    "USD",
    "5.00",
    ":5",
    "USD:",
    "USD:-1",
    "USD:+1",
    "USD:1e3",
    "USD:1E-3",
    "USD:.5",
    "USD:5.",
    "USD:1.2.3",
    "USD:1,5",
    "USD:1_000",
    "USD: 5",
    "USD:5 ",
    " USD:5",
    "USD:0x10",
    "USD:NaN",
    "USD:Infinity",
    "USD:٥",
    "USD:５",
    "US D:5",
    "$:5",
    "5USD:5",
    "USD:5:6",
    "USD 5",
    "USD:5\n",
    "__proto__:5",
    `${"A".repeat(33)}:5`,
    `USD:${"1".repeat(31)}`,
    `USD:0.${"1".repeat(31)}`,
    `USD:${"1".repeat(1_000_000)}`
  ])("§9.6 %j is refused", (text) => {
    expect(Either.isLeft(Amount.parse(text))).toBe(true)
    expect(why(Amount.parse(text)).length).toBeLessThan(120)
  })

  it("§9.6 a charge is spelled either way round", () => {
    for (const text of ["0.0042 USD", "USD:0.0042"]) {
      const amount = Either.getOrThrow(Amount.parseSpend(text))
      expect(Amount.print(amount)).toBe("USD:0.0042")
    }
    for (const text of ["USD 0.0042", "-1 USD", "1  USD", "NaN USD", "1 USD ", "1 USD EUR", "1"]) {
      expect(Either.isLeft(Amount.parseSpend(text))).toBe(true)
    }
  })

  it.each([
    ["9e-7 USD", "USD:0.0000009"],
    ["USD:9e-7", "USD:0.0000009"],
    ["1.5e-10 USD", "USD:0.00000000015"],
    ["1e21 USD", "USD:1000000000000000000000"],
    ["1e+21 USD", "USD:1000000000000000000000"],
    ["1.25E2 USD", "USD:125"],
    ["0e5 USD", "USD:0"]
  ])("§9.6 a charge of %j is %s: numbers may be spelled as JavaScript spells them", (text, expected) => {
    expect(Amount.print(Either.getOrThrow(Amount.parseSpend(text)))).toBe(expected)
  })

  it("§9.6 whatever a JavaScript number is spelled as is that number, and an exponent builds no giant", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (n) => {
        const { value } = Either.getOrThrow(Amount.parseSpend(`${n} USD`))
        expect(BigDecimal.equals(value, number(n))).toBe(true)
      }),
      { numRuns: runs(1000), examples: [[9e-7], [1e21], [Number.MAX_VALUE], [Number.MIN_VALUE], [2 ** 53]] }
    )
    for (const text of ["1e401", "1e-401", "1e999999999", "1e-999999999", "9e", "e5", "1e5.5", "1e 5", "1e--5"]) {
      expect(why(Amount.parseSpend(`${text} USD`)), text).toMatch(/^amount: /)
      expect(why(Amount.parse(`USD:${text}`)), text).toMatch(/^amount: /)
    }
  })

  it("§9.6 a number or a BigDecimal with its currency is an amount, exactly", () => {
    const print = (value: number | BigDecimal.BigDecimal) => Amount.print(Either.getOrThrow(Amount.of(value, "USD")))
    expect([9e-7, 0.1, -0, 1e21, 5e-324].map(print)).toEqual([
      "USD:0.0000009",
      "USD:0.1",
      "USD:0",
      "USD:1000000000000000000000",
      `USD:0.${"0".repeat(323)}5`
    ])
    expect(print(BigDecimal.unsafeFromString("0.000000000000000000000000000000000001"))).toBe(
      `USD:0.${"0".repeat(35)}1`
    )
    for (const value of [Number.NaN, Infinity, -Infinity, -1, -5e-324, BigDecimal.make(-1n, 0)]) {
      expect(why(Amount.of(value, "USD"))).toMatch(/^amount: /)
    }
    for (const value of [BigDecimal.make(1n, 1e9), BigDecimal.make(1n, -1e9), BigDecimal.make(1n, Number.NaN)]) {
      expect(why(Amount.of(value, "USD"))).toMatch(/^amount: /)
    }
    for (const value of [null, undefined, {}, 1n, "1", [1], Proxy.revocable({}, {}).proxy]) {
      expect(why(Amount.of(value as never, "USD"))).toMatch(/^amount: /)
    }
    for (const currency of ["", "US D", "$", "5USD", undefined, null, 5, {}]) {
      expect(why(Amount.of(1, currency as never))).toMatch(/^currency: /)
    }
  })

  it("§9.6 a JSON number is the decimal that it is spelled as", () => {
    expect([0.1, 1e21, 5e-324, 0.0234, 123456.789, 1.5e-7, 0, -0, 1e300].map((n) => Amount.format(number(n)))).toEqual([
      "0.1",
      "1000000000000000000000",
      `0.${"0".repeat(323)}5`,
      "0.0234",
      "123456.789",
      "0.00000015",
      "0",
      "0",
      `1${"0".repeat(300)}`
    ])
  })

  it("§9.6 negative numbers, NaN and infinities are refused", () => {
    for (const n of [-1, -0.0001, -5e-324, Number.NaN, Infinity, -Infinity]) {
      expect(Either.isLeft(Amount.fromNumber(n))).toBe(true)
      expect(Either.isLeft(Amount.fromMetric(n, "USD"))).toBe(true)
    }
    expect(Either.isLeft(Amount.fromMetric(1, "US D"))).toBe(true)
    expect(Amount.print(Either.getOrThrow(Amount.fromMetric(0.42, "USD")))).toBe("USD:0.42")
  })

  it("§9.6 numbers survive the way there and back", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (n) => {
        expect(Amount.toNumber(number(n))).toBe(n === 0 ? 0 : n)
      }),
      { numRuns: runs(1000) }
    )
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n - 1n }), fc.integer({ min: 0, max: 30 }), (digits, scale) => {
        const text = Amount.format(BigDecimal.make(digits, scale))
        expect(BigDecimal.equals(value(text), BigDecimal.make(digits, scale))).toBe(true)
        expect(text).toMatch(/^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$/)
      })
    )
  })

  it("§7.1 the boundary is a JSON number", () => {
    const amounts = Either.getOrThrow(Amount.parseAll(["USD:5.00", "credits:1000", "constructor:1"]))
    expect(JSON.stringify(Amount.toWire(amounts))).toBe('{"USD":5,"credits":1000,"constructor":1}')
    expect(Amount.toPatterns(amounts)).toEqual(["USD:5", "credits:1000", "constructor:1"])
    const deep = Amount.subtract(number(0), Amount.add(number(1.7e308), number(1.7e308)))
    expect(Amount.toNumber(deep)).toBe(-Number.MAX_VALUE)
    expect(Object.is(Amount.toNumber(Amount.subtract(number(1), number(1))), 0)).toBe(true)
  })

  it("§9.6 0.1 + 0.2 + 0.7 of 1.0 is exactly spent, and no cent earlier", () => {
    let left = value("1.0")
    for (const charge of [0.1, 0.2, 0.7]) {
      expect(Amount.isExhausted(left)).toBe(false)
      left = Amount.subtract(left, number(charge))
    }
    expect(Amount.format(left)).toBe("0")
    expect(Amount.isExhausted(left)).toBe(true)
  })

  it("§9.6 tiny charges are not rounded away", () => {
    let left = value("1")
    for (let i = 0; i < 10; i++) left = Amount.subtract(left, number(1e-25))
    expect(Amount.format(left)).toBe("0.999999999999999999999999")
    let large = value("100000000000000000000")
    large = Amount.subtract(large, number(0.01))
    expect(Amount.format(large)).toBe("99999999999999999999.99")
  })

  it("§13.5 a counter goes below zero and is not clamped", () => {
    const left = Amount.subtract(Amount.subtract(value("1.00"), number(0.42)), number(0.7))
    expect(Amount.format(left)).toBe("-0.12")
    expect(Amount.toNumber(left)).toBe(-0.12)
    expect(Amount.isExhausted(left)).toBe(true)
    expect(
      Amount.firstExhausted(
        new Map([
          ["EUR", value("1")],
          ["USD", left]
        ])
      )
    ).toBe("USD")
    expect(Amount.firstExhausted(new Map([["EUR", value("0.01")]]))).toBeUndefined()
    expect(Amount.firstExhausted(new Map())).toBeUndefined()
  })

  it("§9.6 sums do not depend on the order of charges", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 20 }), (charges) => {
        const total = (list: ReadonlyArray<number>) => list.map(number).reduce(Amount.add, Amount.zero)
        expect(Amount.format(total(charges))).toBe(Amount.format(total([...charges].reverse())))
      })
    )
  })

  it.each([
    [[], "at least one"],
    [["USD:1", "USD:2"], "twice"],
    [["USD:1", "USD:1"], "twice"],
    [["USD:1", "usd:2"], "case alone"],
    [["USD:1", "EUR:x"], "digits"],
    [Array.from({ length: 33 }, (_, i) => `C${i}:1`), "currencies"]
  ])("§9.6 a budget of %j is refused", (texts, reason) => {
    expect(why(Amount.parseAll(texts))).toContain(reason)
  })

  it("§9.6 a charge in other case than the budget is noticed", () => {
    const amounts = Either.getOrThrow(Amount.parseAll(["USD:1", "credits:5"]))
    expect(Amount.misspelled(amounts, "usd")).toBe("USD")
    expect(Amount.misspelled(amounts, "USD")).toBeUndefined()
    expect(Amount.misspelled(amounts, "EUR")).toBeUndefined()
  })
})
