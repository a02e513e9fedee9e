/**
 * The guarded `FileSystem` over Node's own, on Linux (ARCP 1.1 §9.1–§9.3, 1.0 §14). It needs what
 * {@link "./GuardedFileSystem.js"} says of each operation; what differs is how the files are reached.
 *
 * Order of every operation: canonical form, gate, then the path is opened as a bare descriptor, which has no effect. The system
 * says where that descriptor really lies; the gate decides on that path; and the operation acts on the descriptor, or on an entry
 * of the directory that it stands for. So what was checked is what is used, though another process or another fiber of the same job swaps
 * directories and links meanwhile. What does not exist is created as new below its directory's descriptor, and it is looked at
 * where it came to lie before a byte is written.
 *
 * Regular files and directories only: a pipe, socket or device is refused by what its descriptor says, without opening it.
 *
 * Structural changes hold the process's lock of the paths that they touch, look once more whether their directories lie where
 * they were checked, and act. Where something has moved, the operation starts again, 8 times at most, then it is refused.
 *
 * Open: a directory that another process moves out of the lease between the last look and the call is the directory that was
 * checked, at its new place; an open file follows the file. Hard links that lead outside from the beginning cannot be seen.
 */
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Gate } from "./Gate.js"
import type { GuardedFileSystemOptions } from "./GuardedFileSystem.js"
import * as Checks from "./internal/fileChecks.js"
import { type Capabilities, both, read, write } from "./internal/fileChecks.js"
import * as GuardedFile from "./internal/guardedFile.js"
import * as Calls from "./internal/nodeCalls.js"
import { type Failure, type Missing, reaching } from "./internal/nodeReach.js"
import * as Tree from "./internal/nodeTree.js"
import * as RealTree from "./internal/realTree.js"

/** Whether this process can use the driver: Linux with its own `/proc`. */
export const isSupported: Effect.Effect<boolean> = Calls.isSupported

const methods = [
  "access",
  "chmod",
  "chown",
  "copy",
  "copyFile",
  "link",
  "makeDirectory",
  "makeTempDirectory",
  "makeTempDirectoryScoped",
  "makeTempFile",
  "makeTempFileScoped",
  "open",
  "readDirectory",
  "readFile",
  "readLink",
  "realPath",
  "remove",
  "rename",
  "stat",
  "symlink",
  "truncate",
  "utimes",
  "writeFile"
] as const satisfies ReadonlyArray<keyof FileSystem.FileSystem>

/**
 * A driver for a file system that is the same as `reference`: one that `NodeFileSystem.layer` has built. It is recognised by its
 * methods, which are the same functions in every instance; a file system that replaces one of them is not Node's own, and gets no driver.
 */
export const driver =
  (reference: FileSystem.FileSystem) =>
  (
    fs: FileSystem.FileSystem,
    gate: Gate,
    options?: GuardedFileSystemOptions | undefined
  ): FileSystem.FileSystem | undefined =>
    methods.every((method) => fs[method] === reference[method]) ? make(fs, gate, options) : undefined

// mkdtemp appends six characters.
const sample = "XXXXXX"

const accessMode = (options: FileSystem.AccessFileOptions | undefined): number =>
  (options?.readable === true ? 4 : 0) | (options?.writable === true ? 2 : 0)

/**
 * Guards Node's file system. `fs` itself follows links of what does not exist, and watches; it moves no byte.
 */
