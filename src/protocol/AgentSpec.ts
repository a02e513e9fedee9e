/** What both sides share of an agent: its name, version and the Schemas of its input and output (ARCP 1.1 §7.5). */
import type * as Schema from "effect/Schema"

/**
 * An agent as a client and a runtime both know it. `Agent.make` in `effect-arcp/agent` makes classes of this shape; a
 * client needs no more than this to submit with typed input and to decode the result.
 */
export interface AgentSpec<in out In, in out InWire, in out Out, in out OutWire> {
  readonly agentName: string
  /** Absent where the runtime's default version is meant. */
  readonly version: string | undefined
  readonly input: Schema.Schema<In, InWire>
  readonly output: Schema.Schema<Out, OutWire>
}
