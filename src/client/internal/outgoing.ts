/**
 * Frames to be sent, in their order, and the requests among them.
 *
 * The connection's owner takes both synchronously, so that the time of a request counts from its writing (see `inFlight`).
 */
import type { Frame } from "../../transport/Connection.js"
import type { Pending } from "./match.js"

const noRequests: ReadonlyArray<Pending> = []

/** The frames that wait to be handed to the transport. */
export class Outgoing {
  private frames: Array<Frame> = []
  private unwritten: Array<Pending> = []

  /** How many frames wait. */
  get size(): number {
    return this.frames.length
  }

  push(frame: Frame): void {
    this.frames.push(frame)
  }

  /** Queues the frame of a request. */
  pushRequest(frame: Frame, pending: Pending): void {
    this.unwritten.push(pending)
    this.frames.push(frame)
  }

  /** Drops what is queued: it was for a connection that has ended. */
  clear(): void {
    this.frames = []
    this.unwritten = []
  }

  /** Takes what is to be sent. */
  take(): Array<Frame> {
    const { frames } = this
    this.frames = []
    return frames
  }

  /** Requests among what {@link take} has returned. */
  takeUnwritten(): ReadonlyArray<Pending> {
    if (this.unwritten.length === 0) return noRequests
    const { unwritten } = this
    this.unwritten = []
    return unwritten
  }
}
