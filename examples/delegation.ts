/**
 * Lets an agent start another one with a part of its own lease and budget; more than its own is refused, and unspent money comes back.
 *
 * It shows: a child job (ARCP 1.1 §10) with a narrower lease (§9.4), `LEASE_SUBSET_VIOLATION`, and that a child's share leaves its
 * parent's counter when the child starts and returns when it ends (§9.6).
 */
import { NodeRuntime } from "@effect/platform-node"
import { ArcpClient } from "effect-arcp/client"
import { Console, Effect, Fiber, Layer, Stream } from "effect"
import { Delegate, DelegateLive, SpendLive } from "./agents.js"
import { claim } from "./support/claim.js"
import { client } from "./support/runtime.js"

const lease = {
  "agent.delegate": ["spend"],
  "tool.call": ["search.*"],
  "cost.budget": ["USD:1.00"]
}

const program = Effect.gen(function* () {
  const arcp = yield* ArcpClient
  const announced = yield* Effect.fork(Stream.runHead(arcp.children))

  // the parent delegates to `spend`, which pays 0.10 of the 0.30 that it is given
  const share = { "tool.call": ["search.web"], "cost.budget": ["USD:0.30"] }
  const input = { charges: ["USD:0.10"], tool: "search.web" }
  const parent = yield* arcp.submit(Delegate, { agent: "spend", input, lease_request: share }, { lease })
  yield* Console.log(`${parent.jobId} runs ${parent.agent} with ${JSON.stringify(parent.lease)}`)

  const remaining: Array<number> = []
  yield* Stream.runForEach(parent.events, (event) => {
    if (event._tag === "delegate") return Console.log(`it delegates to ${event.body.agent}, ${event.body.child_job_id}`)
    if (event._tag !== "metric" || event.body.name !== "cost.budget.remaining") return Effect.void
    remaining.push(event.body.value)
    return Console.log(`the parent has ${event.body.value} ${event.body.unit}`)
  })
  const answer = yield* parent.result
  const child = yield* Effect.flatten(Fiber.join(announced))
  yield* Console.log(`the child had ${JSON.stringify(child.lease)} and returned ${JSON.stringify(answer)}\n`)

  yield* claim("the client is told of the child job", child.parentJobId === parent.jobId)
  yield* claim(
    "the child may call the one tool that it was given, and may not delegate itself",
    child.lease["tool.call"]?.join() === "search.web" && child.lease["agent.delegate"] === undefined
  )
  yield* claim(
    "its share left the parent's counter, and what it did not spend came back",
    remaining.join(" ") === "0.7 0.9"
  )

  // every tool, where the parent itself may call those of `search.*` alone
  const wide = { ...share, "tool.call": ["**"] }
  const greedy = yield* arcp.submit(Delegate, { agent: "spend", input, lease_request: wide }, { lease })
  const refusals: Array<string> = []
  yield* Stream.runForEach(greedy.events, (event) =>
    Effect.sync(() => event._tag === "tool_result" && refusals.push(event.body.error?.code ?? "none"))
  )
  const end = yield* Effect.flip(greedy.result)
  yield* Console.log(`\na wider lease: ${end.message}`)
  yield* claim(
    "more than the parent has is LEASE_SUBSET_VIOLATION, as an event and as the job's end",
    refusals.join() === "LEASE_SUBSET_VIOLATION" && end._tag === "LeaseSubsetViolation"
  )
})

const agents = Layer.merge(DelegateLive, SpendLive)
NodeRuntime.runMain(program.pipe(Effect.provide(client(agents)), Effect.timeout("1 minute")))
