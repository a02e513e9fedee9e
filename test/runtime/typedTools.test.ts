import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import { Search } from "./leaseWorld.js"
import { barrier, hello, run } from "./peer.js"
import { world } from "./world.js"

const epoch = new Date(0)
const noDate = new Date(Number.NaN)

class Name extends Context.Tag("test/Name")<Name, string>() {}
class WhoAmI extends Tool.make("whoami", {
  input: Search.input,
  output: Search.output
}) {}

describe("typed tools", () => {
  const asked: Array<string> = []
  const tool = WhoAmI.toLayer(({ since }) =>
    Effect.gen(function* () {
      const { jobId } = yield* Job
      asked.push(`${yield* Name} for ${jobId.slice(0, 4)}`)
      return since === undefined ? [] : [since]
    })
  ).pipe(Layer.provide(Layer.succeed(Name, "the tool's")))
  const agent = Agent.untyped("asker", () =>
    Effect.gen(function* () {
      const dates = yield* WhoAmI.call({ query: "x", since: epoch })
      const bad = yield* Effect.flip(WhoAmI.call({ query: "x", since: noDate }))
      const hosted = yield* Effect.option(Search.call({ query: "x" }))
      return {
        mine: yield* Name,
        isDate: dates[0] instanceof Date,
        bad: bad.code,
        hosted: Option.isSome(hosted)
      }
    })
  ).pipe(Layer.provide(Layer.succeed(Name, "the agent's")))

  it.scoped("§9.2 a tool has its own services and not its caller's, and the job of the call", () =>
    Effect.gen(function* () {
      asked.length = 0
      const peer = yield* hello()
      const end = yield* run(peer, "asker", null, { lease_request: { "tool.call": ["**"] } })
      expect(end.payload.result).toEqual({ mine: "the agent's", isDate: true, bad: "INVALID_REQUEST", hosted: false })
      expect(asked).toEqual(["the tool's for job_"])
      yield* barrier(peer)
    }).pipe(Effect.provide(world({ agents: Layer.merge(agent, tool) })))
  )
})
