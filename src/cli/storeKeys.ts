/** Keys of stores: in environment variables only, since every process of the machine can read a command line. */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Either from "effect/Either"
import * as Sealer from "../store/Sealer.js"
import { type Exit, usage } from "./errors.js"
import { visible } from "./visible.js"

/** The variable that an option names is not set. What may be a key itself is not repeated: terminals and logs keep what is printed. */
export const keyNotSet = (option: string, name: string): Effect.Effect<never, Exit> => {
  const isKey = Either.isRight(Sealer.ofKey(Redacted.make(name), "open"))
  return usage(
    isKey || !/^\w{1,64}$/.test(name)
      ? `--${option} must be the name of an environment variable that holds the key, and not the key: what a command line says is seen by other programs`
      : `--${option}: the environment variable ${visible(name)} is not set`
  )
}
