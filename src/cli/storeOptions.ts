/** The options of `arcp store rekey`. */
import type * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { logLevel } from "./logLevel.js"

export const rekeyOptions = {
  store: Options.text("store").pipe(
    Options.withDescription("the SQLite file; stop the runtime that has it first, a file in use is refused")
  ),
  keyEnv: Options.text("key-env").pipe(
    Options.withDescription(
      "the environment variable that holds the key that the file has; without it the file is not encrypted yet, and is encrypted now"
    ),
    Options.optional
  ),
  newKeyEnv: Options.text("new-key-env").pipe(
    Options.withDescription(
      "the environment variable that holds the key that it gets: at least 32 random bytes, in any spelling"
    )
  ),
  logLevel
}

/** What the command line says. */
export type RekeyArgs = Command.Command.ParseConfig<typeof rekeyOptions>
