/**
 * A session's connection, seen from the session: what is to be sent, and up to which event it has been sent.
 *
 * Order: replies leave before events that were committed with or after them. Only the pump of the link sends, so frames
 * never overtake each other; anybody may `post`.
 */
import * as Effect from "effect/Effect"
import type { Connection, Frame } from "../../transport/Connection.js"
import type { Deadline } from "../Deadlines.js"

/** The sending side of one connection. */
export class Link {
  readonly connection: Connection
  /** The last event that has been handed to the connection. */
  cursor: number
  /** Frames that are not events, to be sent next. */
  outbox: Array<Frame> = []
  /** Whether the connection is to be closed once the outbox has left, and how. */
  closing: { readonly code: number; readonly reason: string } | undefined = undefined
  /** Whether the client has shown that it holds the token of the last welcome. */
  confirmed = false
  lastIn: number
  lastOut: number
  heartbeat: Deadline | undefined = undefined
  badFrames = 0
  private resume: (() => void) | undefined = undefined

  constructor(connection: Connection, cursor: number, now: number) {
    this.connection = connection
    this.cursor = cursor
    this.lastIn = now
    this.lastOut = now
  }

  /** Queues a frame that is not an event. */
  post(frame: Frame): void {
    if (this.closing !== undefined) return
    this.outbox.push(frame)
    this.wake()
  }

  /** Closes the connection after what is in the outbox; nothing is sent after that. */
  end(code: number, reason: string): void {
    if (this.closing !== undefined) return
    this.closing = { code, reason }
    this.wake()
  }

  /** Lets the pump look again. */
  wake(): void {
    const { resume } = this
    if (resume === undefined) return
    this.resume = undefined
    resume()
  }

  /** Waits until there may be something to do. The check and the wait are one step: no wake is missed. */
  readonly idle = (hasWork: () => boolean): Effect.Effect<void> =>
    Effect.async<void>((resume) => {
      if (hasWork()) return resume(Effect.void)
      this.resume = () => resume(Effect.void)
    })
}
