/** The command `arcp submit`. What it does is loaded when it runs. */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { withLogLevel } from "./logLevel.js"
import { optional } from "./optional.js"
import { needed } from "./peers.js"
import { submitConfig } from "./submitOptions.js"

const submitting = optional(() => import("./submitting.js"), needed)

export const submit = Command.make("submit", submitConfig, (args) =>
  Effect.flatMap(submitting, ({ submitJob }) => submitJob(args)).pipe((handler) => withLogLevel(handler, args.logLevel))
).pipe(Command.withDescription("Submit a job, show its events, and print its result"))
