/** How many refusals of one peer a trail records (ARCP 1.1 §14). */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { Draft } from "../../src/runtime/kernel/AuditRecord.js"
import { RefusalRates } from "../../src/runtime/kernel/RefusalRates.js"
import { runs } from "../support/properties.js"

describe("the bounds of refusals", () => {
  const peer = fc.constantFrom("alice", "bob", "anonymous:1", "anonymous:2", undefined)
  const step = fc.record({ peer, times: fc.integer({ min: 1, max: 900 }), after: fc.integer({ min: 0, max: 90_000 }) })

  it("§14 what was admitted and what was told make what was refused, each peer within its number", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let now = 0
        const rates = new RefusalRates(() => now)
        const whose = (id: string | undefined) => (id?.startsWith("anonymous:") === true ? "anonymous" : (id ?? ""))
        const refused = new Map<string, number>()
        const recorded = new Map<string, number>()
        const told = new Map<string, number>()
        const count = (counts: Map<string, number>, key: string, more = 1) =>
          void counts.set(key, (counts.get(key) ?? 0) + more)
        const hear = (draft: Draft) => {
          if (draft.type === "session.refusals_omitted") count(told, "", draft.count)
          else if (draft.type === "refusals.omitted")
            count(told, draft.anonymous ? "anonymous" : draft.principal!, draft.count)
          else throw new Error(draft.type)
        }
        for (const { after, peer: id, times } of steps) {
          now += after
          for (let i = 0; i < times; i++) {
            const admitted = rates.admit({ type: "session.refused", principal: id, reason: "session", code: "X" })
            count(refused, whose(id))
            if (admitted === undefined) continue
            count(recorded, whose(id))
            if (admitted.before !== undefined) hear(admitted.before)
          }
        }
        for (const draft of rates.tellAll()) hear(draft)
        for (const [key, all] of refused) {
          expect((recorded.get(key) ?? 0) + (told.get(key) ?? 0)).toBe(all)
          expect(recorded.get(key) ?? 0).toBeLessThanOrEqual(600 + (now * 10) / 1_000)
          expect(recorded.get(key) ?? 0).toBeGreaterThanOrEqual(Math.min(all, 600))
        }
        expect(rates.tellAll()).toEqual([])
      }),
      { numRuns: runs(100) }
    )
  })

  it("§14 principals without end share one number, and what is told of them adds up", () => {
    let now = 0
    const rates = new RefusalRates(() => now)
    let recorded = 0
    for (let i = 0; i < 5_000; i++)
      if (rates.admit({ type: "job.refused", principal: `p${i}`, code: "X" }) !== undefined) recorded++
    expect(recorded).toBe(1_024 + 600)
    expect(rates.tellAll()).toEqual([{ type: "refusals.omitted", anonymous: false, count: 5_000 - recorded }])
    // Those that have not come for a minute make room.
    now = 61_000
    expect(rates.admit({ type: "job.refused", principal: "new", code: "X" })).toEqual({ before: undefined })
    for (let i = 0; i < 700; i++) rates.admit({ type: "job.refused", principal: "new", code: "X" })
    expect(rates.tellAll()).toEqual([{ type: "refusals.omitted", principal: "new", anonymous: false, count: 101 }])
  })
})
