/** How long the runtime keeps a job's counters (ARCP 1.1 §9.6): as long as the job, and not where none came of it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { BigDecimal, type Context, Deferred, Effect, Either, Layer, TestClock } from "effect"
import * as Amount from "../../src/authority/Amount.js"
import type { Running } from "../../src/runtime/jobs/Running.js"
import type { Batch } from "../../src/runtime/log/Batch.js"
import { type Change, EventLog } from "../../src/runtime/log/EventLog.js"
import { Budgets, Deadlines } from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { FaultyStore, TestGateway } from "../../src/testing/index.js"
import { barrier, hello, submit } from "./peer.js"
import { lease, leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const features = ["cost.budget", "model.use", "provisioned_credentials", "result_chunk"]

const amounts = (budgets: Context.Tag.Service<Budgets>, jobId: string) =>
  Array.from(budgets.counters(jobId), ([currency, value]) => `${currency} ${Amount.format(value)}`)

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

  /** Budgets over a log that writes nothing by itself: each change is one commit, and a process may end behind any of them. */
  const apart = Effect.gen(function* () {
    const changes: Array<Change> = []
    const eventLog = { emit: () => true, change: (change: Change) => void changes.push(change) }
    const budgets = yield* Budgets.pipe(
      Effect.provide(
        Budgets.layer.pipe(
          Layer.provide(Layer.succeed(EventLog, eventLog as unknown as Context.Tag.Service<EventLog>)),
          Layer.provide(Deadlines.layer)
        )
      )
    )
    const rows = new Map<string, Amount.Amounts>()
    const state = ({ jobId }: { readonly jobId: string }, { budget }: { readonly budget: string }) => {
      const counters = Object.entries(JSON.parse(budget) as Record<string, string>)
      rows.set(jobId, new Map(counters.map(([currency, text]) => [currency, BigDecimal.unsafeFromString(text)])))
    }
    const commit = (change: Change) => change.write({ state } as unknown as Batch)
    const total = () =>
      Amount.format([...rows.values()].reduce((sum, row) => Amount.add(sum, row.get("USD")!), Amount.zero))
    return { budgets, changes, rows, commit, total }
  })

  it.scoped("§9.6 what a child leaves is in one row after each commit, never in both or in none", () =>
    Effect.gen(function* () {
      const { budgets, changes, commit, rows, total } = yield* apart
      const parent = running("job_parent")
      const child = running("job_child", parent)
      budgets.open("job_parent", amount("1.5"))
      budgets.open("job_child", amount("0.5"))
      rows.set("job_parent", amount("1.5"))
      rows.set("job_child", amount("0.5"))
      budgets.settle(child)
      expect(changes.length).toBeGreaterThan(0)
      for (const change of changes) {
        commit(change)
        expect(total()).toBe("2")
      }
      expect(Amount.format(rows.get("job_parent")!.get("USD")!)).toBe("2")
    })
  )
})
