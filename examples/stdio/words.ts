/** What both processes of this example know: the agent, and how to look which modules are loaded. */
import { createRequire } from "node:module"
import { Agent } from "effect-arcp/agent"
import { Schema } from "effect"

export class Words extends Agent.make("words", {
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ count: Schema.Number, pid: Schema.Number, wsIsLoaded: Schema.Boolean })
}) {}

/** Whether this process has loaded the package `ws`, which WebSockets on Node need. */
export const wsIsLoaded = (): boolean =>
  Object.keys(createRequire(import.meta.url).cache).some((path) => /[\\/]node_modules[\\/]ws[\\/]/.test(path))
