/**
 * Gives a job a budget that falls by exact amounts, until it is spent and the next call is refused.
 *
 * It shows: `cost.budget` in a lease (ARCP 1.1 §9.6), the counter as the client sees it in `cost.budget.remaining`, and exact decimals.
 * With binary fractions 0.40 - 0.10 - 0.20 - 0.10 leaves a little more than nothing, and another call would go out.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Console, Effect, Stream } from "effect"
import { Spend, SpendLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { client } from "./support/runtime.js"

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  // the agent calls the tool once for each charge, and reports the charge after the call
  const job = yield* arcp.submit(
    Spend,
    { charges: ["USD:0.10", "USD:0.20", "USD:0.10", "USD:0.01"], tool: "search.web" },
    { lease: { "tool.call": ["search.*"], "cost.budget": ["USD:0.40"] } }
  )
  yield* Console.log(`${job.jobId} may spend ${JSON.stringify(job.budget)}`)

  const costs: Array<number> = []
  const remaining: Array<number> = []
  const refusals: Array<string> = []
  yield* Stream.runForEach(job.events, (event) => {
    if (event._tag === "tool_call") return Console.log(`calls ${event.body.tool}`)
    if (event._tag === "tool_result" && event.body.error !== undefined) {
      refusals.push(event.body.error.code)
      return Console.log(`  refused: ${event.body.error.code}, ${event.body.error.message}`)
    }
    if (event._tag !== "metric") return Effect.void
    const { name, unit, value } = event.body
    if (name === "cost.search.web") costs.push(value)
    if (name === "cost.budget.remaining") remaining.push(value)
    return Console.log(`  ${name}: ${value} ${unit}`)
  })
  const result = yield* job.result
  yield* Console.log(`the agent was allowed ${result.calls} calls, and has ${result.remaining.USD} USD left\n`)

  yield* claim("three calls were paid for", result.calls === 3 && costs.join(" ") === "0.1 0.2 0.1")
  yield* claim("the counter is exact after each: 0.30, 0.10 and nothing", remaining.join(" ") === "0.3 0.1 0")
  yield* claim("the next call was refused, and cost nothing", refusals.join() === "BUDGET_EXHAUSTED")
})

NodeRuntime.runMain(program.pipe(Effect.provide(client(SpendLive)), Effect.timeout("1 minute")))
