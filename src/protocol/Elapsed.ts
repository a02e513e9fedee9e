/**
 * Elapsed time: what every wait, time-out and rate is measured by, since wall time is set back and forth while a process runs.
 */
import type * as Clock from "effect/Clock"

/**
 * Reads a clock's elapsed time in milliseconds since an origin that means nothing: it goes on when wall time is set, and it never goes back.
 * `TestClock` drives it together with wall time.
 */
export const elapsedOf = (clock: Clock.Clock): (() => number) => {
  let latest = Number.NEGATIVE_INFINITY
  return () => {
    const now = Number(clock.unsafeCurrentTimeNanos()) / 1e6
    // A clock of the program's own may go back.
    if (now > latest) latest = now
    return latest
  }
}
