/** Budgets and reservations (ARCP 1.1 §9.6, §13.5): what the wire tells, and what is left, exactly. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Scope } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import * as Amount from "../../src/authority/Amount.js"
import { JobId } from "../../src/protocol/index.js"
import { Budgets, LeasePolicy } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { type Batch, Store } from "../../src/store/Store.js"
import { allFeatures, barrier, eventsOf, hello, type Peer, run, submit } from "./peer.js"
import { backends } from "./backends.js"
import { reopened } from "./mortal.js"
import { eventually } from "./provisionedWorld.js"
import { listed, scripted, type Step, word, words } from "./script.js"
import { gate, resetGates, world, type WorldOptions, worldWithConcerns } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((f) => f !== "heartbeat")

/** Runs steps as a job with this budget; answers the outcome of each. */
const perform = (peer: Peer, budget: ReadonlyArray<string>, steps: ReadonlyArray<Step>, lease: object = {}) =>
  Effect.map(
    run(peer, "script", { steps }, { lease_request: { "tool.call": ["*.*"], "cost.budget": budget, ...lease } }),
    (end) => ({ jobId: end.job_id!, end, did: end.payload.result as ReadonlyArray<any> })
  )

const metrics = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId)
    .filter((f) => f.payload.kind === "metric")
    .map(word)

