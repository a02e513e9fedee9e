/** How `npm run bench:guard` compares what each event, job, chunk and frame costs with what is recorded in `guard.json`. */
import { expect, it } from "vitest"
import { complaints, recorded, tooMuch, tooSlow } from "./measured.js"

const before = recorded()

it("half the speed is a complaint, in every piece that is recorded", () => {
  const names = Object.keys(before.ratios)
  expect(names.length).toBeGreaterThanOrEqual(8)
  for (const slow of names) {
    const ratios = { ...before.ratios, [slow]: before.ratios[slow]! * 2 }
    expect(complaints({ ...before, ratios }, before)).toEqual([`${slow}: 2.00 times as slow as recorded`])
  }
})

it("200 bytes more for an event are a complaint", () => {
  const bytes = { ...before.bytes, "an event": before.bytes["an event"]! + 200 }
  expect(complaints({ ...before, bytes }, before)).toEqual([
    expect.stringMatching(/^an event: allocates 1\.\d\d times what is recorded$/)
  ])
})

it("a job's service that has become a dictionary again, about 20 KB, is a complaint for each agent that has one", () => {
  for (const job of [
    "a job that logs",
    "a job that logs in a span",
    "a job that calls a tool",
    "a job that reads a file"
  ]) {
    const bytes = { ...before.bytes, [job]: before.bytes[job]! + 20_000 }
    expect(complaints({ ...before, bytes }, before)).toEqual([
      expect.stringMatching(new RegExp(`^${job}: allocates 1\\.\\d\\d times what is recorded$`))
    ])
  }
})

it("what differs between machines and between runs is no complaint; what is not measured or not recorded is one", () => {
  const known = { node: 20, ratios: { a: 1, b: 1 }, bytes: { c: 1_000 } }
  const almost = { node: 20, ratios: { a: tooSlow * 0.99, b: 0.1 }, bytes: { c: 1_000 * tooMuch - 1 } }
  expect(complaints(almost, known)).toEqual([])
  expect(complaints({ ...known, ratios: { a: 1 }, bytes: {} }, known)).toEqual(["b: not measured", "c: not measured"])
  expect(complaints({ ...known, bytes: { c: 1_000, d: 1 } }, known)).toEqual(["d: not recorded"])
})

it("bytes of another engine are not compared, and that is a complaint", () => {
  const known = { node: 20, ratios: { a: 1 }, bytes: { c: 1_000 } }
  expect(complaints({ ...known, node: 22, bytes: { c: 9_000 } }, known)).toEqual([
    "bytes were recorded on Node 20, this is Node 22: run it with that one, or record first"
  ])
})
