/** The command `arcp store` and its own commands. What they do is loaded when they run. */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { withLogLevel } from "./logLevel.js"
import { optional } from "./optional.js"
import { needed } from "./peers.js"
import { rekeyOptions } from "./storeOptions.js"

const rekeying = optional(() => import("./rekeying.js"), needed)

const rekey = Command.make("rekey", rekeyOptions, (args) =>
  Effect.flatMap(rekeying, ({ rekeyStore }) => rekeyStore(args)).pipe((handler) => withLogLevel(handler, args.logLevel))
).pipe(
  Command.withDescription(
    "Give a store another key, or encrypt one that is not encrypted: all of it or, whatever happens on the way, nothing"
  )
)

export const store = Command.make("store").pipe(
  Command.withDescription("Look after the file of a store, which no runtime may have meanwhile"),
  Command.withSubcommands([rekey])
)
