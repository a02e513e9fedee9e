/**
 * Copies, renames and links, over Node's descriptors.
 *
 * Order: all that a tree holds is checked, at its old place and at its new one, before anything of it is touched. A copy that has begun is
 * not started again, since files that were copied already would be kept as they are.
 *
 * Races: an entry that was added to a tree after the check was not checked, and another file may have replaced the one that was checked:
 * then the operation starts again.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checks from "./fileChecks.js"
import { both, read, write } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import { makeDirectories } from "./nodeDirectories.js"
import type { Reaching } from "./nodeReach.js"
import * as Tree from "./nodeTree.js"
import * as RealTree from "./realTree.js"

/** Checks all that a tree holds, by descriptors. */
const treeCheck = (fs: FileSystem.FileSystem, checks: Checks.FileChecks) =>
  Checks.treeCheck<Tree.Entry, Calls.CallFailed | Checks.Changed>(fs, checks, Tree.entries, ({ target }) =>
    Effect.succeed(Option.fromNullable(target))
  )

/** A copy of what a path leads to. */
const copying = (
  { alive, authorize, refuse }: Checks.FileChecks,
  reach: Reaching,
  checkTree: ReturnType<typeof treeCheck>
): FileSystem.FileSystem["copy"] => {
  const { changingOne, existing, operation } = reach
  const makesParents = Checks.parentsCheck(authorize)
  return (fromText, toText, options) =>
    Effect.gen(function* () {
      const checked = yield* operation(
        "copy",
        fromText,
        read,
        Effect.gen(function* () {
          const { path: from } = yield* existing("copy", fromText, read)
          const target = yield* reach.reach("copy", toText, write)
          const to = target.path
          const listed = yield* checkTree({ method: "copy", fromText, from, toText, to }, read)
          const isDirectory = listed[0]!.kind === "directory"
          if (to === from || (isDirectory && `${to}/`.startsWith(`${from === "/" ? "" : from}/`))) {
            return yield* Calls.failed("EINVAL", "a copy into itself")
          }
          if (target._tag === "Located" && isDirectory !== target.info.isDirectory()) {
            return yield* Calls.failed(isDirectory ? "ENOTDIR" : "EISDIR", "a directory and a file in one place")
          }
          if (target._tag === "Missing") yield* makesParents("copy", toText, target)
          return { from, to, listed, missing: target._tag === "Missing" ? target : undefined }
        })
      )
      // Not started again: files that were copied already would be kept as they are.
      yield* Effect.gen(function* () {
        const { missing, to } = checked
        if (missing !== undefined) yield* makeDirectories(reach, RealTree.parentOf(to), missing.existing, undefined)
        yield* Tree.copy(checked, { ...options, piece: Checks.piece }, changingOne, alive("copy", fromText))
      }).pipe(
        Effect.catchTags({
          Changed: () => refuse("copy", fromText, read, "it changed while it was copied"),
          LockTimeout: () => Effect.fail(Checks.busy("copy", fromText)),
          CallFailed: (error) => Effect.fail(Calls.toPlatform("copy", fromText)(error))
        })
      )
    })
}

/** The operations that give something another place or another name. */
export const moves = (
  fs: FileSystem.FileSystem,
  checks: Checks.FileChecks,
  reach: Reaching
): Pick<FileSystem.FileSystem, "copy" | "link" | "readLink" | "rename" | "symlink"> => {
  const { changing, entry, existing, operation, ordinary } = reach
  const checkLink = Checks.linkCheck(fs, checks.authorize)
  const checkTree = treeCheck(fs, checks)

  const rename: FileSystem.FileSystem["rename"] = (fromText, toText) =>
    operation(
      "rename",
      fromText,
      both,
      Effect.gen(function* () {
        const from = yield* entry("rename", fromText, both)
        const to = yield* entry("rename", toText, write)
        const move: Checks.Move = { method: "rename", fromText, from: from.path, toText, to: to.path }
        const listed = yield* checkTree(move, both)
        yield* changing(
          [from.path, to.path],
          [from.parent, to.parent],
          Effect.gen(function* () {
            // An entry that was added since was not checked.
            const now = yield* Tree.entries(from.path, () => Effect.void)
            if (!Tree.isSame(listed, now)) return yield* new Checks.Changed()
            yield* Calls.rename(Calls.below(from.parent, from.name), Calls.below(to.parent, to.name))
          })
        )
      })
    )

  const link: FileSystem.FileSystem["link"] = (fromText, toText) =>
    operation(
      "link",
      fromText,
      both,
      Effect.gen(function* () {
        const from = yield* existing("link", fromText, both)
        yield* ordinary("link", fromText, both, from)
        const to = yield* entry("link", toText, write)
        const parent = yield* Calls.directoryAt(RealTree.parentOf(from.path))
        const made = Calls.below(to.parent, to.name)
        yield* changing(
          [from.path, to.path],
          [parent, to.parent],
          Effect.gen(function* () {
            yield* Calls.link(Calls.below(parent, RealTree.nameOf(from.path)), made)
            // Another file may have replaced the one that was checked.
            if (Calls.isSame(yield* Calls.lstat(made), from.info)) return
            yield* Calls.unlink(made)
            return yield* new Checks.Changed()
          })
        )
      })
    )

  const readLink: FileSystem.FileSystem["readLink"] = (text) =>
    operation(
      "readLink",
      text,
      read,
      Effect.flatMap(entry("readLink", text, read), ({ name, parent }) => Calls.readlink(Calls.below(parent, name)))
    )

  const symlink: FileSystem.FileSystem["symlink"] = (target, text) =>
    operation(
      "symlink",
      text,
      write,
      Effect.gen(function* () {
        const { name, parent, path } = yield* entry("symlink", text, write)
        yield* checkLink("symlink", text, parent.path, target)
        yield* changing([path], [parent], Calls.symlink(target, Calls.below(parent, name)))
      })
    )

  return { copy: copying(checks, reach, checkTree), link, readLink, rename, symlink }
}
