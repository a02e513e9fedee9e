/**
 * Tools: typed operations that a runtime hosts and that agents call by name, each call through the job's gate
 * (ARCP 1.1 §9.2 `tool.call`, §8.2 `tool_call` and `tool_result`).
 *
 * A tool is trusted code: its own services are those that it was built with, not the calling job's. What a job may do with
 * it is which tools its lease names.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ArcpError, InvalidRequest, permanentError } from "../protocol/Errors.js"
import * as Decoding from "../protocol/Decoding.js"
import { called } from "./internal/called.js"
import { handlerContext } from "./internal/handlerContext.js"
import { sift } from "./internal/reach.js"
import { Job } from "./Job.js"
import { hostingTool, type ToolRegistration } from "./ToolRegistry.js"

/**
 * What a tool's handler needs beyond the call's scope and the job that calls it.
 *
 * @since 0.1.0
 * @category types
 */
export type ToolContext<R> = Exclude<R, Job | Scope.Scope>

/**
 * A class made by {@link make}.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolClass<In, InWire, Out, OutWire> {
  new (_: never): object
  /** The tool's name, which `tool.call` patterns match. */
  readonly toolName: string
  /** The Schema of the input. */
  readonly input: Schema.Schema<In, InWire>
  /** The Schema of the output. */
  readonly output: Schema.Schema<Out, OutWire>
  /** Hosts the tool. Each call has its own scope; a failure that is one of the protocol's errors keeps its code. */
  readonly toLayer: <E, R>(
    handler: (input: In) => Effect.Effect<Out, E, R>
  ) => Layer.Layer<never, never, ToolContext<R>>
  /** Calls the tool from an agent. Fails with the denial, the tool's own error, or `INVALID_REQUEST` where nobody hosts it. */
  readonly call: (input: In) => Effect.Effect<Out, ArcpError, Job>
}

/**
 * Defines a tool: its name, which leases match as a name, and the Schemas of its input and output.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Agent, Tool } from "effect-arcp/agent"
 *
 * class Search extends Tool.make("search.web", {
 *   input: Schema.Struct({ query: Schema.String }),
 *   output: Schema.Array(Schema.String)
 * }) {}
 *
 * const SearchLive = Search.toLayer(({ query }) => Effect.succeed([`about ${query}`]))
 *
 * // an agent that calls it; the job's lease needs "tool.call": ["search.*"]
 * const ResearchLive = Agent.untyped("research", (topic) => Search.call({ query: String(topic) }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <In, InWire, Out, OutWire>(
  name: string,
  options: {
    /** The Schema of the input. What does not fit it is `INVALID_REQUEST`. */
    readonly input: Schema.Schema<In, InWire>
    /** The Schema of the output. */
    readonly output: Schema.Schema<Out, OutWire>
  }
): ToolClass<In, InWire, Out, OutWire> => {
  const { input, output } = options
  const encodeInput = Schema.encode(input)
  const decodeOutput = Schema.decodeUnknown(output)
  return class {
    static readonly toolName = name
    static readonly input = input
    static readonly output = output
    static readonly toLayer = <E, R>(
      handler: (input: In) => Effect.Effect<Out, E, R>
    ): Layer.Layer<never, never, ToolContext<R>> => layer(name, input, output, handler)
    static readonly call = (value: In): Effect.Effect<Out, ArcpError, Job> =>
      Effect.gen(function* () {
        const encoded = yield* Effect.mapError(
          encodeInput(value),
          (error) => new InvalidRequest({ message: Decoding.describe(error, `the input of ${name}`) })
        )
        const result = yield* Job.callTool(name, encoded)
        return yield* Effect.mapError(decodeOutput(result), (error) =>
          permanentError(Decoding.describe(error, `the output of ${name}`))
        )
      })
  } as unknown as ToolClass<In, InWire, Out, OutWire>
}

const layer = <In, InWire, Out, OutWire, E, R>(
  name: string,
  input: Schema.Schema<In, InWire>,
  output: Schema.Schema<Out, OutWire>,
  handler: (input: In) => Effect.Effect<Out, E, R>
): Layer.Layer<never, never, ToolContext<R>> => {
  const decode = Schema.decodeUnknown(input)
  const encode = Schema.encode(output)
  return hostingTool(
    name,
    Effect.map(
      Effect.context<ToolContext<R>>(),
      (services): ToolRegistration => ({
        name,
        run: (encoded, withhold) =>
          Effect.mapError(
            decode(encoded),
            (error) => new InvalidRequest({ message: Decoding.describe(error, `the input of ${name}`) })
          ).pipe(
            Effect.flatMap((decoded) =>
              Effect.mapInputContext(
                called(() => handler(decoded)),
                (call: Context.Context<Job | Scope.Scope>) =>
                  handlerContext(sift(services as Context.Context<never>, withhold), call) as Context.Context<R>
              )
            ),
            Effect.flatMap((out) => Effect.orDie(encode(out))),
            Effect.scoped
          )
      })
    )
  )
}
