/**
 * A session's connection, seen from the session: what is to be sent, and up to which event it has been sent.
 *
 * Responsibility: replies that wait, and the cursor of events. `Pump` sends them.
 *
 * Order: replies leave before events that were committed with or after them, but for what has its place behind an event. Only the pump sends,
 * so frames never overtake each other; any part of the runtime may `post`.
 *
 * Bounds (ARCP 1.1 §14): replies are encoded when they are posted and counted in bytes until the connection has taken them. At the bound, or
 * when replies are owed that would reach it, the connection's requests are not read ({@link Outbox.room}) until both are at half of it, so
 * that a full connection is not waited for once for each request.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import type { Connection, Frame } from "../../transport/Connection.js"
import type { Deadline } from "../kernel/Deadlines.js"
import { smaller } from "../kernel/FrameSize.js"
import { type Due, sendSoon, thisTurn } from "../kernel/Turn.js"

/** How much of the outbox goes into one write, in bytes; at least one frame. What is left stays counted here. */
const batchBytes = 262_144

/** Replies and their encoded bytes that may wait. */
interface RoomBounds {
  readonly replies: number
  readonly replyBytes: number
}

/** Bounds of the replies that wait on one link. */
export interface ReplyBounds extends RoomBounds {
  /** Encoded bytes of one frame; what {@link smaller} makes of it takes the place of a larger one. Default: any. */
  readonly maxFrameBytes?: number
}

/**
 * The room for the replies of one connection: counts what was posted and has not been sent, and what requests that have been read are
 * expected to bring.
 */
class ReplyRoom {
  private readonly bounds: RoomBounds
  /** Everything that was posted and has not been sent. */
  private unsent = 0
  private unsentBytes = 0
  /** Replies to requests that have been read, and how large they are expected to be. */
  private owed = 0
  private owedBytes = 0
  /** Made when it is first waited for. */
  private low: Effect.Latch | undefined = undefined
  /** Whether the connection sends no more: nothing waits for it. */
  private over = false

  constructor(bounds: RoomBounds) {
    this.bounds = bounds
  }

  /** A frame was posted. */
  add(bytes: number): void {
    this.unsent++
    this.unsentBytes += bytes
  }

  /** So many frames have been sent. */
  sent(frames: number, bytes: number): void {
    this.unsent -= frames
    this.unsentBytes -= bytes
    this.signal()
  }

  /** A reply comes later, and is expected to have so many bytes; call what this returns when it is posted. */
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

  /** The connection sends no more. */
  end(): void {
    this.over = true
    this.signal()
  }

