/**
 * The system calls under the guarded file system of Node on Linux.
 *
 * A path is opened with `O_PATH`: the descriptor stands for a file or directory without any access to it, and opening it has no
 * effect, whatever it is. `/proc/self/fd/N` then says where it really lies, through no link, and is itself a way to it that no change
 * of the tree diverts: `/proc/self/fd/N` is what was opened, `/proc/self/fd/N/name` an entry of the directory that was opened.
 *
 * No call is given up half-way: its descriptor would be lost, or be closed under a read. All calls here end by themselves.
 */
import * as NFS from "node:fs"
import { type PlatformError, SystemError, type SystemErrorReason } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Changed } from "./fileChecks.js"

/** A call that failed, with its `errno` code. */
export class CallFailed extends Data.TaggedError("CallFailed")<{
  readonly code: string
  readonly syscall: string | undefined
  readonly description: string
}> {}

/** A failure with a code of the system's. */
export const failed = (code: string, description: string): CallFailed =>
  new CallFailed({ code, syscall: undefined, description: `${code}: ${description}` })

/** Whether a failure is that of a call, with this code. */
export const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CallFailed && error.code === code

const reasons: Readonly<Record<string, SystemErrorReason>> = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource",
  EBUSY: "Busy",
  EAGAIN: "WouldBlock"
}

/** The platform's error for a call that failed. */
export const toPlatform =
  (method: string, path: string) =>
  ({ code, description, syscall }: CallFailed): PlatformError =>
    new SystemError({
      reason: reasons[code] ?? "Unknown",
      module: "FileSystem",
      method,
      pathOrDescriptor: path,
      syscall,
      description
    })

