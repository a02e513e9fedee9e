/**
 * One connection as its fibers share it: what has arrived, the outcome that was settled, and the times of writes.
 *
 * Races: an outcome that a frame has settled takes precedence over the way in which the connection ends, since it says why.
 */
import { Attempt } from "./attempt.js"
import { Signal } from "./signal.js"
import type { Outcome } from "./succession.js"

/** The state of one connection. Times are milliseconds. */
export class Link {
  readonly attempt = new Attempt()
  /** The welcome has come. */
  readonly welcome = new Signal()
  /** The first frame cannot be read. */
  readonly garbage = new Signal()
  private settled: Outcome | undefined = undefined
  private sentAt = 0
  private since: number | undefined = undefined

  /** The outcome that a frame or a fault has settled; undefined where the end of the connection decides. */
  get outcome(): Outcome | undefined {
    return this.settled
  }

  /** When frames were last handed to the transport. */
  get lastOut(): number {
    return this.sentAt
  }

  /** When the frames that are being written were handed over; undefined while none are. */
  get writingSince(): number | undefined {
    return this.since
  }

  settle(outcome: Outcome): void {
    this.settled = outcome
  }

  /** The hello has been written. */
  opened(now: number): void {
    this.sentAt = now
  }

  /** Frames are handed to the transport. */
  writes(now: number): void {
    this.sentAt = now
    this.since = now
  }

  /** The transport has taken them. */
  written(): void {
    this.since = undefined
  }
}
