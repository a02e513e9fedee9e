/** The hot path keeps its speed: what each event, job and frame costs is held against what is recorded in `guard.json`. */
import { expect, it } from "vitest"
import { complaints, lesser, measure, recorded, tooSlow } from "./measured.js"

it("the hot path is as fast as recorded", async () => {
  let { ratios } = await measure()
  // An engine that compiled in an unlucky order, or a machine in trouble, is not as slow twice.
  if (complaints(ratios, recorded()).length > 0) ratios = lesser(ratios, (await measure()).ratios)
  expect(complaints(ratios, recorded()), "if it has to be slower: npm run bench:guard -- --record").toEqual([])
})

it("half the speed is a complaint, in every piece that is recorded", () => {
  const before = recorded()
  const names = Object.keys(before)
  expect(names.length).toBeGreaterThanOrEqual(4)
  for (const slow of names) {
    const now = { ...before, [slow]: before[slow]! * 2 }
    expect(complaints(now, before)).toEqual([`${slow}: 2.00 times as slow as recorded`])
  }
})

it("what differs between machines is no complaint; what is not measured or not recorded is one", () => {
  const almost = tooSlow * 0.99
  expect(complaints({ a: almost, b: 0.1 }, { a: 1, b: 1 })).toEqual([])
  expect(complaints({ a: 1 }, { a: 1, b: 1 })).toEqual(["b: not measured"])
  expect(complaints({ a: 1, c: 1 }, { a: 1 })).toEqual(["c: not recorded"])
})