describe.each(backends)("budgets over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), agents: scripted, ...options })
  const main = over()

  describe("counters", () => {
    it.scoped("§13.5 the figure, message by message", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const request = yield* peer.send("job.submit", {
          agent: "script",
          input: {
            steps: [
              { do: "tool", name: "search.web" },
              { do: "spend", name: "cost.search", amount: "0.42 USD" },
              { do: "tool", name: "fetch.url" },
              { do: "spend", name: "cost.fetch", amount: "USD:0.70" },
              { do: "tool", name: "fetch.url", steps: [{ do: "log", message: "must not run" }] }
            ] satisfies ReadonlyArray<Step>
          },
          lease_request: { "tool.call": ["search.*", "fetch.*"], "cost.budget": ["USD:1.00"] }
        })
        const accepted = yield* peer.reply(request)
        expect(accepted.payload.budget).toEqual({ USD: 1 })
        const end = yield* peer.terminal(accepted.job_id!)
        expect(words(peer, end.job_id!)).toEqual([
          "status running",
          "call search.web",
          "result ok",
          "cost.search 0.42 USD",
          "cost.budget.remaining 0.58 USD",
          "call fetch.url",
          "result ok",
          "cost.fetch 0.7 USD",
          "cost.budget.remaining -0.12 USD",
          "call fetch.url",
          "result BUDGET_EXHAUSTED",
          "job.result"
        ])
        const events = eventsOf(peer, end.job_id!)
        const calls = events.filter((f) => f.payload.kind === "tool_call").map((f) => f.payload.body.call_id)
        const results = events.filter((f) => f.payload.kind === "tool_result").map((f) => f.payload.body)
        expect(results.map((body) => body.call_id)).toEqual(calls)
        expect(new Set(calls).size).toBe(3)
        expect(results[2]!.error).toMatchObject({
          code: "BUDGET_EXHAUSTED",
          message: "USD budget exhausted",
          retryable: false
        })
        expect(end.payload.final_status).toBe("success")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 are exact: tenths add up, tiny charges count, nothing is clamped at zero", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const tenths = yield* perform(
          peer,
          ["USD:1.0"],
          [
            { do: "spend", amount: "0.1 USD" },
            { do: "spend", amount: "0.2 USD" },
            { do: "tool", name: "still.works" },
            { do: "spend", amount: "0.7 USD" },
            { do: "remaining" },
            { do: "tool", name: "too.late" }
          ]
        )
        expect(tenths.did.slice(4)).toEqual([{ USD: "0" }, expect.objectContaining({ code: "BUDGET_EXHAUSTED" })])
        expect(metrics(peer, tenths.jobId).filter((w) => w.includes("remaining"))).toEqual([
          "cost.budget.remaining 0.9 USD",
          "cost.budget.remaining 0.7 USD",
          "cost.budget.remaining 0 USD"
        ])
        const floats = yield* perform(
          peer,
          ["USD:0.3"],
          [
            ...[0.1, 0.2].map((value) => ({ do: "metric", name: "cost.x", value, unit: "USD" }) as const),
            { do: "remaining" },
            { do: "metric", name: "cost.x", value: 1e-25, unit: "USD" },
            { do: "remaining" }
          ]
        )
        expect(floats.did.filter((did) => did !== "ok")).toEqual([
          { USD: "0" },
          { USD: "-0.0000000000000000000000001" }
        ])
        const tiny = yield* perform(
          peer,
          ["USD:1"],
          [{ do: "spend", amount: "0.000000000000000000000000000001 USD" }, { do: "remaining" }]
        )
        expect(tiny.did[1]).toEqual({ USD: "0.999999999999999999999999999999" })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 each currency has its own; others are free; `cost.budget.*` never counts", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { did, jobId } = yield* perform(
          peer,
          ["USD:1", "credits:10"],
          [
            { do: "spend", name: "cost.tokens", amount: "4 credits" },
            { do: "spend", name: "cost.yen", amount: "1000 JPY" },
            { do: "metric", name: "cost.time", value: 5 },
            { do: "metric", name: "cost.budget.remaining", value: 0.5, unit: "USD" },
            { do: "metric", name: "latency", value: 7, unit: "USD" },
            { do: "remaining" }
          ]
        )
        expect(did.at(-1)).toEqual({ USD: "1", credits: "6" })
        expect(metrics(peer, jobId)).toEqual([
          "cost.tokens 4 credits",
          "cost.budget.remaining 6 credits",
          "cost.yen 1000 JPY",
          "cost.time 5 undefined",
          "cost.budget.remaining 0.5 USD",
          "latency 7 USD"
        ])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 a charge that is negative, no number, malformed or in other case: no event, no decrement", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const bad: ReadonlyArray<Step> = [
          { do: "metric", name: "cost.x", value: -0.01, unit: "USD" },
          { do: "metric", name: "cost.x", value: "NaN", unit: "USD" },
          { do: "metric", name: "cost.x", value: "Infinity", unit: "USD" },
          { do: "metric", name: "cost.x", value: 1, unit: "usd" },
          ...[
            "-1 USD",
            "+1 USD",
            "1e401 USD",
            "1e999999999 USD",
            "-9e-7 USD",
            "9e USD",
            ".5 USD",
            "1. USD",
            "1  USD",
            " 1 USD",
            "1 USD ",
            "NaN USD",
            "USD",
            "",
            "1 usd"
          ]
            .concat(["USD:-1", "Usd:1", "1,5 USD", "0x1 USD", `${"9".repeat(31)} USD`])
            .map((amount) => ({ do: "spend", amount }) as const),
          { do: "spend", amount: "1 USD", name: "inference" },
          { do: "spend", amount: "1 USD", name: "cost." },
          { do: "spend", amount: "1 USD", name: "cost.budget.remaining" },
          { do: "reserve", amount: "-1 USD", steps: [{ do: "log", message: "must not run" }] },
          { do: "reserve", amount: "1 usd", steps: [{ do: "log", message: "must not run" }] }
        ]
        const { did, jobId } = yield* perform(peer, ["USD:1"], [...bad, { do: "remaining" }])
        expect(did.slice(0, -1).map((d) => d.code)).toEqual(bad.map(() => "INVALID_REQUEST"))
        expect(did.at(-1)).toEqual({ USD: "1" })
        expect(words(peer, jobId)).toEqual(["status running", "job.result"])
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§9.6 are told: the initial ones when accepted, also again, the current ones in listings; no credentials",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const body = {
            agent: "script",
            input: {
              steps: [
                { do: "spend", amount: "0.25 USD" },
                { do: "wait", gate: "look" }
              ]
            },
            lease_request: { "cost.budget": ["USD:1.00", "credits:5"] },
            idempotency_key: "once"
          }
          const accepted = yield* Effect.flatMap(peer.send("job.submit", body), peer.reply)
          yield* peer.next("job.event", (f) => f.payload.body.name === "cost.budget.remaining")
          expect((yield* listed(peer, accepted.job_id!)).budget).toEqual({ USD: 0.75, credits: 5 })
          const watcher = yield* hello({ features })
          const subscribed = yield* Effect.flatMap(
            watcher.send("job.subscribe", { job_id: accepted.job_id }),
            watcher.reply
          )
          expect(subscribed.payload.budget).toEqual({ USD: 0.75, credits: 5 })
          const again = yield* Effect.flatMap(peer.send("job.submit", body), peer.reply)
          expect(again.payload).toMatchObject({ job_id: accepted.job_id, budget: { USD: 1, credits: 5 } })
          for (const frame of [accepted, again]) expect(frame.payload).not.toHaveProperty("credentials")
          yield* Deferred.succeed(gate("look"), undefined)
          yield* peer.terminal(accepted.job_id!)
          yield* barrier(peer)
          expect((yield* listed(peer, accepted.job_id!)).budget).toEqual({ USD: 0.75, credits: 5 })
          const free = yield* submit(peer, "echo")
          expect(free.payload).not.toHaveProperty("budget")
        }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 a budget that says two things, nothing, or nonsense is refused; so is one not negotiated", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (const budget of [
          ["USD:1", "USD:1"],
          ["USD:1", "usd:2"],
          [],
          ["USD:-1"],
          ["USD:1e3"],
          ["USD"],
          ["1 USD"],
          ["USD:NaN"],
          [":1"],
          Array.from({ length: 33 }, (_, i) => `C${i}:1`)
        ]) {
          const refused = yield* submit(peer, "echo", 1, { lease_request: { "cost.budget": budget } })
          expect([budget, refused.payload.code]).toEqual([budget, "INVALID_REQUEST"])
        }
        const spelled = yield* submit(peer, "echo", 1, { lease_request: { "Cost.Budget": ["USD:1"] } })
        expect(spelled.payload.code).toBe("INVALID_REQUEST")
        const old = yield* hello({ features: features.filter((f) => f !== "cost.budget") })
        const ignored = yield* submit(old, "echo", 1, { lease_request: { "cost.budget": ["USD:1"] } })
        expect(ignored.payload).toMatchObject({
          code: "INVALID_REQUEST",
          message: expect.stringContaining("negotiated")
        })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 survive a restart: a handler that runs again has what was left", () =>
      Effect.gen(function* () {
        const options = backend()
        const store = reopened(Context.get(yield* Layer.build(options.store!), Store))
        // Not stopped but left: as far as the store knows, its process has died.
        const dying = yield* Layer.build(world({ ...options, store, agents: scripted })).pipe(
          Scope.extend(yield* Scope.make())
        )
        const steps: ReadonlyArray<Step> = [
          { do: "attempt", first: [{ do: "spend", amount: "0.3 USD" }, { do: "never" }], again: [{ do: "remaining" }] }
        ]
        const { accepted, peer } = yield* Effect.gen(function* () {
          const peer = yield* hello({ features })
          const accepted = yield* submit(
            peer,
            "lasting",
            { steps },
            { lease_request: { "cost.budget": ["USD:1"] }, idempotency_key: "k" }
          )
          yield* peer.next("job.event", (f) => f.payload.body.name === "cost.budget.remaining")
          return { accepted, peer }
        }).pipe(Effect.provide(dying))
        yield* Effect.gen(function* () {
          const again = yield* hello({
            features,
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 3 }
          })
          expect((yield* again.terminal(accepted.job_id!)).payload.result).toEqual([[{ USD: "0.7" }]])
          expect((yield* listed(again, accepted.job_id!)).budget).toEqual({ USD: 0.7 })
          const repeated = yield* submit(
            again,
            "lasting",
            { steps },
            { lease_request: { "cost.budget": ["USD:1"] }, idempotency_key: "k" }
          )
          expect(repeated.payload).toMatchObject({ job_id: accepted.job_id, budget: { USD: 1 } })
        }).pipe(Effect.provide(world({ ...options, store, agents: scripted })))
      })
    )
  })

  describe("a spent budget", () => {
    const everything: ReadonlyArray<Step> = [
      { do: "tool", name: "a.b", steps: [{ do: "log", message: "must not run" }] },
      { do: "call", name: "math.double", input: 1 },
      { do: "authorize", capability: "fs.read", target: "/data/a" },
      { do: "authorize", capability: "net.fetch", target: "https://example.org/" },
      { do: "model", name: "m" },
      { do: "reserve", amount: "0 USD", steps: [{ do: "log", message: "must not run" }] },
      { do: "delegate", agent: "echo" },
      { do: "handoff", agent: "echo" }
    ]
    const wide = {
      "fs.read": ["/data/**"],
      "net.fetch": ["https://example.org/**"],
      "model.use": ["m"],
      "agent.delegate": ["echo"]
    }

    it.scoped.each(["USD", "EUR", "credits"] as const)(
      "§9.6 fails every operation whichever counter it is that is at zero or below, wherever it stands in the lease: %s",
      (spent) =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const currencies = ["USD", "EUR", "credits"]
          for (const order of [currencies, currencies.toReversed()]) {
            for (const amount of ["1", "1.5"]) {
              const { did } = yield* perform(
                peer,
                order.map((currency) => `${currency}:1`),
                [
                  ...currencies
                    .filter((currency) => currency !== spent)
                    .map((currency) => ({ do: "spend", amount: `0.5 ${currency}` }) as const),
                  { do: "tool", name: "still.works" },
                  { do: "spend", amount: `${amount} ${spent}` },
                  ...everything
                ],
                wide
              )
              expect(did.map((d) => d?.code ?? "done")).toEqual([
                ...Array.from({ length: 4 }, () => "done"),
                ...everything.map(() => "BUDGET_EXHAUSTED")
              ])
              expect(did[4].details).toMatchObject({ currency: spent })
            }
          }
        }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§9.6 fails every operation with a typed error, and only operations; the charge itself is delivered",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const { did, end, jobId } = yield* perform(
            peer,
            ["USD:1", "credits:5"],
            [
              { do: "spend", amount: "1 USD" },
              ...everything,
              { do: "log", message: "goes on" },
              { do: "spend", amount: "1 USD" }
            ],
            wide
          )
          expect(did.map((d) => d.code ?? d)).toEqual(["ok", ...everything.map(() => "BUDGET_EXHAUSTED"), "ok", "ok"])
          expect(did[1].details).toEqual({ currency: "USD", remaining: 0 })
          expect(end.payload.final_status).toBe("success")
          const told = words(peer, jobId)
          expect(told.slice(1, 3)).toEqual(["cost.x 1 USD", "cost.budget.remaining 0 USD"])
          expect(told.filter((w) => w === "result BUDGET_EXHAUSTED").length).toBe(everything.length)
          expect(told.slice(-4)).toEqual(["log goes on", "cost.x 1 USD", "cost.budget.remaining -1 USD", "job.result"])
          expect(told.join()).not.toContain("must not run")
        }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 ends the job where policy says so: at the next operation, not at the charge", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { end, jobId } = yield* perform(
          peer,
          ["USD:1"],
          [
            { do: "reserve", amount: "5 USD" },
            { do: "spend", amount: "2 USD" },
            { do: "log", message: "goes on" },
            { do: "tool", name: "a.b" },
            { do: "never" }
          ]
        )
        expect(end.payload).toMatchObject({ final_status: "error", code: "BUDGET_EXHAUSTED", retryable: false })
        expect(words(peer, jobId)).toEqual([
          "status running",
          "call cost.budget",
          "result BUDGET_EXHAUSTED",
          "cost.x 2 USD",
          "cost.budget.remaining -1 USD",
          "log goes on",
          "call a.b",
          "result BUDGET_EXHAUSTED",
          "job.error"
        ])
      }).pipe(Effect.provide(Layer.provide(main, LeasePolicy.layer({ exhaustion: "fatal" }))))
    )
  })

  describe("reservations", () => {
    it.scoped("§9.6 side by side never overspend together", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const reserve: Step = { do: "reserve", amount: "0.3 USD", steps: [{ do: "wait", gate: "calls" }] }
        const accepted = yield* submit(
          peer,
          "script",
          {
            steps: [
              {
                do: "all",
                steps: [...Array.from({ length: 8 }, () => reserve), { do: "remaining" }, { do: "open", gate: "calls" }]
              },
              { do: "remaining" }
            ]
          },
          { lease_request: { "cost.budget": ["USD:1"] } }
        )
        const end = yield* peer.terminal(accepted.job_id!)
        const [all, left] = end.payload.result
        expect(all.map((d: any) => d.code ?? d)).toEqual([
          ...["ok", "ok", "ok"],
          ...Array.from({ length: 5 }, () => "BUDGET_EXHAUSTED"),
          { USD: "0.1" },
          "opened"
        ])
        expect(all[3].details).toEqual({ currency: "USD", remaining: 0.1, needed: 0.3 })
        expect(left).toEqual({ USD: "0.1" })
        expect(metrics(peer, end.job_id!)).toEqual(
          [0.7, 0.4, 0.1].flatMap((n) => ["cost.reserved 0.3 USD", `cost.budget.remaining ${n} USD`])
        )
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 are settled with what the call cost, and not charged where it fails or is interrupted", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { did, jobId } = yield* perform(
          peer,
          ["USD:1"],
          [
            { do: "reserve", amount: "0.5 USD", actual: "0.125 USD" },
            { do: "remaining" },
            { do: "reserve", amount: "0.5 USD", steps: [{ do: "fail", code: "NO_LUCK" }] },
            { do: "hasty", turns: 20, steps: [{ do: "reserve", amount: "0.5 USD", steps: [{ do: "never" }] }] },
            { do: "remaining" },
            // All that is left: the tool inside works, and costs on its own account.
            {
              do: "reserve",
              amount: "0.875 USD",
              actual: "0 USD",
              steps: [{ do: "call", name: "math.double", input: 21 }]
            },
            { do: "remaining" },
            // The call has run: a cost that cannot be read is the whole reservation, and the answer is kept.
            { do: "reserve", amount: "0.1 USD", actual: "a lot" },
            { do: "reserve", amount: "0.1 USD", actual: "0.01 EUR" },
            { do: "remaining" },
            { do: "reserve", amount: "0.1 USD", actual: "0.7 USD" },
            { do: "remaining" },
            { do: "reserve", amount: "3 EUR" }
          ]
        )
        expect(did.map((d) => d.code ?? d)).toEqual([
          "ok",
          { USD: "0.875" },
          "NO_LUCK",
          "interrupted",
          { USD: "0.875" },
          "ok",
          { USD: "0.865" },
          "ok",
          "ok",
          { USD: "0.665" },
          "ok",
          { USD: "-0.035" },
          "BUDGET_EXHAUSTED"
        ])
        expect(words(peer, jobId).filter((w) => w.startsWith("call") || w.startsWith("result"))).toEqual([
          "call math.double",
          "result ok",
          "call cost.budget",
          "result BUDGET_EXHAUSTED"
        ])
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§9.6 of a job that is cancelled are let go; a defect while settling charges what was held and keeps the answer",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const lease = { lease_request: { "cost.budget": ["USD:1"] } }
          const steps = [
            { do: "reserve", amount: "0.5 USD", steps: [{ do: "log", message: "calling" }, { do: "never" }] }
          ]
          const waiting = yield* submit(peer, "script", { steps }, lease)
          yield* peer.next("job.event", (f) => f.payload.body.message === "calling")
          yield* peer.send("job.cancel", { job_id: waiting.job_id })
          yield* peer.terminal(waiting.job_id!)
          expect(metrics(peer, waiting.job_id!)).toEqual([])
          const dies = yield* run(
            peer,
            "script",
            { steps: [{ do: "reserve", amount: "0.5 USD", actual: "die" }] },
            lease
          )
          expect(dies.payload.result).toEqual(["ok"])
          expect(metrics(peer, dies.job_id!)).toEqual(["cost.reserved 0.5 USD", "cost.budget.remaining 0.5 USD"])
          yield* barrier(peer)
          expect((yield* listed(peer, waiting.job_id!)).budget).toEqual({ USD: 1 })
          expect((yield* listed(peer, dies.job_id!)).budget).toEqual({ USD: 0.5 })
        }).pipe(Effect.provide(main))
    )
  })
})

