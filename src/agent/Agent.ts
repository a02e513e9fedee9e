/**
 * Defining an agent once, for both sides of the wire, and giving it a handler.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { AgentSpec, EventSchemas } from "../protocol/AgentSpec.js"
import { InvalidRequest } from "../protocol/Errors.js"
import * as Decoding from "../protocol/Decoding.js"
import type { AgentRegistration, OnRestart } from "./AgentRegistry.js"
import { isWhole } from "./CallContext.js"
import { declaring } from "./Declared.js"
import { called } from "./internal/called.js"
import { handlerContext } from "./internal/handlerContext.js"
import { hosting } from "./internal/hostedAgent.js"
import { ambient } from "./internal/reach.js"
import { Streamed } from "./Streamed.js"
import { checkKinds, emitting } from "./internal/vendorEvents.js"
import type { Job } from "./Job.js"

/**
 * How a handler is hosted.
 *
 * @since 0.1.0
 * @category options
 */
export interface HostOptions {
  /** Whether a bare name means this version (§7.5). Without any default the version registered last is meant. */
  readonly default?: boolean | undefined
  /** How many jobs of this version run at a time; further ones are pending. */
  readonly maxRunning?: number | undefined
  /**
   * What becomes of a job that was running when the runtime ended: `fail` ends it with `INTERNAL_ERROR` (retryable),
   * `rerun` starts the handler again with the same input. Default `fail`.
   */
  readonly onRestart?: OnRestart | undefined
  /**
   * Tags of platform services that the handler gets as they are, not bounded by a job's lease (§9.3): the author vouches for
   * what it does with them. Without this a `CommandExecutor` refuses, and sockets, servers and workers are not there.
   */
  readonly unguarded?: ReadonlyArray<{ readonly key: string }> | undefined
  /**
   * From which level on the handler's `Effect.log*` become `log` events of the job too (§8.2), for its owners and observers to read;
   * `None` for none. Default `Info`. A line has the fiber's annotations and spans, without its cause. The program's own loggers have
   * every line in any case, annotated with `job_id`, `agent` and `attempt`. A logger cannot wait: while the job's queue is full, or an
   * owner is so far behind that `Job.log` would wait (§6.5), lines are left out, and a line of level `warn` says how many.
   */
  readonly logEvents?: LogLevel.Literal | undefined
}

/**
 * What a handler needs beyond what every job has.
 *
 * @since 0.1.0
 * @category types
 */
export type HandlerContext<R> = Exclude<R, Job | Scope.Scope>

/**
 * The body of an event of a declared kind.
 *
 * @since 0.1.0
 * @category types
 */
export type EventBody<S> = S extends Schema.Schema.AnyNoContext ? Schema.Schema.Type<S> : never

/**
 * A class made by {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentClass<In, InWire, Out, OutWire, Err = never, ErrWire = never, Events = {}>
  extends AgentSpec<In, InWire, Out, OutWire, Err, ErrWire, Events> {
  new (_: never): object
  /** The agent's version (§7.5). */
  readonly version: string
  /**
   * Hosts the agent. The handler runs in its own scope as one fiber; cancel, timeout and lease expiry interrupt it. It
   * answers the output, or what `Job.streamResult` answered. A failure that is one of the protocol's errors ends the job
   * with that code; a failure of the declared type reaches a client of this class as it was, any other as `AgentFailure`; a defect
   * ends the job with `INTERNAL_ERROR`. A client that did not offer `x-vendor.effect-arcp.agent_errors` gets what is the agent's own
   * as `INTERNAL_ERROR` with `details.agent_error`.
   *
   * The type of failures is not bounded by the declared one: a handler uses services that fail in their own ways, and the protocol has
   * an end for each of them. What is declared is what clients can rely on.
   */
  readonly toLayer: <E, R>(
    handler: (input: In) => Effect.Effect<Out | Streamed, E, R>,
    options?: HostOptions
  ) => Layer.Layer<never, never, HandlerContext<R>>
  /**
   * Emits an event of a declared kind from the running job, its body encoded. Fails with `InvalidRequest`, and emits nothing, where the
   * body does not fit its Schema, its JSON is not an object (§8.1), or it is larger than an event may be.
   */
  readonly emit: <K extends keyof Events & string>(
    kind: K,
    body: EventBody<Events[K]>
  ) => Effect.Effect<void, InvalidRequest, Job>
}

/**
 * Refuses, in types, kinds that are not `x-vendor.<vendor>.<name>` and bodies that are not encoded to objects.
 *
 * @since 0.1.0
 * @category types
 */
export type CheckedEvents<Events> = {
  readonly [K in keyof Events]: K extends `x-vendor.${string}.${string}`
    ? Events[K] extends Schema.Schema.AnyNoContext
      ? Schema.Schema.Encoded<Events[K]> extends object
        ? Events[K]
        : never
      : never
    : never
}

