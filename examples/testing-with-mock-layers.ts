/**
 * Testing an agent with mock layers: the whole protocol in one process, and each concern of the runtime replaced once by a layer of the
 * test's own. A replacement finds the runtime's own concern under its tag, so that a spy is a few lines; a whole implementation ignores it.
 *
 * In a test file each of these programs is an `it.effect`; here they run one after the other, and the first that fails ends the program.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, Job } from "effect-arcp/agent"
import { Canonical } from "effect-arcp/authority"
import { ArcpClient } from "effect-arcp/client"
import { BudgetExhausted, JobId, ResumeWindowExpired, SessionId } from "effect-arcp/protocol"
import { Budgets, JobScheduler, Leases, Sessions, Subscriptions } from "effect-arcp/runtime"
import { TestArcp } from "effect-arcp/testing"
import { Console, Data, Effect, Either, Layer, Logger, LogLevel, Schema } from "effect"

class Search extends Agent.make("search", {
  input: Schema.Struct({ query: Schema.String }),
  output: Schema.Struct({ hits: Schema.Number })
}) {}

const SearchLive = Search.toLayer(({ query }) =>
  Effect.gen(function* () {
    yield* Job.spend("cost.search", "0.10 USD")
    const hits = yield* Job.tool("search.web", { query }, Effect.succeed(query.length))
    return { hits }
  })
)

/** What a client sees of one search. */
const search = Effect.gen(function* () {
  const client = yield* ArcpClient
  const job = yield* client.submit(
    Search,
    { query: "arcp" },
    { lease: { "tool.call": ["search.*"], "cost.budget": ["USD:1.00"] } }
  )
  return yield* Effect.match(job.result, {
    onSuccess: ({ hits }) => `${hits} hits`,
    onFailure: (error) => ("code" in error ? error.code : error._tag)
  })
})

// Budgets: everything is spent before it begins.
const Spent = Layer.effect(
  Budgets,
  Effect.map(Budgets, (own) => ({
    ...own,
    exhausted: () => new BudgetExhausted({ message: "the house has no money left" })
  }))
)

// Leases: whatever a job asks for is allowed.
const Open = Layer.effect(
  Leases,
  Effect.map(Leases, (own) => ({
    ...own,
    check: (job, capability, target) =>
      Either.orElse(own.check(job, capability, target), (denial) =>
        Either.mapLeft(Canonical.target(capability, target), () => denial)
      )
  }))
)

// JobScheduler: jobs are accepted, and nothing runs.
const Accepting = Layer.sync(JobScheduler, () => {
  let accepted = 0
  return {
    submit: ({ payload }, reply) =>
      Effect.sync(() => {
        const jobId = JobId(`job_${++accepted}`)
        const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
        const answer = { job_id: jobId, agent: payload.agent, lease: {}, accepted_at: "2026-01-01T00:00:00Z" }
        reply(Either.right({ jobId, traceId, payload: answer }))
      }),
    cancel: (_, reply) => Effect.sync(() => reply(Either.void)),
    counts: () => ({ pending: accepted, running: 0 })
  }
})

// Subscriptions: what is asked for is noted.
const noted: Array<string> = []
const Noting = Layer.effect(
  Subscriptions,
  Effect.map(Subscriptions, (own) => ({
    ...own,
    subscribe: (request, reply) => {
      noted.push(`${request.principal.id} observes, history: ${request.history}`)
      return own.subscribe(request, reply)
    }
  }))
)

// Sessions: ids that a test can name, and no resume.
const Numbered = Layer.sync(Sessions, () => {
  let opened = 0
  return {
    open: () =>
      Effect.sync(() => {
        const sessionId = SessionId(`session-${++opened}`)
        return { sessionId, token: `token-${opened}`, resumeWindow: 60_000 }
      }),
    resume: () => new ResumeWindowExpired({ message: "resume: not in this test" }),
    confirm: () => undefined,
    left: () => undefined,
    expired: () => undefined,
    adopt: () => undefined
  }
})

/** A claim of this example that does not hold. */
class Wrong extends Data.TaggedError("Wrong")<{ readonly message: string }> {}

const shows = <E, R>(what: string, program: Effect.Effect<string, E, R>, expected: string) =>
  Effect.flatMap(program, (seen) =>
    seen === expected
      ? Console.log(`${what}: ${seen}`)
      : new Wrong({ message: `${what}: expected ${expected}, and it was ${seen}` })
  )

const program = Effect.gen(function* () {
  yield* shows("nothing replaced", Effect.provide(search, TestArcp.layer(SearchLive)), "4 hits")

  yield* shows(
    "budgets that are spent",
    Effect.provide(search, TestArcp.layer(SearchLive, { replace: { budgets: Spent } })),
    "BUDGET_EXHAUSTED"
  )

  const unleased = Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit(Search, { query: "no lease" })
    return `${(yield* job.result).hits} hits`
  })
  yield* shows(
    "leases that allow everything",
    Effect.provide(unleased, TestArcp.layer(SearchLive, { replace: { leases: Open } })),
    "8 hits"
  )

  const submitted = Effect.gen(function* () {
    const client = yield* ArcpClient
    const first = yield* client.submit("anything")
    const second = yield* client.submit("anything")
    return `${first.jobId}, ${second.jobId}`
  })
  yield* shows(
    "a scheduler that runs nothing",
    Effect.provide(submitted, TestArcp.layer(Layer.empty, { replace: { jobScheduler: Accepting } })),
    "job_1, job_2"
  )

  const observed = Effect.gen(function* () {
    const client = yield* ArcpClient
    const job = yield* client.submit(Search, { query: "seen" }, { lease: { "tool.call": ["**"] } })
    yield* job.result
    const observer = yield* client.subscribe(job.jobId, { history: true })
    yield* observer.result
    return noted.join("; ")
  })
  yield* shows(
    "subscriptions that are noted",
    Effect.provide(observed, TestArcp.layer(SearchLive, { replace: { subscriptions: Noting } })),
    "test observes, history: true"
  )

  const named = Effect.gen(function* () {
    const client = yield* ArcpClient
    yield* client.connected
    return (yield* client.session)?.sessionId ?? "none"
  })
  yield* shows(
    "sessions with names",
    Effect.provide(named, TestArcp.layer(SearchLive, { replace: { sessions: Numbered } })),
    "session-1"
  )
})

// The runtime logs each subscribe; here only what goes wrong is of interest.
NodeRuntime.runMain(Logger.withMinimumLogLevel(program, LogLevel.Warning))
