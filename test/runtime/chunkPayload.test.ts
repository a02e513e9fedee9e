/** The payload of a chunk of a streamed result (ARCP 1.1 §8.4): as bytes it is what `JSON.stringify` makes. */
import { expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { chunkPayload } from "../../src/runtime/jobs/handler/chunkPayload.js"
import { wellFormed } from "../../src/protocol/Text.js"
import { payloadText } from "../../src/store/Payload.js"
import { runs } from "../support/properties.js"

const ts = "2026-01-01T00:00:00.000Z"

const payloadOf = (data: string, encoding: "utf8" | "base64" = "utf8", resultId = "res_1") =>
  chunkPayload(Date.parse(ts), { resultId, seq: 7, data, encoding, more: true })

const wanted = (data: string, encoding = "utf8", result_id = "res_1") =>
  JSON.stringify({ kind: "result_chunk", ts, body: { result_id, chunk_seq: 7, data, encoding, more: true } })

/** Whether a payload is what JSON makes of its data. Prints no payload where it is not. */
const isJson = (data: string, encoding: "utf8" | "base64" = "utf8", resultId?: string): boolean =>
  payloadText(payloadOf(data, encoding, resultId)) === wanted(data, encoding, resultId)

const plain = "x".repeat(5_000)

it("§8.4 every character that JSON escapes is escaped, wherever it stands in a large chunk, and no other is", () => {
  for (let code = 0; code < 0x100; code++) {
    const c = String.fromCharCode(code)
    // Ends and places on each side of four, and of the step of 32 bytes.
    for (const at of [0, 1, 2, 3, 4, 31, 32, 33, 2_500, 4_995, 4_996, 4_997, 4_998, 4_999]) {
      for (const id of ["r", "re", "res", "res_"]) {
        const data = `${plain.slice(0, at)}${c}${plain.slice(at + 1)}`
        expect(isJson(data, "utf8", id), `${code} at ${at}`).toBe(true)
      }
    }
  }
})

const piece = fc.oneof(
  fc.string(),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("\u2028", "\u2029", "\u007f", "\u0080", "\ufeff", "é€😀", "\r\n", '"\\', "\0", "x".repeat(4_000))
)

it("§8.4 a chunk of any well-formed text is what JSON makes of it, small or large", () => {
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => wellFormed(pieces.join("")))
  expect(() =>
    fc.assert(
      fc.property(text, (data) => isJson(data)),
      { numRuns: runs(500) }
    )
  ).not.toThrow()
})

it("§8.4 a large chunk is bytes, of text and of base64, and a small one a text", () => {
  for (const length of [0, 3, 4_095, 4_096, 65_536]) {
    const data = Buffer.alloc(length, "abc").toString("base64")
    expect(isJson(data, "base64")).toBe(true)
    expect(typeof payloadOf(data, "base64")).toBe(data.length < 4_096 ? "string" : "object")
    expect(typeof payloadOf("é".repeat(length))).toBe(length < 4_096 ? "string" : "object")
  }
})
