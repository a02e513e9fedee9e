/** Random trees of delegation (ARCP 1.1 §9.6, §10): no money is lost or made, whatever the jobs do and however they end. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, FastCheck as fc, Layer, Logger, LogLevel, Option, TestContext } from "effect"
import { Store } from "../../src/store/Store.js"
import { allFeatures, barrier, eventsOf, hello, type Peer, submit } from "./peer.js"
import { backends } from "./backends.js"
import { scripted, type Step } from "./script.js"
import { resetGates, world } from "./world.js"
import { runs } from "../support/properties.js"

const features = allFeatures.filter((f) => f !== "heartbeat")
/** Thousandths, as a text that is exact. */
const usd = (n: number): string => `${Math.floor(n / 1000)}.${String(n % 1000).padStart(3, "0")}`
/** Lets others come between. */
const pause: ReadonlyArray<Step> = [{ do: "yield", turns: 15 }]
// Integers alone come out small more often than not; some of these are more than half of what there is.
const amount = fc.oneof(fc.integer({ min: 0, max: 700 }), fc.constantFrom(250, 333, 500, 600))

const delegateTo = (how: "delegate" | "start", share: number, steps: ReadonlyArray<Step>): Step => ({
  do: how,
  input: { steps },
  options: { lease: { "agent.delegate": ["script"], "cost.budget": [`USD:${usd(share)}`] } }
})

/** Steps of a job that may delegate this many levels further; with `free`, costs are not only reserved but also just told. */
const stepsOf = (levels: number, free: boolean): fc.Arbitrary<ReadonlyArray<Step>> => {
  const spend = amount.map((n): Step => ({ do: "spend", amount: `${usd(n)} USD` }))
  const reserve = fc
    .tuple(
      amount,
      fc.constantFrom(0, 50, 100, 100, 100),
      fc.constantFrom<ReadonlyArray<Step>>([], pause, pause, [{ do: "fail", code: "NO" }])
    )
    .map(
      ([n, percent, steps]): Step => ({
        do: "reserve",
        amount: `${usd(n)} USD`,
        actual: `${usd(Math.floor((n * percent) / 100))} USD`,
        steps
      })
    )
  const cost = free ? fc.oneof(spend, reserve) : reserve
  const child = (how: "delegate" | "start") =>
    fc.tuple(amount, stepsOf(levels - 1, free)).map(([share, steps]) => delegateTo(how, share, steps))
  const act =
    levels === 0
      ? cost
      : fc.oneof(
          { weight: 3, arbitrary: cost },
          { weight: 2, arbitrary: child("delegate") },
          { weight: 2, arbitrary: child("start") },
          {
            weight: 1,
            arbitrary: fc
              .tuple(fc.integer({ min: 0, max: 40 }), child("delegate"))
              .map(([turns, step]): Step => ({ do: "hasty", turns, steps: [step] }))
          }
        )
  const several = fc
    .oneof(fc.array(act, { minLength: 2, maxLength: 3 }), fc.array(cost, { minLength: 3, maxLength: 5 }))
    .map((steps): Step => ({ do: "all", steps }))
  const end = fc.oneof(
    { weight: 4, arbitrary: fc.constant<ReadonlyArray<Step>>([]) },
    {
      weight: 3,
      arbitrary: fc.constantFrom<ReadonlyArray<Step>>([{ do: "fail", code: "NO" }], [{ do: "die" }], [{ do: "never" }])
    },
    {
      weight: 1,
      arbitrary: fc
        .array(cost, { maxLength: 2 })
        .map((steps): ReadonlyArray<Step> => [{ do: "handoff", agent: "script", input: { steps } }])
    }
  )
  const cleaning = cost.map((step): ReadonlyArray<Step> => [{ do: "finally", steps: [{ do: "all", steps: [step] }] }])
  return fc
    .tuple(fc.oneof(fc.constant([]), cleaning), fc.array(fc.oneof(act, several), { maxLength: 4 }), end)
    .map(([first, acts, last]) => [...first, ...acts, ...last])
}

