/**
 * The services of the handlers of a runtime: each agent's own, bounded by the job's gate with what Node offers for it (ARCP 1.1 §9.3), and
 * what its fiber inherits.
 *
 * What all jobs of an agent have in common is put together once, when the first of them begins.
 */
import * as Context from "effect/Context"
import { type Call, contextOf, type Shared } from "../../../agent/CallContext.js"
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { guardedBy, type GuardDrivers } from "../../../agent/Guard.js"
import * as NodeResolver from "../../../agent/NodeResolver.js"

/** How the handlers of a runtime are guarded. */
export interface HandlerGuards {
  /** Services that no handler gets under any key. */
  readonly withhold: ReadonlyArray<object>
  readonly drivers: GuardDrivers
  /** Bytes that one read of a whole file takes. */
  readonly fileBytes: number
}

/** Makes the contexts of handlers. */
export class HandlerServices {
  private readonly guards: HandlerGuards
  private readonly inherited: ReadonlyMap<string, unknown>
  /** By registration, and by what it says it was built with. */
  private readonly shared = new WeakMap<AgentRegistration, WeakMap<Context.Context<never>, Shared>>()

  /** `inherited` is what every handler's fiber begins with. */
  constructor(guards: HandlerGuards, inherited: Context.Context<never>) {
    this.guards = guards
    this.inherited = inherited.unsafeMap
  }

  /** The context of a call of this agent, which was built with `services`. */
  of(agent: AgentRegistration, services: Context.Context<never>, call: Call): Context.Context<never> {
    let known = this.shared.get(agent)
    if (known === undefined) this.shared.set(agent, (known = new WeakMap()))
    let shared = known.get(services)
    if (shared === undefined) known.set(services, (shared = this.sharedBy(agent, services)))
    return contextOf(shared, call)
  }

  /** The context of a call whose agent has not asked for its services. */
  bare(call: Call): Context.Context<never> {
    return contextOf(this.inherited, call)
  }

  /** What an agent was built with wins over what the fiber inherits. */
  private sharedBy({ unguarded }: AgentRegistration, services: Context.Context<never>): Shared {
    const { drivers, fileBytes, withhold } = this.guards
    return new Map([
      ...this.inherited,
      ...guardedBy(services, {
        unguarded,
        withhold,
        drivers,
        fileSystem: { fileBytes },
        http: { resolver: NodeResolver.resolver }
      })
    ])
  }
}
