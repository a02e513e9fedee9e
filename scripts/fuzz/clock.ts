/** A clock that goes as fast as it is told: waits of minutes take no time, whatever they are for. */
import { Clock, Duration, Effect } from "effect"

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

export class FastClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private now = Date.UTC(2026, 0, 1)
  private readonly sleepers = new Set<Sleeper>()

  unsafeCurrentTimeMillis(): number {
    return this.now
  }
  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.now) * 1_000_000n
  }
  readonly currentTimeMillis: Effect.Effect<number> = Effect.sync(() => this.now)
  readonly currentTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const sleeper = { at: this.now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.sleepers.add(sleeper)
      return Effect.sync(() => void this.sleepers.delete(sleeper))
    })
  }

  /** Moves on by so many milliseconds, and wakes whoever has slept long enough, the first to wake first. */
  advance(millis: number): void {
    this.now += millis
    const due = [...this.sleepers].filter(({ at }) => at <= this.now).toSorted((a, b) => a.at - b.at)
    for (const sleeper of due) {
      this.sleepers.delete(sleeper)
      sleeper.wake()
    }
  }

  /** How many wait. */
  get waiting(): number {
    return this.sleepers.size
  }
}
