/**
 * A glob as a small automaton: what `Glob` matches with and what containment is decided on.
 *
 * States are a chain, 0 to `size - 1`. A character takes the automaton from state `j - 1` to `j` where `step[j]` takes
 * it, and leaves it in `j` where the class `loop[j]` takes it. There is one kind of branch: a state `j` with `entry[j]`
 * stands for both `j + 1` (the inside of a `**` segment) and `j + 2` (behind it), which is how `**` matches no segment
 * at all. So a set of states is a bit set and a step of it a shift, and no pattern needs backtracking.
 *
 * Characters are UTF-16 code units; {@link OTHER} stands for any unit that nobody mentioned.
 */
import type { Kind } from "../GlobTypes.js"

/** Any code unit that no pattern at hand mentions and that separates nothing. */
export const OTHER = -1

/** No such step or loop. */
export const NONE = -1

// Classes of characters, as loops; as steps they are stored as `-2 - class`.
const ANY = 0 // every character
const SEGMENT = 1 // all but the kind's separators
const PART = 2 // URL: all but "?"
const VALUE = 3 // URL: all but "/", "?" and "&"
const EDGE = 4 // URL: "/" or "?"

/** How many classes there are; they are numbered from 0. */
export const classes = 5

const SLASH = 0x2f
const DOT = 0x2e
const COLON = 0x3a
const QUERY = 0x3f
const AMPERSAND = 0x26

const specialsOf: Readonly<Record<Kind, ReadonlyArray<number>>> = {
  path: [SLASH],
  url: [SLASH, QUERY, AMPERSAND],
  name: [DOT, COLON, SLASH]
}

/** The characters of a kind that some class treats unlike {@link OTHER}. */
export const specials = (kind: Kind): ReadonlyArray<number> => specialsOf[kind]

const isSeparator = (kind: Kind, code: number): boolean =>
  code === SLASH || (kind === "url" ? code === QUERY : kind === "name" && (code === DOT || code === COLON))

/** Whether the class takes the character. */
export const admits = (kind: Kind, cls: number, code: number): boolean => {
  switch (cls) {
    case ANY:
      return true
    case SEGMENT:
      return !isSeparator(kind, code)
    case PART:
      return code !== QUERY
    case VALUE:
      return code !== SLASH && code !== QUERY && code !== AMPERSAND
    case EDGE:
      return code === SLASH || code === QUERY
    default:
      return false
  }
}

/** Whether a step takes the character. */
export const takes = (kind: Kind, step: number, code: number): boolean =>
  step >= 0 ? step === code : step !== NONE && admits(kind, -2 - step, code)

/** See the head of this file. */
export interface Nfa {
  readonly kind: Kind
  readonly size: number
  /** What leads from the state before into this one: a code unit, a class as `-2 - class`, or {@link NONE}. */
  readonly step: Int32Array
  /** The class that keeps this state active, or {@link NONE}. */
  readonly loop: Int8Array
  readonly entry: Uint8Array
  readonly accept: Uint8Array
  /** An accepting state that every character keeps active: once reached, all that follows matches. {@link NONE} if none. */
  readonly sink: number
  /**
   * For a state with a loop, the lowest state that is redundant while this one is active: all that a state from there
   * on to this one can still match, this one can match too. Its own number where there is none.
   */
  readonly dominates: Int32Array
}

interface Segment {
  readonly text: string
  /** The separator behind it; undefined for the last. */
  readonly separator: number | undefined
}

const split = (kind: Kind, text: string): Array<Segment> => {
  const segments: Array<Segment> = []
  let from = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // the path part of a URL holds no "?", so that "/" alone splits it
    if (!isSeparator(kind, code)) continue
    segments.push({ text: text.slice(from, i), separator: code })
    from = i + 1
  }
  segments.push({ text: text.slice(from), separator: undefined })
  // adjacent `**` segments are one: the first of two goes, with the separator behind it
  return segments.filter((segment, i) => !(segment.text === "**" && segments[i + 1]?.text === "**"))
}

