/** A program of a user: every concern and the transport are its own, the client and the agents are the package's. */
import { Agent, Job } from "effect-arcp/agent"
import { Authenticator } from "effect-arcp/auth"
import { ArcpClient } from "effect-arcp/client"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { transportLaws } from "effect-arcp/testing"
import { Console, Data, Effect, Layer, Redacted, Schema } from "effect"
import { concerns } from "./concerns.js"
import { queues } from "./transport.js"

class Search extends Agent.make("search", {
  input: Schema.Struct({ query: Schema.String }),
  output: Schema.Struct({ hits: Schema.Number })
}) {}

const SearchLive = Search.toLayer(({ query }) =>
  Effect.gen(function* () {
    yield* Job.tool("search.web", { query }, Effect.void)
    yield* Job.spend("cost.search", "0.25 USD")
    return { hits: query.length }
  })
)

class Wrong extends Data.TaggedError("Wrong")<{ readonly message: string }> {}

const expect = (what: string, seen: unknown, expected: unknown) =>
  JSON.stringify(seen) === JSON.stringify(expected)
    ? Console.log(`ok ${what}`)
    : Effect.fail(new Wrong({ message: `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(seen)}` }))

const over = (runtime: typeof withOwnScheduler | typeof withoutScheduler) =>
  ArcpClient.layer({ auth: { token: Redacted.make("secret") } }).pipe(
    Layer.provide(
      runtime.pipe(
        Layer.provide(SearchLive),
        Layer.provide(MemoryStore.layer),
        Layer.provide(Authenticator.layerBearer({ secret: "alice" })),
        Layer.provideMerge(queues)
      )
    )
  )

const withOwnScheduler = ArcpRuntime.layer({ drainTime: 0, replace: concerns })
const { jobScheduler: _, ...others } = concerns
const withoutScheduler = ArcpRuntime.layer({ drainTime: 0, replace: others })

const accepted = Effect.gen(function* () {
  const client = yield* ArcpClient
  const job = yield* client.submit("anything", null)
  return [job.jobId, (yield* client.session)?.sessionId]
})

const ran = Effect.gen(function* () {
  const client = yield* ArcpClient
  const job = yield* client.submit(Search, { query: "arcp" })
  return yield* job.result
})

const program = Effect.gen(function* () {
  yield* expect("all five concerns", yield* Effect.provide(accepted, over(withOwnScheduler)), ["job_1", "alice-1"])
  yield* expect("budgets and leases of one's own", yield* Effect.provide(ran, over(withoutScheduler)), { hits: 4 })
  // Queues carry no close codes.
  const laws = transportLaws(queues, { codes: false })
  for (const law of laws) yield* Effect.scoped(law.check)
  yield* expect("laws of the transport", laws.length > 5, true)
})

// A failure is an unhandled rejection, which ends the process with an error.
void Effect.runPromise(program)
