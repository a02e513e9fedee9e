/** Runtimes for tests: the same agents over each transport and store. */
import { Deferred, Effect, Layer, Schema, Stream } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Ids, VendorError } from "../../src/protocol/index.js"
import {
  ArcpRuntime,
  Limits,
  type LimitsOptions,
  SlowConsumers,
  type SlowConsumersShape
} from "../../src/runtime/index.js"
import { running } from "../../src/runtime/internal/wiring.js"
import { MemoryStore } from "../../src/store/index.js"
import type { Store } from "../../src/store/Store.js"
import type { Connector, Server } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

class Counter extends Agent.make("counter", {
  input: Schema.Struct({
    count: Schema.Number,
    kind: Schema.optionalWith(Schema.Literal("log", "progress", "metric"), { default: () => "log" as const })
  }),
  output: Schema.Struct({ count: Schema.Number })
}) {}

/** Gates that tests open: an agent `gate {name}` logs "waiting", waits for the gate, logs "through" and returns its name. */
const gates = new Map<string, Deferred.Deferred<void>>()
/** Closes every gate: tests use the same names over each backend. */
export const resetGates = (): void => gates.clear()

export const gate = (name: string): Deferred.Deferred<void> => {
  let found = gates.get(name)
  if (found === undefined) {
    found = Effect.runSync(Deferred.make<void>())
    gates.set(name, found)
  }
  return found
}

export const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Counter.toLayer(({ count, kind }) =>
    Effect.gen(function* () {
      const job = yield* Job
      for (let n = 1; n <= count; n++) {
        yield* kind === "log"
          ? job.log(`event ${n}`)
          : kind === "progress"
            ? job.progress({ current: n, total: count })
            : job.metric({ name: "n", value: n })
      }
      return { count }
    })
  ),
  Agent.untyped("gate", (input) =>
    Effect.gen(function* () {
      const { name } = input as { name: string }
      yield* Job.log("waiting")
      yield* Deferred.await(gate(name))
      yield* Job.log("through")
      return name
    })
  ),
  Agent.untyped("never", () => Effect.never),
  // Fifty events, then the gate "pace", then up to two thousand, then nothing.
  Agent.untyped("pacer", () =>
    Effect.gen(function* () {
      for (let n = 1; n <= 2_000; n++) {
        yield* Job.log(`pace ${n}`)
        if (n === 50) yield* Deferred.await(gate("pace"))
      }
      return yield* Effect.never
    })
  ),
  // Talks until it is stopped, and in its finalizer too.
  Agent.untyped("talker", () =>
    Effect.zipRight(
      Effect.flatMap(Job, (job) =>
        Effect.addFinalizer(() => Effect.ignore(Effect.zipRight(job.log("cleaning"), job.log("cleaned"))))
      ),
      Effect.forever(Job.log("talk"))
    )
  ),
  // Does not hear that it is cancelled, and then succeeds.
  Agent.untyped("deaf", (input) =>
    Effect.uninterruptible(
      Effect.zipRight(
        Job.log("waiting"),
        Effect.as(Deferred.await(gate((input as { name: string }).name)), "succeeded")
      )
    )
  ),
  // Leaves a fiber behind that goes on talking.
  Agent.untyped("haunted", () =>
    Effect.zipRight(Effect.forkDaemon(Effect.forever(Job.log("still here"))), Effect.as(Effect.yieldNow(), "gone"))
  ),
  // Views into one buffer, at odd offsets, of odd lengths.
  Agent.untyped("bytes", (input) => {
    const { size } = input as { size: number }
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 255)
    return Job.streamResult(
      Stream.iterate(0, (at) => at + 100_003).pipe(
        Stream.takeWhile((at) => at < size),
        Stream.map((at) => bytes.subarray(at, Math.min(size, at + 100_003)))
      )
    )
  }),
  Agent.untyped("twice", () => Effect.zipRight(Job.streamResult(Stream.make("a")), Job.streamResult(Stream.make("b")))),
  Agent.untyped("progress", (input) => Job.progress(input as { current: number; total?: number })),
  Agent.untyped("long-log", (input) => Effect.as(Job.log("x".repeat(input as number)), "logged")),
  Agent.untyped("stubborn", () => Effect.uninterruptible(Effect.never)),
  Agent.untyped("fail", () => Effect.fail(new VendorError({ code: "NO_LUCK", message: "no luck" }))),
  Agent.untyped("die", () => Effect.dieMessage("secret inside")),
  Agent.untyped("bad-finalizer", () => Effect.addFinalizer(() => Effect.dieMessage("late")).pipe(Effect.as("done"))),
  Agent.untyped("open-call", () => Effect.zipRight(Job.toolCall("search", { q: 1 }), Effect.succeed("left open"))),
  Agent.untyped("stream", (input) => {
    const { chunks, encoding, fail } = input as {
      chunks: ReadonlyArray<string>
      encoding?: "utf8" | "base64"
      fail?: boolean
    }
    return Job.streamResult(
      Stream.concat(
        Stream.fromIterable(chunks),
        fail === true ? Stream.fail(new VendorError({ code: "BROKEN", message: "broke half-way" })) : Stream.empty
      ),
      { encoding }
    )
  }),
  Agent.untyped("mixed", () => Effect.as(Job.streamResult(Stream.make("text")), "inline too")),
  Agent.untyped("slow", () => Effect.as(Effect.sleep("1 hour"), "slept")),
  Agent.untyped("facts", () =>
    Effect.map(Job, ({ agent, attempt, lease, principalId, traceId }) => ({
      agent,
      attempt,
      lease,
      principalId,
      traceId
    }))
  ),
  Agent.untyped("negative", () => Job.metric({ name: "cost.search", value: -1, unit: "USD" })),
  Agent.untyped("versions", () => Effect.map(Job, (job) => ({ version: job.agent.version })), { version: "1.0.0" }),
  Agent.untyped("versions", () => Effect.map(Job, (job) => ({ version: job.agent.version })), {
    version: "2.0.0",
    default: true
  }),
  Agent.untyped("single", (input) => Effect.as(Deferred.await(gate((input as { name: string }).name)), "done"), {
    maxRunning: 1
  })
)

