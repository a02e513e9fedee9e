/** The option `--log-level` of the commands that log. */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"

import { type Exit, usage } from "./errors.js"
import { quoted } from "./visible.js"

const nameOf = (level: LogLevel.LogLevel): string => level._tag.toLowerCase()

const names = LogLevel.allLevels.map(nameOf)

export const logLevel = Options.text("log-level").pipe(
  Options.withDescription(`the least severe log lines to write to stderr: ${names.join(", ")}; default: warning`),
  Options.optional
)

/** The least severe lines that are shown. */
const shownFrom = FiberRef.unsafeMake<LogLevel.LogLevel>(LogLevel.Warning)

/** Log lines of agents from this level on are events of their jobs, whatever is shown. */
const least = LogLevel.Info

/** A logger that leaves out what the command line does not ask for. */
export const asShown = <A>(logger: Logger.Logger<unknown, A>): Logger.Logger<unknown, A | undefined> =>
  Logger.make((line) =>
    LogLevel.lessThan(line.logLevel, FiberRefs.getOrDefault(line.context, shownFrom)) ? undefined : logger.log(line)
  )

/** The level at which lines reach the loggers. {@link asShown} then leaves out what the command does not show. */
export const leastLevel: Layer.Layer<never> = Logger.minimumLogLevel(least)

/** Runs a command that shows the level that its command line names. */
export const withLogLevel = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  given: Option.Option<string>
): Effect.Effect<A, E | Exit, R> => {
  if (Option.isNone(given)) return effect
  const level = LogLevel.allLevels.find((candidate) => nameOf(candidate) === given.value.toLowerCase())
  return level === undefined
    ? usage(`--log-level must be one of ${names.join(", ")}, not ${quoted(given.value)}`)
    : effect.pipe(
        Logger.withMinimumLogLevel(LogLevel.lessThan(level, least) ? level : least),
        Effect.locally(shownFrom, level)
      )
}
