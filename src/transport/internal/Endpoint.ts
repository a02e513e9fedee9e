/**
 * One end of a connection: what every transport does alike, over a {@link Driver} that moves the frames.
 *
 * Responsibility: the states of a connection (open, closing, ended), the bound on what waits to be read, and the queue of
 * senders that wait for room.
 *
 * Order: frames that are sent leave in the order of the calls. A send that finds no room waits, whole, behind those that
 * wait already; interrupted, it has sent nothing.
 *
 * Races closed:
 * - The first end counts, whether ours or the peer's: later ones change nothing, and all readers of `closed` see the same.
 * - A send that meets the end fails; it can neither hang nor write behind a close.
 * - A sender looks for room again once it waits: room, or the end, may have come between its look and its waiting.
 * - Frames that came before the end are read before the end. Frames that come after our own close are dropped, and the
 *   peer is no longer held back, so that its answer to the close is not stuck behind them.
 */
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import { closeCodes, type CloseInfo, type Connection, ConnectionClosed, type Inbound } from "../Connection.js"
import { plainFrame, type Sendable } from "../FrameParts.js"
import { Inbox } from "./Inbox.js"
import { sendingNow } from "./sends.js"

/** What moves the frames. All of it is called synchronously, `write` and `waiting` only while the connection is open. */
export interface Driver {
  /** Hands a batch over to the peer or the operating system. False: it is about to end, and nothing was written. */
  readonly write: (frames: ReadonlyArray<Sendable>) => boolean
  /** How much waits to leave, in the unit of `highWater`. Below it there is room. */
  readonly waiting: () => number
  /** Holds the peer back, and lets it go on. */
  readonly hold: () => void
  readonly release: () => void
  /** Starts to close, after what was written. In bounded time it calls {@link Endpoint.end}. */
  readonly shut: (code: number, reason: string) => void
  /** The largest frame that may be read from now on, in bytes; undefined: the driver's own limit. */
  readonly limitFrames?: (bytes: number | undefined) => void
  /** A sender has begun to wait: called for drivers that must poll for room. */
  readonly onWait?: () => void
}

export interface EndpointOptions {
  readonly transport: Connection["transport"]
  readonly secure: boolean
  /** Where sending begins to wait, in the driver's unit. */
  readonly highWater: number
  /** Where the peer is held back, in the unit of {@link Endpoint.push}'s size. */
  readonly inboundBound: number
  /** The reason of our own close, as it is reported. Default: as given. */
  readonly explain?: ((reason: string) => string) | undefined
}

interface Sender {
  readonly frames: ReadonlyArray<Sendable>
  readonly resume: (effect: Effect.Effect<void, ConnectionClosed>) => void
}

/** The text of a frame. */
export const frameText = (frame: Sendable): string => {
  const plain = plainFrame(frame)
  return typeof plain === "string" ? plain : JSON.stringify(plain)
}

export class Endpoint implements Connection {
  readonly transport: Connection["transport"]
  readonly secure: boolean
  remoteAddress: string | undefined
  readonly inbound: Stream.Stream<Inbound>

  private readonly driver: Driver
  private readonly options: EndpointOptions
  private readonly inbox: Inbox<Inbound>
  private state: "open" | "closing" | "ended" = "open"
  private info: CloseInfo = { code: closeCodes.abnormal, reason: "" }
  private held = false
  /** Where the peer is held back: at less while it has not been authenticated. */
  private inboundBound: number
  private senders: Array<Sender> = []
  private readonly endListeners = new Set<() => void>()
  private atInboundEnd: (() => void) | undefined

  constructor(driver: Driver, options: EndpointOptions) {
    this.driver = driver
    // with a bound of 0 nothing could ever be sent
    this.options = {
      ...options,
      highWater: Math.max(1, options.highWater),
      inboundBound: Math.max(1, options.inboundBound)
    }
    this.inboundBound = this.options.inboundBound
    this.transport = options.transport
    this.secure = options.secure
    this.inbox = new Inbox(
      () => this.taken(),
      () => this.atInboundEnd?.()
    )
    this.inbound = this.inbox.stream
  }

  /** How much waits to be read. */
  get unread(): number {
    return this.inbox.size
  }

  get isOpen(): boolean {
    return this.state === "open"
  }

  get isEnded(): boolean {
    return this.state === "ended"
  }

  /** How it ended, or is about to: meaningful once it is not open. */
  get outcome(): CloseInfo {
    return this.info
  }

  /** Whether a sender waits for room. */
  get hasWaiting(): boolean {
    return this.senders.length > 0
  }

  // --- what the driver reports

  /** A frame has arrived. Dropped once we have closed. */
  push(frame: Inbound, size: number): void {
    if (this.state === "closing") return
    this.inbox.push(frame, size)
    if (!this.held && this.inbox.size >= this.inboundBound) {
      this.held = true
      this.driver.hold()
    }
  }

