/**
 * From a path's text to a path that the lease covers, for file systems that are reached by path names alone.
 *
 * Order: canonical form, gate, links resolved in the real tree, gate again where that led elsewhere. A checked path is used while no other
 * guarded operation of the process changes anything above or below it, and only if it still leads where it led.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Checks from "./fileChecks.js"
import { type Capabilities, read } from "./fileChecks.js"
import * as PathLock from "./pathLock.js"
import * as RealTree from "./realTree.js"

/** A path that was checked. */
export interface Checked extends RealTree.Real {
  /** Resolves the path again: where it leads now. */
  readonly again: Effect.Effect<RealTree.Real>
}

export type Failure = PlatformError.PlatformError | Checks.Changed | PathLock.LockTimeout

/** An error with the label of the guarded call; a denial has it already. */
export const relabelUnless =
  (method: string, text: string) =>
  <E extends Failure>(error: E): E | PlatformError.PlatformError =>
    error._tag !== "SystemError" || error.method === method ? error : Checks.relabel(method, text)(error)

/** The ways to reach files by their paths. */
export const reaching = (fs: FileSystem.FileSystem, checks: Checks.FileChecks) => {
  const { authorize, concluded, refuse } = checks

  /** The checked and resolved path of an operation. `resolve` says whether a link or its target is meant. */
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
      // Only now: earlier, the error would reveal something about a path that is not covered.
      return real.failure === undefined
        ? { ...real, again }
        : yield* Effect.fail(Checks.relabel(method, text)(real.failure))
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

  return { check, holding, on, ordinary }
}

export type Reaching = ReturnType<typeof reaching>
