/** Medians and spreads, and doing something many times. */

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
