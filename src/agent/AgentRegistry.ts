/** The agents of a runtime, by name and version (ARCP 1.1 §7.5). */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import type * as Scope from "effect/Scope"
import { AgentNotAvailable, AgentVersionNotAvailable, type InvalidRequest } from "../protocol/Errors.js"
import * as AgentName from "../protocol/AgentName.js"
import * as Options from "../protocol/Options.js"
import * as Text from "../protocol/Text.js"
import { agents } from "./internal/hostedAgent.js"
import * as Hosted from "./internal/hosted.js"
import type { Job, Streamed } from "./Job.js"

/**
 * What becomes of a job that was running when the runtime ended.
 *
 * @since 0.1.0
 * @category models
 */
export type OnRestart = "fail" | "rerun"

/**
 * One version of an agent, ready to run.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentRegistration {
  /** The agent's name (§7.5). */
  readonly name: string
  /** The agent's version (§7.5). */
  readonly version: string
  /** Whether a bare name means this version. Of several, and of none, the one registered last. */
  readonly isDefault: boolean
  /** How many of its jobs run at a time; further ones wait. */
  readonly maxRunning: number | undefined
  /** What becomes of a job that was running when the runtime ended. */
  readonly onRestart: OnRestart
  /** Services that its handler gets as they are, though no lease bounds them. */
  readonly unguarded: ReadonlyArray<{ readonly key: string }>
  /** From which level on what its handler logs becomes an event of the job too. Absent: from `Info` on. */
  readonly logEvents?: LogLevel.Literal | undefined
  /** Decodes the input of a submit; what does not fit is refused before anything is accepted. */
  readonly decode: (input: unknown) => Either.Either<unknown, InvalidRequest>
  /**
   * Runs the handler on decoded input and answers the encoded output. `guard` turns the services that the agent was built
   * with into those that this job may use.
   */
  readonly run: (
    input: unknown,
    guard: (services: Context.Context<never>) => Context.Context<never>
  ) => Effect.Effect<unknown | Streamed, unknown, Job | Scope.Scope>
}

/**
 * An agent of the inventory (§6.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentEntry {
  /** The agent's name. */
  readonly name: string
  /** Every version that is hosted, in the order of the context. */
  readonly versions: ReadonlyArray<string>
  /** The version that a bare name means. */
  readonly default: string
}

/**
 * The agents that a context hosts. Built by each runtime from the context in which it is built, so that two runtimes of one
 * program host what each was given.
 *
 * @since 0.1.0
 * @category services
 */
export class AgentRegistry extends Context.Tag("effect-arcp/agent/AgentRegistry")<
  AgentRegistry,
  {
    /** The version that a client's `agent` stands for. */
    readonly resolve: (
      agent: AgentName.AgentName
    ) => Either.Either<AgentRegistration, AgentNotAvailable | AgentVersionNotAvailable>
    /** The inventory, in the order of the context. */
    readonly inventory: () => ReadonlyArray<AgentEntry>
  }
>() {
  /**
   * The registrations of the context in which it is built. A name or version that breaks the grammar, a `maxRunning` that is no whole
   * number from 1 on, a `logEvents` that is not a level, and two registrations of one version, are defects: the program is wrong.
   */
  static readonly layer: Layer.Layer<AgentRegistry> = Layer.effect(
    AgentRegistry,
    Effect.flatMap(Effect.context<never>(), (context) => make(Hosted.collect(context, agents)))
  )
}

const levels: ReadonlySet<string> = new Set(LogLevel.allLevels.map((level) => level._tag))

const nameOf = (agent: AgentRegistration): string => `${agent.name}@${agent.version}`

const make = (registered: ReadonlyArray<AgentRegistration>): Effect.Effect<(typeof AgentRegistry)["Service"]> =>
  Effect.suspend(() => {
    const byName = new Map<string, Array<AgentRegistration>>()
    for (const agent of registered) {
      if (!AgentName.isName(agent.name) || !AgentName.isVersion(agent.version)) {
        return Effect.dieMessage(
          `the agent ${JSON.stringify(nameOf(agent))} cannot be registered: a name is [a-z0-9][a-z0-9._-]*, a version [a-zA-Z0-9.+_-]+`
        )
      }
      const wrong = Options.problem(agent, { maxRunning: "count" })
      if (wrong !== undefined) {
        return Effect.dieMessage(
          `the agent ${nameOf(agent)} cannot be registered: ${wrong.name} must be ${wrong.expected}; it is ${Text.ofUnknown(wrong.value, 64)}`
        )
      }
      if (agent.logEvents !== undefined && !levels.has(agent.logEvents)) {
        return Effect.dieMessage(
          `the agent ${nameOf(agent)} cannot be registered: logEvents must be one of ${[...levels].join(", ")}; it is ${Text.ofUnknown(agent.logEvents, 64)}`
        )
      }
      const versions = byName.get(agent.name) ?? []
      if (versions.some((other) => other.version === agent.version)) {
        return Effect.dieMessage(`the agent ${nameOf(agent)} is registered twice`)
      }
      byName.set(agent.name, [...versions, agent])
    }
    const defaultOf = (versions: ReadonlyArray<AgentRegistration>): AgentRegistration =>
      versions.findLast((agent) => agent.isDefault) ?? versions[versions.length - 1]!
    return Effect.succeed({
      resolve: ({ name, version }) => {
        const versions = byName.get(name)
        if (versions === undefined) {
          return Either.left(new AgentNotAvailable({ message: `agent: ${name} is not registered` }))
        }
        if (version === undefined) return Either.right(defaultOf(versions))
        const found = versions.find((agent) => agent.version === version)
        return found === undefined
          ? Either.left(
              new AgentVersionNotAvailable({
                message: `agent: ${name}@${version} is not registered`,
                details: { available: versions.map((agent) => agent.version) }
              })
            )
          : Either.right(found)
      },
      inventory: () =>
        [...byName].map(([name, versions]) => ({
          name,
          versions: versions.map((agent) => agent.version),
          default: defaultOf(versions).version
        }))
    })
  })