const toFailed = (error: unknown): CallFailed => {
  const { code, message, syscall } = error as NodeJS.ErrnoException
  // Node's message ends with the path, which is one of a descriptor here.
  const description = (message ?? String(error)).replace(/, [a-z_]+( '.*)?$/s, "")
  return new CallFailed({ code: code ?? "UNKNOWN", syscall, description })
}

const call = <A = void>(
  start: (done: (error: NodeJS.ErrnoException | null, value?: A) => void) => void
): Effect.Effect<A, CallFailed> =>
  Effect.uninterruptible(
    Effect.async<A, CallFailed>((resume) => {
      try {
        start((error, value) => resume(error === null ? Effect.succeed(value as A) : Effect.fail(toFailed(error))))
      } catch (error) {
        // An argument that Node does not take.
        resume(Effect.fail(toFailed(error)))
      }
    })
  )

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_RDONLY, O_RDWR } = NFS.constants
const { O_SYNC, O_TRUNC, O_WRONLY } = NFS.constants

// The same on every architecture that Node runs on; Node does not name it.
const O_PATH = 0o10000000

/** How a path is located. */
export const directory: number = O_DIRECTORY
export const noFollow: number = O_NOFOLLOW

/** How a located file is opened. */
export const forReading: number = O_RDONLY
export const forWriting: number = O_WRONLY
export const creates = (flags: number): boolean => (flags & O_CREAT) !== 0
export const isExclusive = (flags: number): boolean => (flags & O_EXCL) !== 0
export const appends = (flags: number): boolean => (flags & O_APPEND) !== 0
/** Creates a file that must not exist. */
export const creating: number = O_WRONLY | O_CREAT | O_EXCL
/** Creates a file where there is none, and leaves what is in it. */
export const creatingOrNot: number = O_WRONLY | O_CREAT

/** The flags that a text of Node's means, or undefined. */
export const parseFlags = (text: string): number | undefined => {
  const letters = [...text].toSorted().join("")
  switch (letters) {
    case "r":
      return O_RDONLY
    case "rs":
      return O_RDONLY | O_SYNC
    case "+r":
      return O_RDWR
    case "+rs":
      return O_RDWR | O_SYNC
  }
  const match = /^(\+?)(a?)(s?)(w?)(x?)$/.exec(letters)
  if (match === null || (match[2] === "") === (match[4] === "")) return undefined
  return (
    (match[1] === "" ? O_WRONLY : O_RDWR) |
    O_CREAT |
    (match[2] === "" ? O_TRUNC : O_APPEND) |
    (match[3] === "" ? 0 : O_SYNC) |
    (match[5] === "" ? 0 : O_EXCL)
  )
}

/** The way to what a descriptor stands for. */
export const at = (fd: number): string => `/proc/self/fd/${fd}`

/** The way to an entry of a directory. */
export const below = (directory: { readonly fd: number }, name: string): string =>
  `/proc/self/fd/${directory.fd}/${name}`

const openScoped = (path: string, flags: number, mode?: number): Effect.Effect<number, CallFailed, Scope.Scope> =>
  Effect.acquireRelease(
    call<number>((done) => NFS.open(path, flags, mode, done)),
    (fd) => Effect.ignore(call((done) => NFS.close(fd, done)))
  )

/** Opens what a descriptor stands for. It waits for nothing, and creates nothing. */
export const reopen = (fd: number, flags: number): Effect.Effect<number, CallFailed, Scope.Scope> =>
  openScoped(at(fd), (flags & ~(O_CREAT | O_EXCL)) | O_NONBLOCK | O_NOCTTY)

/** Creates an entry of a directory. It must not exist. */
export const create = (
  directory: { readonly fd: number },
  name: string,
  flags: number,
  mode?: number
): Effect.Effect<number, CallFailed, Scope.Scope> =>
  openScoped(below(directory, name), flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, mode ?? 0o666)

const textOf = (bytes: Buffer): Effect.Effect<string, CallFailed> => {
  const text = bytes.toString("utf8")
  return bytes.equals(Buffer.from(text, "utf8"))
    ? Effect.succeed(text)
    : Effect.fail(failed("EILSEQ", "the path is not UTF-8"))
}

/** Where a descriptor lies now, without links. */
export const where = (fd: number): Effect.Effect<string, CallFailed> =>
  Effect.flatMap(
    call<Buffer>((done) => NFS.readlink(at(fd), { encoding: "buffer" }, done)),
    textOf
  )

export const fstat = (fd: number): Effect.Effect<NFS.BigIntStats, CallFailed> =>
  call<NFS.BigIntStats>((done) => NFS.fstat(fd, { bigint: true }, done))

export const lstat = (path: string): Effect.Effect<NFS.BigIntStats, CallFailed> =>
  call<NFS.BigIntStats>((done) => NFS.lstat(path, { bigint: true }, done))

export const isSame = (one: NFS.BigIntStats, other: NFS.BigIntStats): boolean =>
  one.dev === other.dev && one.ino === other.ino

/** Something that was found in the tree, and where. */
export interface Located {
  readonly _tag: "Located"
  readonly fd: number
  /** Where it really lay when it was located. */
  readonly path: string
  readonly info: NFS.BigIntStats
}

const deleted = " (deleted)"

/** Locates a path, with links followed; with `noFollow` the last step is not. */
export const locate = (path: string, flags = 0): Effect.Effect<Located, CallFailed, Scope.Scope> =>
  Effect.gen(function* () {
    const fd = yield* openScoped(path, O_PATH | flags)
    const info = yield* fstat(fd)
    const real = yield* where(fd)
    // So the system marks what is gone; a name may end like that, too.
    if (real.endsWith(deleted)) {
      const named = yield* Effect.option(lstat(real))
      if (Option.isNone(named) || !isSame(named.value, info))
        return yield* failed("ENOENT", "no such file or directory")
    }
    return { _tag: "Located" as const, fd, path: real, info }
  })

/** Locates a directory that must lie where its path says. */
export const directoryAt = (path: string): Effect.Effect<Located, CallFailed | Changed, Scope.Scope> =>
  Effect.filterOrFail(
    locate(path, O_DIRECTORY | O_NOFOLLOW),
    (located) => located.path === path,
    () => new Changed()
  )

/** Fails where a directory no longer lies where it was located. */
export const unmoved = (located: Located): Effect.Effect<void, CallFailed | Changed> =>
  Effect.flatMap(where(located.fd), (path) => (path === located.path ? Effect.void : Effect.fail(new Changed())))

export const access = (path: string, mode: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.access(path, mode, done))
export const chmod = (path: string, mode: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.chmod(path, mode, done))
export const fchmod = (fd: number, mode: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.fchmod(fd, mode, done))
export const chown = (path: string, uid: number, gid: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.chown(path, uid, gid, done))
export const utimes = (path: string, atime: number | Date, mtime: number | Date): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.utimes(path, atime, mtime, done))
export const futimes = (fd: number, atime: Date, mtime: Date): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.futimes(fd, atime, mtime, done))
export const ftruncate = (fd: number, length: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.ftruncate(fd, length, done))
export const link = (from: string, to: string): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.link(from, to, done))
export const symlink = (target: string, path: string): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.symlink(target, path, done))
export const rename = (from: string, to: string): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.rename(from, to, done))
export const unlink = (path: string): Effect.Effect<void, CallFailed> => call((done) => NFS.unlink(path, done))
export const rmdir = (path: string): Effect.Effect<void, CallFailed> => call((done) => NFS.rmdir(path, done))
export const mkdir = (path: string, mode?: number): Effect.Effect<void, CallFailed> =>
  call((done) => NFS.mkdir(path, mode ?? 0o777, done))
export const mkdtemp = (prefix: string): Effect.Effect<string, CallFailed> =>
  call<string>((done) => NFS.mkdtemp(prefix, done))
export const readlink = (path: string): Effect.Effect<string, CallFailed> =>
  call<string>((done) => NFS.readlink(path, done))
export const readdir = (path: string): Effect.Effect<ReadonlyArray<string>, CallFailed> =>
  call<ReadonlyArray<string>>((done) => NFS.readdir(path, done))
export const fsync = (fd: number): Effect.Effect<void, CallFailed> => call((done) => NFS.fsync(fd, done))

