/**
 * Whether all that one pattern matches is matched by a set of others, decided exactly.
 *
 * The product of the one's automaton with the others', made deterministic on the way, is explored breadth first: a node
 * is a state of the one and the set of states that the others can be in. A node where the one accepts and the others do
 * not is a counterexample, and its text is given. The alphabet is symbolic: only characters that lead out of an
 * active state or separate something are told apart.
 *
 * Three rules keep it small without losing exactness: a set is freed of states that another of its states makes redundant
 * (`Nfa.dominates`); a node is dropped when one was seen whose set can match no more than its own, which is so if each
 * state there is here or is redundant here; and a node is dropped when one of the others accepts whatever follows. There are pairs of patterns that stay
 * exponential all the same: the work is counted, and past the bound the answer is "complex", never a guess.
 */
import type { Work } from "../GlobTypes.js"
import { admits, classes, NONE, type Nfa, OTHER, specials, takes } from "./nfa.js"

/** What was found out. */
export type Containment =
  | { readonly _tag: "Contained" }
  /** `witness` is a text that the one matches and none of the others does. */
  | { readonly _tag: "NotContained"; readonly witness: string }
  | { readonly _tag: "TooComplex" }

/** What a set costs, however small it is. */
const perSet = 4

const contained: Containment = { _tag: "Contained" }
const tooComplex: Containment = { _tag: "TooComplex" }

/** Whether each class takes a character, by the number of the class. */
const admitted = (kind: Nfa["kind"], code: number): ReadonlyArray<boolean> =>
  Array.from({ length: classes }, (_, cls) => admits(kind, cls, code))

/**
 * The others as one automaton: their states side by side, each from a word of its own. What is asked of a state for each character
 * lies in one array for all of them.
 */
class Others {
  readonly nfas: ReadonlyArray<Nfa>
  readonly offsets: ReadonlyArray<number>
  readonly words: number
  private readonly loop: Int8Array
  /** What leads out of a state to the next. */
  private readonly out: Int32Array
  private readonly entry: Uint8Array
  private readonly accepting: Int32Array
  private readonly sinks: Int32Array
  private readonly admitted = new Map<number, ReadonlyArray<boolean>>()

  constructor(nfas: ReadonlyArray<Nfa>) {
    const offsets: Array<number> = []
    let words = 0
    for (const nfa of nfas) {
      offsets.push(words)
      words += (nfa.size + 31) >>> 5
    }
    this.nfas = nfas
    this.offsets = offsets
    this.words = words
    this.loop = new Int8Array(words << 5).fill(NONE)
    this.out = new Int32Array(words << 5).fill(NONE)
    this.entry = new Uint8Array(words << 5)
    this.accepting = new Int32Array(words)
    this.sinks = new Int32Array(words)
    nfas.forEach((nfa, n) => {
      const base = offsets[n]! << 5
      this.loop.set(nfa.loop, base)
      this.out.set(nfa.step.subarray(1), base)
      this.entry.set(nfa.entry, base)
      for (let state = 0; state < nfa.size; state++) {
        if (nfa.accept[state] === 1) this.accepting[(base + state) >>> 5]! |= 1 << (state & 31)
      }
      if (nfa.sink !== NONE) this.sinks[(base + nfa.sink) >>> 5]! |= 1 << (nfa.sink & 31)
    })
  }

  start(): Int32Array {
    const set = new Int32Array(this.words)
    for (const offset of this.offsets) this.activate(set, offset << 5)
    return set
  }

  private activate(set: Int32Array, state: number): void {
    if (this.entry[state] === 1) {
      // an entry stands for its two successors and nothing else
      this.activate(set, state + 1)
      this.activate(set, state + 2)
    } else set[state >>> 5]! |= 1 << (state & 31)
  }

  after(set: Int32Array, kind: Nfa["kind"], code: number, work: Work): Int32Array {
    const { loop, out, words } = this
    const next = new Int32Array(words)
    let takes = this.admitted.get(code)
    if (takes === undefined) {
      takes = admitted(kind, code)
      this.admitted.set(code, takes)
    }
    let states = 0
    for (let w = 0; w < words; w++) {
      let word = set[w]!
      while (word !== 0) {
        const state = (w << 5) + 31 - Math.clz32(word & -word)
        word &= word - 1
        states++
        if (loop[state]! >= 0 && takes[loop[state]!]!) this.activate(next, state)
        const step = out[state]!
        if (step >= 0 ? step === code : step !== NONE && takes[-2 - step]!) this.activate(next, state + 1)
      }
    }
    work.left -= words + states + perSet
    this.nfas.forEach((nfa, n) => spread(next, nfa, this.offsets[n]!, false))
    return next
  }

  /** The set with all states that it makes redundant. */
  filled(set: Int32Array): Int32Array {
    const full = set.slice()
    this.nfas.forEach((nfa, n) => spread(full, nfa, this.offsets[n]!, true))
    return full
  }

  /** Adds the characters that lead out of the set by a literal step. */
  literals(set: Int32Array, into: Set<number>): void {
    for (let w = 0; w < this.words; w++) {
      let word = set[w]!
      while (word !== 0) {
        const step = this.out[(w << 5) + 31 - Math.clz32(word & -word)]!
        word &= word - 1
        if (step >= 0) into.add(step)
      }
    }
  }

