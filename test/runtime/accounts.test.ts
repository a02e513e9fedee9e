/** How long the runtime keeps a job's counters (ARCP 1.1 §9.6): as long as the job, and not where none came of it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { type Context, Deferred, Effect, Layer, TestClock } from "effect"
import * as Amount from "../../src/authority/Amount.js"
import { Budgets } from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { FaultyStore, StoreFaults, TestGateway } from "../../src/testing/index.js"
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