  /** Whether the next request may be read. */
  get isOpen(): boolean {
    return (
      this.over ||
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

  private get isLow(): boolean {
    return (
      this.over ||
      (2 * (this.unsent + this.owed) <= this.bounds.replies &&
        2 * (this.unsentBytes + this.owedBytes) <= this.bounds.replyBytes)
    )
  }

  private signal(): void {
    if (this.low !== undefined && this.isLow) this.low.unsafeOpen()
  }

  /** Waits until there is room again. It is looked at again in the step that begins to wait, so that no wake is missed. */
  readonly opened: Effect.Effect<void> = Effect.suspend(() => {
    if (this.isOpen) return Effect.void
    this.low ??= Effect.unsafeMakeLatch()
    this.low.unsafeClose()
    return this.low.await
  })
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
  private readonly maxFrameBytes: number
  private readonly replyRoom: ReplyRoom
  /** Whether the connection has ended: nothing is kept for it. */
  private gone = false
  private ended: Ending | undefined = undefined
  private heardAt: number
  private saidAt: number
  private heartbeat: Deadline | undefined = undefined
  private readonly overdueBy: ((ending: Ending) => Deadline) | undefined
  private overdue: Deadline | undefined = undefined
  /** Open when everything has been sent; made when it is first waited for, as the next. */
  private drained: Effect.Latch | undefined = undefined
  private pump: (() => void) | undefined = undefined
  private asleep = true
  private due: Due = { run: () => this.run(), timed: true }
  /** The turn in which it was to send, and has not come to it; below 0 where it has. */
  private dueSince = -1
  /** Open when the outbox has been taken. */
  private emptied: Effect.Latch | undefined = undefined

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
    this.maxFrameBytes = bounds.maxFrameBytes ?? Number.POSITIVE_INFINITY
    this.replyRoom = new ReplyRoom(bounds)
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

  /** Sets the next look at whether the client is alive, in place of the one before. */
  watch(heartbeat: Deadline | undefined): void {
    this.heartbeat?.cancel()
    this.heartbeat = heartbeat
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
    return smaller(typeof frame === "string" ? frame : JSON.stringify(frame), this.maxFrameBytes)
  }

  private count(text: string): number {
    const bytes = Buffer.byteLength(text)
    this.replyRoom.add(bytes)
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
    return Effect.suspend(() => {
      if (this.deaf) return Effect.void
      this.emptied ??= Effect.unsafeMakeLatch()
      this.emptied.unsafeClose()
      this.post(frame)
      return this.emptied.await
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
    if (this.replies.length === 0) this.emptied?.unsafeOpen()
    return end === outbox.length ? outbox : outbox.slice(0, end)
  }

  /** What was taken has been sent. */
  settle(): void {
    if (this.taken === 0) return
    this.replyRoom.sent(this.taken, this.takenBytes)
    this.taken = 0
    this.takenBytes = 0
  }

  /**
   * A request has been read whose reply comes later, and is expected to have so many bytes. Call what this returns when it is posted.
   */
  owe(bytes: number): () => void {
    return this.replyRoom.owe(bytes)
  }

  /** Whether the next request may be read. */
  get hasRoom(): boolean {
    return this.replyRoom.isOpen
  }

  /** The bound that unsent replies have reached, where it is they, and not requests that are being answered. */
  get full(): "replies" | "replyBytes" | undefined {
    return this.replyRoom.full
  }

  /** Waits until there is room again: less than half of both bounds. */
  get room(): Effect.Effect<void> {
    return this.replyRoom.opened
  }

  /** The connection has ended: drops what waits, and takes no more. */
  abandon(): void {
    if (this.gone) return
    this.gone = true
    this.replies = []
    this.outboxBytes = 0
    this.behind.length = 0
    this.emptied?.unsafeOpen()
    this.replyRoom.end()
  }

  /** Closes the connection after what is in the outbox; nothing is sent after that. */
  end(code: number, reason: string): void {
    if (this.ended !== undefined) return
    this.ended = { code, reason }
    this.overdue = this.overdueBy?.(this.ended)
    this.replyRoom.end()
    this.wake()
  }

  /** The connection has ended: nothing is waited for. */
  left(): void {
    this.watch(undefined)
    this.overdue?.cancel()
  }

  /** Everything that there was has been sent. */
  sent(): void {
    this.drained?.unsafeOpen()
  }

  /** Waits until everything that there is has been sent, or the connection has ended. */
  readonly flushed: Effect.Effect<void> = Effect.suspend(() =>
    Effect.raceFirst(
      Effect.suspend(() => {
        this.drained ??= Effect.unsafeMakeLatch()
        this.drained.unsafeClose()
        this.wake()
        return this.drained.await
      }),
      Effect.asVoid(this.connection.closed)
    )
  )

  /** Lets the pump look again. */
  wake(): void {
    if (!this.asleep) return
    this.asleep = false
    // At the end of what is prompt in a turn, so that what is posted and stored in one turn (an acceptance, a first status, the result of
    // a job that ends at once) leaves in one write.
    this.sendOn()
  }

  /**
   * The pump has nothing to do: it ends, and is begun anew when there may be something. It must have looked in the same step, so
   * that no wake is missed.
   */
  sleep(): void {
    this.asleep = true
  }

  /** The turn is over for the pump: it goes on in the next. */
  sendOn(): void {
    this.dueSince = thisTurn()
    sendSoon(this.due)
  }

  private run(): void {
    this.dueSince = -1
    this.pump?.()
  }

  /** Whether it has something to send for which there was no time: not where it waits for its socket or the store. */
  get isDue(): boolean {
    return this.dueSince >= 0
  }

  /** Whether it has had it since an earlier turn. */
  get isLate(): boolean {
    return this.isDue && this.dueSince < thisTurn()
  }

  /** Says how the pump is begun, and whether a turn may be over for it; undefined: never again. */
  pumpedBy(pump: (() => void) | undefined, timed = true): void {
    this.pump = pump
    this.due = { ...this.due, timed }
  }
}
