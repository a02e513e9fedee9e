/**
 * Matching by bit-parallel simulation: the active states of a pattern's automaton are bits, a character of the text costs
 * one pass over their words. No pattern and no text makes it slower than `length of text × words of pattern`; nothing is
 * tried twice. The literal start of a pattern is compared natively first, which settles most of the patterns of a lease.
 */
import { admits, type Nfa, specials, takes } from "./nfa.js"

/** Counts work: one per word of state passed over. */
export interface Steps {
  count: number
}

/** A pattern made ready for matching. */
export interface Matcher {
  /** The literal text that every match begins with; all of the pattern where there is no wildcard. */
  readonly prefix: string
  /** True where the pattern is its prefix. */
  readonly exact: boolean
  /** Whether the text, anchored at both ends, is in the pattern's language. */
  readonly matches: (text: string, steps?: Steps) => boolean
}

const ascii = 128

/** Compiles an automaton. */
export const make = (nfa: Nfa): Matcher => {
  const { accept, entry, kind, loop, sink, size, step } = nfa
  let base = 0
  while (base + 1 < size && loop[base]! < 0 && entry[base] === 0 && accept[base] === 0 && step[base + 1]! >= 0) base++
  const prefix = literal(step, base)
  if (base === size - 1 && loop[base]! < 0) {
    return { prefix, exact: true, matches: (text) => text === prefix }
  }

  const states = size - base
  const words = (states + 31) >>> 5
  const bits = (has: (state: number) => boolean): Int32Array => {
    const mask = new Int32Array(words)
    for (let i = 0; i < states; i++) {
      if (has(base + i)) mask[i >>> 5]! |= 1 << (i & 31)
    }
    return mask
  }
  // One row of masks per character that is treated unlike all others; row 0 is for those.
  const codes = new Set(specials(kind))
  for (let j = base + 1; j < size; j++) {
    if (step[j]! >= 0) codes.add(step[j]!)
  }
  const rows = [-1, ...codes]
  const stepMasks = new Int32Array(rows.length * words)
  const loopMasks = new Int32Array(rows.length * words)
  const rowOfAscii = new Uint16Array(ascii)
  const rowOfOther = new Map<number, number>()
  rows.forEach((code, row) => {
    stepMasks.set(
      bits((j) => j > base && takes(kind, step[j]!, code)),
      row * words
    )
    loopMasks.set(
      bits((j) => loop[j]! >= 0 && admits(kind, loop[j]!, code)),
      row * words
    )
    if (code >= ascii) rowOfOther.set(code, row)
    else if (code >= 0) rowOfAscii[code] = row
  })
  const entries = bits((j) => entry[j] === 1)
  const accepts = bits((j) => accept[j] === 1)
  const sinks = bits((j) => j === sink)
  const hasEntries = entries.some((word) => word !== 0)
  const row = (code: number): number => (code < ascii ? rowOfAscii[code]! : (rowOfOther.get(code) ?? 0))

  if (words === 1) {
    const [entriesWord, acceptsWord, sinksWord] = [entries[0]!, accepts[0]!, sinks[0]!]
    const close = (active: number): number => {
      const entered = active & entriesWord
      return active | (entered << 1) | (entered << 2)
    }
    return {
      prefix,
      exact: false,
      matches: (text, steps) => {
        if (!text.startsWith(prefix)) return false
        let active = close(1)
        for (let i = prefix.length; i < text.length; i++) {
          if ((active & sinksWord) !== 0) return true
          const at = row(text.charCodeAt(i))
          active = close(((active << 1) & stepMasks[at]!) | (active & loopMasks[at]!))
          if (steps !== undefined) steps.count++
          if (active === 0) return false
        }
        return (active & acceptsWord) !== 0
      }
    }
  }

  // Matching is synchronous, so that one pair of buffers serves every call.
  let active = new Int32Array(words)
  let next = new Int32Array(words)
  const close = (set: Int32Array): void => {
    let carryOne = 0
    let carryTwo = 0
    for (let w = 0; w < words; w++) {
      const entered = set[w]! & entries[w]!
      set[w]! |= (entered << 1) | (entered << 2) | carryOne | carryTwo
      carryOne = entered >>> 31
      carryTwo = entered >>> 30
    }
  }
  return {
    prefix,
    exact: false,
    matches: (text, steps) => {
      if (!text.startsWith(prefix)) return false
      active.fill(0)
      active[0] = 1
      if (hasEntries) close(active)
      for (let i = prefix.length; i < text.length; i++) {
        const from = row(text.charCodeAt(i)) * words
        let carry = 0
        let any = 0
        for (let w = 0; w < words; w++) {
          const word = active[w]!
          if ((word & sinks[w]!) !== 0) return true
          const reached = (((word << 1) | carry) & stepMasks[from + w]!) | (word & loopMasks[from + w]!)
          carry = word >>> 31
          next[w] = reached
          any |= reached
        }
        if (steps !== undefined) steps.count += words
        if (any === 0) return false
        if (hasEntries) close(next)
        const spent = active
        active = next
        next = spent
      }
      for (let w = 0; w < words; w++) {
        if ((active[w]! & accepts[w]!) !== 0) return true
      }
      return false
    }
  }
}

const literal = (step: Int32Array, upTo: number): string => {
  let text = ""
  for (let j = 1; j <= upTo; j++) text += String.fromCharCode(step[j]!)
  return text
}
