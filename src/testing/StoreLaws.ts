/** What every `Store` must do (ARCP 1.1 §6, §7), as {@link Law}s. */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as MemoryStore from "../store/MemoryStore.js"
import { type Retention, Store, type StoreError } from "../store/Store.js"
import { ensure, failsWith, laws, type Rule, rule, same, sameSet } from "./internal/check.js"
import { ownersInOrder, ownersOfEnded, ownersOutlive } from "./internal/ownerLaws.js"
import { anonymousRetention } from "./internal/retentionLaws.js"
import { sessionRecord } from "./internal/rows.js"
import { commit, delivery, everyJob, job, lastSeqs, segment, state } from "./internal/storeBatches.js"
import { actsOf, histories, readAfter } from "./internal/storeHistories.js"
import type { Law, LawOptions } from "./Law.js"

/**
 * The options of the laws of stores.
 *
 * @since 0.1.0
 * @category options
 */
export interface StoreLawOptions<S, E> extends LawOptions {
  /**
   * Names a new place, such as a file, and returns the layer that opens it: built again, it finds what the one before has left. Give it
   * for a store that says it is durable. Default: the laws about that are left out.
   */
  readonly place?: Effect.Effect<Layer.Layer<S, E>> | undefined
  /** How many random histories are compared with a model. Default: 50. */
  readonly runs?: number | undefined
  /** The seed of the random histories. Default: 1. */
  readonly seed?: number | undefined
}

const ranges = (list: ReadonlyArray<{ readonly firstSeq: number; readonly lastSeq: number }>) =>
  list.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq])

const firsts = (list: ReadonlyArray<{ readonly firstSeq: number }>) => list.map(({ firstSeq }) => firstSeq)

const rowsComeBack: Rule<Store> = rule(
  "§7.2 jobs, states and keys come back as they were written, and keys go when they expire",
  Effect.gen(function* () {
    const store = yield* Store
    const record = job("job_1", { idempotencyKey: "k", maxRuntimeSec: 5, traceContext: "{}" })
    const kept = state("job_1", { budget: '{"USD":"1.5"}' })
    yield* commit({
      jobs: [record],
      jobStates: [kept],
      keys: [{ principalId: "alice", key: "k", jobId: "job_1", parametersHash: "p", expiresAt: 10 }]
    })
    yield* same("the job", Option.getOrUndefined(yield* store.job("job_1")), {
      record,
      state: kept,
      otherOwners: []
    })
    yield* same("the key's hash", Option.getOrUndefined(yield* store.key("alice", "k"))?.parametersHash, "p")
    yield* ensure(Option.isNone(yield* store.key("bob", "k")), "no key of another principal", "one was found")
    yield* same("keys removed before they expire", yield* store.removeExpiredKeys(9), 0)
    yield* same("keys removed when they expire", yield* store.removeExpiredKeys(10), 1)
    yield* ensure(Option.isNone(yield* store.key("alice", "k")), "the key to be gone", "it was found")
    yield* ensure(Option.isNone(yield* store.job("job_2")), "no job under another id", "one was found")
  })
)

const numbersStay: Rule<Store> = rule(
  "§8.3 a number that was assigned stays assigned when its event is trimmed or its job removed",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({
      sessions: [sessionRecord("s1"), sessionRecord("s2"), { ...sessionRecord("s3"), lastSeq: 40 }],
      jobs: [job("a"), job("b")],
      jobStates: [state("a"), state("b")],
      segments: [segment("a", 1, 9), segment("b", 1, 2)],
      deliveries: [
        delivery("s1", "a", 1, 9, 1),
        delivery("s1", "b", 10, 11, 1),
        delivery("s2", "a", 1, 5, 1),
        delivery("s3", "a", 1, 3, 1)
      ]
    })
    const last = Effect.map(store.recover, ({ sessions }) => lastSeqs(sessions))
    const delivered = (jobId: string) => Effect.map(store.deliveredTo(jobId), lastSeqs)
    const kept = { s1: 11, s2: 5, s3: 40 }
    yield* same("whom job a was delivered to", yield* delivered("a"), { s1: 9, s2: 5, s3: 3 })
    yield* commit({ trims: [{ jobId: "a", upTo: 9 }] })
    yield* same("the sessions' highest numbers after a trim", yield* last, kept)
    yield* same("whom job a is delivered to after a trim", yield* delivered("a"), {})
    yield* commit({ jobsRemoved: ["b", "a"] })
    yield* same("whom job b is delivered to after its removal", yield* delivered("b"), {})
    yield* same("the sessions' highest numbers after the jobs' removal", yield* last, kept)
    yield* store.purge
    yield* same("the sessions' highest numbers after a purge", yield* last, kept)
    yield* commit({
      sessions: [sessionRecord("s4")],
      jobs: [job("c")],
      jobStates: [state("c")],
      segments: [segment("c", 1, 3)],
      deliveries: [delivery("s4", "c", 1, 3, 1)]
    })
    yield* commit({ trims: [{ jobId: "c", upTo: 3 }] })
    yield* same("the sessions' highest numbers after a trim of all that one has", yield* last, { ...kept, s4: 3 })
  })
)

