/**
 * A signal from one fiber to another.
 *
 * Races: a signal before the wait is not lost; several of them before it count as one.
 */
import * as Effect from "effect/Effect"

/** An event that one fiber waits for and others signal. */
export class Signal {
  private set = false
  private resume: (() => void) | undefined = undefined
  readonly signal = (): void => {
    const { resume } = this
    if (resume === undefined) this.set = true
    else {
      this.resume = undefined
      resume()
    }
  }
  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.set) {
      this.set = false
      return resume(Effect.void)
    }
    this.resume = () => resume(Effect.void)
    return Effect.sync(() => {
      this.resume = undefined
    })
  })
}
