/** The option `--log-level` of the commands that log. */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"

import { type Exit, usage } from "./errors.js"
import { quoted } from "./values.js"

const nameOf = (level: LogLevel.LogLevel): string => level._tag.toLowerCase()

const names = LogLevel.allLevels.map(nameOf)

export const logLevel = Options.text("log-level").pipe(
  Options.withDescription(`the least severe log lines to write to stderr: ${names.join(", ")}; default: warning`),
  Options.optional
)

/** Runs a command at the level that its command line names. */
export const withLogLevel = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  given: Option.Option<string>
): Effect.Effect<A, E | Exit, R> => {
  if (Option.isNone(given)) return effect
  const level = LogLevel.allLevels.find((candidate) => nameOf(candidate) === given.value.toLowerCase())
  return level === undefined
    ? usage(`--log-level must be one of ${names.join(", ")}, not ${quoted(given.value)}`)
    : Logger.withMinimumLogLevel(effect, level)
}
