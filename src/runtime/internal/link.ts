/**
 * A session's connection, seen from the session: what is to be sent, and up to which event it has been sent.
 *
 * Order: replies leave before events that were committed with or after them. Only the pump of the link sends, so frames
 * never overtake each other; anybody may `post`.
 */
import * as Effect from "effect/Effect"
import type { Connection, Frame } from "../../transport/Connection.js"
import type { Deadline } from "../Deadlines.js"
import { defer } from "./turn.js"

/** The sending side of one connection. */
export class Link {
  readonly connection: Connection
  /** The last event that has been handed to the connection. */
  cursor: number
  /** The session's last event when the connection came: older ones are a replay, in which nobody is slow yet. */
  since = 0
  sinceBytes = 0
  /** Frames that are not events, to be sent next. */
  outbox: Array<Frame> = []
  /** Frames that are not events and have their place behind one, in order. */
  private readonly behind: Array<{ readonly seq: number; readonly frame: Frame }> = []
  /** Whether the connection is to be closed once the outbox has left, and how. */
  closing: { readonly code: number; readonly reason: string } | undefined = undefined
  /** Whether the client has shown that it holds the token of the last welcome. */
  confirmed = false
  lastIn: number
  lastOut: number
  heartbeat: Deadline | undefined = undefined
  badFrames = 0
  /** Called when the end is asked for: a peer that does not read must not put it off. */
  onEnd: (() => void) | undefined = undefined
  /** Closes the connection if the outbox has not left in time. */
  overdue: Deadline | undefined = undefined
  /** Who waits until everything has been sent. */
  private flushing: Array<() => void> = []
  private pump: (() => void) | undefined = undefined
  private asleep = true
  private takers: Array<() => void> = []

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

  /** Queues a frame that is to be sent right behind the event of this number, and before the next. */
  postAfter(seq: number, frame: Frame): void {
    if (this.closing !== undefined) return
    if (seq <= this.cursor) return this.post(frame)
    this.behind.push({ seq, frame })
    this.wake()
  }

  /** Moves what waits for events that have been sent into the outbox; answers the number up to which events may go now. */
  release(): number {
    while (this.behind.length > 0 && this.behind[0]!.seq <= this.cursor) this.outbox.push(this.behind.shift()!.frame)
    return this.behind[0]?.seq ?? Number.POSITIVE_INFINITY
  }

  /** As {@link post}, and waits until the frame is being sent, so that large replies do not pile up behind a slow reader. */
  postTaken(frame: Frame): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.closing !== undefined) return resume(Effect.void)
      this.takers.push(() => resume(Effect.void))
      this.post(frame)
    })
  }

  /** Takes what is to be sent next. */
  take(): ReadonlyArray<Frame> {
    const frames = this.outbox
    this.outbox = []
    const { takers } = this
    this.takers = []
    for (const taker of takers) taker()
    return frames
  }

  /** Closes the connection after what is in the outbox; nothing is sent after that. */
  end(code: number, reason: string): void {
    if (this.closing !== undefined) return
    this.closing = { code, reason }
    this.onEnd?.()
    this.wake()
  }

  /** Everything that there was has been sent. */
  sent(): void {
    if (this.flushing.length === 0) return
    const { flushing } = this
    this.flushing = []
    for (const resume of flushing) resume()
  }

  /** Waits until everything that there is has been sent, or the connection has ended. */
  readonly flushed: Effect.Effect<void> = Effect.suspend(() =>
    Effect.raceFirst(
      Effect.async<void>((resume) => {
        this.flushing.push(() => resume(Effect.void))
        this.wake()
      }),
      Effect.asVoid(this.connection.closed)
    )
  )

  /** Lets the pump look again. */
  wake(): void {
    if (!this.asleep) return
    this.asleep = false
    // In the next turn of the event loop, so that what is posted and stored in one turn (an acceptance, a first status, the result of
    // a job that ends at once) leaves in one write.
    defer(() => this.pump?.())
  }

  /**
   * The pump has nothing to do: it ends, and is begun anew when there may be something. It must have looked in the same step, so
   * that no wake is missed.
   */
  sleep(): void {
    this.asleep = true
  }

  /** Says how the pump is begun; undefined: never again. */
  pumpedBy(pump: (() => void) | undefined): void {
    this.pump = pump
  }
}
