/** Sizes as drivers can take them. */

const maximum = 2_147_483_647

/** A size in bytes that is at least 1 and fits 32 bits: `ws` takes 0 and what overflows for "no limit". */
export const bytes = (size: number): number => Math.min(maximum, Math.max(1, Math.floor(size)))
