/**
 * Defining an agent once, for both sides of the wire, and giving it a handler.
 *
 * @example
 * class Summarize extends Agent.make("summarize", {
 *   version: "1.2.0",
 *   input: Schema.Struct({ path: Schema.String }),
 *   output: Schema.Struct({ summary: Schema.String })
 * }) {}
 *
 * const SummarizeLive = Summarize.toLayer(({ path }) =>
 *   Effect.gen(function*() {
 *     yield* Job.log(`reading ${path}`)
 *     return { summary: "…" }
 *   }))
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { AgentSpec } from "../protocol/AgentSpec.js"
import { InvalidRequest } from "../protocol/Errors.js"
import * as Message from "../protocol/Message.js"
import { type AgentRegistration, hosting, type OnRestart } from "./AgentRegistry.js"
import { ambient } from "./Guard.js"
import { called } from "./internal/called.js"
import { handlerContext } from "./internal/handlerContext.js"
import { type Job, Streamed } from "./Job.js"

/** How a handler is hosted. */
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
}

/** What a handler needs beyond what every job has. */
export type HandlerContext<R> = Exclude<R, Job | Scope.Scope>

/** A class made by {@link make}. */
export interface AgentClass<In, InWire, Out, OutWire> extends AgentSpec<In, InWire, Out, OutWire> {
  new (_: never): object
  readonly version: string
  /**
   * Hosts the agent. The handler runs in its own scope as one fiber; cancel, timeout and lease expiry interrupt it. It
   * answers the output, or what `Job.streamResult` answered. A failure that is one of the protocol's errors ends the job
   * with that code, any other with `AGENT_FAILURE`, a defect with `INTERNAL_ERROR`. A client that did not offer
   * `x-vendor.effect-arcp.agent_errors` gets a code of the agent's own as `INTERNAL_ERROR` with `details.agent_error`.
   */
  readonly toLayer: <E, R>(
    handler: (input: In) => Effect.Effect<Out | Streamed, E, R>,
    options?: HostOptions
  ) => Layer.Layer<never, never, HandlerContext<R>>
}

/** Defines an agent: its name (`[a-z0-9][a-z0-9._-]*`), version (an opaque string), and Schemas of input and output. */
export const make = <const Name extends string, In, InWire, Out, OutWire>(
  name: Name,
  options: {
    readonly version?: string | undefined
    readonly input: Schema.Schema<In, InWire>
    readonly output: Schema.Schema<Out, OutWire>
  }
): AgentClass<In, InWire, Out, OutWire> => {
  const { input, output } = options
  const version = options.version ?? "1.0.0"
  return class {
    static readonly agentName = name
    static readonly version = version
    static readonly input = input
    static readonly output = output
    static readonly toLayer = <E, R>(
      handler: (input: In) => Effect.Effect<Out | Streamed, E, R>,
      host?: HostOptions
    ): Layer.Layer<never, never, HandlerContext<R>> => layer({ name, version, input, output, handler, ...host })
  } as unknown as AgentClass<In, InWire, Out, OutWire>
}

/**
 * Hosts an agent that is known by name only: any JSON in, any JSON out.
 *
 * @example
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
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

const layer = <In, InWire, Out, OutWire, E, R>(
  agent: HostOptions & {
    readonly name: string
    readonly version: string
    readonly input: Schema.Schema<In, InWire>
    readonly output: Schema.Schema<Out, OutWire>
    readonly handler: (input: In) => Effect.Effect<Out | Streamed, E, R>
  }
): Layer.Layer<never, never, HandlerContext<R>> => {
  const decodeInput = Schema.decodeUnknownEither(agent.input)
  const encodeOutput = Schema.encodeUnknown(agent.output)
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
        decode: (input) => {
          try {
            return Either.mapLeft(
              decodeInput(input),
              (error) => new InvalidRequest({ message: Message.describe(error, "payload.input") })
            )
          } catch {
            // A schema is user code too: what it throws is its own input's failure.
            return Either.left(new InvalidRequest({ message: "payload.input: the agent's schema failed unexpectedly" }))
          }
        },
        run: (input, guard) =>
          Effect.suspend(() => called(() => agent.handler(input as In))).pipe(
            Effect.flatMap((out) =>
              out instanceof Streamed ? Effect.succeed<unknown>(out) : Effect.orDie(encodeOutput(out))
            ),
            // What its fiber merely inherited is sifted: nothing that reaches outside comes in that way.
            Effect.mapInputContext(
              (job: Context.Context<Job | Scope.Scope>) =>
                handlerContext(guard(services as Context.Context<never>), ambient(job)) as Context.Context<R>
            )
          )
      })
    )
  )
}
