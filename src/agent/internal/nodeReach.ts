/**
 * From a path to a descriptor that the lease covers: what every operation of the guarded file system of Node begins with.
 */
import * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Checks from "./fileChecks.js"
import type { Capabilities } from "./fileChecks.js"
import * as Calls from "./nodeCalls.js"
import * as PathLock from "./pathLock.js"
import * as RealTree from "./realTree.js"

/** What does not exist, and where it would be. */
export interface Missing {
  readonly _tag: "Missing"
  readonly path: string
  /** The deepest part of the path that exists. */
  readonly existing: string
  /** Its directory, where that exists. */
  readonly parent: Calls.Located | undefined
  readonly error: Calls.CallFailed
}

/** An entry of a directory, though it be a link. */
export interface Entry {
  readonly parent: Calls.Located
  readonly name: string
  readonly path: string
}

export type Failure = Calls.CallFailed | Checks.Changed | PathLock.LockTimeout | PlatformError.PlatformError

/** The ways to reach files. `fs` follows the links of what does not exist; it moves no byte. */
export const reaching = (fs: FileSystem.FileSystem, checks: Checks.FileChecks) => {
  const { authorize, canonical, refuse } = checks

  /** Runs an operation; what it has located is released with it. Failures become the platform's. */
  const operation = <A, R>(
    method: string,
    text: string,
    capabilities: Capabilities,
    body: Effect.Effect<A, Failure, R>
  ): Effect.Effect<A, PlatformError.PlatformError, Exclude<R, Scope.Scope>> =>
    Effect.scoped(body).pipe(
      Effect.catchTag("CallFailed", (error) => Effect.fail(Calls.toPlatform(method, text)(error))),
      checks.concluded(method, text, capabilities)
    )

  /** What a path leads to, checked at both ends. */
  const reach = (
    method: string,
    text: string,
    capabilities: Capabilities
  ): Effect.Effect<Calls.Located | Missing, Failure, Scope.Scope> =>
    Effect.gen(function* () {
      const path = yield* canonical(method, text, capabilities)
      const found = yield* Effect.either(Calls.locate(path))
      if (found._tag === "Right") {
        if (found.right.path !== path) yield* authorize(method, text, capabilities, found.right.path)
        return found.right
      }
      const real = yield* RealTree.follow(fs, path)
      if (real.path !== path) yield* authorize(method, text, capabilities, real.path)
      // Only now: before, it would tell something about what is not covered.
      if (found.left.code !== "ENOENT") return yield* found.left
      if (real.failure !== undefined) return yield* Effect.fail(Checks.relabel(method, text)(real.failure))
      const parent = yield* Effect.option(Calls.locate(RealTree.parentOf(real.path), Calls.directory))
      const missing = { _tag: "Missing" as const, path: real.path, existing: real.existing, error: found.left }
      if (parent._tag === "None") return { ...missing, parent: undefined }
      const inParent = RealTree.join(parent.value.path, RealTree.nameOf(real.path))
      if (inParent !== real.path) yield* authorize(method, text, capabilities, inParent)
      return { ...missing, path: inParent, parent: parent.value }
    })

  const existing = (method: string, text: string, capabilities: Capabilities) =>
    Effect.flatMap(reach(method, text, capabilities), (reached) =>
      reached._tag === "Located" ? Effect.succeed(reached) : Effect.fail(reached.error)
    )

  /** An operation on what exists. */
  const on = <A>(
    method: string,
    text: string,
    capabilities: Capabilities,
    use: (located: Calls.Located) => Effect.Effect<A, Failure, Scope.Scope>
  ) => operation(method, text, capabilities, Effect.flatMap(existing(method, text, capabilities), use))

  /** The entry that a path names, though it be a link: links before the last step are followed. */
  const entry = (
    method: string,
    text: string,
    capabilities: Capabilities
  ): Effect.Effect<Entry, Failure, Scope.Scope> =>
    Effect.gen(function* () {
      const path = yield* canonical(method, text, capabilities)
      if (path === "/") return yield* Calls.failed("EBUSY", "the root of all is no entry")
      const found = yield* Effect.either(Calls.locate(RealTree.parentOf(path), Calls.directory))
      if (found._tag === "Left") {
        const real = yield* RealTree.itself(fs, path)
        if (real.path !== path) yield* authorize(method, text, capabilities, real.path)
        return yield* found.left
      }
      const name = RealTree.nameOf(path)
      const inParent = RealTree.join(found.right.path, name)
      if (inParent !== path) yield* authorize(method, text, capabilities, inParent)
      return { parent: found.right, name, path: inParent }
    })

  /** A structural change: alone among those that touch the paths, below directories that lie where they were checked. */
  const changing = <A, E, R>(
    paths: ReadonlyArray<string>,
    directories: ReadonlyArray<Calls.Located>,
    change: Effect.Effect<A, E, R>
  ) =>
    PathLock.structural.exclusive(paths)(
      Effect.zipRight(Effect.forEach(directories, Calls.unmoved, { discard: true }), change)
    )

  const changingOne = <A, E, R>(
    path: string,
    directories: ReadonlyArray<Calls.Located>,
    change: Effect.Effect<A, E, R>
  ) =>
    Effect.catchTag(changing([path], directories, change), "LockTimeout", () =>
      Effect.fail(Calls.failed("EBUSY", "other operations of this process hold the path"))
    ) as Effect.Effect<A, Exclude<E, PathLock.LockTimeout> | Calls.CallFailed | Checks.Changed, R>

  const ordinary = (method: string, text: string, capabilities: Capabilities, { info }: Calls.Located) =>
    info.isFile() || info.isDirectory()
      ? Effect.void
      : refuse(method, text, capabilities, "it is no regular file and no directory")

  /** Opens what a path leads to, or creates it. The descriptor is kept in the scope `keep`. */
  const opening = (
    method: string,
    text: string,
    capabilities: Capabilities,
    how: { readonly flags: number; readonly mode?: number | undefined; readonly keep?: Scope.Scope }
  ): Effect.Effect<{ readonly fd: number; readonly located: Calls.Located | undefined }, Failure, Scope.Scope> =>
    Effect.gen(function* () {
      const { flags, mode } = how
      const keep = how.keep ?? (yield* Effect.scope)
      const exclusive = Calls.creates(flags) && Calls.isExclusive(flags)
      const reached = yield* reach(method, text, capabilities)
      if (reached._tag === "Located") {
        if (exclusive) return yield* Calls.failed("EEXIST", "file already exists")
        yield* ordinary(method, text, capabilities, reached)
        const fd = yield* Scope.extend(Calls.reopen(reached.fd, flags), keep)
        return { fd, located: reached }
      }
      const { parent, path } = reached
      if (!Calls.creates(flags) || parent === undefined) return yield* reached.error
      const name = RealTree.nameOf(path)
      const fd = yield* changing([path], [parent], Scope.extend(Calls.create(parent, name, flags, mode), keep)).pipe(
        Effect.catchIf(
          (error) => !exclusive && Calls.isCode("EEXIST")(error),
          () => Effect.fail(new Checks.Changed())
        )
      )
      if ((yield* Calls.where(fd)) !== path) {
        // The directory has gone elsewhere: not even an empty file is left there.
        yield* Effect.ignore(Calls.unlink(Calls.below(parent, name)))
        return yield* new Checks.Changed()
      }
      return { fd, located: undefined }
    })

  const flagsOf = (method: string, flag: string) =>
    Effect.suspend(() => {
      const flags = Calls.parseFlags(flag)
      return flags === undefined
        ? Effect.fail(
            new PlatformError.BadArgument({ module: "FileSystem", method, description: `unknown flag ${flag}` })
          )
        : Effect.succeed(flags)
    })

  return { operation, reach, existing, on, entry, changing, changingOne, ordinary, opening, flagsOf }
}

export type Reaching = ReturnType<typeof reaching>
