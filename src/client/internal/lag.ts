/**
 * Back-pressure on the connection: nothing is read while a consumer is further behind than its buffer (ARCP 1.1 §6.5).
 *
 * Races: a consumer takes events while the reader begins to wait: a signal before the wait is not lost. A job that is lost
 * meanwhile stops holding up the reader (`lookAgain`).
 */
import * as Effect from "effect/Effect"
import type { Core } from "./core.js"
import { Signal } from "./signal.js"

/** Whether the reader of one client waits for its consumers. */
export class Lag {
  private readonly core: Core
  private readonly taken = new Signal()
  private paused = false

  constructor(core: Core) {
    this.core = core
  }

  /** Whether nothing is read for the moment. */
  get isPaused(): boolean {
    return this.paused
  }

  /** Whether a consumer is behind by more than its buffer. */
  isOver(): boolean {
    for (const job of this.core.registry.behind) if (job.isBehind(1)) return true
    return false
  }

  /** A consumer has taken something, or was closed. */
  consumed(): void {
    this.taken.signal()
  }

  /** Checks again: something other than a consumer may have ended the lag. */
  lookAgain(): void {
    if (this.paused) this.taken.signal()
  }

  /** Returns once no consumer is too far behind. */
  readonly wait: Effect.Effect<void> = Effect.suspend(() => {
    this.paused = this.isOver()
    return this.paused ? Effect.zipRight(this.taken.wait, this.wait) : Effect.void
  })
}
