/** The tools of a runtime, by name. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Canonical from "../authority/Canonical.js"
import * as Hosted from "./internal/hosted.js"
import type { Job } from "./Job.js"

/**
 * A tool, ready to be called.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolRegistration {
  /** The tool's name, which `tool.call` patterns match. */
  readonly name: string
  /** Runs the tool with encoded input and returns encoded output. It gets none of `withhold`, and none of the runtime's services. */
  readonly run: (input: unknown, withhold?: ReadonlyArray<object>) => Effect.Effect<unknown, unknown, Job>
}

/**
 * The tools that a context hosts. Built by each runtime from the context in which it is built.
 *
 * @since 0.1.0
 * @category services
 */
export class ToolRegistry extends Context.Tag("effect-arcp/agent/ToolRegistry")<
  ToolRegistry,
  {
    /** The tool of this name; undefined where none is hosted. */
    readonly find: (name: string) => ToolRegistration | undefined
    /** The names of all tools, in the order of the context. */
    readonly names: () => ReadonlyArray<string>
  }
>() {
  /**
   * The registrations of the context in which it is built. A name that breaks the grammar, and two registrations of one name, are
   * defects: the program is wrong.
   */
  static readonly layer: Layer.Layer<ToolRegistry> = Layer.effect(
    ToolRegistry,
    Effect.flatMap(Effect.context<never>(), (context) => {
      const tools = new Map<string, ToolRegistration>()
      for (const tool of Hosted.collect<ToolRegistration>(context, prefix)) {
        const name = Canonical.name(tool.name)
        if (Either.isLeft(name)) return Effect.dieMessage(`a tool cannot be registered: ${name.left.message}`)
        if (tools.has(tool.name)) return Effect.dieMessage(`the tool ${tool.name} is registered twice`)
        tools.set(tool.name, tool)
      }
      return Effect.succeed({ find: (name: string) => tools.get(name), names: () => [...tools.keys()] })
    })
  )
}

const prefix = "effect-arcp/agent/HostedTool/"

/** Puts a tool into the context. Each layer made by this function is one registration, however often it is provided. */
export const hostingTool = <E, R>(
  name: string,
  registration: Effect.Effect<ToolRegistration, E, R>
): Layer.Layer<never, E, R> => Hosted.layer(`${prefix}${name}`, registration)
