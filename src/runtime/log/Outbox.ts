/**
 * A session's connection, seen from the session: what is to be sent, and up to which event it has been sent.
 *
 * Order: replies leave before events that were committed with or after them. Only the pump of the link sends, so frames
 * never overtake each other; anybody may `post`.
 *
 * Bounds: replies are encoded when they are posted and counted in bytes until the connection has taken them. At the bound, or
 * when replies are owed that would reach it, the connection's requests are not read ({@link Outbox.room}).
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import type { Connection, Frame } from "../../transport/Connection.js"
import type { Deadline } from "../kernel/Deadlines.js"
import { smaller } from "../kernel/FrameSize.js"
import { defer } from "../kernel/Turn.js"

/** How much of the outbox goes into one write, in bytes; at least one frame. What is left stays counted here. */
const batchBytes = 262_144

/** Bounds of the replies that wait on one link. */
export interface ReplyBounds {
  readonly replies: number
  readonly replyBytes: number
  /** Encoded bytes of one frame; what {@link smaller} makes of it takes the place of a larger one. Default: any. */
  readonly maxFrameBytes?: number
}

/** How a connection is closed. */
export interface Ending {
  readonly code: number
  readonly reason: string
}

/** The sending side of one connection. */
export class Outbox {
  readonly connection: Connection
  /** The last event that the client had when it connected. */
  readonly start: number
  private handed: number
  private replayTo = 0
  private replayBytesTo = 0
  /** Frames that are not events, to be sent next. */
  private replies: Array<string> = []
  private outboxBytes = 0
  /** Frames that are not events and have their place behind one, in order. */
  private readonly behind: Array<{ readonly seq: number; readonly text: string; readonly bytes: number }> = []
  /** Frames that {@link take} has handed out and that are being sent. */
  private taken = 0
  private takenBytes = 0
  /** Everything that was posted and has not been sent. */
  private unsent = 0
  private unsentBytes = 0
  /** Replies to requests that have been read, and how large they are expected to be. */
  private owed = 0
  private owedBytes = 0
  private readonly bounds: ReplyBounds
  private roomWaiters: Array<() => void> = []
  /** Whether the connection has ended: nothing is kept for it. */
  private gone = false
  private ended: Ending | undefined = undefined
  private hasConfirmed = false
  private heardAt: number
  private saidAt: number
  private heartbeat: Deadline | undefined = undefined
  private badInARow = 0
  private readonly overdueBy: ((ending: Ending) => Deadline) | undefined
  private overdue: Deadline | undefined = undefined
  /** Who waits until everything has been sent. */
  private flushing: Array<() => void> = []
  private pump: (() => void) | undefined = undefined
  private asleep = true
  private takers: Array<() => void> = []

  /**
   * `overdue` is called when the end is asked for, and schedules what closes the connection if the outbox has not left in time: a
   * peer that does not read must not put the end off.
   */
  constructor(
    connection: Connection,
    cursor: number,
    now: number,
    bounds: ReplyBounds,
    overdue?: (ending: Ending) => Deadline
  ) {
    this.connection = connection
    this.start = cursor
    this.handed = cursor
    this.heardAt = now
    this.saidAt = now
    this.bounds = bounds
    this.overdueBy = overdue
  }

  private get deaf(): boolean {
    return this.gone || this.ended !== undefined
  }

  /** The last event that has been handed to the connection. */
  get cursor(): number {
    return this.handed
  }

  /** The session's last event when the connection came: older ones are a replay, in which the client is not slow yet. */
  get since(): number {
    return this.replayTo
  }

  /** The bytes that the session had been given by then. */
  get sinceBytes(): number {
    return this.replayBytesTo
  }

  /** The connection comes to a session that has so many events and bytes. */
  replays(seq: number, bytes: number): void {
    this.replayTo = seq
    this.replayBytesTo = bytes
  }

  /** Events up to a number are being handed to the connection. */
  handOver(cursor: number, now: number): void {
    this.handed = cursor
    this.saidAt = now
  }

  /** When something last came from the client. Milliseconds since the epoch, as the next. */
  get lastIn(): number {
    return this.heardAt
  }

  /** When something was last sent, a heartbeat that was not answered included. */
  get lastOut(): number {
    return this.saidAt
  }

  /** Something has come from the client. */
  heard(now: number): void {
    this.heardAt = now
  }

  /** Something is being sent. */
  said(now: number): void {
    this.saidAt = now
  }

  /** The next look at whether the client is alive; the one before is not waited for any more. */
  watch(heartbeat: Deadline | undefined): void {
    this.heartbeat?.cancel()
    this.heartbeat = heartbeat
  }

  /** A frame that is no message; answers how many there were in a row. */
  bad(): number {
    return ++this.badInARow
  }

  /** A frame that is a message. */
  good(): void {
    this.badInARow = 0
  }

  /** Whether the client has shown that it holds the token of the last welcome. */
  get confirmed(): boolean {
    return this.hasConfirmed
  }

  /** The client has shown it. */
  confirm(): void {
    this.hasConfirmed = true
  }

  /** How the connection is to be closed once the outbox has left; undefined: it is not. */
  get closing(): Ending | undefined {
    return this.ended
  }

  /** Frames that are not events, to be sent next. */
  get outbox(): ReadonlyArray<string> {
    return this.replies
  }

  /** Whether there are any. */
  get hasReplies(): boolean {
    return this.replies.length > 0
  }

