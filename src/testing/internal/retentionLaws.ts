/** What a store must do of jobs that have ended: which go, where anonymous principals have a part of what is kept (ARCP 1.1 §14). */
import * as Effect from "effect/Effect"
import { type Retention, Store } from "../../store/Store.js"
import { type Rule, rule, same } from "./check.js"
import { commit, job, segment, state } from "./storeBatches.js"

/** Removes what retention names until it names nothing. */
const expiredUntilNone = (keep: Retention) =>
  Effect.gen(function* () {
    const store = yield* Store
    const gone: Array<string> = []
    for (;;) {
      const next = yield* store.expiredJobs(keep, 3)
      if (next.length === 0) return gone
      gone.push(...next)
      yield* commit({ jobsRemoved: [...next] })
    }
  })

export const anonymousRetention: Rule<Store> = rule(
  "§14 retention takes jobs of anonymous principals first where they have more than their part, however many there are",
  Effect.gen(function* () {
    const store = yield* Store
    const ended = Array.from({ length: 12 }, (_, n) => String.fromCodePoint(97 + n))
    const anonymous = new Set(ended.slice(2, 10))
    yield* commit({
      jobs: ended.map((id) => job(id, { principalId: anonymous.has(id) ? `anonymous:${id}` : "alice" })),
      jobStates: ended.map((id, n) => state(id, { status: "success", endedAt: 10 + n })),
      segments: ended.map((id) => segment(id, 1, 10))
    })
    const keep: Retention = { endedBefore: 0, maxJobs: 8, maxBytes: 1e9, anonymous: { maxJobs: 4, maxBytes: 1e9 } }
    yield* same("the first anonymous jobs over a part of 4", (yield* store.expiredJobs(keep, 10)).slice(0, 2), [
      "c",
      "d"
    ])
    yield* same("two of them", yield* store.expiredJobs(keep, 2), ["c", "d"])
    const { anonymous: _, ...alike } = keep
    yield* same("the oldest without a part", yield* store.expiredJobs(alike, 10), ["a", "b", "c", "d"])
    yield* same("jobs within the bounds", yield* store.expiredJobs({ ...keep, maxJobs: 12 }, 10), [])
    yield* same("jobs that are too old", (yield* store.expiredJobs({ ...keep, endedBefore: 11 }, 1))[0], "a")
    const gone = yield* expiredUntilNone(keep)
    yield* same("what goes in all, asked until none goes", gone, ["c", "d", "e", "f"])
    yield* same(
      "the oldest where anonymous jobs have their part",
      yield* store.expiredJobs({ ...keep, maxJobs: 7 }, 10),
      ["a"]
    )
    const bytes = { ...keep, maxJobs: 100, maxBytes: 60, anonymous: { maxJobs: 100, maxBytes: 1 } }
    const [first] = yield* store.expiredJobs(bytes, 10)
    yield* same("the first to go over bytes", first, "g")
  })
)