const segmentsInRange: Rule<Store> = rule(
  "§8.3 segments that overlap a range come back in order, bounded by bytes but never none",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({
      jobs: [job("j")],
      jobStates: [state("j")],
      segments: [segment("j", 1, 3), segment("j", 4, 4), segment("j", 5, 9)]
    })
    const read = (from: number, to: number, bytes: number) => Effect.map(store.segments("j", from, to, bytes), ranges)
    yield* same("segments of 3 to 5", yield* read(3, 5, 1e6), [
      [1, 3],
      [4, 4],
      [5, 9]
    ])
    yield* same("segments of 4", yield* read(4, 4, 1e6), [[4, 4]])
    yield* same("segments of 1 to 9 in one byte", yield* read(1, 9, 1), [[1, 3]])
    yield* same("segments of 10 to 20", yield* read(10, 20, 1e6), [])
    const [found] = yield* store.segments("j", 5, 5, 1e6)
    yield* same("the payloads of the segment of 5", found?.payloads, segment("j", 5, 9).payloads)
    yield* same("heads of 2 to 4", ranges(yield* store.segmentHeads("j", 2, 4)), [
      [1, 3],
      [4, 4]
    ])
  })
)

const trimsTakeWhole: Rule<Store> = rule(
  "§6.5 trims take whole segments and the deliveries whose events are all among them",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({
      jobs: [job("j"), job("k")],
      jobStates: [state("j"), state("k")],
      segments: [segment("j", 1, 3), segment("j", 4, 6), segment("k", 1, 1)],
      deliveries: [delivery("s", "j", 1, 3, 1), delivery("s", "k", 4, 4, 1), delivery("s", "j", 5, 7, 4)]
    })
    yield* commit({ trims: [{ jobId: "j", upTo: 4 }] })
    yield* same("segments after a trim", firsts(yield* store.segmentHeads("j", 1, 9)), [4])
    yield* same("deliveries after a trim", firsts(yield* store.deliveries("s", 0, 9)), [4, 5])
    yield* same("deliveries beyond 4", firsts(yield* store.deliveries("s", 4, 9)), [5])
    yield* same("deliveries of job j", firsts(yield* store.deliveriesOfJob("s", "j")), [5])
  })
)

const recovers: Rule<Store> = rule(
  "§6.3 recovery returns sessions, unfinished jobs and subscriptions with the numbers of their events",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({
      sessions: [sessionRecord("s1")],
      jobs: [job("j1"), job("j2")],
      jobStates: [state("j1"), state("j2", { status: "success", endedAt: 5 })],
      segments: [segment("j1", 1, 4)],
      deliveries: [delivery("s1", "j1", 1, 4, 1)],
      subscriptions: [
        { sessionId: "s1", jobId: "j1" },
        { sessionId: "s1", jobId: "j1" }
      ]
    })
    const recovered = yield* store.recover
    yield* same("the sessions", recovered.sessions, [{ ...sessionRecord("s1"), lastSeq: 4 }])
    yield* same(
      "the unfinished jobs with their numbers",
      recovered.jobs.map((j) => [j.record.jobId, j.state.lastJobSeq, j.state.lastOwnerSeq]),
      [["j1", 4, 4]]
    )
    yield* same("the subscriptions", recovered.subscriptions, [{ sessionId: "s1", jobId: "j1" }])
    yield* commit({ sessionsRemoved: ["s1"] })
    const after = yield* store.recover
    yield* same("the sessions after the removal", after.sessions, [])
    yield* same("the subscriptions after the removal", after.subscriptions, [])
    yield* same("the deliveries after the removal", (yield* store.deliveriesOfJob("s1", "j1")).length, 1)
  })
)

