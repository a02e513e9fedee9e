/**
 * An open file of a job (ARCP 1.1 §9.3).
 *
 * Each operation first asks the gate whether the job may still do anything. Long reads and writes go in pieces, so that an
 * interruption and the end of the job's authority count in between. A file that is closed is never used again: the system gives its
 * descriptor's number to the next file, which may be another job's. Closing waits for the piece that is under way.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type FileChecks, failure, piece, tooLarge } from "./fileChecks.js"

/** Puts together what was read in pieces. */
export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (chunks.length === 1) return chunks[0]!
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/** The file `file` of the path `text`, until the scope closes. Add it to the scope after the file itself. */
export const make = (
  file: FileSystem.File,
  checks: Pick<FileChecks, "alive" | "fileBytes">,
  text: string
): Effect.Effect<FileSystem.File, never, Scope.Scope> =>
  Effect.suspend(() => {
    const turn = Effect.unsafeMakeSemaphore(1)
    const use = Effect.unsafeMakeSemaphore(1)
    let open = true

    const once = <A>(method: string, operation: () => Effect.Effect<A, PlatformError>) =>
      use.withPermits(1)(
        Effect.suspend(() =>
          open
            ? Effect.zipRight(checks.alive(method, text), Effect.suspend(operation))
            : Effect.fail(failure("BadResource", method, text, "the file is closed"))
        )
      )

    /** Moves a buffer piece by piece, until one is moved only in part. */
    const inPieces = (
      method: string,
      buffer: Uint8Array,
      move: (part: Uint8Array) => Effect.Effect<FileSystem.Size, PlatformError>
    ) =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          let at = 0
          do {
            const part = buffer.subarray(at, at + piece)
            const moved = Number(yield* once(method, () => move(part)))
            at += moved
            if (moved < part.length) break
          } while (at < buffer.length)
          return FileSystem.Size(at)
        })
      )

    const readAlloc = (size: FileSystem.SizeInput) =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          const most = Math.min(Number(size), checks.fileBytes)
          const chunks: Array<Uint8Array> = []
          let length = 0
          do {
            const part = Math.min(piece, most - length)
            const chunk = yield* once("readAlloc", () => file.readAlloc(part))
            if (Option.isNone(chunk)) break
            chunks.push(chunk.value)
            length += chunk.value.length
            if (chunk.value.length < part) break
          } while (length < most)
          return length === 0 ? Option.none() : Option.some(concat(chunks))
        })
      )

    const writeAll = (buffer: Uint8Array) =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          // A write of nothing is an error to the platform.
          if (buffer.length === 0) yield* once("writeAll", () => Effect.void)
          for (let at = 0; at < buffer.length; at += piece) {
            yield* once("writeAll", () => file.writeAll(buffer.subarray(at, at + piece)))
          }
        })
      )

    const guarded: FileSystem.File = {
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: file.fd,
      stat: once("stat", () => file.stat),
      sync: once("sync", () => file.sync),
      seek: (offset, from) => turn.withPermits(1)(file.seek(offset, from)),
      read: (buffer) => inPieces("read", buffer, (part) => file.read(part)),
      readAlloc,
      truncate: (length) => turn.withPermits(1)(once("truncate", () => file.truncate(length))),
      write: (buffer) => inPieces("write", buffer, (part) => file.write(part)),
      writeAll
    }
    return Effect.as(
      Effect.addFinalizer(() =>
        use.withPermits(1)(
          Effect.sync(() => {
            open = false
          })
        )
      ),
      guarded
    )
  })

/** Reads an open file to its end, at most `fileBytes` of it. */
export const readAll = (
  file: FileSystem.File,
  method: string,
  text: string,
  fileBytes: number
): Effect.Effect<Uint8Array, PlatformError> =>
  Effect.gen(function* () {
    const chunks: Array<Uint8Array> = []
    let length = 0
    for (;;) {
      const chunk = yield* file.readAlloc(piece / 4)
      if (Option.isNone(chunk)) return concat(chunks.length === 0 ? [new Uint8Array(0)] : chunks)
      length += chunk.value.length
      if (length > fileBytes) {
        return yield* tooLarge(method, text, fileBytes)
      }
      chunks.push(chunk.value)
    }
  })
