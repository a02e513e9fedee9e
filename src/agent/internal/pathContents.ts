/**
 * What is in a file, by its path: opening, reading and writing.
 *
 * Races: after it is opened, a file is compared with what its path leads to. If they differ, it is closed and refused before a byte is read
 * or written. `writeFile` truncates only after this comparison; `open` with `w` truncates before it.
 */
import type * as PlatformError from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Checks from "./fileChecks.js"
import { type Capabilities, read, write } from "./fileChecks.js"
import * as GuardedFile from "./guardedFile.js"
import { type Checked, type Failure, type Reaching, relabelUnless } from "./pathReach.js"
import * as RealTree from "./realTree.js"

/** The operations on contents. */
export const contents = (
  fs: FileSystem.FileSystem,
  checks: Checks.FileChecks,
  { check, holding, ordinary }: Reaching
): Pick<FileSystem.FileSystem, "open" | "readFile" | "truncate" | "writeFile"> => {
  const { concluded, fileBytes, refuse } = checks

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

  const open: FileSystem.FileSystem["open"] = (text, options) => {
    const flag = options?.flag ?? "r"
    const capabilities = Checks.needed(flag)
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
    const capabilities = Checks.needed(flag)
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

  const truncate: FileSystem.FileSystem["truncate"] = (text, length) =>
    Effect.gen(function* () {
      const checked = yield* check("truncate", text, write)
      yield* ordinary("truncate", text, write, checked.path)
      yield* holding([checked], fs.truncate(checked.path, length))
    }).pipe(concluded("truncate", text, write))

  return { open, readFile, truncate, writeFile }
}
