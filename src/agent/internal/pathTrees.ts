/**
 * Directories and what moves between them, by paths: listing, making, removing, copying, renaming and linking.
 *
 * Order: all that a tree holds is checked, at its old place and at its new one, before anything of it is touched.
 *
 * Races: an entry that was added to a tree after the check was not checked: then the operation starts again.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Checks from "./fileChecks.js"
import { both, read, write } from "./fileChecks.js"
import type { Reaching } from "./pathReach.js"
import * as RealTree from "./realTree.js"

/** The operations on directories. */
export const directories = (
  fs: FileSystem.FileSystem,
  { authorize, concluded }: Checks.FileChecks,
  { check, holding }: Reaching
): Pick<FileSystem.FileSystem, "makeDirectory" | "readDirectory" | "remove"> => {
  const makesParents = Checks.parentsCheck(authorize)

  const readDirectory: FileSystem.FileSystem["readDirectory"] = (text, options) =>
    Effect.gen(function* () {
      const checked = yield* check("readDirectory", text, read)
      const { path } = checked
      // The system's own error where it is no directory.
      const names = yield* holding([checked], fs.readDirectory(path), "shared")
      if (options?.recursive !== true) return names
      const entries = yield* RealTree.entries(fs, path, ({ name }) =>
        name === "" ? Effect.void : authorize("readDirectory", text, read, RealTree.join(path, name))
      )
      return entries.slice(1).map(({ name }) => name)
    }).pipe(concluded("readDirectory", text, read))

  const remove: FileSystem.FileSystem["remove"] = (text, options) =>
    Effect.gen(function* () {
      const checked = yield* check("remove", text, write, RealTree.itself)
      const { path } = checked
      if (options?.recursive === true) {
        for (const { name } of yield* RealTree.entries(fs, path, () => Effect.void)) {
          if (name !== "") yield* authorize("remove", text, write, RealTree.join(path, name))
        }
      }
      yield* holding([checked], fs.remove(path, options))
    }).pipe(concluded("remove", text, write))

  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (text, options) =>
    Effect.gen(function* () {
      const real = yield* check("makeDirectory", text, write)
      if (options?.recursive === true) yield* makesParents("makeDirectory", text, real)
      yield* holding([real], fs.makeDirectory(real.path, options))
    }).pipe(concluded("makeDirectory", text, write))

  return { makeDirectory, readDirectory, remove }
}

/** The operations that give something another place or another name. */
export const moves = (
  fs: FileSystem.FileSystem,
  checks: Checks.FileChecks,
  { check, holding, ordinary }: Reaching
): Pick<FileSystem.FileSystem, "copy" | "copyFile" | "link" | "readLink" | "rename" | "symlink"> => {
  const { authorize, concluded } = checks
  const makesParents = Checks.parentsCheck(authorize)
  const checkLink = Checks.linkCheck(fs, authorize)

  const checkTree = Checks.treeCheck<RealTree.Entry, PlatformError>(
    fs,
    checks,
    (root, enter) => RealTree.entries(fs, root, enter),
    ({ kind }, path) => (kind === "link" ? Effect.asSome(fs.readLink(path)) : Effect.succeedNone)
  )

  /** Fails with `Changed` if the tree is another one than was checked. */
  const sameTree = (root: string, before: ReadonlyArray<RealTree.Entry>) =>
    Effect.flatMap(
      RealTree.entries(fs, root, () => Effect.void),
      (now) =>
        now.length === before.length &&
        now.every(({ kind, name }, index) => name === before[index]!.name && kind === before[index]!.kind)
          ? Effect.void
          : Effect.fail(new Checks.Changed())
    )

  const copy: FileSystem.FileSystem["copy"] = (fromText, toText, options) =>
    Effect.gen(function* () {
      const from = yield* check("copy", fromText, read)
      const to = yield* check("copy", toText, write)
      const tree = yield* checkTree({ method: "copy", fromText, from: from.path, toText, to: to.path }, read)
      yield* makesParents("copy", toText, to)
      yield* holding([from, to], Effect.zipRight(sameTree(from.path, tree), fs.copy(from.path, to.path, options)))
    }).pipe(concluded("copy", fromText, read))

  const copyFile: FileSystem.FileSystem["copyFile"] = (fromText, toText) =>
    Effect.gen(function* () {
      const from = yield* check("copyFile", fromText, read)
      const to = yield* check("copyFile", toText, write)
      yield* ordinary("copyFile", fromText, read, from.path)
      yield* ordinary("copyFile", toText, write, to.path)
      yield* holding([from, to], fs.copyFile(from.path, to.path))
    }).pipe(concluded("copyFile", fromText, read))

  const rename: FileSystem.FileSystem["rename"] = (fromText, toText) =>
    Effect.gen(function* () {
      const from = yield* check("rename", fromText, both, RealTree.itself)
      const to = yield* check("rename", toText, write, RealTree.itself)
      const tree = yield* checkTree({ method: "rename", fromText, from: from.path, toText, to: to.path }, both)
      yield* holding([from, to], Effect.zipRight(sameTree(from.path, tree), fs.rename(from.path, to.path)))
    }).pipe(concluded("rename", fromText, both))

  const link: FileSystem.FileSystem["link"] = (fromText, toText) =>
    Effect.gen(function* () {
      const from = yield* check("link", fromText, both)
      const to = yield* check("link", toText, write, RealTree.itself)
      yield* ordinary("link", fromText, both, from.path)
      yield* holding([from, to], fs.link(from.path, to.path))
    }).pipe(concluded("link", fromText, both))

  const readLink: FileSystem.FileSystem["readLink"] = (text) =>
    Effect.flatMap(check("readLink", text, read, RealTree.itself), (checked) =>
      holding([checked], fs.readLink(checked.path), "shared")
    ).pipe(concluded("readLink", text, read))

  const symlink: FileSystem.FileSystem["symlink"] = (target, text) =>
    Effect.gen(function* () {
      const checked = yield* check("symlink", text, write, RealTree.itself)
      yield* checkLink("symlink", text, RealTree.parentOf(checked.path), target)
      yield* holding([checked], fs.symlink(target, checked.path))
    }).pipe(concluded("symlink", text, write))

  return { copy, copyFile, link, readLink, rename, symlink }
}