const listings: Rule<Store> = rule(
  "§6.6 listings filter and page by id",
  Effect.gen(function* () {
    const store = yield* Store
    const all = Array.from({ length: 9 }, (_, i) => `job_${i}`)
    yield* commit({
      jobs: all.map((id, i) =>
        job(id, { principalId: i % 3 === 0 ? "bob" : "alice", createdAt: i, agent: i < 5 ? "a" : "b" })
      ),
      jobStates: all.map((id, i) =>
        state(id, { status: i % 2 === 0 ? "running" : "error", endedAt: i % 2 === 0 ? undefined : i })
      )
    })
    for (const [query, expected] of [
      [{}, all],
      [{ principalIds: ["bob"] }, ["job_0", "job_3", "job_6"]],
      [{ principalIds: [] }, []],
      [{ statuses: ["error"], agent: "b" }, ["job_5", "job_7"]],
      [{ createdAfter: 6 }, ["job_7", "job_8"]],
      [{ afterJobId: "job_2", limit: 2 }, ["job_3", "job_4"]],
      [{ version: "9" }, []]
    ] as const) {
      const found = yield* store.jobs({ ...everyJob, ...query })
      yield* same(
        `jobs of ${JSON.stringify(query)}`,
        found.map(({ record }) => record.jobId),
        expected
      )
    }
  })
)

const retention: Rule<Store> = rule(
  "§6.5 retention names the oldest ends by age, count and bytes, and removal takes everything of a job",
  Effect.gen(function* () {
    const store = yield* Store
    const all = ["a", "b", "c", "d"]
    const step = { jobId: "a", name: "one", fingerprint: "f", value: "1" }
    yield* commit({
      jobs: all.map((id) => job(id, { idempotencyKey: id })),
      jobStates: all.map((id) => state(id)),
      segments: all.map((id) => segment(id, 1, 10)),
      keys: all.map((id) => ({ principalId: "alice", key: id, jobId: id, parametersHash: "", expiresAt: 99 })),
      steps: [step],
      deliveries: [delivery("s", "a", 1, 10, 1)]
    })
    yield* commit({ jobStates: ["a", "b", "c"].map((id, i) => state(id, { status: "success", endedAt: 10 + i })) })
    const keep: Retention = { endedBefore: 0, maxJobs: 100, maxBytes: 1e9 }
    yield* same("jobs over no bound", yield* store.expiredJobs(keep, 10), [])
    yield* same("jobs that ended before 12", yield* store.expiredJobs({ ...keep, endedBefore: 12 }, 10), ["a", "b"])
    yield* same("jobs over a count of 1", yield* store.expiredJobs({ ...keep, maxJobs: 1 }, 10), ["a", "b"])
    yield* same("two of the jobs over 10 bytes", yield* store.expiredJobs({ ...keep, maxBytes: 10 }, 2), ["a", "b"])
    yield* same("the step", Option.getOrUndefined(yield* store.step("a", "one")), step)
    yield* commit({ jobsRemoved: ["a"] })
    yield* ensure(Option.isNone(yield* store.job("a")), "the removed job to be gone", "it was found")
    yield* ensure(Option.isNone(yield* store.key("alice", "a")), "its key to be gone", "it was found")
    yield* ensure(Option.isNone(yield* store.step("a", "one")), "its step to be gone", "it was found")
    yield* same("its segments", yield* store.segments("a", 1, 10, 1e6), [])
    yield* same("its deliveries", yield* store.deliveries("s", 0, 10), [])
    yield* store.purge
    yield* same("another job's segments after a purge", ranges(yield* store.segments("b", 1, 10, 1e6)), [[1, 10]])
  })
)

const allOrNothing: Rule<Store> = rule(
  "§6 a batch that breaks an invariant leaves nothing, and the next one works",
  Effect.gen(function* () {
    const store = yield* Store
    yield* commit({ jobs: [job("j")], jobStates: [state("j")], segments: [segment("j", 1, 2)] })
    yield* failsWith(
      "a batch with an event's number that is taken",
      commit({
        sessions: [sessionRecord("s9")],
        jobs: [job("new")],
        jobStates: [state("new")],
        segments: [segment("j", 2, 2)]
      }),
      "StoreError"
    )
    yield* ensure(Option.isNone(yield* store.job("new")), "nothing of a failed batch", "its job was found")
    yield* same("sessions of a failed batch", (yield* store.recover).sessions, [])
    yield* commit({ jobs: [job("new")], jobStates: [state("new")] })
    yield* ensure(Option.isSome(yield* store.job("new")), "the job of the next batch", "it was not found")
  })
)

