/** The ended jobs of the store in memory: a queue that keeps its sum, whatever is taken out of it. */
import { expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { EndedJobs } from "../../src/store/internal/memoryTables.js"
import { runs } from "../support/properties.js"

const act = fc.oneof(
  fc.record({ _tag: fc.constant("add" as const), bytes: fc.nat(1_000) }),
  fc.record({ _tag: fc.constant("first" as const), count: fc.integer({ min: 1, max: 600 }) }),
  fc.record({ _tag: fc.constant("any" as const), at: fc.nat(5_000) }),
  fc.record({ _tag: fc.constant("many" as const), count: fc.integer({ min: 1, max: 1_500 }) }),
  fc.record({ _tag: fc.constant("unknown" as const) })
)

it("has the jobs in the order of their ends, their number and the size of their events", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
      const jobs = new EndedJobs()
      let model: Array<{ readonly id: string; readonly bytes: number }> = []
      let next = 0
      const add = (bytes: number) => {
        const id = `job_${next++}`
        jobs.add(id, bytes)
        model.push({ id, bytes })
      }
      const remove = (at: number) => {
        const [gone] = model.splice(at, 1)
        if (gone !== undefined) jobs.delete(gone.id, gone.bytes)
      }
      for (const one of acts) {
        if (one._tag === "add") add(one.bytes)
        else if (one._tag === "many") for (let n = 0; n < one.count; n++) add(n % 7)
        else if (one._tag === "first") for (let n = 0; n < one.count; n++) remove(0)
        else if (one._tag === "any") remove(model.length === 0 ? 0 : one.at % model.length)
        else jobs.delete("job_unknown", 1_000)
        expect(jobs.count).toBe(model.length)
        expect(jobs.bytes).toBe(model.reduce((sum, { bytes }) => sum + bytes, 0))
      }
      expect([...jobs]).toEqual(model.map(({ id }) => id))
    }),
    { numRuns: runs(40) }
  )
})
