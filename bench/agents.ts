/** The agents that are measured: as an author would write them, and doing nothing besides. */
import { Agent, Job } from "effect-arcp/agent"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** What the benchmark's clients authenticate with. */
export const token = "bench"

/** Gates that the benchmark opens from outside, and what has been emitted behind them. */
const deferreds = new Map<string, Deferred.Deferred<void>>()

const named = (name: string): Deferred.Deferred<void> => {
  let deferred = deferreds.get(name)
  if (deferred === undefined) {
    deferred = Deferred.unsafeMake<void>(0 as never)
    deferreds.set(name, deferred)
  }
  return deferred
}

/** Lets the agents that wait at a gate go on. */
export const open = (gate: string): void => Deferred.unsafeDone(named(gate), Effect.void)

/** Waits until a counter has emitted what is behind a gate. */
export const emitted = (gate: string): Promise<void> => Effect.runPromise(Deferred.await(named(`${gate} emitted`)))

/** Returns its input. */
export class Echo extends Agent.make("echo", { input: Schema.Unknown, output: Schema.Unknown }) {}

const EchoLive = Echo.toLayer((input) => Effect.succeed(input))

/** Emits log events: so many at each step. With a gate, step `i` waits for `<gate>.<i>`, and the end for `<gate>.end`. */
export class Counter extends Agent.make("counter", {
  input: Schema.Struct({ steps: Schema.Array(Schema.Int), gate: Schema.optional(Schema.String) }),
  output: Schema.Number
}) {}

const CounterLive = Counter.toLayer(({ gate, steps }) =>
  Effect.gen(function* () {
    const job = yield* Job
    let n = 0
    for (const [i, count] of steps.entries()) {
      if (gate !== undefined) yield* Deferred.await(named(`${gate}.${i}`))
      for (const end = n + count; n < end; ) yield* job.log(`event ${++n}`)
      if (gate !== undefined) yield* Deferred.succeed(named(`${gate}.${i} emitted`), undefined)
    }
    if (gate !== undefined) yield* Deferred.await(named(`${gate}.end`))
    return n
  })
)

/** Streams a result of letters. */
export class Streamer extends Agent.make("streamer", {
  input: Schema.Struct({ bytes: Schema.Int, chunk: Schema.Int, encoding: Schema.Literal("utf8", "base64") }),
  output: Schema.Unknown
}) {}

const StreamerLive = Streamer.toLayer(({ bytes, chunk, encoding }) => {
  const text = "abcdefghijklmnopqrstuvwxyz".repeat(Math.ceil(chunk / 26)).slice(0, chunk)
  const piece = encoding === "utf8" ? text : new TextEncoder().encode(text)
  return Job.streamResult(
    Stream.unfold(0, (at) => (at >= bytes ? Option.none() : Option.some([piece, at + chunk] as const))),
    { encoding }
  )
})

export const BenchAgents = Layer.mergeAll(EchoLive, CounterLive, StreamerLive)