class Builder {
  readonly kind: Kind
  readonly step: Array<number> = [NONE]
  readonly loop: Array<number> = [NONE]
  readonly entry: Array<number> = [0]
  readonly accept: Array<number> = [0]
  constructor(kind: Kind) {
    this.kind = kind
  }
  get last(): number {
    return this.step.length - 1
  }
  push(step: number, loop = NONE): void {
    this.step.push(step)
    this.loop.push(loop)
    this.entry.push(0)
    this.accept.push(0)
  }
  /** Literals and stars; `star`, `wide` and `final` are the classes of `*`, `**` and a `**` at the end. */
  run(text: string, star: number, wide: number, final = wide): void {
    for (let i = 0; i < text.length; i++) {
      if (text[i] !== "*") {
        this.push(text.charCodeAt(i))
      } else if (text[i + 1] === "*") {
        i++
        this.loop[this.last] = i === text.length - 1 ? final : wide
      } else {
        this.loop[this.last] = star
      }
    }
  }
  /** `**` as a whole segment with another behind it: any characters and the separator, or nothing. */
  group(wide: number, separator: number): void {
    this.entry[this.last] = 1
    this.push(NONE, wide)
    this.push(separator)
  }
  finish(): Nfa {
    const { entry, kind, loop, step } = this
    this.accept[this.last] = 1
    const size = step.length
    const dominates = new Int32Array(size)
    for (let k = 0; k < size; k++) dominates[k] = lowest(kind, step, loop, entry, k)
    return {
      kind,
      size,
      step: Int32Array.from(step),
      loop: Int8Array.from(loop),
      entry: Uint8Array.from(entry),
      accept: Uint8Array.from(this.accept),
      sink: loop[size - 1] === ANY ? size - 1 : NONE,
      dominates
    }
  }
}

const lowest = (
  kind: Kind,
  step: ReadonlyArray<number>,
  loop: ReadonlyArray<number>,
  entry: ReadonlyArray<number>,
  k: number
): number => {
  const cls = loop[k]!
  if (cls === NONE) return k
  if (cls === ANY || cls === PART) {
    // The inside of a `**` segment can be jumped over, but who jumps has just read the separator that also leads out of
    // it; where the two separators differ (names only) that does not hold.
    const inside = k > 0 && entry[k - 1] === 1
    return inside && k > 1 && step[k - 1] !== step[k + 1] ? k : 0
  }
  // Within one segment: every way from there to here reads only what keeps this state active.
  let low = k
  while (low > 0) {
    const into = step[low]!
    const inClass = into >= 0 ? admits(kind, cls, into) : into === -2 - cls
    const before = low - 1
    if (!inClass || entry[before] === 1 || (loop[before] !== NONE && loop[before] !== cls)) break
    low = before
  }
  return low
}

/** The automata of a pattern whose runs of three and more stars have been made two: their union is what it matches. */
export const build = (kind: Kind, pattern: string): ReadonlyArray<Nfa> => {
  if (pattern === "") return []
  const mark = kind === "url" ? pattern.indexOf("?") : -1
  const query = mark === -1 ? undefined : pattern.slice(mark + 1)
  const segments = split(kind, mark === -1 ? pattern : pattern.slice(0, mark))
  const star = SEGMENT
  const wide = kind === "url" ? PART : ANY
  const body = (builder: Builder, upTo: number): void => {
    for (let i = 0; i < upTo; i++) {
      const { separator, text } = segments[i]!
      const isLast = i === segments.length - 1
      if (text === "**" && separator !== undefined) {
        builder.group(wide, separator)
        continue
      }
      if (text === "*") builder.push(-2 - star, star)
      // `**` at the end of a URL pattern covers queries too
      else builder.run(text, star, wide, isLast && query === undefined ? ANY : wide)
      if (separator !== undefined && i < upTo - 1) builder.push(separator)
    }
  }
  const tail = (builder: Builder): Nfa => {
    if (query !== undefined) {
      builder.push(QUERY)
      builder.run(query, VALUE, ANY)
    }
    return builder.finish()
  }
  const whole = new Builder(kind)
  const last = segments.length - 1
  if (last === 0 || segments[last]!.text !== "**") {
    body(whole, segments.length)
    return [tail(whole)]
  }
  // A last segment of `**` takes the separator before it along: `/a/**` is `/a`, or `/a/` and anything.
  const separator = segments[last - 1]!.separator!
  body(whole, last)
  if (query === undefined) {
    whole.accept[whole.last] = 1
    whole.push(kind === "url" ? -2 - EDGE : separator, ANY)
    return [whole.finish()]
  }
  const without = new Builder(kind)
  body(without, last)
  whole.push(separator, PART)
  return [tail(whole), tail(without)]
}
