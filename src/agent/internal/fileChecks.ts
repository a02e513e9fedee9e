/**
 * What every guarded `FileSystem` asks of the gate, whichever way it reaches the files (ARCP 1.1 §9.3).
 */
import * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Canonical from "../../authority/Canonical.js"
import { platformDenied } from "../Denied.js"
import type { Denial, Gate } from "../Gate.js"
import type { GuardedFileSystemOptions } from "../GuardedFileSystemOptions.js"
import type { LockTimeout } from "./pathLock.js"
import * as RealTree from "./realTree.js"

export type Capabilities = ReadonlyArray<"fs.read" | "fs.write">
export const read: Capabilities = ["fs.read"]
export const write: Capabilities = ["fs.write"]
export const both: Capabilities = ["fs.read", "fs.write"]

/** Bytes that are read or written in one call; in between, an interruption and the gate count. */
export const piece = 1024 * 1024

/** Bytes of a file that are read at once, where the options name no other bound. */
export const defaultFileBytes = 256 * 1024 * 1024

/** The tree changed between check and use: the operation has to start again. */
export class Changed extends Data.TaggedError("Changed") {}

/** How often an operation starts again because the tree changed between its check and its use. */
export const attempts = 8

/** What a flag of `open` needs. A flag that the types do not know needs everything. */
export const needed = (flag: FileSystem.OpenFlag): Capabilities => {
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

/** An error of the file system with the method and the path of the guarded call. */
export const relabel = (method: string, path: string) => (error: PlatformError.PlatformError) =>
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

/** An error of the guard's own. */
export const failure = (
  reason: PlatformError.SystemErrorReason,
  method: string,
  path: string,
  description: string
): PlatformError.SystemError =>
  new PlatformError.SystemError({ reason, module: "FileSystem", method, pathOrDescriptor: path, description })

/** The file is larger than one read may be. */
export const tooLarge = (method: string, path: string, fileBytes: number): PlatformError.SystemError =>
  failure("BadResource", method, path, `the file is larger than ${fileBytes} bytes (fileBytes): read it as a stream`)

/** Other operations held the same paths for too long. */
export const busy = (method: string, path: string): PlatformError.SystemError =>
  failure("Busy", method, path, "other operations of this process hold the path")

/** The checks of one guarded file system. */
export interface FileChecks {
  readonly tempDirectory: string
  readonly fileBytes: number
  /** Checks capabilities for an absolute path. */
  readonly authorize: (
    method: string,
    text: string,
    capabilities: Capabilities,
    path: string
  ) => Effect.Effect<void, PlatformError.PlatformError>
  /** Refuses a path for a reason outside the lease. */
  readonly refuse: (
    method: string,
    text: string,
    capabilities: Capabilities,
    why: string | Canonical.CanonicalError
  ) => Effect.Effect<never, PlatformError.PlatformError>
  /** The canonical form of a path, authorized. */
  readonly canonical: (
    method: string,
    text: string,
    capabilities: Capabilities
  ) => Effect.Effect<string, PlatformError.PlatformError>
  /** Starts an operation again where the tree changed meanwhile, and gives up in the platform's words. */
  readonly concluded: (
    method: string,
    text: string,
    capabilities: Capabilities
  ) => <A, R>(
    effect: Effect.Effect<A, PlatformError.PlatformError | Changed | LockTimeout, R>
  ) => Effect.Effect<A, PlatformError.PlatformError, R>
  /** Fails where the job may do nothing any more, without an event: for what goes on with an open file. */
  readonly alive: (method: string, text: string) => Effect.Effect<void, PlatformError.PlatformError>
}

// What a browser has none of, and a test may have removed.
const host = (): { readonly cwd?: () => string; readonly env?: Readonly<Record<string, string | undefined>> } =>
  (globalThis as { readonly process?: object }).process ?? {}

/** The directory for temporary files, as `os.tmpdir` finds it on POSIX. */
const systemTemp = (): string => {
  const { env } = host()
  const path = env?.["TMPDIR"] || env?.["TMP"] || env?.["TEMP"] || "/tmp"
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path
}

/** A tree or a file on its way to another place: as the handler spelled both, and where they really are. */
export interface Move {
  readonly method: "copy" | "rename"
  readonly fromText: string
  readonly from: string
  readonly toText: string
  readonly to: string
}

/** Where a link leads must be covered, so that no link is made that leads outside. `directory` is where the link lies. */
export const linkCheck =
  (fs: FileSystem.FileSystem, authorize: FileChecks["authorize"]) =>
  (method: string, text: string, directory: string, target: string): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      const real = yield* RealTree.linked(fs, directory, target)
      yield* authorize(method, text, read, real.path)
      if (real.failure !== undefined) return yield* Effect.fail(relabel(method, text)(real.failure))
    })

/**
 * Checks all that a tree holds, at its old place and at its new one. A link that moves leads from its new place. `entries` lists the tree,
 * `targetOf` reads what a link says: the two drivers do both in their own way.
 */
