/** How a command ends when it does not succeed. */
import * as Schema from "effect/Schema"

/** Ends the program with this exit code; a message goes to stderr. 1: what was asked for failed. 2: it was asked wrongly. */
export class Exit extends Schema.TaggedError<Exit>()("Exit", {
  code: Schema.Literal(1, 2),
  message: Schema.String
}) {}

/** The command line was wrong. */
export const usage = (message: string): Exit => new Exit({ code: 2, message })

/** What was asked for failed. */
export const failed = (message: string): Exit => new Exit({ code: 1, message })
