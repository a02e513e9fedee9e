/** Deliveries that SQL stores keep with their segments: which ones, and that numbers outlive them (ARCP 1.1 §8.3). */
import { SqlClient } from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { carriedOf } from "../../src/store/internal/carried.js"
import { type Batch, type Delivery, emptyBatch, type Segment, Store } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { jobRecord, jobState, sessionRecord } from "../support/records.js"

const segment = (jobId: string, firstSeq: number, lastSeq: number, size = 10): Segment => ({
  jobId,
  firstSeq,
  lastSeq,
  class: "event",
  payloads: Array.from({ length: lastSeq - firstSeq + 1 }, () => `{"x":"${"x".repeat(size - 8)}"}`)
})

const delivery = (
  sessionId: string,
  firstSeq: number,
  jobId: string,
  firstJobSeq: number,
  count: number
): Delivery => ({
  sessionId,
  firstSeq,
  lastSeq: firstSeq + count - 1,
  jobId,
  firstJobSeq
})

/** What is carried, by the segment's first number in its job, and which deliveries are not. */
const split = (batch: Pick<Batch, "segments" | "deliveries">) => {
  const { by, others } = carriedOf(batch)
  return {
    carried: [...by].map(([{ firstSeq, jobId }, d]) => [
      jobId,
      firstSeq,
      d.sessionId,
      d.firstSeq,
      d.lastSeq,
      d.firstJobSeq
    ]),
    others
  }
}

describe("a delivery is kept with its segment", () => {
  it("where it has all of it and nothing else", () => {
    const deliveries = [delivery("s", 4, "j", 1, 3), delivery("s", 7, "k", 9, 1)]
    expect(split({ segments: [segment("j", 1, 3), segment("k", 9, 9)], deliveries })).toEqual({
      carried: [
        ["j", 1, "s", 4, 6, 1],
        ["k", 9, "s", 7, 7, 9]
      ],
      others: []
    })
  })

  it("and with several where it is made of them, a part with each", () => {
    const segments = [segment("j", 1, 3), { ...segment("j", 4, 4), class: "result" as const }]
    expect(split({ segments, deliveries: [delivery("s", 4, "j", 1, 4)] })).toEqual({
      carried: [
        ["j", 1, "s", 4, 6, 1],
        ["j", 4, "s", 7, 7, 4]
      ],
      others: []
    })
  })

  it.each([
    ["a part of it", [segment("j", 1, 3)], [delivery("s", 1, "j", 1, 2)]],
    ["its end", [segment("j", 1, 3)], [delivery("s", 1, "j", 2, 2)]],
    ["more than there is", [segment("j", 1, 3)], [delivery("s", 1, "j", 1, 4)]],
    ["what was there before", [segment("j", 5, 6)], [delivery("s", 1, "j", 1, 6)]],
    ["another job's", [segment("j", 1, 1)], [delivery("s", 1, "k", 1, 1)]],
    ["a long one", [segment("j", 1, 1, 4_000)], [delivery("s", 1, "j", 1, 1)]],
    ["a long run of short ones", [segment("j", 1, 100)], [delivery("s", 1, "j", 1, 100)]],
    ["nothing that comes with it", [], [delivery("s", 1, "j", 1, 1)]]
  ])("but not where it is of %s", (_, segments, deliveries) => {
    expect(split({ segments, deliveries })).toEqual({ carried: [], others: deliveries })
  })

  it("of one session alone: the first one that was given it", () => {
    const deliveries = [delivery("owner", 1, "j", 1, 2), delivery("observer", 8, "j", 1, 2)]
    expect(split({ segments: [segment("j", 1, 2)], deliveries })).toEqual({
      carried: [["j", 1, "owner", 1, 2, 1]],
      others: [deliveries[1]]
    })
  })
})

const commit = (batch: Partial<Batch>) => Effect.flatMap(Store, (store) => store.commit({ ...emptyBatch, ...batch }))

const sqlOf = Effect.map(Store, ({ over }) => over?.[0] as SqlClient)

