/** The agent that both processes of this example know, and its client. */
import { Agent } from "effect-arcp/agent"
import { Schema } from "effect"

export const steps = ["fetch", "parse", "index", "publish"] as const

export class Pipeline extends Agent.make("pipeline", {
  input: Schema.Struct({ journal: Schema.String }),
  /** Of each step: in which process it ran. */
  output: Schema.Array(Schema.Struct({ step: Schema.String, pid: Schema.Number }))
}) {}
