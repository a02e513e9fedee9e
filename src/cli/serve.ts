/** The command `arcp serve`. What it does is loaded when it runs. */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { agentsHttpClient } from "./agentsHttpClient.js"
import { withLogLevel } from "./logLevel.js"
import { optional } from "./optional.js"
import { needed } from "./peers.js"
import { serveOptions } from "./serveOptions.js"
import { Signals } from "./signals.js"

const serving = optional(() => import("./serving.js"), needed)

export const serve = Command.make("serve", serveOptions, (args) =>
  Effect.gen(function* () {
    const signals = yield* Signals
    signals.stopsCleanly = true
    const { serveAgents } = yield* serving
    return yield* serveAgents(args)
  }).pipe((handler) => withLogLevel(handler, args.logLevel))
).pipe(
  Command.withDescription("Host agents: on a WebSocket port, or on stdin and stdout"),
  Command.provide(agentsHttpClient)
)
