/**
 * A runtime whose agents compute, emit and stream without a pause. With a file as its argument its store is in it, and ended
 * jobs are deleted soon.
 */
import { Agent, Job } from "effect-arcp/agent"
import { Limits } from "effect-arcp/runtime"
import { SqliteStore } from "effect-arcp/store/sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { compute, serve } from "./common.js"

const [filename] = process.argv.slice(2)

const number = (input: unknown, name: string): number => Number((input as Readonly<Record<string, unknown>>)[name])

serve({
  agents: Layer.mergeAll(
    Agent.untyped("echo", (input) => Effect.succeed(input)),
    // Computes for some milliseconds, then reports progress, again and again.
    Agent.untyped("computes", (input) =>
      Effect.gen(function* () {
        for (let i = 1; i <= number(input, "items"); i++) {
          yield* Effect.sync(() => compute(number(input, "millis")))
          yield* Job.progress({ current: i, total: number(input, "items") })
        }
        return "computed"
      })
    ),
    // The same without a word to the runtime, in small effects.
    Agent.untyped("spins", (input) =>
      Effect.gen(function* () {
        const end = performance.now() + number(input, "millis")
        while (performance.now() < end) yield* Effect.sync(() => compute(0.1))
        return "spun"
      })
    ),
    // Yields to the scheduler only.
    Agent.untyped("yields", (input) =>
      Effect.gen(function* () {
        const end = performance.now() + number(input, "millis")
        while (performance.now() < end) {
          yield* Effect.sync(() => compute(1))
          yield* Effect.yieldNow()
        }
        return "yielded"
      })
    ),
    // As many events of this size as there can be.
    Agent.untyped("floods", (input) =>
      Effect.gen(function* () {
        const text = "e".repeat(number(input, "bytes"))
        for (let i = 0; i < number(input, "events"); i++) yield* Job.log(text)
        return "flooded"
      })
    ),
    Agent.untyped("streams", (input) =>
      Job.streamResult(
        Stream.unfold(number(input, "chunks"), (left) =>
          left === 0 ? Option.none() : Option.some(["s".repeat(number(input, "bytes")), left - 1] as const)
        )
      )
    ),
    // Asks for subsets that take the prover many steps.
    Agent.untyped("proves", (input) =>
      Effect.gen(function* () {
        let refused = 0
        for (let i = 0; i < number(input, "times"); i++) {
          const lease = { "tool.call": Array.from({ length: 40 }, (_, j) => `a*${"b*".repeat(20)}c${i}x${j}`) }
          const answer = yield* Effect.either(Job.delegate("echo", i, { lease }))
          if (answer._tag === "Left") refused++
        }
        return refused
      })
    )
  ),
  ...(filename === undefined
    ? {}
    : {
        store: SqliteStore.layer({ filename }),
        settings: Limits.layer({ retainEndedFor: 1_500, sweepEvery: 500, historyBytes: 400_000_000 })
      })
})
