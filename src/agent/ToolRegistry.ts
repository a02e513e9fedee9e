/** The tools of a runtime, by name. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Canonical from "../authority/Canonical.js"
import type { Job } from "./Job.js"

/** A tool, ready to be called with encoded input; answers encoded output. */
export interface ToolRegistration {
  readonly name: string
  readonly run: (input: unknown) => Effect.Effect<unknown, unknown, Job>
}

/** Registers and finds tools. One layer constant: whatever is built together shares one registry. */
export class ToolRegistry extends Context.Tag("effect-arcp/agent/ToolRegistry")<
  ToolRegistry,
  {
    /** Makes a tool available until the scope closes. A name that is none, or is taken, is a defect: the program is wrong. */
    readonly register: (tool: ToolRegistration) => Effect.Effect<void, never, Scope.Scope>
    readonly find: (name: string) => ToolRegistration | undefined
    readonly names: () => ReadonlyArray<string>
  }
>() {
  static readonly layer: Layer.Layer<ToolRegistry> = Layer.sync(ToolRegistry, () => {
    const tools = new Map<string, ToolRegistration>()
    return {
      register: (tool) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const name = Canonical.name(tool.name)
            if (Either.isLeft(name)) return Effect.dieMessage(`a tool cannot be registered: ${name.left.message}`)
            if (tools.has(tool.name)) return Effect.dieMessage(`the tool ${tool.name} is registered twice`)
            tools.set(tool.name, tool)
            return Effect.void
          }),
          () => Effect.sync(() => void tools.delete(tool.name))
        ),
      find: (name) => tools.get(name),
      names: () => [...tools.keys()]
    }
  })
}
