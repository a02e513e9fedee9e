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
 * Races: another process that swaps a directory for a link between check and use cannot be kept out entirely by path names. It is
 * narrowed: operations act on resolved paths; what was opened is compared with what its path leads to by then, and is closed
 * and refused if they differ, before a byte is read or written (`writeFile` truncates only after that; `open` with `w`
 * has truncated by then). Hard links that lead outside from the beginning cannot be seen.
 *
 * A denial is a `SystemError` with the reason `PermissionDenied`, and the ARCP error as its `cause`. Paths are POSIX paths.
 */
import { tmpdir } from "node:os"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Canonical from "../authority/Canonical.js"
import { platformDenied } from "./Denied.js"
import type { Denial, Gate } from "./Gate.js"
import * as RealTree from "./internal/realTree.js"

/** How a guarded file system is set up. */
export interface GuardedFileSystemOptions {
  /** The absolute directory that relative paths are taken from. Default: the process's directory when {@link make} is called. */
  readonly cwd?: string | undefined
  /** Where temporary files go when no directory is named; the lease must cover it. Default: the system's. */
  readonly tempDirectory?: string | undefined
}

type Capabilities = ReadonlyArray<"fs.read" | "fs.write">
const read: Capabilities = ["fs.read"]
const write: Capabilities = ["fs.write"]
const both: Capabilities = ["fs.read", "fs.write"]

// A flag that is not in the table, which the types do not allow, needs everything.
const needed = (flag: FileSystem.OpenFlag): Capabilities => {
  switch (flag) {
    case "r":
      return read
    case "w":
    case "wx":
    case "a":
    case "ax":
      return write
    default:
      return both
  }
}

const chunkSize = 256 * 1024
// mkdtemp appends six characters.
const sample = "XXXXXX"