export const make = (
  fs: FileSystem.FileSystem,
  gate: Gate,
  options?: GuardedFileSystemOptions | undefined
): FileSystem.FileSystem => {
  const checks = Checks.make(gate, options)
  const { alive, authorize, fileBytes, refuse, tempDirectory } = checks

  const { operation, reach, existing, on, entry, changing, changingOne, ordinary, opening, flagsOf } = reaching(
    fs,
    checks
  )

  const open: FileSystem.FileSystem["open"] = (text, options) =>
    Effect.flatMap(Effect.scope, (outer) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (own) => {
          const flag = options?.flag ?? "r"
          const capabilities = Checks.needed(flag)
          return Effect.flatMap(flagsOf("open", flag), (flags) =>
            operation(
              "open",
              text,
              capabilities,
              opening("open", text, capabilities, { ...options, flags, keep: own })
            ).pipe(
              Effect.flatMap(({ fd }) =>
                Scope.extend(GuardedFile.make(Calls.fileOf(fd, Calls.appends(flags)), checks, text), own)
              )
            )
          ).pipe(
            restore,
            // What was refused is closed at once, not with the scope of its caller.
            Effect.onExit((exit) => (exit._tag === "Success" ? Effect.void : Scope.close(own, exit)))
          )
        })
      )
    )

  const readFile: FileSystem.FileSystem["readFile"] = (text) =>
    operation(
      "readFile",
      text,
      read,
      Effect.gen(function* () {
        const { fd, located } = yield* opening("readFile", text, read, { flags: Calls.forReading })
        const size = Number(located?.info.size ?? 0n)
        if (located?.info.isFile() === true && size > fileBytes) {
          return yield* Checks.tooLarge("readFile", text, fileBytes)
        }
        // Files of /proc have no size: they are read to their end.
        let buffer = new Uint8Array(size === 0 ? 16 * 1024 : size)
        let length = 0
        for (;;) {
          if (length === buffer.length) {
            if (length === size) return buffer
            const larger = new Uint8Array(Math.min(buffer.length * 2, fileBytes + 1))
            larger.set(buffer)
            buffer = larger
          }
          const part = buffer.subarray(length, length + Checks.piece)
          if (length > 0) yield* alive("readFile", text)
          const got = yield* Calls.readInto(fd, part, null)
          length += got
          if (length > fileBytes) return yield* Checks.tooLarge("readFile", text, fileBytes)
          if (got === 0) return buffer.slice(0, length)
        }
      })
    )

  const writeFile: FileSystem.FileSystem["writeFile"] = (text, data, options) => {
    const flag = options?.flag ?? "w"
    const capabilities = Checks.needed(flag)
    return operation(
      "writeFile",
      text,
      capabilities,
      Effect.gen(function* () {
        const flags = yield* flagsOf("writeFile", flag)
        const { fd } = yield* opening("writeFile", text, capabilities, { flags, mode: options?.mode })
        for (let at = 0; at < data.length; at += Checks.piece) {
          if (at > 0) yield* alive("writeFile", text)
          yield* Calls.writeAll(fd, data.subarray(at, at + Checks.piece), null)
        }
      })
    )
  }

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

  const checkLink = Checks.linkCheck(fs, authorize)

  /** Checks all that a tree holds, at its old place and at its new one. A link that moves leads from its new place. */
  const checkTree = ({ from, fromText, method, to, toText }: Checks.Move, needs: Capabilities) =>
    Effect.gen(function* () {
      // No directory is read that the lease does not cover.
      const entries = yield* Tree.entries(from, ({ name }) =>
        authorize(method, fromText, needs, RealTree.join(from, name))
      )
      for (const { kind, name, target: link } of entries) {
        const source = RealTree.join(from, name)
        const target = RealTree.join(to, name)
        yield* authorize(method, fromText, needs, source)
        yield* authorize(method, toText, write, target)
        if (kind === "special") {
          return yield* refuse(method, fromText, needs, "it holds what is no regular file and no directory")
        }
        if (method === "copy") {
          // Nothing is written through a link that stands there already; where it leads outside, nothing is begun.
          const inTheWay = yield* RealTree.follow(fs, target)
          if (inTheWay.path !== target) yield* authorize(method, toText, write, inTheWay.path)
        }
        if (link !== undefined) {
          yield* checkLink(method, fromText, RealTree.parentOf(method === "copy" ? source : target), link)
        }
      }
      return entries
    })

  /** Every directory that has to be made on the way is written too. */
  const makesParents = (method: string, text: string, { existing, path }: Missing) =>
    Effect.gen(function* () {
      for (let at = RealTree.parentOf(path); at.length > existing.length; at = RealTree.parentOf(at)) {
        yield* authorize(method, text, write, at)
      }
    })

  /** Makes the directories of a path that do not exist. */
  const makeDirectories = (path: string, existing: string, mode: number | undefined) =>
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

  const copy: FileSystem.FileSystem["copy"] = (fromText, toText, options) =>
    Effect.gen(function* () {
      const checked = yield* operation(
        "copy",
        fromText,
        read,
        Effect.gen(function* () {
          const { path: from } = yield* existing("copy", fromText, read)
          const target = yield* reach("copy", toText, write)
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
      // Not to be started again: what is there already would be kept as it is.
      yield* Effect.gen(function* () {
        const { missing, to } = checked
        if (missing !== undefined) yield* makeDirectories(RealTree.parentOf(to), missing.existing, undefined)
        yield* Tree.copy(checked, { ...options, piece: Checks.piece }, changingOne, alive("copy", fromText))
      }).pipe(
        Effect.catchTags({
          Changed: () => refuse("copy", fromText, read, "it changed while it was copied"),
          LockTimeout: () => Effect.fail(Checks.busy("copy", fromText)),
          CallFailed: (error) => Effect.fail(Calls.toPlatform("copy", fromText)(error))
        })
      )
    })

  const copyFile: FileSystem.FileSystem["copyFile"] = (fromText, toText) =>
    operation(
      "copyFile",
      fromText,
      read,
      Effect.gen(function* () {
        const from = yield* existing("copyFile", fromText, read)
        yield* ordinary("copyFile", fromText, read, from)
        if (from.info.isDirectory()) return yield* Calls.failed("EISDIR", "illegal operation on a directory")
        const mode = Number(from.info.mode & 0o7777n)
        const input = yield* Calls.reopen(from.fd, Calls.forReading)
        const output = yield* opening("copyFile", toText, write, { flags: Calls.creatingOrNot, mode: mode & 0o777 })
        if (output.located !== undefined) {
          if (Calls.isSame(output.located.info, from.info)) return
          yield* Calls.ftruncate(output.fd, 0)
        }
        yield* Tree.pump(input, output.fd, Checks.piece, alive("copyFile", fromText))
        yield* Calls.fchmod(output.fd, mode)
      })
    )

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
            // What has come into the tree since was not checked.
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
            // Another file may have come to its place: it is not the one that was checked.
            if (Calls.isSame(yield* Calls.lstat(made), from.info)) return
            yield* Calls.unlink(made)
            return yield* new Checks.Changed()
          })
        )
      })
    )

  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (text, options) =>
    operation(
      "makeDirectory",
      text,
      write,
      Effect.gen(function* () {
        const reached = yield* reach("makeDirectory", text, write)
        if (reached._tag === "Located") {
          if (options?.recursive === true && reached.info.isDirectory()) return
          return yield* Calls.failed("EEXIST", "file already exists")
        }
        if (options?.recursive === true) {
          yield* makesParents("makeDirectory", text, reached)
          return yield* makeDirectories(reached.path, reached.existing, options.mode)
        }
        const { parent, path } = reached
        if (parent === undefined) return yield* reached.error
        yield* changing([path], [parent], Calls.mkdir(Calls.below(parent, RealTree.nameOf(path)), options?.mode))
      })
    )

  /** Makes a temporary directory in a place that is checked, with what is to be in it, before anything is made. */
  const temporary = (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    inside: string | undefined
  ): Effect.Effect<Calls.Located, Failure, Scope.Scope> =>
    Effect.gen(function* () {
      const text = `${options?.directory ?? tempDirectory}/${options?.prefix ?? ""}${sample}`
      if (inside?.includes("/")) return yield* refuse(method, text, write, "a suffix may not hold a separator")
      const { name, parent, path } = yield* entry(method, text, write)
      yield* authorize(method, text, write, parent.path)
      if (inside !== undefined) yield* reach(method, `${text}/${sample}${inside}`, write)
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

  /** Removes a temporary directory that was made, and nothing that has come to its place. */
  const removeMade = ({ info, path }: Pick<Calls.Located, "info" | "path">) =>
    Effect.gen(function* () {
      const listed = yield* Tree.entries(path, () => Effect.void)
      if (listed[0]?.ino !== info.ino || listed[0].dev !== info.dev) return
      yield* Tree.remove(path, listed, changingOne, Effect.void)
    }).pipe(Effect.retry({ times: Checks.attempts }), Effect.ignore)

  const pathOf = Effect.map(({ path }: { readonly path: string }) => path)
  const temporaryScoped = (method: string, options: FileSystem.MakeTempFileOptions | undefined, suffix?: string) =>
    pathOf(Effect.acquireRelease(makeTemp(method, options, suffix), ({ directory }) => removeMade(directory)))

  const watch: FileSystem.FileSystem["watch"] = (text, options) =>
    Stream.unwrap(
      Effect.map(
        on("watch", text, read, ({ info, path }) => Effect.succeed({ info, path })),
        ({ info, path }) =>
          Stream.tap(fs.watch(path, options), (event) =>
            Effect.gen(function* () {
              const directory = RealTree.parentOf(
                event.path.startsWith("/") ? event.path : RealTree.join(path, event.path)
              )
              // The names of what it holds come with the directory itself; those of what is further below do not.
              if (directory !== path && directory !== RealTree.parentOf(path)) {
                yield* on("watch", directory, read, () => Effect.void)
              }
              yield* alive("watch", text)
              // A watch goes by its path: nothing is reported of what has come to its place.
              yield* on("watch", text, read, (now) =>
                Calls.isSame(now.info, info)
                  ? Effect.void
                  : refuse("watch", text, read, "it changed while it was watched")
              ).pipe(Effect.catchIf(isNotFound, () => Effect.void))
            })
          )
      )
    )

  return FileSystem.make({
    access: (text, options) =>
      on("access", text, options?.writable === true ? both : read, ({ fd }) =>
        Calls.access(Calls.at(fd), accessMode(options))
      ),
    chmod: (text, mode) => on("chmod", text, write, ({ fd }) => Calls.chmod(Calls.at(fd), mode)),
    chown: (text, uid, gid) => on("chown", text, write, ({ fd }) => Calls.chown(Calls.at(fd), uid, gid)),
    copy,
    copyFile,
    link,
    makeDirectory,
    makeTempDirectory: (options) => pathOf(makeTemp("makeTempDirectory", options, undefined)),
    makeTempDirectoryScoped: (options) => temporaryScoped("makeTempDirectoryScoped", options),
    makeTempFile: (options) => pathOf(makeTemp("makeTempFile", options, options?.suffix ?? "")),
    makeTempFileScoped: (options) => temporaryScoped("makeTempFileScoped", options, options?.suffix ?? ""),
    open,
    readDirectory,
    readFile,
    readLink: (text) =>
      operation(
        "readLink",
        text,
        read,
        Effect.flatMap(entry("readLink", text, read), ({ name, parent }) => Calls.readlink(Calls.below(parent, name)))
      ),
    realPath: (text) => on("realPath", text, read, ({ path }) => Effect.succeed(path)),
    remove,
    rename,
    stat: (text) => on("stat", text, read, ({ info }) => Effect.succeed(Calls.toInfo(info))),
    symlink: (target, text) =>
      operation(
        "symlink",
        text,
        write,
        Effect.gen(function* () {
          const { name, parent, path } = yield* entry("symlink", text, write)
          yield* checkLink("symlink", text, parent.path, target)
          yield* changing([path], [parent], Calls.symlink(target, Calls.below(parent, name)))
        })
      ),
    truncate: (text, length) =>
      operation(
        "truncate",
        text,
        write,
        Effect.flatMap(opening("truncate", text, write, { flags: Calls.forWriting }), ({ fd }) =>
          Calls.ftruncate(fd, Number(length ?? 0))
        )
      ),
    utimes: (text, atime, mtime) => on("utimes", text, write, ({ fd }) => Calls.utimes(Calls.at(fd), atime, mtime)),
    watch,
    writeFile
  })
}

const isNotFound = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"
