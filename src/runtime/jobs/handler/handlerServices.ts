/** The services of one job's handler: the agent's, bounded by the job's gate with what Node offers for it (ARCP 1.1 §9.3). */
import type * as Context from "effect/Context"
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import type { Gate } from "../../../agent/Gate.js"
import { guard, type GuardDrivers } from "../../../agent/Guard.js"
import * as NodeResolver from "../../../agent/NodeResolver.js"

/** How the handlers of a runtime are guarded. */
export interface HandlerGuards {
  /** Services that no handler gets under any key. */
  readonly withhold: ReadonlyArray<object>
  readonly drivers: GuardDrivers
  /** Bytes that one read of a whole file takes. */
  readonly fileBytes: number
}

/** What a job of this agent may use of the services that it was built with. */
export const handlerServices = (
  services: Context.Context<never>,
  gate: Gate,
  { unguarded }: AgentRegistration,
  { drivers, fileBytes, withhold }: HandlerGuards
): Context.Context<never> =>
  guard(services, gate, {
    unguarded,
    withhold,
    drivers,
    fileSystem: { fileBytes },
    http: { resolver: NodeResolver.resolver }
  })
