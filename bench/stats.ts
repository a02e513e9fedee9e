/** Medians and spreads, doing something many times, and bounds of time. */

/** The value below which a share of the values lies. */
export const quantile = (values: ArrayLike<number>, share: number): number => {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** A figure over several runs. */
export interface Sample {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly runs: ReadonlyArray<number>
}

export const sampleOf = (runs: ReadonlyArray<number>): Sample => {
  const sorted = runs.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)!, runs }
}

/** Does something so many times, some of it at once. */
export const inGroups = async (count: number, task: () => Promise<void>): Promise<void> => {
  for (let done = 0; done < count; done += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - done) }, task))
  }
}

/** Waits so long at most, in milliseconds; then it fails with what `why` says. */
export const within = async <A>(millis: number, task: Promise<A>, why: () => string): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${why()} within ${millis / 1000} s`)), millis)
  })
  try {
    return await Promise.race([task, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Of times in microseconds, as milliseconds; fails where hardly any have come. */
export const latencies = (times: ReadonlyArray<number>, atLeast: number) => {
  if (times.length < atLeast) throw new Error(`only ${times.length} events came of ${atLeast} streams`)
  return { p50: quantile(times, 0.5) / 1000, p99: quantile(times, 0.99) / 1000 }
}

/** Numbers from 0 to below 1, the same ones for the same seed (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = (seed + 1) * 0x9e3779b9
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
