/** What every `Store` must do with the owners of a job beside the first (ARCP 1.1 §7.2). */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Store, type StoredJob } from "../../store/Store.js"
import { type Rule, rule, same } from "./check.js"
import { sessionRecord } from "./rows.js"
import { commit, everyJob, job, state } from "./storeBatches.js"

const owner = (jobId: string, sessionId: string) => ({ sessionId, jobId })

/** The owners of each job, the first one first. */
const ownersOf = (jobs: ReadonlyArray<StoredJob>) =>
  Object.fromEntries(
    jobs.map(({ otherOwners, record, state }) => [record.jobId, [state.ownerSessionId, ...otherOwners]])
  )

/** What each read says of the owners. */
const owned = Effect.gen(function* () {
  const store = yield* Store
  const listed = yield* store.jobs(everyJob)
  const each = yield* Effect.forEach(listed, ({ record }) => store.job(record.jobId))
  return {
    listed: ownersOf(listed),
    read: ownersOf(each.flatMap(Option.toArray)),
    recovered: ownersOf((yield* store.recover).jobs)
  }
})

const ownersAre = (when: string, expected: Readonly<Record<string, ReadonlyArray<string>>>) =>
  Effect.flatMap(owned, (found) =>
    same(`the owners ${when}`, found, { listed: expected, read: expected, recovered: expected })
  )

/** Owners of running jobs come, leave, and go with what they belong to. */
export const ownersInOrder: Rule<Store> = rule(
  "§7.2 the owners of a job come back in the order in which they came, and go with their session and their job",
  Effect.gen(function* () {
    yield* commit({
      sessions: ["s1", "s2", "s3", "s4"].map((id) => sessionRecord(id)),
      jobs: [job("a"), job("b"), job("c")],
      jobStates: [state("a"), state("b"), state("c")],
      owners: [owner("a", "s3"), owner("a", "s2"), owner("b", "s2"), owner("b", "s4")]
    })
    yield* ownersAre("in the order of one batch", { a: ["s1", "s3", "s2"], b: ["s1", "s2", "s4"], c: ["s1"] })
    yield* commit({ owners: [owner("a", "s4"), owner("a", "s3")] })
    yield* ownersAre("after one came, and one came again", {
      a: ["s1", "s3", "s2", "s4"],
      b: ["s1", "s2", "s4"],
      c: ["s1"]
    })
    yield* commit({ jobStates: [state("a", { ownerSessionId: "s3" })], ownersRemoved: [owner("a", "s3")] })
    yield* ownersAre("after the next one became the first", {
      a: ["s3", "s2", "s4"],
      b: ["s1", "s2", "s4"],
      c: ["s1"]
    })
    yield* commit({ owners: [owner("c", "s4")], ownersRemoved: [owner("c", "s4"), owner("c", "s2")] })
    yield* commit({ ownersRemoved: [owner("a", "s2")] })
    yield* commit({ owners: [owner("a", "s2")] })
    yield* ownersAre("after one left and came back", { a: ["s3", "s4", "s2"], b: ["s1", "s2", "s4"], c: ["s1"] })
    yield* commit({ sessionsRemoved: ["s2"] })
    yield* ownersAre("after a session's removal", { a: ["s3", "s4"], b: ["s1", "s4"], c: ["s1"] })
    yield* commit({ jobsRemoved: ["b"] })
    yield* ownersAre("after a job's removal", { a: ["s3", "s4"], c: ["s1"] })
  })
)

/** The owners of ended jobs, whose numbers are asked for in listings. */
export const ownersOfEnded: Rule<Store> = rule(
  "§6.6 the owners of a job stay when it ends",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({ jobs: [job("a")], jobStates: [state("a")], owners: [owner("a", "s3"), owner("a", "s2")] })
    yield* commit({ jobStates: [state("a", { status: "success", endedAt: 5 })] })
    const found = Option.getOrUndefined(yield* store.job("a"))
    yield* same("the other owners of the ended job", found?.otherOwners, ["s3", "s2"])
  })
)

/** Owners and their order outlive the process. */
export const ownersOutlive = <E>(place: Effect.Effect<Layer.Layer<Store, E>>): Rule<never> =>
  rule<never>(
    "§7.2 the owners of a job are in their order when the store is opened again, and later ones come behind them",
    Effect.gen(function* () {
      const layer = yield* place
      const open = <A, E2>(use: Effect.Effect<A, E2, Store>) => Effect.provide(use, Layer.fresh(layer))
      yield* open(
        Effect.gen(function* () {
          yield* commit({
            jobs: [job("a")],
            jobStates: [state("a")],
            owners: [owner("a", "s5"), owner("a", "s2"), owner("a", "s4")]
          })
          yield* commit({ ownersRemoved: [owner("a", "s2")] })
        })
      )
      yield* open(
        Effect.gen(function* () {
          yield* ownersAre("when the store is opened again", { a: ["s1", "s5", "s4"] })
          yield* commit({ owners: [owner("a", "s3"), owner("a", "s5")] })
          yield* ownersAre("after one came then", { a: ["s1", "s5", "s4", "s3"] })
        })
      )
    })
  )
