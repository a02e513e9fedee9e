import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import { invalid, joinLines, type Line, LineSplitter, tooLong } from "../../src/transport/internal/LineSplitter.js"
import { runs } from "../support/properties.js"

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

const split = (chunks: ReadonlyArray<Uint8Array>, maxBytes = 1 << 20): Array<Line> => {
  const splitter = new LineSplitter(maxBytes)
  const lines: Array<Line> = []
  for (const chunk of chunks) {
    // the splitter may keep nothing of a buffer that its owner uses again
    const scratch = chunk.slice()
    lines.push(...splitter.push(scratch))
    scratch.fill(0x7b)
  }
  lines.push(...splitter.end())
  return lines
}

/** What the lines should be, by the plainest means: no chunks, one byte after the other. */
const reference = (bytes: Uint8Array, maxBytes: number): Array<Line> => {
  const lines: Array<Line> = []
  let line: Array<number> = []
  const finish = (): boolean => {
    if (line.length > maxBytes) {
      lines.push(tooLong)
      return false
    }
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(line))
      const plain = text.replace(/\r$/, "")
      if (plain.trim() !== "") lines.push(plain)
    } catch {
      lines.push(invalid)
    }
    line = []
    return true
  }
  for (const byte of bytes) {
    if (byte === 10) {
      if (!finish()) return lines
    } else line.push(byte)
  }
  if (line.length > 0) finish()
  return lines
}

/** Bytes that are likely to hit the edges: line ends, multi-byte characters whole and torn, anything. */
const piece = fc.oneof(
  fc.constantFrom("\n", "\r\n", "\r", " \n", "\n\n", "{}", "é", "€", "😀", "\ufeff", "\u2028").map(bytesOf),
  fc.string({ unit: "binary", maxLength: 12 }).map(bytesOf),
  fc.uint8Array({ maxLength: 6 }),
  fc
    .constantFrom([0xc3], [0xe2, 0x82], [0xf0, 0x9f], [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80])
    .map((b) => new Uint8Array(b))
)
const input = fc.array(piece, { maxLength: 40 }).map((pieces) => new Uint8Array(pieces.flatMap((p) => [...p])))

const cut = (bytes: Uint8Array, at: ReadonlyArray<number>): Array<Uint8Array> => {
  const places = [...at.map((n) => n % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  return places.slice(1).map((end, i) => bytes.subarray(places[i]!, end))
}

describe("LineSplitter", () => {
  it("§4 any cut of any bytes gives the same lines, those of the reference", () => {
    fc.assert(
      fc.property(input, fc.array(fc.nat(), { maxLength: 12 }), fc.integer({ min: 1, max: 60 }), (bytes, at, max) => {
        const expected = reference(bytes, max)
        expect(split([bytes], max)).toEqual(expected)
        expect(split(cut(bytes, at), max)).toEqual(expected)
        expect(
          split(
            Array.from(bytes, (byte) => new Uint8Array([byte])),
            max
          )
        ).toEqual(expected)
      }),
      { numRuns: runs(2000) }
    )
  })

  it("§4 what joinLines writes is what it reads, whatever the JSON", () => {
    fc.assert(
      fc.property(fc.array(fc.json(), { maxLength: 8 }), fc.nat(), (texts, at) => {
        const bytes = bytesOf(joinLines(texts))
        expect(split(cut(bytes, [at]))).toEqual(texts)
      })
    )
  })

  it("§4 writes no raw line break, and changes no JSON by that", () => {
    const pretty = '{\r\n  "a": "x\\n",\n  "b": 1\n}'
    const out = joinLines([pretty])
    expect(out.indexOf("\n")).toBe(out.length - 1)
    expect(out).not.toContain("\r")
    expect(JSON.parse(out)).toEqual(JSON.parse(pretty))
  })

  it("§4 tolerates CRLF, blank lines and a missing last line end", () => {
    expect(split([bytesOf('\n\r\n  \n{"a":1}\r\n\n{"b":2}')])).toEqual(['{"a":1}', '{"b":2}'])
  })

  it("§4 one invalid line does not spoil the next", () => {
    const bytes = new Uint8Array([
      ...bytesOf("1\n"),
      0xff,
      0xfe,
      10,
      ...bytesOf("2\n"),
      0xe2,
      0x82,
      10,
      ...bytesOf("3\n")
    ])
    expect(split([bytes])).toEqual(["1", invalid, "2", invalid, "3"])
  })

  it("§4 a line over the limit ends it, whether its end has come or not, and keeps nothing", () => {
    expect(split([bytesOf("1\n12345\n2\n")], 4)).toEqual(["1", tooLong])
    expect(split([bytesOf("1\n123"), bytesOf("45"), bytesOf("\n2\n")], 4)).toEqual(["1", tooLong])
    expect(split([bytesOf("1234\n2\n")], 4)).toEqual(["1234", "2"])
    expect(split([bytesOf("12345")], 4)).toEqual([tooLong])
  })

  it("§4 tiny chunks of a huge line cost no more than the line", () => {
    const splitter = new LineSplitter(1 << 20)
    const one = new Uint8Array([0x78])
    let lines = 0
    for (let i = 0; i < 1 << 20; i++) lines += splitter.push(one).length
    expect(lines).toBe(0)
    expect(splitter.push(new Uint8Array([10]))).toEqual(["x".repeat(1 << 20)])
  })
})
