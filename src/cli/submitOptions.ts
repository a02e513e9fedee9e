/** The options of `arcp submit`. */
import * as Args from "@effect/cli/Args"
import type * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { logLevel } from "./logLevel.js"

export const submitOptions = {
  tokenFile: Options.text("token-file").pipe(
    Options.withDescription("a file that holds the bearer token; the environment variable ARCP_TOKEN may hold it too"),
    Options.optional
  ),
  token: Options.redacted("token").pipe(
    Options.withDescription(
      "the bearer token, for trials: other users of this machine can see it until the program has overwritten its title"
    ),
    Options.optional
  ),
  url: Options.text("url").pipe(
    Options.withDescription("where the runtime listens"),
    Options.withDefault("ws://127.0.0.1:7777/arcp")
  ),
  input: Options.text("input").pipe(Options.withDescription("the input, as JSON or @file"), Options.optional),
  lease: Options.text("lease").pipe(
    Options.withDescription("the capabilities to ask for, as JSON or @file"),
    Options.optional
  ),
  expiresAt: Options.text("expires-at").pipe(
    Options.withDescription("when the lease ends, as 2030-01-01T00:00:00Z"),
    Options.optional
  ),
  key: Options.text("key").pipe(
    Options.withDescription("an idempotency key: the same key and input is the same job"),
    Options.optional
  ),
  connectTimeout: Options.text("connect-timeout").pipe(
    Options.withDescription("seconds to wait for the session at most, over all attempts"),
    Options.withDefault("15")
  ),
  json: Options.boolean("json").pipe(Options.withDescription("print events and result as JSON, one a line")),
  logLevel
}

const agent = Args.text({ name: "AGENT" }).pipe(Args.withDescription("the agent, as name or name@version"))

/** All that the command takes. */
export const submitConfig = { ...submitOptions, agent }

/** What the command line says. */
export type SubmitArgs = Command.Command.ParseConfig<typeof submitConfig>