const agrees = <E>(layer: Layer.Layer<Store, E>, runs: number, seed: number): Rule<never> =>
  rule<never>(
    "§6 agrees with the store in memory on every read after random batches",
    Effect.forEach(
      FastCheck.sample(histories, { numRuns: runs, seed }),
      (steps) => {
        const read = (of: Layer.Layer<Store, E | StoreError>) =>
          Effect.provide(readAfter(actsOf(steps)), Layer.fresh(of))
        return Effect.flatMap(Effect.all([read(MemoryStore.layer), read(layer)]), ([expected, actual]) => {
          const history = JSON.stringify(steps)
          return Effect.all(
            [
              same(`the segments after ${history}`, actual.segments, expected.segments),
              same(`the deliveries after ${history}`, actual.given, expected.given),
              same(`the deliveries of jobs after ${history}`, actual.givenOfJobs, expected.givenOfJobs),
              same(`whom the jobs were delivered to after ${history}`, actual.givenTo, expected.givenTo),
              same(`the sessions' highest numbers after ${history}`, actual.sessions, expected.sessions),
              same(`the jobs to recover after ${history}`, actual.recovered, expected.recovered),
              same(`the other owners after ${history}`, actual.owners, expected.owners),
              sameSet(`the ended jobs after ${history}`, actual.ended, expected.ended)
            ],
            { discard: true }
          )
        })
      },
      { discard: true }
    )
  )

const outlives = <E>(place: Effect.Effect<Layer.Layer<Store, E>>): Rule<never> =>
  rule<never>(
    "§6.3 what was committed is there when the store is opened again, and what was removed is not",
    Effect.gen(function* () {
      const layer = yield* place
      const open = <A, E2>(use: Effect.Effect<A, E2, Store>) => Effect.provide(use, Layer.fresh(layer))
      const record = job("stays", { idempotencyKey: "k" })
      yield* open(
        Effect.gen(function* () {
          yield* commit({
            sessions: [sessionRecord("s1")],
            jobs: [record, job("gone")],
            jobStates: [state("stays"), state("gone")],
            keys: [{ principalId: "alice", key: "k", jobId: "stays", parametersHash: "p", expiresAt: 10 }],
            segments: [segment("stays", 1, 3), segment("gone", 1, 3)],
            deliveries: [delivery("s1", "stays", 1, 3, 1)],
            subscriptions: [{ sessionId: "s1", jobId: "stays" }],
            steps: [{ jobId: "stays", name: "one", fingerprint: "f", value: "1" }]
          })
          yield* commit({ jobsRemoved: ["gone"] })
        })
      )
      yield* open(
        Effect.gen(function* () {
          const store = yield* Store
          yield* ensure(store.durable, "a store with a place to say that it is durable", "it says that it is not")
          yield* same("the job", Option.getOrUndefined(yield* store.job("stays"))?.record, record)
          yield* same("the key", Option.getOrUndefined(yield* store.key("alice", "k"))?.jobId, "stays")
          yield* same("the step", Option.getOrUndefined(yield* store.step("stays", "one"))?.value, "1")
          const [found] = yield* store.segments("stays", 1, 3, 1e6)
          yield* same("the payloads", found?.payloads, segment("stays", 1, 3).payloads)
          const { jobs, sessions, subscriptions } = yield* store.recover
          yield* same("the sessions", sessions, [{ ...sessionRecord("s1"), lastSeq: 3 }])
          yield* same(
            "the unfinished jobs",
            jobs.map((j) => [j.record.jobId, j.state.lastJobSeq]),
            [["stays", 3]]
          )
          yield* same("the subscriptions", subscriptions, [{ sessionId: "s1", jobId: "stays" }])
          yield* ensure(Option.isNone(yield* store.job("gone")), "the removed job to be gone", "it was found")
        })
      )
    })
  )

/**
 * The laws of a store. Each builds `layer` anew and expects it to be empty: for a store in a file, `layer` names a new file whenever it is
 * built.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { MemoryStore } from "effect-arcp/store"
 * import { storeLaws } from "effect-arcp/testing"
 *
 * for (const law of storeLaws(MemoryStore.layer)) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category laws
 */
export const storeLaws = <E>(
  layer: Layer.Layer<Store, E>,
  options: StoreLawOptions<Store, E> = {}
): ReadonlyArray<Law> => [
  ...laws(layer, options, [
    rowsComeBack,
    numbersStay,
    segmentsInRange,
    trimsTakeWhole,
    recovers,
    ownersInOrder,
    ownersOfEnded,
    listings,
    retention,
    anonymousRetention,
    allOrNothing
  ]),
  ...laws(Layer.empty, options, [
    agrees(layer, options.runs ?? 50, options.seed ?? 1),
    ...(options.place === undefined ? [] : [outlives(options.place), ownersOutlive(options.place)])
  ])
]