/** How many rows there are of deliveries, and of segments that carry one. */
const rows = Effect.flatMap(
  sqlOf,
  (sql) =>
    sql<{ readonly own: number; readonly carried: number }>`SELECT (SELECT COUNT(*) FROM arcp_deliveries) AS own,
    (SELECT COUNT(session_id) FROM arcp_segments) AS carried`
)

const memory = SqliteStore.layer({ filename: ":memory:" })

it.scopedLive("the events of a job that one session has write no row of their deliveries", () =>
  Effect.gen(function* () {
    yield* commit({ sessions: [sessionRecord("s")], jobs: [jobRecord("j")], jobStates: [jobState("j")] })
    for (let n = 1; n <= 20; n++)
      yield* commit({ segments: [segment("j", n, n)], deliveries: [delivery("s", n, "j", n, 1)] })
    expect(yield* rows).toEqual([{ own: 0, carried: 20 }])
    const store = yield* Store
    expect(yield* store.deliveries("s", 17, 2)).toEqual([delivery("s", 18, "j", 18, 1), delivery("s", 19, "j", 19, 1)])
  }).pipe(Effect.provide(memory))
)

it.scopedLive("deliveries of both kinds come in the order of their numbers, as many as were asked for", () =>
  Effect.gen(function* () {
    yield* commit({ sessions: [sessionRecord("s")], jobs: [jobRecord("j"), jobRecord("k")], jobStates: [] })
    const given: Array<Delivery> = []
    for (let n = 1; n <= 30; n++) {
      const [jobId, at] = n % 2 === 0 ? ["j", n / 2] : ["k", (n + 1) / 2]
      const next = delivery("s", n, jobId, at, 1)
      given.push(next)
      // Every third is too long to carry anything.
      yield* commit({ segments: [segment(jobId, at, at, n % 3 === 0 ? 4_000 : 40)], deliveries: [next] })
    }
    expect(yield* rows).toEqual([{ own: 10, carried: 20 }])
    const store = yield* Store
    expect(yield* store.deliveries("s", 0, 100)).toEqual(given)
    expect(yield* store.deliveries("s", 11, 7)).toEqual(given.slice(11, 18))
    expect(yield* store.deliveriesOfJob("s", "k")).toEqual(given.filter(({ jobId }) => jobId === "k"))
    expect(yield* store.deliveriesOfJob("t", "k")).toEqual([])
    expect(yield* store.deliveredTo("j")).toEqual([{ sessionId: "s", lastSeq: 30 }])
  }).pipe(Effect.provide(memory))
)

it.scopedLive("§8.3 the numbers of a removed job stay assigned in every piece of the purge", () =>
  Effect.gen(function* () {
    const count = 2_000
    const sessions = ["owner", "observer"]
    yield* commit({
      sessions: sessions.map((sessionId) => sessionRecord(sessionId)),
      jobs: [jobRecord("j")],
      jobStates: [jobState("j")],
      segments: Array.from({ length: count }, (_, i) => segment("j", i + 1, i + 1)),
      deliveries: Array.from({ length: count }, (_, i) => [
        delivery("owner", i + 1, "j", i + 1, 1),
        delivery("observer", i + 11, "j", i + 1, 1)
      ]).flat()
    })
    expect(yield* rows).toEqual([{ own: count, carried: count }])
    yield* commit({ jobsRemoved: ["j"] })
    const store = yield* Store
    const numbers = Effect.map(store.recover, (all) => all.sessions.map((s) => [s.sessionId, s.lastSeq]).toSorted())
    const left = new Set<number>()
    const purge = yield* Effect.fork(store.purge)
    while (purge.unsafePoll() === null) {
      expect(yield* numbers).toEqual([
        ["observer", count + 10],
        ["owner", count]
      ])
      for (const { carried, own } of yield* rows) left.add(own + carried)
      yield* Effect.yieldNow()
    }
    yield* Fiber.join(purge)
    expect(yield* rows).toEqual([{ own: 0, carried: 0 }])
    expect(yield* numbers).toEqual([
      ["observer", count + 10],
      ["owner", count]
    ])
    expect(left.size).toBeGreaterThan(1)
  }).pipe(Effect.provide(memory))
)
