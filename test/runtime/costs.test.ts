/** What agents say of their costs (ARCP 1.1 §9.6): small numbers, settlements that cannot be read, costs that are not counted. */
import { describe, expect, it } from "@effect/vitest"
import { BigDecimal, Chunk, Effect, Layer, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { ArcpClient, type SubmitOptions } from "../../src/client/index.js"
import { InvalidRequest } from "../../src/protocol/index.js"
import { TestArcp } from "../../src/testing/index.js"

type Body = Effect.Effect<unknown, unknown, Job>

/** Runs a body as a job; answers its result, and its metrics and warnings in their order. */
const perform = (body: Body, options: SubmitOptions = { lease: { "cost.budget": ["USD:1"] } }) =>
  Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit("a", null, options)
    const result = (yield* job.result) as any
    const events = Chunk.toReadonlyArray(yield* Stream.runCollect(job.events))
    const told = events.flatMap(({ body, kind }: any) =>
      kind === "metric"
        ? [`${body.name} ${body.value} ${body.unit}`]
        : kind === "log"
          ? [`${body.level}: ${body.message}`]
          : []
    )
    return { job, result, told }
  }).pipe(
    Effect.provide(
      TestArcp.layer(
        Layer.mergeAll(
          Agent.untyped("a", () => body),
          Agent.untyped("b", () => Job.remaining)
        )
      )
    )
  )

/** The message of a call's failure. */
const refusal = (call: Effect.Effect<unknown, unknown, Job>) =>
  Effect.map(Effect.flip(call), (error) => (error instanceof InvalidRequest ? error.message : error))

