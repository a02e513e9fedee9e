/**
 * How many replies one connection may owe (ARCP 1.1 §14).
 *
 * Responsibility: counts what was posted and has not been sent, and what requests that have been read are expected to bring. At the bound
 * no more requests are read, until both are at half of it, so that a full connection is not waited for once for each request.
 */
import * as Effect from "effect/Effect"

/** Replies and their encoded bytes that may wait. */
export interface RoomBounds {
  readonly replies: number
  readonly replyBytes: number
}

/** The room for the replies of one connection. */
export class ReplyRoom {
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
