/** How long a text is in UTF-8, as the size of a streamed result is checked (ARCP 1.1 §8.4). */
import { expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { utf8Length } from "../../src/client/internal/utf8.js"
import { runs } from "../support/properties.js"

const piece = fc.oneof(
  fc.string(),
  fc.constantFrom(
    "é",
    "\u07ff",
    "\u0800",
    "\uffff",
    "\u2028",
    "😀",
    "\ud83d",
    "\ude00",
    "a".repeat(65_535),
    "€".repeat(30_000)
  )
)
const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""))

it("§8.4 the bytes of a text are those of its UTF-8, where no pair is cut", () => {
  expect(() =>
    fc.assert(
      fc.property(text, (t) => Buffer.from(t).toString() !== t || utf8Length(t) === Buffer.byteLength(t)),
      { numRuns: runs(200) }
    )
  ).not.toThrow()
})

it("§8.4 the two halves of a pair that is cut count as much as the pair", () => {
  expect(() =>
    fc.assert(
      fc.property(text, text, (before, behind) => {
        const [a, b] = [`${before}\ud83d`, `\ude00${behind}`]
        return utf8Length(a) + utf8Length(b) === utf8Length(a + b)
      }),
      { numRuns: runs(200) }
    )
  ).not.toThrow()
})