export interface WorldOptions {
  readonly transport?: Layer.Layer<Server | Connector, unknown>
  readonly store?: Layer.Layer<Store, unknown>
  readonly runtime?: ArcpRuntime.RuntimeOptions
  readonly limits?: LimitsOptions
  readonly slowConsumers?: Partial<SlowConsumersShape>
  readonly auth?: Layer.Layer<Authenticator>
  /** Instead of the agents of this file. */
  readonly agents?: Layer.Layer<never>
}

/** What a runtime of tests stands on. */
const around = <A>(
  runtime: Layer.Layer<A, never, Server | Store | Authenticator>,
  options: WorldOptions
): Layer.Layer<A | Server | Connector, unknown> =>
  runtime.pipe(
    Layer.provide(options.agents ?? agents),
    Layer.provide(Limits.layer(options.limits ?? {})),
    Layer.provide(SlowConsumers.layer(options.slowConsumers ?? {})),
    Layer.provideMerge(options.transport ?? MemoryTransport.layerEncoded),
    Layer.provide(options.store ?? MemoryStore.layer),
    Layer.provide(
      options.auth ?? Authenticator.layerBearer({ "alice-token": "alice", "bob-token": "bob", "carol-token": "carol" })
    )
  )

// Tests end with jobs that run, and most of them under a clock that nobody moves any more.
const withoutDrain = { drainTime: 0 }

/** A runtime with all agents; alice, bob and carol may connect. */
export const world = (options: WorldOptions = {}) =>
  around(ArcpRuntime.layer({ ...withoutDrain, ...options.runtime }), options)

/** As {@link world}, with the runtime's concerns in hand. */
export const worldWithConcerns = (options: WorldOptions = {}) =>
  around(Layer.provide(running({ ...withoutDrain, ...options.runtime }), Ids.layer), options)
