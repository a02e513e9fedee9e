/** Numbers from a seed: the same in every run. */
export interface Random {
  /** From 0 to below 1. */
  readonly next: () => number
  /** A whole number from `low` to `high`. */
  readonly int: (low: number, high: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(items: ReadonlyArray<A>) => A
}

/** What several numbers are as one. */
const mixed = (seeds: ReadonlyArray<number>): number => {
  let state = 0x9e3779b9
  for (const seed of seeds) {
    state = Math.imul(state ^ (seed >>> 0), 0x85ebca6b)
    state = Math.imul(state ^ (state >>> 13) ^ Math.floor(seed / 4_294_967_296), 0xc2b2ae35)
    state ^= state >>> 16
  }
  return state >>> 0
}

/** A generator of its own for each list of seeds. */
export const randomOf = (...seeds: ReadonlyArray<number>): Random => {
  let state = mixed(seeds)
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    int: (low, high) => low + Math.floor(next() * (high - low + 1)),
    chance: (probability) => next() < probability,
    pick: (items) => items[Math.floor(next() * items.length)]!
  }
}
