/** What the guard of the hot path complains of. The speed itself is measured by `npm run bench:guard`, on a machine that is idle. */
import { expect, it } from "vitest"
import { complaints, recorded, tooSlow } from "./measured.js"

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
