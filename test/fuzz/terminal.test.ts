/** Texts from the wire that are shown to a person: they neither command the terminal nor look like other text. */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { explain, line, resultText } from "../../src/cli/submitting.js"
import { SessionEnded } from "../../src/client/index.js"
import { Event, fromWire, oneLine, toWire } from "../../src/protocol/index.js"
import { oddValue } from "./mutations.js"
import { runs } from "../support/properties.js"

const commands = [
  "\u001b[2J",
  "\u001b]0;title\u0007",
  "\r",
  "\n",
  "\b",
  "\u007f",
  "\u009b31m",
  "\u0085",
  "\u2028",
  "\u202e",
  "\u2066",
  "\u200f"
]
const obeyed = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/

const texts = fc
  .array(fc.oneof(fc.constantFrom(...commands), fc.string({ unit: "binary", maxLength: 8 })), { maxLength: 6 })
  .map((parts) => parts.join(""))

const bodies = (text: string, value: unknown): Record<string, unknown> => ({
  log: { level: "warn", message: text },
  thought: { text },
  status: { phase: text, message: text },
  metric: { name: text, value: 1, unit: text },
  progress: { current: 1, total: 2, units: text, message: text },
  tool_call: { tool: text, call_id: "c", args: { [text]: value } },
  tool_result: { call_id: "c", error: { code: text, message: text } },
  artifact_ref: { uri: text, content_type: text },
  delegate: { delegate_id: "d", agent: text },
  [text]: { [text]: [text, value] }
})

describe("§8.2, §12 what a terminal would obey is spelled out", () => {
  it("in events of every kind, each one line", () => {
    fc.assert(
      fc.property(texts, oddValue, (text, value) => {
        for (const [kind, body] of Object.entries(bodies(text, value))) {
          expect(line(Event.fromWire("j", 1, { kind, body }))).not.toMatch(obeyed)
        }
      }),
      { numRuns: runs(200) }
    )
    expect(line(Event.fromWire("j", 1, { kind: "thought", body: { text: "a\u001b[31mb\u202ec" } }))).toBe(
      "thought: a\\u001b[31mb\\u202ec"
    )
  })

  it("in errors, those of the wire and the client's own; a code may be anything", () => {
    fc.assert(
      fc.property(texts, (text) => {
        expect(explain(fromWire({ code: `C${text}`, message: text }))).not.toMatch(obeyed)
        expect(explain(new SessionEnded({ reason: "gave_up", message: text }))).not.toMatch(obeyed)
        expect(toWire(fromWire({ code: "C", message: text })).message).toBe(oneLine(text))
      }),
      { numRuns: runs(200) }
    )
    for (const command of ["\u001b", "\u009b", "\u0085", "\u202e", "\u2067", "\u2029"]) {
      expect(oneLine(`a${command}b`)).toBe("a b")
    }
  })

  it("in a result on a terminal; where a program reads it, text is as it is", () => {
    expect(resultText("one\n\ttwo\u001b[2J\u202e", true)).toBe("one\n\ttwo\\u001b[2J\\u202e")
    expect(resultText("one\r\ntwo\u001b[2J", false)).toBe("one\r\ntwo\u001b[2J")
    fc.assert(
      fc.property(texts, fc.boolean(), (text, terminal) => {
        const shown = resultText({ [text]: text }, terminal)
        expect(shown.replaceAll("\n", "")).not.toMatch(obeyed)
        expect(JSON.parse(shown)).toEqual(JSON.parse(JSON.stringify({ [text]: text })))
      }),
      { numRuns: runs(200) }
    )
  })

  it("and no size or depth is too much to be shown", () => {
    expect(JSON.parse(resultText(new Uint8Array(1_000_000), false)).base64.length).toBe(1_333_336)
    const deep = JSON.parse("[".repeat(100_000) + "]".repeat(100_000)) as unknown
    expect(resultText(deep, true)).toContain("too deep")
    expect(line(Event.fromWire("j", 1, { kind: "deep", body: deep }))).toContain("too deep")
  })
})