  private taken(): void {
    if (!this.held) return
    this.held = false
    this.driver.release()
  }

  /** There may be room again: waiting senders go on, in order. */
  flushed(): void {
    while (this.senders.length > 0 && this.state === "open" && this.driver.waiting() < this.options.highWater) {
      const sender = this.senders.shift()!
      sender.resume(this.written(sender.frames))
    }
  }

  /** What has become of a waiting sender's frames. What cannot be written is its defect, not that of who made the room. */
  private written(frames: ReadonlyArray<Sendable>): Effect.Effect<void, ConnectionClosed> {
    try {
      return this.driver.write(frames) ? Effect.void : this.failWhenEnded
    } catch (cause) {
      return Effect.die(cause)
    }
  }

  /** Nothing more arrives; the other direction stays as it is until the reader has seen that, then `then` is called. */
  endInbound(then: () => void): void {
    this.atInboundEnd = then
    this.inbox.end()
  }

  /** The connection has ended. The first reason counts: our own close, else this one. */
  end(code: number, reason: string): void {
    if (this.state === "ended") return
    if (this.state === "open") this.info = { code, reason }
    this.state = "ended"
    this.inbox.end()
    this.failSenders()
    for (const listener of [...this.endListeners]) listener()
    this.endListeners.clear()
  }

  /** Starts to close. False if that has been done. */
  startClose(code: number, reason: string): boolean {
    if (this.state !== "open") return false
    this.state = "closing"
    this.info = { code, reason: this.options.explain?.(reason) ?? reason }
    this.failSenders()
    if (this.held) {
      this.held = false
      this.driver.release()
    }
    this.driver.shut(code, reason)
    return true
  }

  /** Calls `listener` once the connection has ended; at once if it has. */
  onEnd(listener: () => void): void {
    if (this.state === "ended") listener()
    else this.endListeners.add(listener)
  }

  private failSenders(): void {
    const senders = this.senders
    this.senders = []
    for (const sender of senders) sender.resume(Effect.fail(new ConnectionClosed(this.info)))
  }

  /** The peer has not been authenticated: it costs little until {@link admit}. */
  restrict(frameBytes: number): void {
    this.inboundBound = Math.min(this.options.inboundBound, frameBytes)
    this.driver.limitFrames?.(frameBytes)
  }

  // --- Connection

  readonly admit: Effect.Effect<void> = Effect.sync(() => {
    this.inboundBound = this.options.inboundBound
    this.driver.limitFrames?.(undefined)
  })

  readonly send = sendingNow(
    (frames: ReadonlyArray<Sendable>): Effect.Effect<void, ConnectionClosed> =>
      Effect.suspend(() => {
        if (this.state !== "open") return Effect.fail(new ConnectionClosed(this.info))
        if (frames.length === 0) return Effect.void
        if (!this.hasRoom) return this.waitToSend(frames)
        return this.driver.write(frames) ? Effect.void : this.failWhenEnded
      }),
    this
  )

  /** As {@link send}, where the frames leave in this step; false: none has been sent. */
  sendNow(frames: ReadonlyArray<Sendable>): boolean {
    return this.state === "open" && this.hasRoom && (frames.length === 0 || this.driver.write(frames))
  }

  private get hasRoom(): boolean {
    return this.senders.length === 0 && this.driver.waiting() < this.options.highWater
  }

  private waitToSend(frames: ReadonlyArray<Sendable>): Effect.Effect<void, ConnectionClosed> {
    return Effect.async((resume) => {
      const sender: Sender = { frames, resume }
      if (this.state !== "open") return resume(Effect.fail(new ConnectionClosed(this.info)))
      this.senders.push(sender)
      // A fiber may have given way between its look at the room and here: what has flushed meanwhile will not say so again.
      this.flushed()
      if (!this.senders.includes(sender)) return
      this.driver.onWait?.()
      return Effect.sync(() => {
        const index = this.senders.indexOf(sender)
        if (index >= 0) this.senders.splice(index, 1)
      })
    })
  }

  readonly closed: Effect.Effect<CloseInfo> = Effect.async((resume) => {
    if (this.state === "ended") return resume(Effect.succeed(this.info))
    const listener = (): void => resume(Effect.succeed(this.info))
    this.endListeners.add(listener)
    return Effect.sync(() => this.endListeners.delete(listener))
  })

  private get failWhenEnded(): Effect.Effect<never, ConnectionClosed> {
    return Effect.flatMap(this.closed, (info) => Effect.fail(new ConnectionClosed(info)))
  }

  readonly close = (code: number, reason: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      this.startClose(code, reason)
      return this.state === "ended" ? Effect.void : Effect.asVoid(this.closed)
    })
}
