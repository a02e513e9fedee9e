/**
 * Temporary files and directories, over Node's descriptors.
 *
 * Order: the place, and what would be in it, are checked before anything is made. The last characters of a name are known only after that,
 * so the full name is checked again; what this check refuses is removed, as is everything whose scope closes. An entry that has replaced
 * what was made is not removed.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Checks from "./fileChecks.js"
import { sample, write } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import type { Failure, Reaching } from "./nodeReach.js"
import * as Tree from "./nodeTree.js"
import * as RealTree from "./realTree.js"

/** The operations that make temporary files. */
export const temporaries = (
  checks: Checks.FileChecks,
  { changing, changingOne, entry, operation, reach }: Reaching
): Pick<
  FileSystem.FileSystem,
  "makeTempDirectory" | "makeTempDirectoryScoped" | "makeTempFile" | "makeTempFileScoped"
> => {
  const { authorize, tempDirectory } = checks
  const plan = Checks.temporaryPlan(checks)

  /** Makes a temporary directory in a place that is checked, with what is to be in it, before anything is made. */
  const temporary = (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    suffix: string | undefined
  ): Effect.Effect<Calls.Located, Failure, Scope.Scope> =>
    Effect.gen(function* () {
      const { directory: text, file } = yield* plan(method, options, suffix)
      const { name, parent, path } = yield* entry(method, text, write)
      yield* authorize(method, text, write, parent.path)
      if (file !== undefined) yield* reach(method, file, write)
      const prefix = Calls.below(parent, name.slice(0, -sample.length))
      const made = yield* changing([path], [parent], Calls.mkdtemp(prefix))
      const real = RealTree.join(parent.path, RealTree.nameOf(made))
      // Its last characters are known only now.
      return yield* Effect.onError(Effect.zipRight(authorize(method, real, write, real), Calls.directoryAt(real)), () =>
        Effect.ignore(Calls.rmdir(Calls.below(parent, RealTree.nameOf(made))))
      )
    })

  const makeTemp = (method: string, options: FileSystem.MakeTempFileOptions | undefined, suffix: string | undefined) =>
    operation(
      method,
      options?.directory ?? tempDirectory,
      write,
      Effect.gen(function* () {
        const directory = yield* temporary(method, options, suffix)
        if (suffix === undefined) return { path: directory.path, directory }
        const name = `${RealTree.nameOf(directory.path).slice(-sample.length)}${suffix}`
        const path = RealTree.join(directory.path, name)
        yield* Effect.onError(
          Effect.zipRight(
            authorize(method, path, write, path),
            changing([path], [directory], Calls.create(directory, name, Calls.creating))
          ),
          () => removeMade(directory)
        )
        return { path, directory }
      })
    )

  /** Removes a temporary directory that was made, but not an entry that has replaced it. */
  const removeMade = ({ info, path }: Pick<Calls.Located, "info" | "path">) =>
    Effect.gen(function* () {
      const listed = yield* Tree.entries(path, () => Effect.void)
      if (listed[0]?.ino !== info.ino || listed[0].dev !== info.dev) return
      yield* Tree.remove(path, listed, changingOne, Effect.void)
    }).pipe(Effect.retry({ times: Checks.attempts }), Effect.ignore)

  const pathOf = Effect.map(({ path }: { readonly path: string }) => path)
  const temporaryScoped = (method: string, options: FileSystem.MakeTempFileOptions | undefined, suffix?: string) =>
    pathOf(Effect.acquireRelease(makeTemp(method, options, suffix), ({ directory }) => removeMade(directory)))

  return {
    makeTempDirectory: (options) => pathOf(makeTemp("makeTempDirectory", options, undefined)),
    makeTempDirectoryScoped: (options) => temporaryScoped("makeTempDirectoryScoped", options),
    makeTempFile: (options) => pathOf(makeTemp("makeTempFile", options, options?.suffix ?? "")),
    makeTempFileScoped: (options) => temporaryScoped("makeTempFileScoped", options, options?.suffix ?? "")
  }
}
