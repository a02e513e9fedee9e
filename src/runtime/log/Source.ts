/** A session's events as its connection sends them, without the session. */
import type * as Effect from "effect/Effect"
import type { StoreError } from "../../store/Store.js"
import type { Frame } from "../../transport/Connection.js"
import type { Sendable } from "../../transport/FrameParts.js"

/** Frames and the number of the last of them. */
export interface Frames {
  readonly frames: Array<Sendable>
  readonly cursor: number
}

/** What is sent over a connection beside replies: a session's events. Times are elapsed milliseconds. */
export interface Source {
  /** The last event that there is. */
  readonly seq: number
  /** What comes behind `cursor`, up to `upTo`, where it is in memory. */
  readonly ready: (cursor: number, upTo: number) => Frames | undefined
  /** The same, read back; undefined where the store no longer has it. */
  readonly read: (cursor: number, upTo: number) => Effect.Effect<Frames | undefined, StoreError>
  /** What the client is told where that is gone. */
  readonly gone: () => Frame
  /** Something is being sent. */
  readonly seen: (now: number) => void
  readonly now: () => number
}