/**
 * Defines an agent: its name (`[a-z0-9][a-z0-9._-]*`), version (an opaque string), and Schemas of input and output.
 *
 * `error` is what the handler may fail with beyond the protocol's errors (1.0 §12): clients of this class get it decoded, by the Schema,
 * which must decode synchronously. Its `code` and `retryable`, where it has them, are those of the `job.error`; the code is `AGENT_FAILURE`
 * else. An error of over 32 KiB as JSON arrives without its fields, as `AgentFailure` or `VendorError`.
 *
 * `events` are the bodies of vendor events (1.0 §8.2), by their kinds; clients of this class get them decoded. Throws a `TypeError` where
 * a kind is not `x-vendor.<vendor>.<name>`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Agent, Job } from "effect-arcp/agent"
 *
 * class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { bytes: Schema.Number }) {}
 *
 * class Summarize extends Agent.make("summarize", {
 *   version: "1.2.0",
 *   input: Schema.Struct({ path: Schema.String }),
 *   output: Schema.Struct({ summary: Schema.String }),
 *   error: TooLong,
 *   events: { "x-vendor.acme.page": Schema.Struct({ page: Schema.Number }) }
 * }) {}
 *
 * // the handler's side; a client needs the class alone
 * const SummarizeLive = Summarize.toLayer(({ path }) =>
 *   Effect.gen(function* () {
 *     yield* Job.log(`reading ${path}`)
 *     yield* Summarize.emit("x-vendor.acme.page", { page: 1 })
 *     if (path.endsWith(".iso")) return yield* new TooLong({ bytes: 1_000_000 })
 *     return { summary: `about ${path}` }
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <
  const Name extends string,
  In,
  InWire,
  Out,
  OutWire,
  Err = never,
  ErrWire = never,
  Events extends EventSchemas = {}
>(
  name: Name,
  options: {
    /** An opaque string of `[a-zA-Z0-9.+_-]`. Default `1.0.0`. */
    readonly version?: string | undefined
    /** The Schema of the input. A submit that does not fit it is `INVALID_REQUEST`, and no job is made. */
    readonly input: Schema.Schema<In, InWire>
    /** The Schema of what the handler returns. */
    readonly output: Schema.Schema<Out, OutWire>
    /** The Schema of what the handler may fail with beyond the protocol's errors. Default: none. */
    readonly error?: Schema.Schema<Err, ErrWire> | undefined
    /** Schemas of the bodies of the agent's vendor events, by kind. Default: none. */
    readonly events?: (Events & CheckedEvents<Events>) | undefined
  }
): AgentClass<In, InWire, Out, OutWire, Err, ErrWire, Events> => {
  const { error, events, input, output } = options
  const version = options.version ?? "1.0.0"
  checkKinds(name, events)
  return class {
    static readonly agentName = name
    static readonly version = version
    static readonly input = input
    static readonly output = output
    static readonly error = error
    static readonly events = events
    static readonly emit = emitting(events)
    static readonly toLayer = <E, R>(
      handler: (input: In) => Effect.Effect<Out | Streamed, E, R>,
      host?: HostOptions
    ): Layer.Layer<never, never, HandlerContext<R>> => layer({ ...host, name, version, input, output, error, handler })
  } as unknown as AgentClass<In, InWire, Out, OutWire, Err, ErrWire, Events>
}

/**
 * Hosts an agent that is known by name only: any JSON in, any JSON out.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Agent } from "effect-arcp/agent"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const untyped = <E, R>(
  name: string,
  handler: (input: unknown) => Effect.Effect<unknown, E, R>,
  options?: HostOptions & { readonly version?: string | undefined }
): Layer.Layer<never, never, HandlerContext<R>> =>
  layer({
    ...options,
    name,
    version: options?.version ?? "1.0.0",
    input: Schema.Unknown,
    output: Schema.Unknown,
    handler
  })

/** Whether a schema lets every value through as it is. */
const isUnknown = (schema: Schema.Schema.All): boolean => schema.ast === Schema.Unknown.ast

const layer = <In, InWire, Out, OutWire, Err, ErrWire, E, R>(
  agent: HostOptions & {
    readonly name: string
    readonly version: string
    readonly input: Schema.Schema<In, InWire>
    readonly output: Schema.Schema<Out, OutWire>
    readonly error?: Schema.Schema<Err, ErrWire> | undefined
    readonly handler: (input: In) => Effect.Effect<Out | Streamed, E, R>
  }
): Layer.Layer<never, never, HandlerContext<R>> => {
  const decodeInput = Schema.decodeUnknownEither(agent.input)
  const encodeOutput = Schema.encodeUnknown(agent.output)
  const declared = agent.error === undefined ? undefined : declaring(agent.error)
  const handled = (input: unknown): Effect.Effect<Out | Streamed, unknown, R> => {
    const handler = Effect.suspend(() => called(() => agent.handler(input as In)))
    return declared === undefined ? handler : declared(handler)
  }
  const encoded = (handler: Effect.Effect<Out | Streamed, unknown, R>): Effect.Effect<unknown, unknown, R> =>
    isUnknown(agent.output)
      ? handler
      : Effect.flatMap(handler, (out) =>
          out instanceof Streamed ? Effect.succeed<unknown>(out) : Effect.orDie(encodeOutput(out))
        )
  return hosting(
    agent.name,
    agent.version,
    Effect.map(
      Effect.context<HandlerContext<R>>(),
      (services): AgentRegistration => ({
        name: agent.name,
        version: agent.version,
        isDefault: agent.default ?? false,
        maxRunning: agent.maxRunning,
        onRestart: agent.onRestart ?? "fail",
        unguarded: agent.unguarded ?? [],
        logEvents: agent.logEvents,
        decode: (input) => {
          try {
            return Either.mapLeft(
              decodeInput(input),
              (error) => new InvalidRequest({ message: Decoding.describe(error, "payload.input") })
            )
          } catch {
            // A schema is user code too: what it throws is its own input's failure.
            return Either.left(new InvalidRequest({ message: "payload.input: the agent's schema failed unexpectedly" }))
          }
        },
        run: (input, guard) => {
          const handler = encoded(handled(input))
          const own = guard(services as Context.Context<never>)
          // The runtime runs it in this very context.
          if (isWhole(own)) return handler as Effect.Effect<unknown, unknown>
          return Effect.mapInputContext(
            handler,
            // What its fiber merely inherited is sifted: nothing that reaches outside comes in that way.
            (job: Context.Context<Job | Scope.Scope>) => handlerContext(own, ambient(job)) as Context.Context<R>
          )
        }
      })
    )
  )
}
