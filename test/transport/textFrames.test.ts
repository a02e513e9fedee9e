import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { createRequire } from "node:module"
import { sendableCode, sendableReason } from "../../src/transport/internal/closeFrame.js"
import { encode } from "../../src/transport/internal/textFrames.js"
import { runs } from "../support/properties.js"

// the receiver of ws, on its own: it knows the protocol best
const Receiver =
  createRequire(import.meta.url)("ws").Receiver ?? ((await import("ws")) as never as { Receiver: unknown }).Receiver

const decode = (bytes: Buffer, isServer: boolean): Promise<Array<string>> =>
  new Promise((resolve, reject) => {
    const receiver = new Receiver({ isServer })
    const texts: Array<string> = []
    receiver.on("message", (data: Buffer, binary: boolean) => texts.push(binary ? "binary" : data.toString("utf8")))
    receiver.on("error", reject)
    receiver.end(bytes, () => resolve(texts))
    receiver.on("finish", () => resolve(texts))
  })

/** Strings as they come out of UTF-8: lone surrogates are replaced. */
const wellFormed = (text: string): string => Buffer.from(text, "utf8").toString("utf8")

describe("text frames (RFC 6455 §5.2)", () => {
  it("are read by ws as they were written, masked and not, at every boundary of the length field", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.string({ unit: "binary" }),
            fc.string(),
            fc.constantFrom(0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 70_000).map((n) => "x".repeat(n)),
            fc.constantFrom("\ud800", "€".repeat(42), "😀".repeat(20_000))
          ),
          { minLength: 1, maxLength: 6 }
        ),
        fc.boolean(),
        async (texts, mask) => {
          expect(await decode(encode(texts, mask), mask)).toEqual(texts.map(wellFormed))
        }
      ),
      { numRuns: runs(300) }
    ))

  it("are masked each with its own key (RFC 6455 §5.3)", () => {
    const bytes = encode(
      Array.from({ length: 3000 }, () => "aaaa"),
      true
    )
    const keys = new Set<number>()
    for (let at = 0; at < bytes.length; at += 10) {
      expect(bytes.subarray(at, at + 2)).toEqual(Buffer.from([0x81, 0x84]))
      const key = bytes.readUInt32BE(at + 2)
      expect((bytes.readUInt32BE(at + 6) ^ key) >>> 0).toBe(0x61616161)
      keys.add(key)
    }
    // 3000 draws of 32 bits: a second equal pair would be odd
    expect(keys.size).toBeGreaterThan(2997)
  })
})

describe("close frames (RFC 6455 §5.5.1)", () => {
  it("carry a code that may be sent", () => {
    for (const code of [1000, 1001, 1008, 1009, 1011, 1013, 3000, 4999]) expect(sendableCode(code)).toBe(code)
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, -1, NaN]) expect(sendableCode(code)).toBe(1011)
  })

  it("carry a reason that fits and is never cut inside a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (reason) => {
        const sent = sendableReason(reason)
        expect(Buffer.byteLength(sent)).toBeLessThanOrEqual(123)
        expect(reason.startsWith(sent)).toBe(true)
        if (Buffer.byteLength(reason) <= 123) expect(sent).toBe(reason)
        else expect(Buffer.byteLength(sent)).toBeGreaterThan(119)
      })
    )
  })
})
