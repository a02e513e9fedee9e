/** The services of one job's handler: the agent's, bounded by the job's gate with what Node offers for it (ARCP 1.1 §9.3). */
import type * as Context from "effect/Context"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import type { Gate } from "../../agent/Gate.js"
import { guard } from "../../agent/Guard.js"
import * as NodeResolver from "../../agent/NodeResolver.js"

/** What a job of this agent may use of the services that it was built with; none of `withhold` under any key. */
export const handlerServices = (
  services: Context.Context<never>,
  gate: Gate,
  { unguarded }: AgentRegistration,
  withhold: ReadonlyArray<object>
): Context.Context<never> => guard(services, gate, { unguarded, withhold, http: { resolver: NodeResolver.resolver } })
