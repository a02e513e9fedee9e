/**
 * What a callback reports once, for a fiber that may begin to wait for it later: between two of its steps a fiber may give way,
 * and what is reported meanwhile would be missed by a listener that it attaches then.
 */
import * as Effect from "effect/Effect"

export class Settled<A, E> {
  private outcome: Effect.Effect<A, E> | undefined
  private resume: ((outcome: Effect.Effect<A, E>) => void) | undefined

  /** Reports; the first report counts. */
  settle(outcome: Effect.Effect<A, E>): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    this.resume?.(outcome)
  }

  /** Waits for the report; at most one fiber. */
  readonly wait: Effect.Effect<A, E> = Effect.async<A, E>((resume) => {
    if (this.outcome !== undefined) return resume(this.outcome)
    this.resume = resume
  })
}
