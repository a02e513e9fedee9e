/**
 * Directories and what moves between them, by paths: listing, making, removing, copying, renaming and linking.
 *
 * Order: all that a tree holds is checked, at its old place and at its new one, before anything of it is touched.
 *
 * Races: what has come into a tree since it was checked was not checked: then the operation starts again.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Checks from "./fileChecks.js"
import { both, type Capabilities, read, write } from "./fileChecks.js"
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
  { authorize, concluded, refuse }: Checks.FileChecks,
  { check, holding, ordinary }: Reaching
): Pick<FileSystem.FileSystem, "copy" | "copyFile" | "link" | "readLink" | "rename" | "symlink"> => {
  const makesParents = Checks.parentsCheck(authorize)
  const checkLink = Checks.linkCheck(fs, authorize)

  /** Checks all that a tree holds, at its old place and at its new one. A link that moves leads from its new place. */
  const checkTree = ({ from, fromText, method, to, toText }: Checks.Move, needs: Capabilities) =>
    Effect.gen(function* () {
      // No directory is read that the lease does not cover.
      const entries = yield* RealTree.entries(fs, from, ({ name }) =>
        authorize(method, fromText, needs, RealTree.join(from, name))
      )
      for (const { kind, name } of entries) {
        const source = RealTree.join(from, name)
        const target = RealTree.join(to, name)
        yield* authorize(method, fromText, needs, source)
        yield* authorize(method, toText, write, target)
        if (method === "copy") {
          // A link that stands there already would be written through.
          const inTheWay = yield* RealTree.follow(fs, target)
          if (inTheWay.path !== target) yield* authorize(method, toText, write, inTheWay.path)
        }
        if (kind === "special") {
          return yield* refuse(method, fromText, needs, "it holds what is no regular file and no directory")
        }
        if (kind !== "link") continue
        const link = yield* Effect.mapError(fs.readLink(source), Checks.relabel(method, fromText))
        yield* checkLink(method, fromText, RealTree.parentOf(method === "copy" ? source : target), link)
      }
      return entries
    })

  /** What has come into a tree since it was checked was not checked. */
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
