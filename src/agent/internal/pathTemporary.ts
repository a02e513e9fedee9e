/**
 * Temporary files and directories, by paths.
 *
 * Order: the place, and what would be in it, are checked before anything is made. The last characters of a name are known only after that,
 * so the full name is checked again; what this check refuses is removed, as is everything whose scope closes, unless its path leads
 * elsewhere in the meantime.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Checks from "./fileChecks.js"
import { sample, write } from "./fileChecks.js"
import * as PathLock from "./pathLock.js"
import { type Reaching, relabelUnless } from "./pathReach.js"
import * as RealTree from "./realTree.js"

/** The operations that make temporary files. */
export const temporaries = (
  fs: FileSystem.FileSystem,
  checks: Checks.FileChecks,
  { check, holding }: Reaching
): Pick<
  FileSystem.FileSystem,
  "makeTempDirectory" | "makeTempDirectoryScoped" | "makeTempFile" | "makeTempFileScoped"
> => {
  const { authorize, concluded, tempDirectory } = checks
  const plan = Checks.temporaryPlan(checks)

  /** Makes a temporary file or directory once its place, and what would be in it, are checked. */
  const makeTemporary = (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    suffix: string | undefined,
    make: (where: {
      readonly directory: string
      readonly prefix: string
    }) => Effect.Effect<string, PlatformError.PlatformError>
  ): Effect.Effect<string, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const { directory: text, file } = yield* plan(method, options, suffix)
      const checked = yield* check(method, text, write, RealTree.itself)
      const directory = RealTree.parentOf(checked.path)
      yield* authorize(method, text, write, directory)
      if (file !== undefined) yield* check(method, file, write)
      const prefix = RealTree.nameOf(checked.path).slice(0, -sample.length)
      const made = yield* holding([checked], make({ directory, prefix }))
      // Its last characters are known only now.
      yield* Effect.onError(authorize(method, made, write, made), () =>
        removeMade(suffix === undefined ? made : RealTree.parentOf(made))
      )
      return made
    }).pipe(
      Effect.mapError(relabelUnless(method, options?.directory ?? tempDirectory)),
      concluded(method, options?.directory ?? tempDirectory, write)
    )

  const makeTempDirectoryAs = (method: string, options: FileSystem.MakeTempDirectoryOptions | undefined) =>
    makeTemporary(method, options, undefined, fs.makeTempDirectory)

  const makeTempFileAs = (method: string, options: FileSystem.MakeTempFileOptions | undefined) =>
    makeTemporary(method, options, options?.suffix ?? "", (where) =>
      fs.makeTempFile({ ...where, suffix: options?.suffix ?? "" })
    )

  /** Removes a temporary directory that was made, unless its path leads elsewhere in the meantime. */
  const removeMade = (path: string) =>
    Effect.ignore(
      PathLock.structural.exclusive([path])(
        Effect.flatMap(fs.realPath(path), (real) =>
          real === path ? fs.remove(path, { recursive: true, force: true }) : Effect.void
        )
      )
    )

  return {
    makeTempDirectory: (options) => makeTempDirectoryAs("makeTempDirectory", options),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectoryAs("makeTempDirectoryScoped", options), removeMade),
    makeTempFile: (options) => makeTempFileAs("makeTempFile", options),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeTempFileAs("makeTempFileScoped", options), (path) =>
        removeMade(RealTree.parentOf(path))
      )
  }
}
