/** Copies of values of user code as bounded plain JSON, and texts cut by their encoded bytes. */
import { describe, expect, it } from "@effect/vitest"
import { Data, Option, Redacted } from "effect"
import * as fc from "effect/FastCheck"
import { Buffer } from "node:buffer"
import * as Text from "../../src/protocol/Text.js"
import { hostileValues } from "../support/hostile.js"
import { runs } from "../support/properties.js"

const copy = (value: unknown, options: Partial<Text.Bounds> = {}) =>
  Text.bounded(value, { bytes: 4_096, depth: 8, instances: "shown", text: (text) => text, ...options })

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? "")

describe("a bounded copy", () => {
  it.each(hostileValues)("of %s is JSON within its bound, and nothing throws", (_, make) => {
    const value = make()
    for (const given of [value, [value], { value }, new Map([[1, value]])]) {
      const made = copy(given, { bytes: 512 })
      expect(bytesOf(made)).toBeLessThanOrEqual(512)
      if (made !== undefined) expect(JSON.parse(JSON.stringify(made))).toEqual(made)
    }
  })

  it("of JSON is equal to it where it fits", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const json = JSON.parse(JSON.stringify(value)) as unknown
        fc.pre(bytesOf(json) * 4 < 60_000 && !JSON.stringify(json).includes("\\u"))
        expect(copy(json, { bytes: 65_536 })).toEqual(json)
      }),
      { numRuns: runs(200) }
    )
  })

  it("never has more bytes than its bound", () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true }),
        fc.integer({ min: 16, max: 300 }),
        (value, bytes) => {
          expect(bytesOf(copy(value, { bytes }))).toBeLessThanOrEqual(bytes)
        }
      ),
      { numRuns: runs(500) }
    )
  })

  it("keeps what is redacted redacted, at any depth", () => {
    const secret = Redacted.make("hunter2")
    const made = copy({ secret, list: [secret], option: Option.some(secret), data: Data.struct({ secret }) })
    expect(JSON.stringify(made)).not.toContain("hunter2")
    expect(made).toMatchObject({ secret: "<redacted>", list: ["<redacted>"], data: { secret: "<redacted>" } })
  })

  it("omits objects of classes where it is told to, and hides fields by their names", () => {
    class Client {
      readonly password = "p"
    }
    const value = { client: new Client(), token: "t", auth: { user: "u" }, tokens: 3, at: "here" }
    expect(copy(value, { instances: "omitted", hidden: /^(token|auth)/ })).toEqual({
      token: "<redacted>",
      auth: "<redacted>",
      tokens: 3,
      at: "here"
    })
  })

  it("ends an endless row of toJSON, a cycle and a deep value with a sign", () => {
    class Endless {
      toJSON(): unknown {
        return { next: new Endless() }
      }
    }
    expect(JSON.stringify(copy(new Endless()))).toContain("…")
    const self: Record<string, unknown> = {}
    self.self = self
    expect(copy(self)).toEqual({ self: "…" })
    expect(copy([[[1]]], { depth: 2 })).toEqual([["…"]])
  })

  it("looks at a bounded part of a value, also where nothing of it is kept", () => {
    let read = 0
    const field = { get: () => void read++, enumerable: true }
    const many = Object.defineProperties(
      {},
      Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, field]))
    )
    // A million fields, by sharing: each is left out.
    const shared = Array.from({ length: 60 }, () => Array.from({ length: 60 }, () => many))
    expect(bytesOf(copy(shared, { bytes: 65_536 }))).toBeLessThan(65_536)
    expect(read).toBeGreaterThan(1_000)
    expect(read).toBeLessThan(20_000)
  })
})

describe("a text cut by its encoded bytes", () => {
  it("fits, is well-formed, and is a prefix", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 0, max: 64 }), (text, bytes) => {
        const cut = Text.fitting(text, bytes)
        expect(Buffer.byteLength(JSON.stringify(cut)) - 2).toBeLessThanOrEqual(bytes)
        expect(Text.wellFormed(cut)).toBe(cut)
        expect(Text.wellFormed(text).startsWith(cut.replace(/…$/, ""))).toBe(true)
      }),
      { numRuns: runs(500) }
    )
  })

  it.each([
    ["abc", 3, "abc"],
    ["abcdef", 5, "ab…"],
    ["😀😀", 7, "😀…"],
    ["😀😀", 6, "…"],
    ['""""', 6, '"…'],
    ["ab", 1, ""]
  ])("%j in %d bytes is %j", (text, bytes, cut) => {
    expect(Text.fitting(text, bytes)).toBe(cut)
  })
})
