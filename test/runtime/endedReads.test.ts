/** Reads of ended jobs, which retention leaves alone (ARCP 1.1 §7.6). */
import { describe, expect, it } from "@effect/vitest"
import { EndedReads } from "../../src/runtime/log/EndedReads.js"

describe("reads of ended jobs", () => {
  it("§7.6 one that is open keeps its job, and no other", () => {
    const reads = new EndedReads()
    const { over } = reads.begin("a")
    expect([reads.isRead("a", reads.now), reads.isRead("b", reads.now)]).toEqual([true, false])
    reads.forget()
    expect(reads.isRead("a", reads.now)).toBe(true)
    over()
    expect(reads.isRead("a", reads.now)).toBe(false)
  })

  it("§7.6 a read that is over since a moment keeps its job for who asks about that moment", () => {
    const reads = new EndedReads()
    const since = reads.now
    reads.begin("a").over()
    expect([reads.isRead("a", since), reads.isRead("a", reads.now)]).toEqual([true, false])
    reads.forget()
    expect(reads.isRead("a", since)).toBe(false)
  })

  it("§7.6 several reads of a job end one by one, each once", () => {
    const reads = new EndedReads()
    const [first, second] = [reads.begin("a"), reads.begin("a")]
    first.over()
    first.over()
    expect(reads.isRead("a", reads.now)).toBe(true)
    second.over()
    expect(reads.isRead("a", reads.now)).toBe(false)
  })

  it("§7.6 one that begins between the decision to remove and its storing is void", () => {
    const reads = new EndedReads()
    const before = reads.begin("a")
    reads.removing(["a", "b"])
    const [within, other] = [reads.begin("a"), reads.begin("c")]
    reads.decided(["a", "b"])
    const behind = reads.begin("a")
    expect([before, within, other, behind].map(({ isVoid }) => isVoid)).toEqual([false, true, false, false])
  })
})
