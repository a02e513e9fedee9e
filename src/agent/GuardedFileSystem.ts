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
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { check as checkOptions } from "../protocol/Options.js"
import type { Gate } from "./Gate.js"
import type { GuardedFileSystemOptions } from "./GuardedFileSystemOptions.js"
import * as Checks from "./internal/fileChecks.js"
import { both, read, write } from "./internal/fileChecks.js"
import { contents } from "./internal/pathContents.js"
import { type Reaching, reaching } from "./internal/pathReach.js"
import { temporaries } from "./internal/pathTemporary.js"
import { directories, moves } from "./internal/pathTrees.js"
import * as RealTree from "./internal/realTree.js"

export type { GuardedFileSystemOptions } from "./GuardedFileSystemOptions.js"

/**
 * The file system `fs` as far as the gate lets through. Errors of `fs` itself come through as they are, of paths that the lease covers.
 *
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Effect } from "effect"
 * import { type Gate, GuardedFileSystem } from "effect-arcp/agent"
 *
 * const guarded = (gate: Gate) =>
 *   Effect.map(FileSystem.FileSystem, (fs) => GuardedFileSystem.make(fs, gate, { cwd: "/workspace" }))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  fs: FileSystem.FileSystem,
  gate: Gate,
  options?: GuardedFileSystemOptions
): FileSystem.FileSystem => {
  checkOptions("GuardedFileSystem", options ?? {}, { fileBytes: "size" })
  const checks = Checks.make(gate, options)
  const reach = reaching(fs, checks)
  const { on } = reach
  return FileSystem.make({
    ...contents(fs, checks, reach),
    ...directories(fs, checks, reach),
    ...moves(fs, checks, reach),
    ...temporaries(fs, checks, reach),
    access: (text, options) =>
      on("access", text, options?.writable === true ? both : read, (path) => fs.access(path, options)),
    chmod: (text, mode) => on("chmod", text, write, (path) => fs.chmod(path, mode)),
    chown: (text, uid, gid) => on("chown", text, write, (path) => fs.chown(path, uid, gid)),
    realPath: (text) => on("realPath", text, read, (path) => fs.realPath(path)),
    stat: (text) => on("stat", text, read, (path) => fs.stat(path)),
    utimes: (text, atime, mtime) => on("utimes", text, write, (path) => fs.utimes(path, atime, mtime)),
    watch: watching(fs, checks, reach)
  })
}

/** Watches until the job's authority ends. */
const watching =
  (fs: FileSystem.FileSystem, { alive }: Checks.FileChecks, { check }: Reaching): FileSystem.FileSystem["watch"] =>
  (text, options) =>
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
