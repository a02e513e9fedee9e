/**
 * A `FileSystem` that is bounded by a job's lease (ARCP 1.1 §9.1–§9.3, 1.0 §14), so that ordinary code is held to it.
 *
 * | operation | needs |
 * |---|---|
 * | `stat`, `exists`, `access`, `realPath`, `readFile*`, `stream`, `readDirectory`, `watch` | `fs.read`; `access` for writing also `fs.write` |
 * | `readLink` | `fs.read` of the link itself |
 * | `open` with `r` | `fs.read` |
 * | `open` with `w`, `wx`, `a`, `ax`; `writeFile*`, `sink` | `fs.write` |
 * | `open`, `writeFile*` and `sink` with a `+`, or with a flag that is not known | `fs.read` and `fs.write` |
 * | `truncate`, `chmod`, `chown`, `utimes` | `fs.write` |
 * | `makeDirectory` | `fs.write` of it and of every parent that has to be made |
 * | `makeTemp*` | `fs.write` of the directory and of what is made in it |
 * | `remove` | `fs.write` of the entry itself; recursive: of everything in it |
 * | `copy`, `copyFile` | `fs.read` of everything in the source, `fs.write` of everything in the target |
 * | `rename` | `fs.read` and `fs.write` of everything that moves, `fs.write` of everything at its new place: under another name it may be readable |
 * | `link` | `fs.read` and `fs.write` of the file, for it can be written by its new name; `fs.write` of the new name |
 * | `symlink` | `fs.write` of the link, `fs.read` of what it leads to |
 * | recursive `readDirectory`, `watch` | `fs.read` of every directory; links are listed and not followed |
 *
 * Order of every operation: canonical form, gate, links resolved in the real tree, gate again where that led elsewhere,
 * then the operation on the resolved path: what was checked is what is used. A lease names real paths: what is reached by
 * a link must be covered where it really is. Whether something exists is told only of what is covered, and a link to
 * the outside is refused whether it dangles or not.
 *
 * Regular files and directories only: a pipe, socket or device is refused, for reading it may never end.
 *
 * Races: this is the way for every file system that can be reached by path names alone. Operations act on resolved paths, while
 * no other guarded operation of the process changes anything above or below them, and look once more whether these paths lead
 * where they led; what was opened is compared with what its path leads to by then, and is closed and refused if they differ,
 * before a byte is read or written (`writeFile` truncates only after that; `open` with `w` has truncated by then). Another
 * process that swaps a directory for a link in between cannot be kept out by path names: Node's own file system has a driver
 * for that (`effect-arcp/agent/node`), which a runtime on Linux uses by itself. Hard links that lead outside from the beginning
 * cannot be seen.
 *
 * A denial is a `SystemError` with the reason `PermissionDenied`, and the ARCP error as its `cause`. Paths are POSIX paths.
 */
import type * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { check as checkOptions } from "../protocol/Options.js"
import type { Gate } from "./Gate.js"
import * as Checks from "./internal/fileChecks.js"
import { both, type Capabilities, read, write } from "./internal/fileChecks.js"
import * as GuardedFile from "./internal/guardedFile.js"
import * as PathLock from "./internal/pathLock.js"
import * as RealTree from "./internal/realTree.js"

/** How a guarded file system is set up. */
export interface GuardedFileSystemOptions {
  /** The absolute directory that relative paths are taken from. Default: the process's directory when {@link make} is called. */
  readonly cwd?: string | undefined
  /** Where temporary files go when no directory is named; the lease must cover it. Default: the system's. */
  readonly tempDirectory?: string | undefined
  /** Bytes that `readFile` and `readFileString` take at most; a larger file can be streamed. Default: 256 MiB. */
  readonly fileBytes?: number | undefined
}

/** A path that was checked. */
interface Checked extends RealTree.Real {
  /** Where it leads by now. */
  readonly again: Effect.Effect<RealTree.Real>
}

type Failure = PlatformError.PlatformError | Checks.Changed | PathLock.LockTimeout

// mkdtemp appends six characters.
const sample = "XXXXXX"

const { needed, relabel } = Checks