const relabel = (method: string, path: string) => (error: PlatformError.PlatformError) =>
  error._tag === "SystemError"
    ? new PlatformError.SystemError({
        reason: error.reason,
        module: error.module,
        method,
        description: error.description,
        syscall: error.syscall,
        pathOrDescriptor: path,
        cause: error.cause
      })
    : error

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
  // edge: where the process stands is asked once, so that no later change of directory moves a relative path
  const cwd = options?.cwd ?? process.cwd()
  const tempDirectory = options?.tempDirectory ?? tmpdir()

  const authorize = (method: string, text: string, capabilities: Capabilities, path: string) =>
    Effect.forEach(capabilities, (capability) => gate.authorize(capability, path), { discard: true }).pipe(
      Effect.mapError((denial) => platformDenied("FileSystem", method, text, denial))
    )

  const refuse = (method: string, text: string, capabilities: Capabilities, problem: Canonical.CanonicalError) =>
    Effect.mapError(gate.refuse(capabilities[0]!, problem), (denial: Denial) =>
      platformDenied("FileSystem", method, text, denial)
    )

  /** The checked and resolved path of an operation. `resolve` is told whether a link or what it leads to is meant. */
  const check = (
    method: string,
    text: string,
    capabilities: Capabilities,
    resolve: (fs: FileSystem.FileSystem, path: string) => Effect.Effect<RealTree.Real> = RealTree.follow
  ): Effect.Effect<RealTree.Real, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const canonical = Canonical.path(text, cwd)
      if (Either.isLeft(canonical)) return yield* refuse(method, text, capabilities, canonical.left)
      yield* authorize(method, text, capabilities, canonical.right)
      const real = yield* resolve(fs, canonical.right)
      if (real.path !== canonical.right) yield* authorize(method, text, capabilities, real.path)
      // Only now: before, it would tell something about what is not covered.
      return real.failure === undefined ? real : yield* Effect.fail(relabel(method, text)(real.failure))
    })

  /** An operation on one path. */
  const on = <A, R>(
    method: string,
    text: string,
    capabilities: Capabilities,
    use: (path: string) => Effect.Effect<A, PlatformError.PlatformError, R>
  ) => Effect.flatMap(check(method, text, capabilities), ({ path }) => use(path))

  /** What an open file is must be what its path leads to, now that it is open. */
  const unchanged = (file: FileSystem.File, path: string): Effect.Effect<boolean, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const opened = yield* file.stat
      const real = yield* fs.realPath(path)
      const now = yield* fs.stat(path)
      const same = Option.getEquivalence<number>((a, b) => a === b)
      return real === path && opened.dev === now.dev && same(opened.ino, now.ino)
    })

  const openAt = (
    method: string,
    text: string,
    capabilities: Capabilities,
    path: string,
    open: { readonly flag: FileSystem.OpenFlag; readonly mode?: number }
  ): Effect.Effect<FileSystem.File, PlatformError.PlatformError, Scope.Scope> =>
    Effect.flatMap(Effect.scope, (outer) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (own) =>
          fs.open(path, open).pipe(
            Effect.tap((file) =>
              Effect.flatMap(unchanged(file, path), (same) =>
                same
                  ? Effect.void
                  : refuse(
                      method,
                      text,
                      capabilities,
                      new Canonical.CanonicalError({
                        resource: "path",
                        message: "path refused: it changed while it was opened"
                      })
                    )
              )
            ),
            restore,
            Scope.extend(own),
            // A refused file is closed at once, not with the scope of its caller.
            Effect.onExit((exit) => (exit._tag === "Success" ? Effect.void : Scope.close(own, exit)))
          )
        )
      )
    ).pipe(Effect.mapError(relabelUnless(method, text)))

  // A denial has its label.
  const relabelUnless = (method: string, text: string) => (error: PlatformError.PlatformError) =>
    error._tag === "SystemError" && error.method === method ? error : relabel(method, text)(error)

  const open: FileSystem.FileSystem["open"] = (text, options) => {
    const flag = options?.flag ?? "r"
    const capabilities = needed(flag)
    return Effect.flatMap(check("open", text, capabilities), ({ path }) =>
      openAt("open", text, capabilities, path, { ...options, flag })
    )
  }

  const readFile: FileSystem.FileSystem["readFile"] = (text) =>
    Effect.flatMap(check("readFile", text, read), ({ path }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const file = yield* openAt("readFile", text, read, path, { flag: "r" })
          const chunks: Array<Uint8Array> = []
          let length = 0
          for (;;) {
            const chunk = yield* file.readAlloc(chunkSize)
            if (Option.isNone(chunk)) break
            chunks.push(chunk.value)
            length += chunk.value.length
          }
          const bytes = new Uint8Array(length)
          let at = 0
          for (const chunk of chunks) {
            bytes.set(chunk, at)
            at += chunk.length
          }
          return bytes
        })
      ).pipe(Effect.mapError(relabelUnless("readFile", text)))
    )

  const writeFile: FileSystem.FileSystem["writeFile"] = (text, data, options) => {
    const flag = options?.flag ?? "w"
    const capabilities = needed(flag)
    // "w" would truncate before the file could be looked at.
    const truncates = flag === "w" || flag === "w+"
    return Effect.flatMap(check("writeFile", text, capabilities), ({ path }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const file = yield* openAt("writeFile", text, capabilities, path, {
            ...options,
            flag: truncates ? "a" : flag
          })
          if (truncates && (yield* file.stat).size > 0n) yield* file.truncate(0)
          if (data.length > 0) yield* file.writeAll(data)
        })
      ).pipe(Effect.mapError(relabelUnless("writeFile", text)))
    )
  }

  const readDirectory: FileSystem.FileSystem["readDirectory"] = (text, options) =>
    on("readDirectory", text, read, (path) =>
      options?.recursive !== true
        ? fs.readDirectory(path)
        : fs.readDirectory(path).pipe(
            // The system's own error where it is no directory.
            Effect.zipRight(
              RealTree.entries(fs, path, ({ name }) =>
                name === "" ? Effect.void : authorize("readDirectory", text, read, RealTree.join(path, name))
              )
            ),
            Effect.map((entries) => entries.slice(1).map(({ name }) => name))
          )
    )

  const remove: FileSystem.FileSystem["remove"] = (text, options) =>
    Effect.gen(function* () {
      const { path } = yield* check("remove", text, write, RealTree.itself)
      if (options?.recursive === true) {
        for (const { name } of yield* RealTree.entries(fs, path, () => Effect.void)) {
          if (name !== "") yield* authorize("remove", text, write, RealTree.join(path, name))
        }
      }
      yield* fs.remove(path, options)
    })

  /** Where a link leads must be covered, so that no link is made that leads outside. */
  const checkLink = (method: string, text: string, directory: string, target: string) =>
    Effect.gen(function* () {
      const real = yield* RealTree.linked(fs, directory, target)
      yield* authorize(method, text, read, real.path)
      if (real.failure !== undefined) return yield* Effect.fail(relabel(method, text)(real.failure))
    })

  interface Move {
    readonly method: "copy" | "rename"
    readonly fromText: string
    readonly from: string
    readonly toText: string
    readonly to: string
  }

  /** Checks all that a tree holds, at its old place and at its new one. A link that moves leads from its new place. */
  const checkTree = ({ from, fromText, method, to, toText }: Move, needs: Capabilities) =>
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
        if (kind !== "link") continue
        const link = yield* Effect.mapError(fs.readLink(source), relabel(method, fromText))
        yield* checkLink(method, fromText, RealTree.parentOf(method === "copy" ? source : target), link)
      }
    })

  const copy: FileSystem.FileSystem["copy"] = (fromText, toText, options) =>
    Effect.gen(function* () {
      const from = yield* check("copy", fromText, read)
      const to = yield* check("copy", toText, write)
      yield* checkTree({ method: "copy", fromText, from: from.path, toText, to: to.path }, read)
      yield* makesParents("copy", toText, to)
      yield* fs.copy(from.path, to.path, options)
    })

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
      yield* checkTree({ method: "rename", fromText, from: from.path, toText, to: to.path }, both)
      yield* fs.rename(from.path, to.path)
    })

  /** Checks where a temporary directory would come to stand, and what would be in it, before anything is made. */
  const temporary = (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    inside: string | undefined
  ): Effect.Effect<{ readonly directory: string; readonly prefix: string }, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const directory = options?.directory ?? tempDirectory
      const text = `${directory}/${options?.prefix ?? ""}${sample}`
      if (inside?.includes("/")) {
        const message = "path refused: a suffix may not hold a separator"
        return yield* refuse(method, text, write, new Canonical.CanonicalError({ resource: "path", message }))
      }
      const made = yield* check(method, text, write, RealTree.itself)
      const parent = RealTree.parentOf(made.path)
      yield* authorize(method, text, write, parent)
      if (inside !== undefined) yield* check(method, `${text}/${sample}${inside}`, write)
      return { directory: parent, prefix: RealTree.nameOf(made.path).slice(0, -sample.length) }
    })

  const makeTempDirectoryAs = (method: string, options: FileSystem.MakeTempDirectoryOptions | undefined) =>
    temporary(method, options, undefined).pipe(
      Effect.flatMap((where) => fs.makeTempDirectory(where)),
      Effect.mapError(relabelUnless(method, options?.directory ?? tempDirectory)),
      // Its last characters are known only now.
      Effect.tap((path) =>
        Effect.onError(authorize(method, path, write, path), () => Effect.ignore(fs.remove(path, { recursive: true })))
      )
    )

  const makeTempFileAs = (method: string, options: FileSystem.MakeTempFileOptions | undefined) =>
    temporary(method, options, options?.suffix ?? "").pipe(
      Effect.flatMap((where) => fs.makeTempFile({ ...where, suffix: options?.suffix ?? "" })),
      Effect.mapError(relabelUnless(method, options?.directory ?? tempDirectory)),
      Effect.tap((path) => Effect.onError(authorize(method, path, write, path), () => removeParent(path)))
    )

  const removeParent = (path: string) =>
    Effect.ignore(fs.remove(RealTree.parentOf(path), { recursive: true, force: true }))

  const watch: FileSystem.FileSystem["watch"] = (text, options) =>
    Stream.unwrap(
      Effect.map(check("watch", text, read), ({ path }) =>
        Stream.tap(fs.watch(path, options), (event) => {
          const directory = RealTree.parentOf(event.path.startsWith("/") ? event.path : RealTree.join(path, event.path))
          // The names of what it holds come with the directory itself; those of what is further below do not.
          return directory === path || directory === RealTree.parentOf(path)
            ? Effect.void
            : Effect.asVoid(check("watch", directory, read))
        })
      )
    )

  return FileSystem.make({
    access: (text, options) =>
      on("access", text, options?.writable === true ? both : read, (path) => fs.access(path, options)),
    chmod: (text, mode) => on("chmod", text, write, (path) => fs.chmod(path, mode)),
    chown: (text, uid, gid) => on("chown", text, write, (path) => fs.chown(path, uid, gid)),
    copy,
    copyFile: (fromText, toText) =>
      on("copyFile", fromText, read, (from) => on("copyFile", toText, write, (to) => fs.copyFile(from, to))),
    link: (fromText, toText) =>
      Effect.gen(function* () {
        const from = yield* check("link", fromText, both)
        const to = yield* check("link", toText, write, RealTree.itself)
        yield* fs.link(from.path, to.path)
      }),
    makeDirectory: (text, options) =>
      Effect.gen(function* () {
        const real = yield* check("makeDirectory", text, write)
        if (options?.recursive === true) yield* makesParents("makeDirectory", text, real)
        yield* fs.makeDirectory(real.path, options)
      }),
    makeTempDirectory: (options) => makeTempDirectoryAs("makeTempDirectory", options),
    makeTempDirectoryScoped: (options) =>
      Effect.acquireRelease(makeTempDirectoryAs("makeTempDirectoryScoped", options), (path) =>
        Effect.ignore(fs.remove(path, { recursive: true, force: true }))
      ),
    makeTempFile: (options) => makeTempFileAs("makeTempFile", options),
    makeTempFileScoped: (options) => Effect.acquireRelease(makeTempFileAs("makeTempFileScoped", options), removeParent),
    open,
    readDirectory,
    readFile,
    readLink: (text) => Effect.flatMap(check("readLink", text, read, RealTree.itself), ({ path }) => fs.readLink(path)),
    realPath: (text) => on("realPath", text, read, (path) => fs.realPath(path)),
    remove,
    rename,
    stat: (text) => on("stat", text, read, (path) => fs.stat(path)),
    symlink: (target, text) =>
      Effect.gen(function* () {
        const { path } = yield* check("symlink", text, write, RealTree.itself)
        yield* checkLink("symlink", text, RealTree.parentOf(path), target)
        yield* fs.symlink(target, path)
      }),
    truncate: (text, length) => on("truncate", text, write, (path) => fs.truncate(path, length)),
    utimes: (text, atime, mtime) => on("utimes", text, write, (path) => fs.utimes(path, atime, mtime)),
    watch,
    writeFile
  })
}
