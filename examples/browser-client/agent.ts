/** The agent that the page and the runtime both know: the class is bundled into the page, its handler is not. */
import { Agent } from "effect-arcp/agent"
import * as Schema from "effect/Schema"

export class Double extends Agent.make("double", {
  input: Schema.Struct({ numbers: Schema.Array(Schema.Number) }),
  output: Schema.Array(Schema.Number)
}) {}