/** Reads into a buffer; `position` is where the file's own position does not count. */
export const readInto = (fd: number, buffer: Uint8Array, position: bigint | null): Effect.Effect<number, CallFailed> =>
  call<number>((done) => NFS.read(fd, buffer, 0, buffer.length, position, done))

/** Writes a whole buffer. */
export const writeAll = (fd: number, buffer: Uint8Array, position: number | null): Effect.Effect<void, CallFailed> =>
  Effect.gen(function* () {
    for (let done = 0; done < buffer.length; ) {
      const rest = buffer.subarray(done)
      const written = yield* write(fd, rest, position === null ? null : position + done)
      if (written === 0) return yield* failed("EIO", "nothing was written")
      done += written
    }
  })

export const write = (fd: number, buffer: Uint8Array, position: number | null): Effect.Effect<number, CallFailed> =>
  call<number>((done) => NFS.write(fd, buffer, 0, buffer.length, position, done))

/** Whether this platform has what all this needs: Linux with its own `/proc`. Asked once. */
export const isSupported: Effect.Effect<boolean> = Effect.scoped(
  Effect.gen(function* () {
    // edge: the driver of a platform asks which one it is
    if (process.platform !== "linux") return false
    const root = yield* locate("/", O_DIRECTORY | O_NOFOLLOW)
    const again = yield* locate(below(root, "proc"), O_DIRECTORY | O_NOFOLLOW)
    const proc = yield* call<NFS.StatsFs>((done) => NFS.statfs(at(again.fd), done))
    return root.path === "/" && again.path === "/proc" && proc.type === 0x9fa0
  })
).pipe(Effect.orElseSucceed(() => false))

const typeOf = (info: NFS.BigIntStats): FileSystem.File.Type =>
  info.isFile()
    ? "File"
    : info.isDirectory()
      ? "Directory"
      : info.isSymbolicLink()
        ? "SymbolicLink"
        : info.isBlockDevice()
          ? "BlockDevice"
          : info.isCharacterDevice()
            ? "CharacterDevice"
            : info.isFIFO()
              ? "FIFO"
              : info.isSocket()
                ? "Socket"
                : "Unknown"

/** What the platform says of a file. */
export const toInfo = (info: NFS.BigIntStats): FileSystem.File.Info => ({
  type: typeOf(info),
  mtime: Option.some(info.mtime),
  atime: Option.some(info.atime),
  birthtime: Option.some(info.birthtime),
  dev: Number(info.dev),
  rdev: Option.some(Number(info.rdev)),
  ino: Option.some(Number(info.ino)),
  mode: Number(info.mode),
  nlink: Option.some(Number(info.nlink)),
  uid: Option.some(Number(info.uid)),
  gid: Option.some(Number(info.gid)),
  size: FileSystem.Size(info.size),
  blksize: Option.some(FileSystem.Size(info.blksize)),
  blocks: Option.some(Number(info.blocks))
})

/** An open descriptor as a file of the platform. It keeps its position itself, as Node's file of the platform does. */
export const fileOf = (fd: number, append: boolean): FileSystem.File => {
  const label = (method: string) => Effect.mapError(toPlatform(method, String(fd)))
  let position = 0n
  const moveBy = (bytes: number): FileSystem.Size => {
    position += BigInt(bytes)
    return FileSystem.Size(bytes)
  }
  const read = (method: string, buffer: Uint8Array) =>
    label(method)(
      Effect.map(
        Effect.suspend(() => readInto(fd, buffer, position)),
        moveBy
      )
    )
  const writePosition = () => (append ? null : Number(position))
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    fd: FileSystem.FileDescriptor(fd),
    stat: label("stat")(Effect.map(fstat(fd), toInfo)),
    sync: label("sync")(fsync(fd)),
    seek: (offset, from) =>
      Effect.sync(() => {
        position = from === "start" ? BigInt(offset) : position + BigInt(offset)
      }),
    read: (buffer) => read("read", buffer),
    readAlloc: (size) =>
      Effect.suspend(() => {
        const buffer = new Uint8Array(Number(size))
        return Effect.map(read("readAlloc", buffer), (length) =>
          length === 0n
            ? Option.none()
            : Option.some(Number(length) === buffer.length ? buffer : buffer.slice(0, Number(length)))
        )
      }),
    truncate: (length) =>
      label("truncate")(
        Effect.map(ftruncate(fd, Number(length ?? 0)), () => {
          if (!append && position > BigInt(length ?? 0)) position = BigInt(length ?? 0)
        })
      ),
    write: (buffer) =>
      label("write")(
        Effect.map(
          Effect.suspend(() => write(fd, buffer, writePosition())),
          (written) => {
            if (!append) moveBy(written)
            return FileSystem.Size(written)
          }
        )
      ),
    writeAll: (buffer) =>
      label("writeAll")(
        Effect.map(
          Effect.suspend(() => writeAll(fd, buffer, writePosition())),
          () => {
            if (!append) moveBy(buffer.length)
          }
        )
      )
  }
}
