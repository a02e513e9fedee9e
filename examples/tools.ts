/**
 * Lets an agent call typed tools that the runtime hosts; a job's lease says which of them it may call.
 *
 * It shows: `Tool.make` (in `agents.ts`), the events `tool_call` and `tool_result` of each call (ARCP 1.1 §8.2), the patterns of
 * `tool.call` (§9.2), a call that the lease does not cover, and a tool that fails with an error of its own.
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Console, Effect, Either, Stream } from "effect"
import { Mean, MeanLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { client } from "./support/runtime.js"

/** A call of a tool, as its job's events show it. */
interface Call {
  readonly tool: string
  readonly args: unknown
  outcome?: unknown
}

/** Runs the agent `mean`, and returns its calls and its result. */
const run = (numbers: ReadonlyArray<number>, tools: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const arcp = yield* ArcpClient
    yield* Console.log(`the mean of ${JSON.stringify(numbers)} with "tool.call": ${JSON.stringify(tools)}`)
    const job = yield* arcp.submit(Mean, { numbers }, { lease: { "tool.call": tools } })
    const calls = new Map<string, Call>()
    yield* Stream.runForEach(job.events, (event) => {
      if (event._tag === "tool_call") {
        const { args, call_id: id, tool } = event.body
        calls.set(id, { tool, args })
        return Console.log(`  calls ${tool} ${JSON.stringify(args)}`)
      }
      if (event._tag !== "tool_result") return Effect.void
      const { call_id: id, error, result } = event.body
      const call = calls.get(id)
      if (call !== undefined) call.outcome = error?.code ?? result
      return Console.log(`  ${call?.tool} returns ${error?.code ?? JSON.stringify(result)}`)
    })
    return { calls: [...calls.values()], result: yield* Effect.either(job.result) }
  })

const program = Effect.gen(function* () {
  const whole = yield* run([1, 2, 6], ["calc.*"])
  const narrow = yield* run([1, 2, 6], ["calc.add"])
  const none = yield* run([], ["calc.*"])
  yield* Console.log("")

  yield* claim(
    "each call is an event, and its result another with the same call_id",
    JSON.stringify(whole.calls) ===
      JSON.stringify([
        { tool: "calc.add", args: { numbers: [1, 2, 6] }, outcome: 9 },
        { tool: "calc.divide", args: { number: 9, by: 3 }, outcome: 3 }
      ])
  )
  yield* claim("the agent computed with them", Either.isRight(whole.result) && whole.result.right.mean === 3)
  yield* claim(
    "a tool that the lease does not name is refused",
    narrow.calls[1]?.outcome === "PERMISSION_DENIED" &&
      Either.isLeft(narrow.result) &&
      narrow.result.left._tag === "PermissionDenied"
  )
  yield* claim(
    "a tool's own error reaches the client, as an event and as the job's end",
    none.calls[1]?.outcome === "DIVISION_BY_ZERO" &&
      Either.isLeft(none.result) &&
      none.result.left._tag === "VendorError" &&
      none.result.left.code === "DIVISION_BY_ZERO"
  )
})

NodeRuntime.runMain(program.pipe(Effect.provide(client(MeanLive)), Effect.timeout("1 minute")))
