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
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type { Gate } from "./Gate.js"
import type { GuardedFileSystemOptions } from "./GuardedFileSystemOptions.js"
import * as Checks from "./internal/fileChecks.js"
import { both, read, write } from "./internal/fileChecks.js"
import * as Calls from "./internal/nodeCalls.js"
import { contents } from "./internal/nodeContents.js"
import { directories } from "./internal/nodeDirectories.js"
import { moves } from "./internal/nodeMoves.js"
import { reaching } from "./internal/nodeReach.js"
import { temporaries } from "./internal/nodeTemporary.js"
import { watching } from "./internal/nodeWatch.js"

/**
 * Whether this process can use the driver: Linux with its own `/proc`.
 *
 * @since 0.1.0
 * @category predicates
 */
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
 *
 * @since 0.1.0
 * @category constructors
 */
export const driver =
  (reference: FileSystem.FileSystem) =>
  (
    fs: FileSystem.FileSystem,
    gate: Gate,
    options?: GuardedFileSystemOptions | undefined
  ): FileSystem.FileSystem | undefined =>
    methods.every((method) => fs[method] === reference[method]) ? make(fs, gate, options) : undefined

const accessMode = (options: FileSystem.AccessFileOptions | undefined): number =>
  (options?.readable === true ? 4 : 0) | (options?.writable === true ? 2 : 0)

/**
 * Guards Node's file system. `fs` itself follows links of what does not exist, and watches; it moves no byte.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  fs: FileSystem.FileSystem,
  gate: Gate,
  options?: GuardedFileSystemOptions | undefined
): FileSystem.FileSystem => {
  const checks = Checks.make(gate, options)
  const reach = reaching(fs, checks)
  const { on } = reach
  return FileSystem.make({
    ...contents(checks, reach),
    ...directories(checks, reach),
    ...moves(fs, checks, reach),
    ...temporaries(checks, reach),
    access: (text, options) =>
      on("access", text, options?.writable === true ? both : read, ({ fd }) =>
        Calls.access(Calls.at(fd), accessMode(options))
      ),
    chmod: (text, mode) => on("chmod", text, write, ({ fd }) => Calls.chmod(Calls.at(fd), mode)),
    chown: (text, uid, gid) => on("chown", text, write, ({ fd }) => Calls.chown(Calls.at(fd), uid, gid)),
    realPath: (text) => on("realPath", text, read, ({ path }) => Effect.succeed(path)),
    stat: (text) => on("stat", text, read, ({ info }) => Effect.succeed(Calls.toInfo(info))),
    utimes: (text, atime, mtime) => on("utimes", text, write, ({ fd }) => Calls.utimes(Calls.at(fd), atime, mtime)),
    watch: watching(fs, checks, reach)
  })
}