  verdict(set: Int32Array): "nothing" | "more" | "accepts" | "everything" {
    let found: "nothing" | "more" | "accepts" = "nothing"
    for (let w = 0; w < this.words; w++) {
      const word = set[w]!
      if (word === 0) continue
      if ((word & this.sinks[w]!) !== 0) return "everything"
      if ((word & this.accepting[w]!) !== 0) found = "accepts"
      else if (found === "nothing") found = "more"
    }
    return found
  }
}

/** Walks the states of one automaton in a set that make lower ones redundant, and frees the set of those, or adds them. */
const spread = (set: Int32Array, nfa: Nfa, offset: number, fill: boolean): void => {
  let state = nfa.size - 1
  while (state >= 0) {
    const word = set[offset + (state >>> 5)]! & (-1 >>> (31 - (state & 31)))
    if (word === 0) {
      state = (state & ~31) - 1
      continue
    }
    state = (state & ~31) + 31 - Math.clz32(word)
    const low = nfa.dominates[state]!
    for (let at = low; at < state; ) {
      const next = Math.min(state, (at | 31) + 1)
      const mask = (next - at === 32 ? -1 : (1 << (next - at)) - 1) << (at & 31)
      if (fill) set[offset + (at >>> 5)]! |= mask
      else set[offset + (at >>> 5)]! &= ~mask
      at = next
    }
    state = low - 1
  }
}

interface Node {
  readonly state: number
  readonly set: Int32Array
  readonly parent: Node | undefined
  readonly code: number
}

const isSubset = (small: Int32Array, large: Int32Array, work: Work): boolean => {
  let w = 0
  while (w < small.length && (small[w]! & ~large[w]!) === 0) w++
  work.left -= w
  return w === small.length
}

/** Decides whether `one` is contained in the union of `others`, all of one kind. The empty text belongs to neither. */
export const decide = (one: Nfa, others: ReadonlyArray<Nfa>, work: Work): Containment => {
  const { kind } = one
  const all = new Others(others)
  const stand = filler(others)
  const seen: Array<Array<Int32Array>> = Array.from({ length: one.size }, () => [])
  const queue: Array<Node> = []
  const visit = (state: number, set: Int32Array, parent: Node | undefined, code: number): void => {
    if (one.entry[state] === 1) {
      visit(state + 1, set, parent, code)
      visit(state + 2, set, parent, code)
      return
    }
    const known = seen[state]!
    work.left -= all.words + perSet
    const full = all.filled(set)
    for (const other of known) {
      work.left--
      if (work.left < 0 || isSubset(other, full, work)) return
    }
    known.push(set)
    queue.push({ state, set, parent, code })
  }
  visit(0, all.start(), undefined, OTHER)

  const codes = new Set<number>()
  for (let head = 0; head < queue.length; head++) {
    if (work.left < 0) return tooComplex
    const node = queue[head]!
    const loop = one.loop[node.state]!
    const step = node.state + 1 < one.size ? one.step[node.state + 1]! : NONE
    codes.clear()
    if (step >= 0) codes.add(step)
    if (loop >= 0 || step < NONE) {
      all.literals(node.set, codes)
      for (const code of specials(kind)) codes.add(code)
      codes.add(OTHER)
    }
    for (const code of codes) {
      const stays = loop >= 0 && admits(kind, loop, code)
      const moves = takes(kind, step, code)
      if (!stays && !moves) continue
      if (work.left < 0) return tooComplex
      const set = all.after(node.set, kind, code, work)
      const verdict = all.verdict(set)
      if (verdict === "everything") continue
      const reached = moves ? node.state + 1 : node.state
      const accepted = (moves && accepts(one, node.state + 1)) || (stays && one.accept[node.state] === 1)
      if ((accepted && verdict === "more") || verdict === "nothing") {
        const end = accepted ? "" : shortest(one, reached, stand)
        return { _tag: "NotContained", witness: spell(node, stand) + character(code, stand) + end }
      }
      if (moves) visit(node.state + 1, set, node, code)
      if (stays) visit(node.state, set, node, code)
    }
  }
  return contained
}

const accepts = (nfa: Nfa, state: number): boolean =>
  nfa.accept[state] === 1 || (nfa.entry[state] === 1 && accepts(nfa, state + 2))

const character = (code: number, stand: string): string => (code === OTHER ? stand : String.fromCharCode(code))

/** The text that leads to a node. */
const spell = (node: Node, stand: string): string => {
  const characters: Array<string> = []
  for (let at: Node = node; at.parent !== undefined; at = at.parent) characters.push(character(at.code, stand))
  return characters.reverse().join("")
}

/** The shortest text that leads from a state to acceptance. */
const shortest = (nfa: Nfa, from: number, stand: string): string => {
  let text = ""
  let state = from
  while (nfa.accept[state] === 0) {
    if (nfa.entry[state] === 1) {
      state += 2
      continue
    }
    state++
    const step = nfa.step[state]!
    text += step >= 0 ? String.fromCharCode(step) : takes(nfa.kind, step, OTHER) ? stand : "/"
  }
  return text
}

/** A character that is spelled for {@link OTHER}: one that no step of the others takes by name, and that separates nothing. */
const filler = (others: ReadonlyArray<Nfa>): string => {
  const taken = new Set<number>()
  for (const nfa of others) {
    for (const step of nfa.step) taken.add(step)
  }
  let code = 0x78
  while (taken.has(code)) code = code === 0x7a ? 0x61 : code === 0x77 ? 0x4e00 : code + 1
  return String.fromCharCode(code)
}