  private text(frame: Frame): string {
    return smaller(typeof frame === "string" ? frame : JSON.stringify(frame), this.bounds.maxFrameBytes ?? Infinity)
  }

  private count(text: string): number {
    const bytes = Buffer.byteLength(text)
    this.unsent++
    this.unsentBytes += bytes
    return bytes
  }

  /** Queues a frame that is not an event. */
  post(frame: Frame): void {
    if (this.deaf) return
    const text = this.text(frame)
    this.replies.push(text)
    this.outboxBytes += this.count(text)
    this.wake()
  }

  /** Queues a frame that is to be sent right behind the event of this number, and before the next. */
  postAfter(seq: number, frame: Frame): void {
    if (this.deaf) return
    if (seq <= this.handed) return this.post(frame)
    const text = this.text(frame)
    this.behind.push({ seq, text, bytes: this.count(text) })
    this.wake()
  }

  /** Moves what waits for events that have been sent into the outbox; returns the number up to which events may go now. */
  release(): number {
    while (this.behind.length > 0 && this.behind[0]!.seq <= this.handed) {
      const { bytes, text } = this.behind.shift()!
      this.replies.push(text)
      this.outboxBytes += bytes
    }
    return this.behind[0]?.seq ?? Number.POSITIVE_INFINITY
  }

  /** As {@link post}, and waits until the frame is being sent, so that large replies do not pile up behind a slow reader. */
  postTaken(frame: Frame): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (this.deaf) return resume(Effect.void)
      this.takers.push(() => resume(Effect.void))
      this.post(frame)
    })
  }

  /**
   * Takes what is to be sent next: all of the outbox, or where that is more than one write should have, its beginning. It counts
   * until {@link settle}.
   */
  take(): ReadonlyArray<string> {
    const outbox = this.replies
    let end = outbox.length
    let bytes = this.outboxBytes
    if (bytes > batchBytes) {
      bytes = Buffer.byteLength(outbox[0]!)
      for (end = 1; end < outbox.length; end++) {
        const size = Buffer.byteLength(outbox[end]!)
        if (bytes + size > batchBytes) break
        bytes += size
      }
    }
    this.replies = end === outbox.length ? [] : outbox.slice(end)
    this.outboxBytes -= bytes
    this.taken += end
    this.takenBytes += bytes
    if (this.replies.length === 0) this.wakeTakers()
    return end === outbox.length ? outbox : outbox.slice(0, end)
  }

  private wakeTakers(): void {
    if (this.takers.length === 0) return
    const { takers } = this
    this.takers = []
    for (const taker of takers) taker()
  }

  /** What was taken has been sent. */
  settle(): void {
    if (this.taken === 0) return
    this.unsent -= this.taken
    this.unsentBytes -= this.takenBytes
    this.taken = 0
    this.takenBytes = 0
    this.signal()
  }

  /**
   * A request has been read whose reply comes later, and is expected to have so many bytes. Call what this returns when it is posted.
   */
  owe(bytes: number): () => void {
    let open = true
    this.owed++
    this.owedBytes += bytes
    return () => {
      if (!open) return
      open = false
      this.owed--
      this.owedBytes -= bytes
      this.signal()
    }
  }

  /** Whether the next request may be read. */
  get hasRoom(): boolean {
    return (
      this.deaf ||
      (this.unsent + this.owed < this.bounds.replies && this.unsentBytes + this.owedBytes < this.bounds.replyBytes)
    )
  }

  /** The bound that unsent replies have reached, where it is they, and not requests that are being answered. */
  get full(): "replies" | "replyBytes" | undefined {
    return this.unsentBytes >= this.bounds.replyBytes
      ? "replyBytes"
      : this.unsent >= this.bounds.replies
        ? "replies"
        : undefined
  }

  /** At half of both bounds, so that a full link is not waited for once for each request. */
  private get isLow(): boolean {
    return (
      this.deaf ||
      (2 * (this.unsent + this.owed) <= this.bounds.replies &&
        2 * (this.unsentBytes + this.owedBytes) <= this.bounds.replyBytes)
    )
  }

  private signal(): void {
    if (this.roomWaiters.length === 0 || !this.isLow) return
    const waiters = this.roomWaiters
    this.roomWaiters = []
    for (const waiter of waiters) waiter()
  }

  /**
   * Waits until there is room again: less than half of both bounds. {@link hasRoom} is looked at again where it registers, in one step,
   * so that no wake is missed.
   */
  readonly room: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.hasRoom) return resume(Effect.void)
    const waiter = (): void => resume(Effect.void)
    this.roomWaiters.push(waiter)
    return Effect.sync(() => {
      const at = this.roomWaiters.indexOf(waiter)
      if (at >= 0) this.roomWaiters.splice(at, 1)
    })
  })

  /** The connection has ended: drops what waits, and takes no more. */
  abandon(): void {
    if (this.gone) return
    this.gone = true
    this.replies = []
    this.outboxBytes = 0
    this.behind.length = 0
    this.wakeTakers()
    this.signal()
  }

  /** Closes the connection after what is in the outbox; nothing is sent after that. */
  end(code: number, reason: string): void {
    if (this.ended !== undefined) return
    this.ended = { code, reason }
    this.overdue = this.overdueBy?.(this.ended)
    this.signal()
    this.wake()
  }

  /** The connection has ended: nothing is waited for. */
  left(): void {
    this.watch(undefined)
    this.overdue?.cancel()
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
