/** A clock whose wall time a test sets, forth and back, while time passes as `TestClock` says. */
import { Clock, Duration, Effect } from "effect"

/** The clock, to be given to what is tested by `Effect.withClock`; and how it is set, by so much. */
export const settableClock = Effect.map(Effect.clock, (base) => {
  let ahead = 0
  const millis = (): number => base.unsafeCurrentTimeMillis() + ahead
  // TestClock's own methods move the time of its prototype.
  const clock: Clock.Clock = Object.assign(Object.create(base) as Clock.Clock, {
    unsafeCurrentTimeMillis: millis,
    currentTimeMillis: Effect.sync(millis),
    // Of the base, which makes it of the milliseconds that it has.
    unsafeCurrentTimeNanos: () => base.unsafeCurrentTimeNanos()
  })
  const set = (by: Duration.DurationInput, sign: 1 | -1): Effect.Effect<void> =>
    Effect.sync(() => {
      ahead += sign * Duration.toMillis(by)
    })
  return {
    clock,
    forth: (by: Duration.DurationInput) => set(by, 1),
    back: (by: Duration.DurationInput) => set(by, -1)
  }
})

export type SettableClock = Effect.Effect.Success<typeof settableClock>

/** Runs a test by such a clock, which begins long after the epoch. */
export const bySettableClock = <A, E, R>(
  test: (clock: SettableClock) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(settableClock, (settable) =>
    Effect.withClock(Effect.zipRight(settable.forth("365 days"), test(settable)), settable.clock)
  )
