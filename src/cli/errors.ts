/** How a command ends when it does not succeed, and the exit codes. */
import * as Schema from "effect/Schema"

/**
 * Ends the program with this exit code; a message goes to stderr. 1: what was asked for failed. 2: it was asked wrongly. 3: there
 * is no runtime, or no longer.
 */
export class Exit extends Schema.TaggedError<Exit>()("Exit", {
  code: Schema.Literal(1, 2, 3),
  message: Schema.String
}) {}

/** The command line was wrong. */
export const usage = (message: string): Exit => new Exit({ code: 2, message })

/** What was asked for failed. */
export const failed = (message: string): Exit => new Exit({ code: 1, message })

/** No runtime was reached, or the connection to it was lost for good. */
export const unreachable = (message: string): Exit => new Exit({ code: 3, message })

/** The table of exit codes, for the help. */
export const exitCodes: ReadonlyArray<readonly [code: string, meaning: string]> = [
  ["0", "success; serve: stopped by SIGINT or SIGTERM, or its stdio client has gone"],
  ["1", "the job failed, was cancelled or timed out, the runtime refused it, or the runtime could not start"],
  ["2", "wrong use: an option, its value, or an agents module; or a package that is not installed"],
  ["3", "no runtime was reached, or the connection to it was lost for good"],
  ["130", "submit: ended by SIGINT (Ctrl-C); a second signal ends any command at once"],
  ["143", "submit: ended by SIGTERM; a second signal ends any command at once"]
]
