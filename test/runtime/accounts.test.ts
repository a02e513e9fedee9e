/** How long the runtime keeps a job's counters (ARCP 1.1 §9.6): as long as the job, and not where none came of it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { BigDecimal, type Context, Deferred, Effect, Either, Layer, TestClock } from "effect"
import * as Amount from "../../src/authority/Amount.js"
import type { Running } from "../../src/runtime/jobs/Running.js"
import type { Batch } from "../../src/runtime/log/Batch.js"
import type { Change, EventLog } from "../../src/runtime/log/EventLog.js"
import { JobId } from "../../src/protocol/index.js"
import { Budgets } from "../../src/runtime/index.js"
import * as Accounts from "../../src/runtime/jobs/Accounts.js"
import { Money } from "../../src/runtime/jobs/internal/money.js"
import { Deadlines } from "../../src/runtime/kernel/Deadlines.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { FaultyStore, TestGateway } from "../../src/testing/index.js"
import { barrier, hello, submit } from "./peer.js"
import { lease, leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const features = ["cost.budget", "model.use", "provisioned_credentials", "result_chunk"]

const amounts = (budgets: Context.Tag.Service<Budgets>, jobId: string) =>
  Array.from(budgets.counters(JobId(jobId)), ([currency, value]) => `${currency} ${Amount.format(value)}`)

describe.each(provisionedBackends)("counters of jobs, over %s", (_name, backend) => {
  it.scoped("§9.6 a job has its counters until its end is durable, a child those of its own", () =>
    Effect.gen(function* () {
      const budgets = yield* Budgets
      const peer = yield* hello({ features })
      const childLease = { "cost.budget": ["USD:0.50"] }
      const asked = { agent: "keeper", input: { name: "child" }, lease: childLease, gate: "parent" }
      const parent = yield* submit(peer, "parent", asked, {
        lease_request: { ...lease, "agent.delegate": ["*"] }
      })
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
      const child = peer.events().find((frame) => frame.payload.kind === "delegate")!.payload.body.child_job_id
      expect(amounts(budgets, child)).toEqual(["USD 0.5"])
      expect(amounts(budgets, parent.job_id!)).toEqual(["USD 1.5"])
      yield* Deferred.succeed(gate("child"), undefined)
      yield* peer.next("job.event", (frame) => /child has ended/.test(frame.payload.body?.message ?? ""))
      expect(amounts(budgets, child)).toEqual([])
      expect(amounts(budgets, parent.job_id!)).toEqual(["USD 2"])
      yield* Deferred.succeed(gate("parent"), undefined)
      yield* peer.terminal(parent.job_id!)
      expect(amounts(budgets, parent.job_id!)).toEqual([])
    }).pipe(Effect.provide(provisioned(backend())))
  )
})

describe("counters of jobs that come to nothing", () => {
  const [, backend] = provisionedBackends[1]!

  it.scoped(
    "§9.6, §9.8 are not kept: the store refuses the job, or its connection ends before its credentials come",
    () =>
      Effect.gen(function* () {
        const budgets = yield* Budgets
        const faults = yield* StoreFaults
        const gateway = yield* TestGateway
        const peer = yield* hello({ features })
        const gone = yield* hello({ features })
        yield* faults.fail("commit")
        const id = yield* peer.send("job.submit", { agent: "keeper", input: { name: "a" }, ...leased })
        expect((yield* peer.reply(id)).payload.code).toBe("INTERNAL_ERROR")
        yield* faults.heal
        yield* gateway.hangIssues(true)
        yield* gone.send("job.submit", { agent: "keeper", input: { name: "b" }, ...leased })
        yield* barrier(peer)
        yield* gone.drop
        yield* gateway.hangIssues(false)
        yield* TestClock.adjust("2 minutes")
        const keys = yield* gateway.keys
        expect(keys.map(({ jobId, live }) => [live, amounts(budgets, jobId)])).toEqual([
          [false, []],
          [false, []]
        ])
      }).pipe(
        Effect.provide(
          Layer.unwrapScoped(
            Effect.gen(function* () {
              const store = Layer.orDie(SqliteStore.layer({ filename: ":memory:", durable: true }))
              const context = yield* Layer.build(Layer.provide(FaultyStore.layer, store))
              const beneath = Layer.succeedContext(context)
              return Layer.merge(provisioned({ ...backend(), store: beneath }), beneath)
            })
          )
        )
      )
  )
})

describe("money that moves between two jobs", () => {
  const amount = (value: string): Amount.Amounts =>
    new Map([["USD", Amount.parse(`USD:${value}`).pipe(Either.getOrThrow).value]])
  const running = (jobId: string, parent?: Running) =>
    ({ live: { jobId, ending: false }, parent }) as unknown as Running

  /** Money over a log that writes nothing by itself: each change is one commit, and a process may end behind any of them. */
  const apart = Effect.gen(function* () {
    const changes: Array<Change> = []
    const eventLog = { emit: () => true, change: (change: Change) => void changes.push(change) }
    const budgets = yield* Effect.provide(Budgets, Accounts.layer)
    const deadlines = yield* Effect.provide(Deadlines, Deadlines.layer)
    const money = new Money({
      budgets,
      deadlines,
      eventLog: eventLog as unknown as Context.Tag.Service<EventLog>,
      fork: Effect.runFork
    })
    const rows = new Map<string, Amount.Amounts>()
    const state = ({ jobId }: { readonly jobId: string }, { budget }: { readonly budget: string }) => {
      const counters = Object.entries(JSON.parse(budget) as Record<string, string>)
      rows.set(jobId, new Map(counters.map(([currency, text]) => [currency, BigDecimal.unsafeFromString(text)])))
    }
    const commit = (change: Change) => change.write({ state } as unknown as Batch)
    const total = () =>
      Amount.format([...rows.values()].reduce((sum, row) => Amount.add(sum, row.get("USD")!), Amount.zero))
    return { budgets, changes, commit, money, rows, total }
  })

  it.scoped("§9.6 what a child leaves is in one row after each commit, never in both or in none", () =>
    Effect.gen(function* () {
      const { budgets, changes, commit, money, rows, total } = yield* apart
      const parent = running("job_parent")
      const child = running("job_child", parent)
      budgets.open(parent.live.jobId, amount("2"))
      budgets.open(child.live.jobId, amount("0.5"))
      expect(amounts(budgets, "job_parent")).toEqual(["USD 2"])
      budgets.grant(parent.live.jobId, child.live.jobId, amount("0.5"))
      rows.set("job_parent", budgets.counters(parent.live.jobId))
      rows.set("job_child", amount("0.5"))
      expect(total()).toBe("2")
      money.close(child)
      expect(changes.length).toBeGreaterThan(0)
      for (const change of changes) {
        commit(change)
        expect(total()).toBe("2")
      }
      expect(Amount.format(rows.get("job_parent")!.get("USD")!)).toBe("2")
    })
  )

  it.scoped(
    "§9.6 comes back only where it was granted, once, and to a parent that has ended before its child too",
    () =>
      Effect.gen(function* () {
        const { budgets } = yield* apart
        const [parent, child, other] = [JobId("parent"), JobId("child"), JobId("other")]
        budgets.open(parent, amount("2"))
        budgets.open(child, amount("0.5"))
        // Held, and never begun.
        const release = Either.getOrThrow(budgets.hold(parent, { currency: "USD", value: amount("0.5").get("USD")! }))
        expect(Amount.toWire(budgets.available(parent))).toEqual({ USD: 1.5 })
        expect(budgets.close(child).returned.size).toBe(0)
        release()
        release()
        expect(Amount.toWire(budgets.available(parent))).toEqual({ USD: 2 })
        budgets.open(other, amount("0.5"))
        expect(Amount.toWire(budgets.grant(parent, other, amount("0.5")))).toEqual({ USD: 1.5 })
        expect(Amount.toWire(budgets.charge(other, { currency: "USD", value: amount("0.75").get("USD")! }))).toEqual({
          USD: -0.25
        })
        budgets.close(parent)
        const closed = budgets.close(other)
        expect([Amount.toWire(closed.returned), Amount.toWire(closed.parent)]).toEqual([{ USD: -0.25 }, { USD: 1.25 }])
        expect([budgets.close(other).returned.size, budgets.close(parent).returned.size]).toEqual([0, 0])
        expect([amounts(budgets, parent), amounts(budgets, other)]).toEqual([[], []])
      })
  )

  it.scoped("§9.6 of a job that an earlier process had delegated comes back too", () =>
    Effect.gen(function* () {
      const { budgets } = yield* apart
      const [parent, child] = [JobId("parent"), JobId("child")]
      budgets.open(parent, amount("1"))
      budgets.open(child, amount("0.25"), parent)
      expect(Amount.toWire(budgets.close(child).parent)).toEqual({ USD: 1.25 })
    })
  )
})
