/** Paths of files that the command line names. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Exit, usage } from "./errors.js"
import { notEmpty } from "./values.js"

/** Refuses what cannot be the path of a file that is made where it is not there: no name, a folder, or one in no folder. */
export const usedFile = (
  option: string,
  path: string,
  what: string
): Effect.Effect<void, Exit, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    yield* notEmpty(option, path, what)
    const isFolder = (at: string) =>
      Effect.map(
        Effect.option(fs.stat(at)),
        Option.exists(({ type }) => type === "Directory")
      )
    if (yield* isFolder(path)) return yield* usage(`--${option} must be a file, and ${path} is a folder`)
    if (!(yield* isFolder(paths.dirname(paths.resolve(path))))) {
      return yield* usage(`--${option}: the folder of ${path} does not exist: create it first`)
    }
  })