/** What all the jobs that the peer has seen have cost, in thousandths. */
const spentBy = (peer: Peer): number =>
  peer
    .events()
    .map((f) => f.payload)
    .filter(({ body, kind }) => kind === "metric" && !body.name.startsWith("cost.budget."))
    .reduce((sum, { body }) => sum + Math.round(body.value * 1000), 0)

const check = (
  backend: (typeof backends)[number][1],
  free: boolean,
  grant: number,
  steps: ReadonlyArray<Step>,
  cancels: ReadonlyArray<readonly [after: number, which: number]>
) =>
  Effect.gen(function* () {
    resetGates()
    const options = backend()
    const store = Context.get(yield* Layer.build(options.store!), Store)
    yield* Effect.gen(function* () {
      const peer = yield* hello({ features })
      const lease_request = { "agent.delegate": ["script"], "cost.budget": [`USD:${usd(grant)}`] }
      const root = (yield* submit(peer, "script", { steps }, { lease_request })).job_id!
      const accepted = () => peer.seen.filter((f) => f.type === "job.accepted")
      const ended = () => eventsOf(peer, root).some((f) => f.type !== "job.event")
      for (const [after, which] of cancels) {
        for (let i = 0; i < after; i++) yield* barrier(peer)
        const jobs = accepted()
        yield* peer.send("job.cancel", { job_id: jobs[which % jobs.length]!.job_id })
      }
      // What waits for something that never ends is cancelled by its client.
      for (let i = 0; i < 60 && !ended(); i++) yield* barrier(peer)
      if (!ended()) yield* peer.send("job.cancel", { job_id: root })
      yield* peer.terminal(root)
      yield* barrier(peer)

      const endOf = new Map<string, number>()
      for (const { job_id } of accepted()) {
        const ends = eventsOf(peer, job_id!).filter((f) => f.type !== "job.event")
        expect(ends.length).toBe(1)
        endOf.set(job_id!, ends[0]!.event_seq!)
        expect(eventsOf(peer, job_id!).at(-1)).toBe(ends[0])
      }
      for (const { job_id, payload } of accepted()) {
        if (payload.parent_job_id === undefined) continue
        expect(endOf.get(job_id!)).toBeLessThan(endOf.get(payload.parent_job_id)!)
      }
      const events = peer.events()
      expect(events.map((f) => f.event_seq)).toEqual(events.map((_, i) => i + 1))
      const announced = events.filter((f) => f.payload.body?.child_job_id !== undefined)
      expect(announced.map((f) => f.payload.body.child_job_id)).toEqual(
        accepted()
          .slice(1)
          .map((f) => f.job_id)
      )

      const spent = spentBy(peer)
      const { state } = Option.getOrThrow(yield* store.job(root))
      const left = grant - spent
      const text = `${left < 0 ? "-" : ""}${usd(Math.abs(left))}`.replace(/\.?0+$/, "")
      expect(JSON.parse(state.budget!)).toEqual({ USD: text === "" || text === "-" ? "0" : text })
      if (!free) expect(spent).toBeLessThanOrEqual(grant)
    }).pipe(Effect.provide(world({ ...options, agents: scripted, store: Layer.succeed(Store, store) })))
  }).pipe(
    Effect.scoped,
    Effect.provide(TestContext.TestContext),
    Logger.withMinimumLogLevel(LogLevel.None),
    Effect.runPromise
  )

describe.each(backends.slice(0, 2))("trees of delegation over %s", (name, backend) => {
  it.each([
    ["§9.6, §10 the root's counter is its grant less all that was spent; children end first, each once", true],
    ["§9.6 where all costs are reserved, a tree never spends more than its root was given", false]
  ] as const)("%s", async (_what, free) => {
    const checked = await fc.check(
      fc.asyncProperty(
        fc.oneof(fc.integer({ min: 1, max: 2_000 }), fc.constantFrom(500, 700, 1_000)),
        stepsOf(3, free),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.nat(9)), { maxLength: 3 }),
        (grant, steps, cancels) => check(backend, free, grant, steps, cancels)
      ),
      { numRuns: runs(name.includes("SQLite") ? 25 : 60) }
    )
    expect(checked.failed, fc.defaultReportMessage(checked)).toBe(false)
  })
})
