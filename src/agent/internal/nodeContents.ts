/**
 * What is in a file, over Node's descriptors: opening, reading, writing and copying.
 *
 * Order: a descriptor that was checked is read or written piece by piece; between two pieces an interruption and the end of the job's
 * authority count. The size of a file is the number of bytes read from it, not what its metadata says: files of `/proc` report no size.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Scope from "effect/Scope"
import * as Checks from "./fileChecks.js"
import { read, write } from "./fileChecks.js"
import * as GuardedFile from "./guardedFile.js"
import * as Calls from "./nodeCalls.js"
import type { Reaching } from "./nodeReach.js"
import * as Tree from "./nodeTree.js"

/** The operations on contents. */
export const contents = (
  checks: Checks.FileChecks,
  { existing, flagsOf, opening, operation, ordinary }: Reaching
): Pick<FileSystem.FileSystem, "copyFile" | "open" | "readFile" | "truncate" | "writeFile"> => {
  const { alive, fileBytes } = checks

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
            // A refused file is closed at once, not with the scope of its caller.
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

  const truncate: FileSystem.FileSystem["truncate"] = (text, length) =>
    operation(
      "truncate",
      text,
      write,
      Effect.flatMap(opening("truncate", text, write, { flags: Calls.forWriting }), ({ fd }) =>
        Calls.ftruncate(fd, Number(length ?? 0))
      )
    )

  return { copyFile, open, readFile, truncate, writeFile }
}
