/** Arguments that are JSON, or a file that holds it. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { type Exit, usage } from "./errors.js"
import { quoted } from "./visible.js"

/** Reads `JSON` or `@file`. */
export const readJson = (option: string, text: string): Effect.Effect<unknown, Exit, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const json = text.startsWith("@")
      ? yield* Effect.mapError(fs.readFileString(text.slice(1)), () =>
          usage(`--${option}: ${text.slice(1)} cannot be read`)
        )
      : text
    return yield* Effect.try({
      try: () => JSON.parse(json) as unknown,
      catch: () =>
        usage(
          text.startsWith("@")
            ? `--${option}: ${text.slice(1)} does not hold valid JSON`
            : `--${option} must be valid JSON, or @FILE, not ${quoted(text)}`
        )
    })
  })
