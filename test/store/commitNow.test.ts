import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { commitNowOf } from "../../src/store/CommitNow.js"
import { decorate, emptyBatch, MemoryStore, Store, StoreError } from "../../src/store/index.js"
import { storeLaws } from "../../src/testing/index.js"
import { atOnce, atOnceOf } from "../support/atOnce.js"
import { runs, within } from "../support/properties.js"
import { jobRecord, jobState } from "../support/records.js"

describe("a commit in one step, in memory", () => {
  for (const law of storeLaws(atOnce(MemoryStore.layer), { runs: runs(50), timeout: within(100_000) })) {
    it.scopedLive(law.name, () => law.check)
  }
})

describe("a commit in one step", () => {
  it.effect("returns the error that the effect fails with, and leaves nothing of the batch", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const batch = {
        ...emptyBatch,
        jobs: [jobRecord("a"), jobRecord("a")],
        keys: [{ principalId: "alice", key: "k", jobId: "a", parametersHash: "p", expiresAt: 1 }]
      }
      const outcome = atOnceOf(store)(batch)
      expect(outcome).toBeInstanceOf(StoreError)
      expect(outcome).toEqual(yield* Effect.flip(store.commit(batch)))
      expect((yield* store.key("alice", "k"))._tag).toBe("None")
      expect(atOnceOf(store)({ ...emptyBatch, jobs: [jobRecord("a")], jobStates: [jobState("a")] })).toBeUndefined()
      expect((yield* store.job("a"))._tag).toBe("Some")
    }).pipe(Effect.provide(MemoryStore.layer))
  )

  it.effect("is not taken from a store whose commit was put around it: what is around sees every commit", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const seen: Array<string> = []
      const decorated = decorate(store, (operation, run) => Effect.suspend(() => (seen.push(operation), run)))
      expect(commitNowOf(decorated.commit)).toBeUndefined()
      expect(commitNowOf({ ...store }.commit)).toBe(commitNowOf(store.commit))
      yield* decorated.commit(emptyBatch)
      expect(seen).toEqual(["commit"])
    }).pipe(Effect.provide(MemoryStore.layer))
  )
})