/**
 * The file system `fs` as far as the gate lets through. Errors of `fs` itself come through as they are, of paths that the lease covers.
 *
 * @example
 * const fs = GuardedFileSystem.make(yield* FileSystem.FileSystem, gate, { cwd: "/workspace" })
 */
export const make = (
  fs: FileSystem.FileSystem,
  gate: Gate,
  options?: GuardedFileSystemOptions
): FileSystem.FileSystem => {
  checkOptions("GuardedFileSystem", options ?? {}, { fileBytes: "size" })
  const checks = Checks.make(gate, options)
  const { alive, authorize, concluded, fileBytes, refuse, tempDirectory } = checks

  /** The checked and resolved path of an operation. `resolve` is told whether a link or what it leads to is meant. */
  const check = (
    method: string,
    text: string,
    capabilities: Capabilities,
    resolve: (fs: FileSystem.FileSystem, path: string) => Effect.Effect<RealTree.Real> = RealTree.follow
  ): Effect.Effect<Checked, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const canonical = yield* checks.canonical(method, text, capabilities)
      const again = resolve(fs, canonical)
      const real = yield* again
      if (real.path !== canonical) yield* authorize(method, text, capabilities, real.path)
      // Only now: before, it would tell something about what is not covered.
      return real.failure === undefined ? { ...real, again } : yield* Effect.fail(relabel(method, text)(real.failure))
    })

  /** Uses checked paths while no other guarded operation changes them, if they lead where they led. */
  const holding = <A, E, R>(
    checked: ReadonlyArray<Checked>,
    use: Effect.Effect<A, E, R>,
    how: "exclusive" | "shared" = "exclusive"
  ) =>
    PathLock.structural[how](checked.map(({ path }) => path))(
      Effect.zipRight(
        Effect.forEach(
          checked,
          ({ again, path }) =>
            Effect.filterOrFail(
              again,
              (now) => now.path === path && now.failure === undefined,
              () => new Checks.Changed()
            ),
          { discard: true }
        ),
        use
      )
    )

  /** An operation on one path. */
  const on = <A, R>(
    method: string,
    text: string,
    capabilities: Capabilities,
    use: (path: string) => Effect.Effect<A, PlatformError.PlatformError, R>
  ) =>
    concluded(
      method,
      text,
      capabilities
    )(
      Effect.flatMap(check(method, text, capabilities), (checked) =>
        holding([checked], use(checked.path), capabilities === read ? "shared" : "exclusive")
      )
    )

  /** Refuses what is there and neither a regular file nor a directory. */
  const ordinary = (method: string, text: string, capabilities: Capabilities, path: string) =>
    Effect.flatMap(Effect.option(fs.stat(path)), (info) =>
      Option.isSome(info) && RealTree.isSpecial(info.value.type)
        ? refuse(method, text, capabilities, "it is no regular file and no directory")
        : Effect.void
    )

  /** What an open file is must be what its path leads to, now that it is open. */
  const unchanged = (file: FileSystem.File, path: string): Effect.Effect<boolean, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const opened = yield* file.stat
      const real = yield* fs.realPath(path)
      const now = yield* fs.stat(path)
      const same = Option.getEquivalence<number>((a, b) => a === b)
      return real === path && opened.dev === now.dev && same(opened.ino, now.ino) && !RealTree.isSpecial(opened.type)
    })

  const openAt = (
    method: string,
    text: string,
    capabilities: Capabilities,
    checked: Checked,
    open: { readonly flag: FileSystem.OpenFlag; readonly mode?: number }
  ): Effect.Effect<FileSystem.File, Failure, Scope.Scope> =>
    Effect.flatMap(Effect.scope, (outer) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (own) =>
          Effect.gen(function* () {
            yield* ordinary(method, text, capabilities, checked.path)
            const opened = yield* holding(
              [checked],
              Effect.gen(function* () {
                const file = yield* fs.open(checked.path, open)
                return (yield* unchanged(file, checked.path)) ? file : undefined
              }),
              "shared"
            )
            if (opened === undefined) {
              return yield* refuse(method, text, capabilities, "it changed while it was opened")
            }
            return yield* GuardedFile.make(opened, checks, text)
          }).pipe(
            restore,
            Scope.extend(own),
            // A refused file is closed at once, not with the scope of its caller.
            Effect.onExit((exit) => (exit._tag === "Success" ? Effect.void : Scope.close(own, exit)))
          )
        )
      )
    ).pipe(Effect.mapError(relabelUnless(method, text)))

  // A denial has its label.
  const relabelUnless =
    (method: string, text: string) =>
    <E extends Failure>(error: E): E | PlatformError.PlatformError =>
      error._tag !== "SystemError" || error.method === method ? error : relabel(method, text)(error)

  const open: FileSystem.FileSystem["open"] = (text, options) => {
    const flag = options?.flag ?? "r"
    const capabilities = needed(flag)
    return concluded(
      "open",
      text,
      capabilities
    )(
      Effect.flatMap(check("open", text, capabilities), (checked) =>
        openAt("open", text, capabilities, checked, { ...options, flag })
      )
    )
  }

  const readFile: FileSystem.FileSystem["readFile"] = (text) =>
    Effect.flatMap(check("readFile", text, read), (checked) =>
      Effect.scoped(
        Effect.gen(function* () {
          const file = yield* openAt("readFile", text, read, checked, { flag: "r" })
          if ((yield* file.stat).size > BigInt(fileBytes)) return yield* Checks.tooLarge("readFile", text, fileBytes)
          return yield* GuardedFile.readAll(file, "readFile", text, fileBytes)
        })
      ).pipe(Effect.mapError(relabelUnless("readFile", text)))
    ).pipe(concluded("readFile", text, read))

  const writeFile: FileSystem.FileSystem["writeFile"] = (text, data, options) => {
    const flag = options?.flag ?? "w"
    const capabilities = needed(flag)
    // "w" would truncate before the file could be looked at.
    const truncates = flag === "w" || flag === "w+"
    return Effect.flatMap(check("writeFile", text, capabilities), (checked) =>
      Effect.scoped(
        Effect.gen(function* () {
          const file = yield* openAt("writeFile", text, capabilities, checked, {
            ...options,
            flag: truncates ? "a" : flag
          })
          if (truncates && (yield* file.stat).size > 0n) yield* file.truncate(0)
          if (data.length > 0) yield* file.writeAll(data)
        })
      ).pipe(Effect.mapError(relabelUnless("writeFile", text)))
    ).pipe(concluded("writeFile", text, capabilities))
  }

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
        const link = yield* Effect.mapError(fs.readLink(source), relabel(method, fromText))
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

  /** Every directory that has to be made on the way is written too. */
  const makesParents = (method: string, text: string, real: RealTree.Real) =>
    Effect.gen(function* () {
      for (let at = RealTree.parentOf(real.path); at.length > real.existing.length; at = RealTree.parentOf(at)) {
        yield* authorize(method, text, write, at)
      }
    })

  const rename: FileSystem.FileSystem["rename"] = (fromText, toText) =>
    Effect.gen(function* () {
      const from = yield* check("rename", fromText, both, RealTree.itself)
      const to = yield* check("rename", toText, write, RealTree.itself)
      const tree = yield* checkTree({ method: "rename", fromText, from: from.path, toText, to: to.path }, both)
      yield* holding([from, to], Effect.zipRight(sameTree(from.path, tree), fs.rename(from.path, to.path)))
    }).pipe(concluded("rename", fromText, both))

  /** Makes a temporary file or directory once its place, and what would be in it, are checked. */
  const makeTemporary = (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    inside: string | undefined,
    make: (where: {
      readonly directory: string
      readonly prefix: string
    }) => Effect.Effect<string, PlatformError.PlatformError>
  ): Effect.Effect<string, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const text = `${options?.directory ?? tempDirectory}/${options?.prefix ?? ""}${sample}`
      if (inside?.includes("/")) return yield* refuse(method, text, write, "a suffix may not hold a separator")
      const checked = yield* check(method, text, write, RealTree.itself)
      const directory = RealTree.parentOf(checked.path)
      yield* authorize(method, text, write, directory)
      if (inside !== undefined) yield* check(method, `${text}/${sample}${inside}`, write)
      const prefix = RealTree.nameOf(checked.path).slice(0, -sample.length)
      const made = yield* holding([checked], make({ directory, prefix }))
      // Its last characters are known only now.
      yield* Effect.onError(authorize(method, made, write, made), () =>
        removeMade(inside === undefined ? made : RealTree.parentOf(made))
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

  /** Removes a temporary directory that was made, unless its path leads elsewhere by now. */
  const removeMade = (path: string) =>
    Effect.ignore(
      PathLock.structural.exclusive([path])(
        Effect.flatMap(fs.realPath(path), (real) =>
          real === path ? fs.remove(path, { recursive: true, force: true }) : Effect.void
        )
      )
    )

  const watch: FileSystem.FileSystem["watch"] = (text, options) =>
    Stream.unwrap(
      Effect.map(check("watch", text, read), ({ path }) =>
        Stream.tap(fs.watch(path, options), (event) => {
          const directory = RealTree.parentOf(event.path.startsWith("/") ? event.path : RealTree.join(path, event.path))
          // The names of what it holds come with the directory itself; those of what is further below do not.
          return directory === path || directory === RealTree.parentOf(path)
            ? alive("watch", text)
            : Effect.zipRight(alive("watch", text), check("watch", directory, read))
        })
      )
    )

  return FileSystem.make({
    access: (text, options) =>
      on("access", text, options?.writable === true ? both : read, (path) => fs.access(path, options)),
    chmod: (text, mode) => on("chmod", text, write, (path) => fs.chmod(path, mode)),
    chown: (text, uid, gid) => on("chown", text, write, (path) => fs.chown(path, uid, gid)),
    copy,
    copyFile,
    link: (fromText, toText) =>
      Effect.gen(function* () {
        const from = yield* check("link", fromText, both)
        const to = yield* check("link", toText, write, RealTree.itself)
        yield* ordinary("link", fromText, both, from.path)
        yield* holding([from, to], fs.link(from.path, to.path))
      }).pipe(concluded("link", fromText, both)),
    makeDirectory: (text, options) =>
      Effect.gen(function* () {
        const real = yield* check("makeDirectory", text, write)
        if (options?.recursive === true) yield* makesParents("makeDirectory", text, real)
        yield* holding([real], fs.makeDirectory(real.path, options))
      }).pipe(concluded("makeDirectory", text, write)),
    makeTempDirectory: (options) => makeTempDirectoryAs("makeTempDirectory", options),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectoryAs("makeTempDirectoryScoped", options), removeMade),
    makeTempFile: (options) => makeTempFileAs("makeTempFile", options),
    makeTempFileScoped: (options) =>
      Effect.acquireRelease(makeTempFileAs("makeTempFileScoped", options), (path) =>
        removeMade(RealTree.parentOf(path))
      ),
    open,
    readDirectory,
    readFile,
    readLink: (text) =>
      Effect.flatMap(check("readLink", text, read, RealTree.itself), (checked) =>
        holding([checked], fs.readLink(checked.path), "shared")
      ).pipe(concluded("readLink", text, read)),
    realPath: (text) => on("realPath", text, read, (path) => fs.realPath(path)),
    remove,
    rename,
    stat: (text) => on("stat", text, read, (path) => fs.stat(path)),
    symlink: (target, text) =>
      Effect.gen(function* () {
        const checked = yield* check("symlink", text, write, RealTree.itself)
        yield* checkLink("symlink", text, RealTree.parentOf(checked.path), target)
        yield* holding([checked], fs.symlink(target, checked.path))
      }).pipe(concluded("symlink", text, write)),
    truncate: (text, length) =>
      Effect.gen(function* () {
        const checked = yield* check("truncate", text, write)
        yield* ordinary("truncate", text, write, checked.path)
        yield* holding([checked], fs.truncate(checked.path, length))
      }).pipe(concluded("truncate", text, write)),
    utimes: (text, atime, mtime) => on("utimes", text, write, (path) => fs.utimes(path, atime, mtime)),
    watch,
    writeFile
  })
}