describe("costs", () => {
  it.scoped("§9.6 numbers below 1e-6 are charged exactly, as text, as numbers and as BigDecimals", () =>
    Effect.gen(function* () {
      const usd = 9e-7
      const { result, told } = yield* perform(
        Effect.gen(function* () {
          yield* Job.spend("cost.a", `${usd} USD`)
          yield* Job.spend("cost.a", `USD:${usd}`)
          yield* Job.spend("cost.a", usd, "USD")
          yield* Job.spend("cost.a", BigDecimal.unsafeFromString("0.0000000000000000000000000000000000001"), "USD")
          yield* Job.metric({ name: "cost.a", value: usd, unit: "USD" })
          yield* Job.reserve(`${usd} USD`, Effect.void)
          yield* Job.reserve("0.5 USD", Effect.void, { actual: () => `${usd} USD` })
          yield* Job.reserve("0.5 USD", Effect.void, { actual: () => usd })
          yield* Job.reserve("0.5 USD", Effect.void, { actual: () => BigDecimal.make(9n, 7) })
          yield* Job.spend("cost.a", -0, "USD")
          return yield* Job.remaining
        })
      )
      expect(result).toEqual({ USD: "0.9999927999999999999999999999999999999" })
      expect(told.filter((line) => line.startsWith("warn"))).toEqual([])
    })
  )

  it.scoped("§9.6 amounts that are none are refused by field, and nothing is emitted or charged", () =>
    Effect.gen(function* () {
      const bad: ReadonlyArray<readonly [string, unknown, unknown]> = [
        ["amount", Number.NaN, "USD"],
        ["amount", Number.POSITIVE_INFINITY, "USD"],
        ["amount", Number.NEGATIVE_INFINITY, "USD"],
        ["amount", -0.01, "USD"],
        ["amount", BigDecimal.make(-1n, 0), "USD"],
        ["amount", BigDecimal.make(1n, -1e9), "USD"],
        ["amount", "1e999999999 USD", undefined],
        ["amount", "-1e-7 USD", undefined],
        ["amount", null, "USD"],
        ["amount", 1n, "USD"],
        ["currency", 1, undefined],
        ["currency", 1, "US D"],
        ["currency", "1 USD", "USD"]
      ]
      const { result, told } = yield* perform(
        Effect.gen(function* () {
          const refused = yield* Effect.forEach(bad, ([, amount, currency]) =>
            refusal(Job.spend("cost.a", amount as number, currency as string))
          )
          const name = yield* refusal(Job.reserve("0.1 USD", Effect.void, { name: `cost.${"x".repeat(10_000)}` }))
          return [...refused, name, yield* Job.remaining]
        })
      )
      bad.forEach(([field], i) => expect(result[i], String(bad[i])).toMatch(new RegExp(`^${field}: `)))
      expect(result.slice(-2)).toEqual(["metric.name: longer than 256 characters", { USD: "1" }])
      expect(told).toEqual([])
    })
  )

  it.scoped("§9.6 a settlement that cannot be read charges the reservation, keeps the answer and says so", () =>
    Effect.gen(function* () {
      const problems: Array<string> = []
      const settle = (actual: () => unknown) =>
        Job.reserve("0.1 USD", Effect.succeed("the answer"), {
          actual: actual as () => string,
          onUnsettled: ({ message }) => Effect.sync(() => void problems.push(message))
        })
      const { result, told } = yield* perform(
        Effect.gen(function* () {
          const answers = yield* Effect.all([
            settle(() => "a lot"),
            settle(() => `${Number.NaN} USD`),
            settle(() => Number.NaN),
            settle(() => "0.01 EUR"),
            settle(() => undefined),
            settle(() => {
              throw new Error("no usage")
            }),
            Job.reserve("0.1 USD", Effect.succeed("the answer"), {
              actual: () => "?",
              onUnsettled: () => Effect.dieMessage("the hook is broken too")
            })
          ])
          return [answers, yield* Job.remaining]
        })
      )
      expect(result).toEqual([Array.from({ length: 7 }, () => "the answer"), { USD: "0.3" }])
      expect(problems.length).toBe(6)
      for (const problem of problems) expect(problem).toMatch(/^reserve\.actual: /)
      expect(problems[3]).toBe("reserve.actual: the cost is in EUR, and USD was reserved")
      expect(problems[5]).toBe("reserve.actual: it failed")
      // What it threw is for operators.
      expect(told.filter((line) => line.includes("no usage"))).toEqual([])
      expect(told.filter((line) => line.startsWith("cost.reserved"))).toEqual(
        Array.from({ length: 7 }, () => "cost.reserved 0.1 USD")
      )
      const warnings = told.filter((line) => line.startsWith("warn"))
      expect(warnings.length).toBe(7)
      for (const warning of warnings) {
        expect(warning).toMatch(
          /^warn: reserve\.actual: .*; cost\.reserved was charged the whole reservation of USD:0\.1$/
        )
      }
    })
  )

  it.scoped("§9.6 a cost in no currency of the budget is emitted, and reported once as not counted", () =>
    Effect.gen(function* () {
      const { result, told } = yield* perform(
        Effect.gen(function* () {
          yield* Job.spend("cost.yen", 1000, "JPY")
          yield* Job.spend("cost.yen", "5 JPY")
          yield* Job.metric({ name: "cost.time", value: 5 })
          yield* Job.metric({ name: "cost.time", value: 6 })
          yield* Job.metric({ name: "cost.tokens", value: 7, unit: "10^3 tokens" })
          yield* Job.reserve("3 EUR", Effect.void)
          yield* Job.metric({ name: "latency", value: 7, unit: "ms" })
          yield* Job.spend("cost.a", 0.5, "USD")
          return yield* Job.remaining
        })
      )
      expect(result).toEqual({ USD: "0.5" })
      expect(told).toEqual([
        "cost.yen 1000 JPY",
        'warn: cost.yen is not counted: its unit "JPY" is no currency of the budget, which is in USD',
        "cost.yen 5 JPY",
        "cost.time 5 undefined",
        "warn: cost.time is not counted: it has no unit, the budget is in USD",
        "cost.time 6 undefined",
        "cost.tokens 7 10^3 tokens",
        'warn: cost.tokens is not counted: its unit "10^3 tokens" is no currency of the budget, which is in USD',
        "cost.reserved 3 EUR",
        'warn: cost.reserved is not counted: its unit "EUR" is no currency of the budget, which is in USD',
        "latency 7 ms",
        "cost.a 0.5 USD",
        "cost.budget.remaining 0.5 USD"
      ])
    })
  )

  it.scoped("§9.6 a job without a budget counts nothing, and is not warned", () =>
    Effect.gen(function* () {
      const { told } = yield* perform(
        Effect.zipRight(Job.spend("cost.yen", 1000, "JPY"), Job.metric({ name: "cost.time", value: 5 })),
        {}
      )
      expect(told).toEqual(["cost.yen 1000 JPY", "cost.time 5 undefined"])
    })
  )

  it.scoped("§9.4, §9.6 budgets of a submit and of a delegation may be spelled as JavaScript spells numbers", () =>
    Effect.gen(function* () {
      const { job, result } = yield* perform(Job.delegate("b", null, { lease: { "cost.budget": [`USD:${3e-7}`] } }), {
        lease: { "cost.budget": [`USD:${9e-7}`], "agent.delegate": ["b"] }
      })
      expect(result).toEqual({ USD: "0.0000003" })
      expect(job.lease["cost.budget"]).toEqual(["USD:0.0000009"])
      const { result: wide } = yield* perform(
        refusal(Job.startChild("b", null, { lease: { "cost.budget": ["USD:1e999999999"] } })),
        { lease: { "cost.budget": ["USD:1"], "agent.delegate": ["b"] } }
      )
      expect(wide).toContain("cost.budget")
    })
  )
})
