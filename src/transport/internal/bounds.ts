/** Option values as drivers can take them. */
import * as Duration from "effect/Duration"

const maximum = 2_147_483_647

/** Whole milliseconds that fit a 32-bit timer: an endless duration becomes the longest, not none. */
export const millis = (duration: Duration.DurationInput): number =>
  Math.min(maximum, Math.max(1, Math.ceil(Duration.toMillis(duration))))

/** A size in bytes that is at least 1 and fits 32 bits: `ws` takes 0 and what overflows for "no limit". */
export const bytes = (size: number): number => Math.min(maximum, Math.max(1, Math.floor(size)))
