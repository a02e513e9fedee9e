/** How fast a connection is read: so many messages a second, and more at once after a rest. */
import * as Effect from "effect/Effect"
import type { MeterShape } from "../../kernel/Metrics.js"

/** How many seconds' messages may come at once after a rest. */
const burst = 10

/** The allowance of one connection. */
export class Pace {
  private left: number
  private filledAt: number
  private readonly perSecond: number
  private readonly meter: MeterShape

  constructor(perSecond: number, now: number, meter: MeterShape) {
    this.meter = meter
    this.perSecond = perSecond
    this.left = perSecond * burst
    this.filledAt = now
  }

  /** Counts a message; what to wait for before it is read, where they come faster than they may. */
  next(now: () => number): Effect.Effect<void> | undefined {
    if (--this.left >= 0) return undefined
    const at = now()
    this.left = Math.min(this.left + ((at - this.filledAt) * this.perSecond) / 1000, this.perSecond * burst)
    this.filledAt = at
    if (this.left >= 0) return undefined
    this.meter.reached("messagesPerSecond")
    return Effect.sleep(Math.ceil((-this.left / this.perSecond) * 1000))
  }
}

/** Messages that say no more than that the client is there (§14, heartbeat amplification). */
export const isSignOfLife = (type: string): boolean =>
  type === "session.ping" || type === "session.pong" || type === "session.ack"
