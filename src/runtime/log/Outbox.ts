/**
 * A session's connection, seen from the session: what is to be sent, up to which event it has been sent, and sending it.
 *
 * Responsibility: replies that wait, the cursor of events, and one pump for each connection, with no fiber of it while there is nothing
 * to send.
 *
 * Order: replies leave before events that were committed with or after them, but for what has its place behind an event. Events leave
 * in the order of the session's numbers, live ones and those that are read back, because there is one cursor. Only the pump sends, so
 * frames never overtake each other; any part of the runtime may `post`.
 *
 * Races closed here: nothing follows a client's bye (1.0 §6.4), also where the store was being asked; between a look at what there is and falling
 * asleep there is no pause, so no wake is missed.
 *
 * Bounds: replies are encoded when they are posted and counted in bytes until the connection has taken them. At the bound, or
 * when replies are owed that would reach it, the connection's requests are not read ({@link Outbox.room}).
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { StoreError } from "../../store/Store.js"
import { closeCodes, type Connection, type ConnectionClosed, type Frame } from "../../transport/Connection.js"
import { sendFrames } from "../../transport/FrameParts.js"
import type { Deadline } from "../kernel/Deadlines.js"
import { smaller } from "../kernel/FrameSize.js"
import { type Due, pauseIfOver, sendSoon } from "../kernel/Turn.js"
import type { Source } from "./Source.js"
import { ReplyRoom, type RoomBounds } from "./internal/replyRoom.js"

/** How much of the outbox goes into one write, in bytes; at least one frame. What is left stays counted here. */
const batchBytes = 262_144

/** Bounds of the replies that wait on one link. */
export interface ReplyBounds extends RoomBounds {
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
  private due: Due = { run: () => this.pump?.(), timed: true }
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
    sendSoon(this.due)
  }

  /**
   * The pump has nothing to do: it ends, and is begun anew when there may be something. It must have looked in the same step, so
   * that no wake is missed.
   */
  sleep(): void {
    this.asleep = true
  }

  /** Says how the pump is begun, and whether a turn may be over for it; undefined: never again. */
  pumpedBy(pump: (() => void) | undefined, timed = true): void {
    this.pump = pump
    this.due = { ...this.due, timed }
  }
}

/** Whether there may be more to send. */
type Step = Effect.Effect<boolean, ConnectionClosed | StoreError>

const sending = (source: Source, link: Outbox, cursor: number, now: number): void => {
  link.handOver(cursor, now)
  source.seen(now)
}

/** Sends events that have to be read back. */
const readBack = (source: Source, link: Outbox, last: number, now: number): Step =>
  Effect.flatMap(source.read(link.cursor, last, now), (read) => {
    // The client may have left while the store was asked: nothing follows its bye (1.0 §6.4).
    if (link.closing !== undefined) return Effect.succeed(true)
    if (read === undefined) {
      link.post(source.gone())
      link.end(closeCodes.policy, "RESUME_WINDOW_EXPIRED")
      return Effect.succeed(true)
    }
    sending(source, link, read.cursor, now)
    return Effect.as(sendFrames(link.connection, read.frames), true)
  })

/** Sends what there is next, and answers whether there may be more. */
const next = (source: Source, link: Outbox): Step => {
  const { connection } = link
  link.settle()
  const upTo = link.release()
  const now = source.now()
  const replies = link.hasReplies ? link.take() : undefined
  if (replies !== undefined) link.said(now)
  if (link.closing !== undefined) {
    return replies !== undefined
      ? Effect.as(connection.send(replies), true)
      : Effect.as(connection.close(link.closing.code, link.closing.reason), false)
  }
  // Replies that are left leave before events that may belong behind them.
  if (replies !== undefined && link.hasReplies) return Effect.as(connection.send(replies), true)
  if (link.cursor >= source.seq) {
    if (replies !== undefined) return Effect.as(connection.send(replies), true)
    link.sent()
    link.sleep()
    return Effect.succeed(false)
  }
  const last = Math.min(source.seq, upTo)
  const events = source.ready(link.cursor, last, now)
  if (events !== undefined) {
    sending(source, link, events.cursor, now)
    return Effect.as(
      sendFrames(connection, replies === undefined ? events.frames : [...replies, ...events.frames]),
      true
    )
  }
  return replies !== undefined ? Effect.as(connection.send(replies), true) : readBack(source, link, last, now)
}

/** Sends what the session has. Ends when that is done, and with the connection. */
const pump = (source: Source, link: Outbox): Effect.Effect<void> => {
  const step = Effect.suspend(() => next(source, link))
  let more = true
  let sent = false
  return Effect.whileLoop({
    while: () => more,
    // Between two steps, never between a look at what there is and falling asleep.
    body: () => {
      const wait = sent ? pauseIfOver() : undefined
      sent = true
      return wait === undefined ? step : Effect.zipRight(wait, step)
    },
    step: (left) => {
      more = left
    }
  }).pipe(
    Effect.catchTags({
      ConnectionClosed: () => Effect.sync(() => link.abandon()),
      StoreError: (error) =>
        Effect.zipRight(
          Effect.logError("a session's log could not be read", error),
          Effect.zipRight(
            Effect.sync(() => link.abandon()),
            link.connection.close(closeCodes.tryAgainLater, "the store is not available")
          )
        )
    }),
    Effect.asVoid
  )
}

/** Lets a session's pump run whenever there is something to send, until the scope closes. No fiber waits for that. */
export const pumped = (
  source: Source,
  link: Outbox,
  runFork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>,
  timed: boolean
): Effect.Effect<void, never, Scope.Scope> => {
  let running: Fiber.RuntimeFiber<void> | undefined
  link.pumpedBy(() => {
    const fiber = runFork(pump(source, link))
    if (fiber.unsafePoll() !== null) return
    running = fiber
    fiber.addObserver(() => {
      // It may have fallen asleep, and the next have been begun, before it ended.
      if (running === fiber) running = undefined
    })
  }, timed)
  link.wake()
  return Effect.addFinalizer(() => {
    link.pumpedBy(undefined)
    return running === undefined ? Effect.void : Fiber.interrupt(running)
  })
}
