/**
 * Directories, over Node's descriptors: listing, making and removing them.
 *
 * Order: what a recursive operation would touch is checked entry by entry before anything of it is touched. Directories that are missing on
 * a path are made one below the other, each below the descriptor of the one before it.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Checks from "./fileChecks.js"
import { read, write } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import type { Reaching } from "./nodeReach.js"
import * as Tree from "./nodeTree.js"
import * as RealTree from "./realTree.js"

/** Makes the directories of a path that do not exist. */
export const makeDirectories = ({ changing }: Reaching, path: string, existing: string, mode: number | undefined) =>
  Effect.gen(function* () {
    let at = existing
    for (const name of path.slice(existing.length).split("/")) {
      if (name === "") continue
      const parent = at
      at = RealTree.join(at, name)
      yield* Effect.scoped(
        Effect.flatMap(Calls.directoryAt(parent), (directory) =>
          changing([at], [directory], Calls.mkdir(Calls.below(directory, name), mode))
        )
      ).pipe(Effect.catchIf(Calls.isCode("EEXIST"), () => Effect.void))
      yield* Effect.scoped(Calls.directoryAt(at))
    }
  })

/** The operations on directories. */
export const directories = (
  { alive, authorize }: Checks.FileChecks,
  reach: Reaching
): Pick<FileSystem.FileSystem, "makeDirectory" | "readDirectory" | "remove"> => {
  const { changing, changingOne, entry, on, operation } = reach
  const makesParents = Checks.parentsCheck(authorize)

  const readDirectory: FileSystem.FileSystem["readDirectory"] = (text, options) =>
    on("readDirectory", text, read, (directory) =>
      Effect.gen(function* () {
        const names = yield* Calls.readdir(Calls.at(directory.fd))
        if (options?.recursive !== true) return [...names]
        const entries = yield* Tree.entries(directory.path, ({ name }) =>
          name === "" ? Effect.void : authorize("readDirectory", text, read, RealTree.join(directory.path, name))
        )
        return entries.slice(1).map(({ name }) => name)
      })
    )

  const remove: FileSystem.FileSystem["remove"] = (text, options) =>
    operation(
      "remove",
      text,
      write,
      Effect.gen(function* () {
        const { name, parent, path } = yield* entry("remove", text, write)
        if (options?.recursive !== true) {
          return yield* changing([path], [parent], Calls.unlink(Calls.below(parent, name)))
        }
        const listed = yield* Tree.entries(path, () => Effect.void)
        for (const { name } of listed) {
          if (name !== "") yield* authorize("remove", text, write, RealTree.join(path, name))
        }
        yield* Tree.remove(path, listed, changingOne, alive("remove", text))
      }).pipe(
        Effect.catchIf(
          (error) => options?.force === true && Calls.isCode("ENOENT")(error),
          () => Effect.void
        )
      )
    )

  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (text, options) =>
    operation(
      "makeDirectory",
      text,
      write,
      Effect.gen(function* () {
        const reached = yield* reach.reach("makeDirectory", text, write)
        if (reached._tag === "Located") {
          if (options?.recursive === true && reached.info.isDirectory()) return
          return yield* Calls.failed("EEXIST", "file already exists")
        }
        if (options?.recursive === true) {
          yield* makesParents("makeDirectory", text, reached)
          return yield* makeDirectories(reach, reached.path, reached.existing, options.mode)
        }
        const { parent, path } = reached
        if (parent === undefined) return yield* reached.error
        yield* changing([path], [parent], Calls.mkdir(Calls.below(parent, RealTree.nameOf(path)), options?.mode))
      })
    )

  return { makeDirectory, readDirectory, remove }
}