describe("money that one job gives to another", () => {
  const batches: Array<Batch> = []
  const recording = Layer.map(MemoryStore.layer, (context) => {
    const store = Context.get(context, Store)
    return Context.make(Store, {
      ...store,
      immediate: false,
      commit: (batch) =>
        Effect.zipRight(
          batches.push(batch) > 0 &&
            batch.segments.some(({ payloads }) => payloads.some((text) => text.includes("hold")))
            ? Deferred.await(gate("commit"))
            : Effect.void,
          store.commit(batch)
        )
    })
  })
  /** As many events as leave room in one batch for only a part of what comes behind them. */
  const fill = (job: Context.Tag.Service<Job>, events: number) =>
    Effect.zipRight(
      job.log("hold"),
      Effect.zipRight(
        Deferred.await(gate("held")),
        Effect.forEach(Array.from({ length: events }), () => job.log("fill"), { discard: true })
      )
    )
  const agents = Layer.mergeAll(
    Agent.untyped("heir", () => Deferred.await(gate("heir"))),
    Agent.untyped("giver", (input) =>
      Effect.gen(function* () {
        const job = yield* Job
        const { events, when } = input as { events: number; when: "start" | "end" }
        if (when === "start") yield* fill(job, events)
        const child = yield* job.startChild("heir", null, { lease: { "cost.budget": ["USD:0.5"] } })
        if (when === "end") yield* fill(job, events)
        yield* Deferred.succeed(gate("heir"), undefined)
        yield* child.result
      })
    )
  )
  const full = 4_096

  it.scoped.each(
    (["start", "end"] as const).flatMap((when) => [5, 4, 3, 2, 1, 0].map((room) => [when, room] as const))
  )("§9.6 moves in one commit at the child's %s, with room for %d more changes in a full batch", ([when, room]) =>
    Effect.gen(function* () {
      batches.length = 0
      const peer = yield* hello({ features: features.filter((feature) => feature !== "ack") })
      const lease_request = { "cost.budget": ["USD:2"], "agent.delegate": ["**"] }
      const { job_id } = yield* submit(peer, "giver", { events: full - room, when }, { lease_request })
      yield* eventually(
        Effect.sync(() => batches.at(-1)?.segments[0]?.payloads.some((text) => text.includes("hold")) === true)
      )
      yield* Deferred.succeed(gate("held"), undefined)
      // The money has moved in memory, and its change is queued behind the events.
      const { counters } = yield* Budgets
      const moved = when === "start" ? 1.5 : 2
      yield* eventually(Effect.sync(() => Amount.toWire(counters(JobId(job_id!))).USD === moved))
      yield* Deferred.succeed(gate("commit"), undefined)
      yield* peer.terminal(job_id!)
      // The batch of the events is full behind them: with another size of batches these tests would prove nothing.
      const crowded = batches.map(({ segments }) => segments.flatMap(({ payloads }) => payloads))
      const batch = crowded.find((payloads) => payloads.some((text) => text.includes("fill"))) ?? []
      expect(batch.filter((text) => text.includes("fill")).length).toBe(full - room)
      // What is in the store at any time: never more than was granted, and never less than what is left.
      const budgets = new Map<string, number>()
      const ended = new Set<string>()
      for (const batch of batches) {
        for (const { budget, jobId, status } of batch.jobStates) {
          budgets.set(jobId, budget === undefined ? 0 : Number(JSON.parse(budget).USD))
          if (!["pending", "running"].includes(status)) ended.add(jobId)
        }
        if (!ended.has(job_id!) && budgets.size > 0) {
          expect([...budgets.values()].reduce((a, b) => a + b)).toBe(2)
        }
      }
      expect(ended.size).toBe(2)
    }).pipe(Effect.provide(worldWithConcerns({ agents, store: recording, limits: { queuedEvents: 10_000 } })))
  )
})