export const treeCheck =
  <Entry extends { readonly name: string; readonly kind: string }, Failed>(
    fs: FileSystem.FileSystem,
    { authorize, refuse }: Pick<FileChecks, "authorize" | "refuse">,
    entries: <E>(
      root: string,
      enter: (entry: Entry) => Effect.Effect<unknown, E>
    ) => Effect.Effect<ReadonlyArray<Entry>, E | Failed>,
    targetOf: (entry: Entry, path: string) => Effect.Effect<Option.Option<string>, PlatformError.PlatformError>
  ) =>
  ({ from, fromText, method, to, toText }: Move, needs: Capabilities) =>
    Effect.gen(function* () {
      // No directory is read that the lease does not cover.
      const found = yield* entries(from, ({ name }) => authorize(method, fromText, needs, RealTree.join(from, name)))
      for (const entry of found) {
        const source = RealTree.join(from, entry.name)
        const target = RealTree.join(to, entry.name)
        yield* authorize(method, fromText, needs, source)
        yield* authorize(method, toText, write, target)
        if (entry.kind === "special") {
          return yield* refuse(method, fromText, needs, "it holds what is no regular file and no directory")
        }
        if (method === "copy") {
          // Nothing is written through a link that exists at the target; where it leads outside, the copy does not start.
          const inTheWay = yield* RealTree.follow(fs, target)
          if (inTheWay.path !== target) yield* authorize(method, toText, write, inTheWay.path)
        }
        const link = yield* Effect.mapError(targetOf(entry, source), relabel(method, fromText))
        if (Option.isSome(link)) {
          const directory = RealTree.parentOf(method === "copy" ? source : target)
          yield* linkCheck(fs, authorize)(method, fromText, directory, link.value)
        }
      }
      return found
    })

/** Every directory that has to be made on the way to what does not exist is written too. */
export const parentsCheck =
  (authorize: FileChecks["authorize"]) =>
  (
    method: string,
    text: string,
    { existing, path }: { readonly existing: string; readonly path: string }
  ): Effect.Effect<void, PlatformError.PlatformError> =>
    Effect.gen(function* () {
      for (let at = RealTree.parentOf(path); at.length > existing.length; at = RealTree.parentOf(at)) {
        yield* authorize(method, text, write, at)
      }
    })

/** A placeholder for the random characters at the end of a temporary name: `mkdtemp` appends six, which are known only after it has run. */
export const sample = "XXXXXX"

/** The paths of what is about to be made: a temporary directory and, where a suffix is given, the file in it. */
export const temporaryPlan =
  ({ refuse, tempDirectory }: Pick<FileChecks, "refuse" | "tempDirectory">) =>
  (
    method: string,
    options: FileSystem.MakeTempFileOptions | undefined,
    suffix: string | undefined
  ): Effect.Effect<{ readonly directory: string; readonly file: string | undefined }, PlatformError.PlatformError> => {
    const directory = `${options?.directory ?? tempDirectory}/${options?.prefix ?? ""}${sample}`
    if (suffix?.includes("/")) return refuse(method, directory, write, "a suffix may not hold a separator")
    return Effect.succeed({ directory, file: suffix === undefined ? undefined : `${directory}/${sample}${suffix}` })
  }

/** Makes them. Where the process stands is asked once, so that no later change of directory moves a relative path. */
export const make = (gate: Gate, options: GuardedFileSystemOptions | undefined): FileChecks => {
  const cwd = options?.cwd ?? host().cwd?.() ?? "/"

  const authorize: FileChecks["authorize"] = (method, text, capabilities, path) =>
    Effect.forEach(capabilities, (capability) => gate.authorize(capability, path), { discard: true }).pipe(
      Effect.mapError((denial) => platformDenied("FileSystem", method, text, denial))
    )

  const refuse: FileChecks["refuse"] = (method, text, capabilities, why) =>
    Effect.mapError(
      gate.refuse(
        capabilities[0]!,
        typeof why === "string"
          ? new Canonical.CanonicalError({ resource: "path", message: `path refused: ${why}` })
          : why
      ),
      (denial: Denial) => platformDenied("FileSystem", method, text, denial)
    )

  return {
    tempDirectory: options?.tempDirectory ?? systemTemp(),
    // More than this no buffer of Node holds on every platform.
    fileBytes: Math.min(options?.fileBytes ?? defaultFileBytes, 0x7fff_ffff),
    authorize,
    refuse,
    canonical: (method, text, capabilities) => {
      const path = Canonical.path(text, cwd)
      return Either.isLeft(path)
        ? refuse(method, text, capabilities, path.left)
        : Effect.as(authorize(method, text, capabilities, path.right), path.right)
    },
    concluded: (method, text, capabilities) => (effect) =>
      effect.pipe(
        Effect.retry({ times: attempts, while: (error) => error._tag === "Changed" }),
        Effect.catchTags({
          Changed: () => refuse(method, text, capabilities, "it changed while it was used"),
          LockTimeout: () => Effect.fail(busy(method, text))
        })
      ),
    alive: (method, text) =>
      Effect.suspend(() => {
        const denial = gate.live?.()
        return denial === undefined ? Effect.void : Effect.fail(platformDenied("FileSystem", method, text, denial))
      })
  }
}
