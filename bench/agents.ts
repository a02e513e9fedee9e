/** The agents that are measured: as an author would write them, and doing nothing besides. */
import { Agent, Job } from "effect-arcp/agent"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { now } from "./clock.js"
import { seeded } from "./stats.js"

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

/**
 * Emits log events: `count`, or so many at each step. With a gate, step `i` waits for `<gate>.<i>`, and the end for `<gate>.end`;
 * with a delay the first one waits so long.
 */
export class Counter extends Agent.make("counter", {
  input: Schema.Struct({
    count: Schema.optional(Schema.Int),
    steps: Schema.optional(Schema.Array(Schema.Int)),
    gate: Schema.optional(Schema.String),
    delay_ms: Schema.optional(Schema.Int)
  }),
  output: Schema.Number
}) {}

const CounterLive = Counter.toLayer(({ count, delay_ms, gate, steps = [count ?? 0] }) =>
  Effect.gen(function* () {
    const job = yield* Job
    let n = 0
    if (delay_ms !== undefined) yield* Effect.sleep(delay_ms)
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
export class Streamer extends Agent.make("stream", {
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

/** Waits. */
export class Sleeper extends Agent.make("sleep", {
  input: Schema.Struct({ ms: Schema.Number }),
  output: Schema.Null
}) {}

const SleeperLive = Sleeper.toLayer(({ ms }) => Effect.as(Effect.sleep(ms), null))

/** Logs once, inside a span of its own: most agents of programs do both. */
export class Traced extends Agent.make("traced", { input: Schema.Unknown, output: Schema.Unknown }) {}

const TracedLive = Traced.toLayer((input) => Effect.withSpan(Effect.as(Job.log("hello"), input), "mine"))

/** Emits the time every 20 to 50 ms, as a model does its tokens, once a gate is open; the seed says after which waits. */
export class Tokens extends Agent.make("tokens", {
  input: Schema.Struct({ gate: Schema.String, millis: Schema.Int, seed: Schema.Int }),
  output: Schema.Number
}) {}

const TokensLive = Tokens.toLayer(({ gate, millis, seed }) =>
  Effect.gen(function* () {
    const job = yield* Job
    const random = seeded(seed)
    let emitted = 0
    yield* Deferred.await(named(gate))
    const until = now() + millis * 1000
    while (true) {
      yield* Effect.sleep(20 + 30 * random())
      const at = now()
      if (at >= until) return emitted
      yield* job.log(String(at))
      emitted++
    }
  })
)

/** Computes for 20 ms before each of its events, as code that does not yield. */
export class Busy extends Agent.make("busy", { input: Schema.Struct({ items: Schema.Int }), output: Schema.Number }) {}

const BusyLive = Busy.toLayer(({ items }) =>
  Effect.gen(function* () {
    const job = yield* Job
    for (let n = 0; n < items; n++) {
      for (const end = performance.now() + 20; performance.now() < end; );
      yield* job.progress({ current: n, total: items })
    }
    return items
  })
)

export const BenchAgents = Layer.mergeAll(
  EchoLive,
  CounterLive,
  StreamerLive,
  SleeperLive,
  TracedLive,
  TokensLive,
  BusyLive
)
