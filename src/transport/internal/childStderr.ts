/** What becomes of a child's stderr: copied to ours, dropped, or handed over line by line. */
import type { Readable } from "node:stream"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Inbox } from "./Inbox.js"
import { LineSplitter } from "./LineSplitter.js"

let muted = false

/** Copies it to this process's stderr; a slow reader there holds the child back. */
export const copy = (stderr: Readable): void => {
  // What cannot be shown is lost; it must not end the process.
  if (!muted) process.stderr.on("error", () => {})
  muted = true
  stderr.on("error", () => {})
  stderr.on("data", (bytes: Uint8Array) => {
    if (process.stderr.write(bytes) || process.stderr.destroyed) return
    stderr.pause()
    process.stderr.once("drain", () => stderr.resume())
  })
}

/** Reads it, so that the child can go on. */
export const drop = (stderr: Readable): void => {
  stderr.on("error", () => {})
  stderr.resume()
}

/** How long a receiver may take for the last lines of a dead child. */
const readOutMillis = 1000

/** Hands the child's stderr over, line by line and in order; a slow receiver holds the child back. */
export const forward = (
  stderr: Readable,
  to: (line: string) => Effect.Effect<void>,
  scope: Scope.Scope
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const inbox = new Inbox<string>(() => stderr.resume())
    let splitter = new LineSplitter(65_536)
    stderr.on("data", (bytes: Uint8Array) => {
      for (const line of splitter.push(bytes)) {
        if (typeof line === "string") inbox.push(line)
        else {
          inbox.push("(a line that cannot be shown)")
          if (line.description === "line too long") splitter = new LineSplitter(65_536)
        }
      }
      if (inbox.length >= 256) stderr.pause()
    })
    stderr.on("error", () => inbox.end())
    stderr.on("close", () => {
      for (const line of splitter.end()) if (typeof line === "string") inbox.push(line)
      inbox.end()
    })
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(Stream.runForEach(inbox.stream, to)))
    // runs after the child has ended: its last words are handed over too, if that goes quickly
    yield* Scope.addFinalizer(
      scope,
      Effect.interruptible(Fiber.await(fiber)).pipe(
        Effect.timeoutOption(Duration.millis(readOutMillis)),
        Effect.zipRight(Effect.sync(() => stderr.destroy())),
        Effect.zipRight(Fiber.interrupt(fiber))
      )
    )
  })
