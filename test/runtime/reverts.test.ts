/**
 * A commit that fails has never been (ARCP 1.1 §6.3, §7.2): all that is in memory is as it was before, and what is asked or written again
 * comes to what it would have come to.
 */
import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { runs } from "../support/properties.js"
import { besides, called, calls, makeModel } from "../support/batchModel.js"
import { Batch, same } from "../support/liveState.js"

describe("a batch of the log", () => {
  it("is called by these properties with every method that changes something", () => {
    const others = new Set(["constructor", "publish", "answer", "revert", "batch", "hasEnd"])
    const inner = new Set(["assigned", "append", "toLink", "sessionRecord", "jobState", "lastOwnerSeq"])
    const methods = Object.entries(Object.getOwnPropertyDescriptors(Batch.prototype))
      .filter(([name, { value }]) => typeof value === "function" && !others.has(name) && !inner.has(name))
      .map(([name]) => name)
    expect([...called].toSorted()).toEqual(methods.toSorted())
  })

  it("that failed leaves everything as it was, and the next comes to what it would have without it", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(0, 0, 0, 255, 256),
        fc.array(
          fc.record({ beside: besides, failed: fc.array(calls, { maxLength: 2 }), kept: fc.boolean(), written: calls }),
          { minLength: 1, maxLength: 6 }
        ),
        (warm, batches) => {
          const one = makeModel(warm)
          const other = makeModel(warm)
          for (const { beside, failed, kept, written } of batches) {
            for (const model of [one, other]) beside.forEach(model.beside)
            // What is kept of a failed batch comes first again; the rest of it is dropped.
            for (const calls of kept ? failed.map((dropped) => [...written, ...dropped]) : failed) {
              const before = one.state()
              one.fail(calls)
              same(one.state(), before)
            }
            same(one.commit(written), other.commit(written))
            same(one.state(), other.state())
            const { live, stored } = one.kept()
            same(stored, live)
          }
          expect(one.answers).toEqual(other.answers)
          expect(one.posted()).toEqual(other.posted())
        }
      ),
      { numRuns: runs(200) }
    )
  })
})
