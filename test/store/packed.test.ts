/** §8.3 The store in memory keeps many small payloads as one text, and gives back each as it was. */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { headOf, pack, unpack } from "../../src/store/internal/packed.js"
import type { Payload } from "../../src/store/Payload.js"
import { runs } from "../support/properties.js"

const segment = (payloads: ReadonlyArray<Payload>) => ({
  jobId: "job_1",
  firstSeq: 5,
  lastSeq: 4 + payloads.length,
  class: "event" as const,
  payloads
})

/** Any text: empty ones, line ends, halves of characters. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.array(fc.constantFrom("\n", "", "\ud800", "\udc00", "é", '{"a":1}')).map((parts) => parts.join(""))
)

describe("segments in memory", () => {
  it("are given back as they were, however many payloads they have", () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 1, maxLength: 80 }), (texts) => {
        const given = segment(texts)
        const kept = pack(given)
        expect(unpack(kept)).toEqual(given)
        expect({ first: kept.firstSeq, last: kept.lastSeq }).toEqual({ first: given.firstSeq, last: given.lastSeq })
        const { payloads: _, ...head } = given
        expect(headOf(kept)).toEqual(head)
      }),
      { numRuns: runs(200) }
    )
  })

  it("are packed where they have many texts, and no bytes", () => {
    const texts = Array.from({ length: 32 }, (_, n) => `{"n":${n}}`)
    expect(pack(segment(texts))).not.toHaveProperty("payloads")
    for (const few of [texts.slice(1), [...texts, new Uint8Array([123, 125])]]) {
      const given = segment(few)
      expect(pack(given)).toBe(given)
    }
  })
})
