/**
 * The glob language of leases (ARCP 1.1 §9.2, 1.0 §9.2): matching and containment.
 *
 * | in a pattern | matches |
 * |---|---|
 * | `*` as a whole segment | exactly one segment, of one character at least: `/a/*` is neither `/a` nor `/a/` |
 * | `*` beside other characters | any characters within the segment, also none: `a*b` is `ab`, `abb`, `axb` |
 * | `**` as a whole segment | any number of segments, also none: `/a/**` is `/a`, `/a/b`, `/a/b/c`, but not `/ab` |
 * | `**` beside other characters | any characters, separators too: `gpt-**` is `gpt-4.1` |
 * | anything else | itself: there are no `?`, `[a-z]`, `{a,b}`, `!` and no escape |
 *
 * Segments are separated by `/` in paths and URLs and by `.`, `:` and `/` in names. A leading dot is an ordinary character.
 * A pattern is anchored at both ends; the empty pattern matches nothing, and the empty text is matched by nothing. Three
 * stars and more are two; adjacent `**` segments are one.
 *
 * A URL's query is matched too. `*` never takes a `?`, and in a query no `&` either, so that it cannot let a further
 * parameter in; `**` takes a `?` only at the end of a pattern. So `https://h/a` is that URL without a query, `https://h/a?**` is it
 * with any query, and `https://h/**` is all of that host with or without one.
 *
 * Everything here is pure and bounded: matching is linear, containment counts its work ({@link maxContainmentWork}).
 * Patterns and texts are expected in canonical form (`Canonical`).
 */
import * as Either from "effect/Either"
import type { Kind, Work } from "./GlobTypes.js"
import { type Containment, decide } from "./internal/containment.js"
import { make, type Matcher, type Steps } from "./internal/matcher.js"
import { build, type Nfa } from "./internal/nfa.js"

export type { Kind, Work } from "./GlobTypes.js"

/**
 * A pattern is at most this many UTF-16 code units long; a longer one is refused.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxPatternLength = 1024

/**
 * A set holds at most this many patterns; one with more is refused.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxPatterns = 256

/**
 * The patterns of a set are together at most this long, in code units. This bounds the time and memory of a match.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxSetLength = 16_384

/**
 * How much work deciding one containment may be: machine words of automaton state passed over. It is done in one step: about
 * 10 milliseconds once it is warm, more at first. Patterns that people write need less than a thousandth of it.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxContainmentWork = 640_000

/**
 * Why a pattern or a set of them was refused.
 *
 * @since 0.1.0
 * @category errors
 */
export interface GlobError {
  readonly _tag: "GlobError"
  /** The pattern, where one is to blame. */
  readonly pattern: string | undefined
  /** What is wrong, as the end of a sentence that begins with the pattern's name. */
  readonly reason: string
}

/**
 * A compiled pattern. {@link compile} alone makes one: it has more fields than are shown.
 *
 * @since 0.1.0
 * @category models
 */
export interface Glob {
  /** What the pattern names. */
  readonly kind: Kind
  /** The pattern that was compiled. */
  readonly pattern: string
  /** The pattern as its author spelled it, where that differs from the canonical `pattern`. */
  readonly source: string
  /** @internal */
  readonly nfas: ReadonlyArray<Nfa>
  /** @internal */
  readonly matchers: ReadonlyArray<Matcher>
}

/**
 * The union of compiled patterns of one kind. {@link compileAll} and {@link union} alone make one, as with {@link Glob}.
 *
 * @since 0.1.0
 * @category models
 */
export interface GlobSet {
  /** What the patterns name. */
  readonly kind: Kind
  /** The patterns, in the order in which they were given. */
  readonly globs: ReadonlyArray<Glob>
  /** @internal patterns without wildcards, by their text */
  readonly exact: ReadonlyMap<string, Glob>
  /** @internal the other patterns */
  readonly wild: ReadonlyArray<Glob>
}

/**
 * Compiles a pattern; one that is longer than {@link maxPatternLength} is refused. `source` is how its author spelled it;
 * what the patterns of `also` match, it matches too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const compile = (
  kind: Kind,
  pattern: string,
  source = pattern,
  also: ReadonlyArray<string> = []
): Either.Either<Glob, GlobError> => {
  if (pattern.length > maxPatternLength) {
    return Either.left({
      _tag: "GlobError",
      pattern: source,
      reason: `is longer than ${maxPatternLength} characters`
    })
  }
  const nfas = [pattern, ...also].flatMap((one) => build(kind, one.replace(/\*{3,}/g, "**")))
  return Either.right({ kind, pattern, source, nfas, matchers: nfas.map(make) })
}

/**
 * The union of compiled patterns, which are of this kind.
 *
 * @since 0.1.0
 * @category combinators
 */
export const union = (kind: Kind, globs: ReadonlyArray<Glob>): GlobSet => {
  const exact = new Map<string, Glob>()
  const wild: Array<Glob> = []
  for (const glob of globs) {
    const first = glob.matchers[0]
    if (first === undefined) continue
    if (first.exact && glob.matchers.length === 1) exact.set(first.prefix, glob)
    else wild.push(glob)
  }
  return { kind, globs, exact, wild }
}

/**
 * Compiles a set of patterns, within {@link maxPatterns} and {@link maxSetLength}.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Glob } from "effect-arcp/authority"
 *
 * const set = Either.getOrThrow(Glob.compileAll("path", ["/data/**", "/tmp/*"]))
 * console.log(Glob.matches(set, "/data/a/b"), Glob.matches(set, "/tmp/a/b")) // true false
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const compileAll = (kind: Kind, patterns: ReadonlyArray<string>): Either.Either<GlobSet, GlobError> => {
  const problem = tooMany(patterns)
  if (problem !== undefined) return Either.left(problem)
  const globs: Array<Glob> = []
  for (const pattern of patterns) {
    const glob = compile(kind, pattern)
    if (Either.isLeft(glob)) return Either.left(glob.left)
    globs.push(glob.right)
  }
  return Either.right(union(kind, globs))
}

/** @internal What is wrong with the number or the total length of patterns, if anything. */
export const tooMany = (patterns: ReadonlyArray<string>): GlobError | undefined => {
  if (patterns.length > maxPatterns) {
    return { _tag: "GlobError", pattern: undefined, reason: `more than ${maxPatterns} patterns` }
  }
  let length = 0
  for (const pattern of patterns) length += pattern.length
  return length > maxSetLength
    ? { _tag: "GlobError", pattern: undefined, reason: `patterns of more than ${maxSetLength} characters together` }
    : undefined
}

/** @internal The first pattern of the set that matches the text, wildcard-free ones before others. `steps` counts the work for tests. */
export const find = (set: GlobSet, text: string, steps?: Steps): Glob | undefined => {
  if (text === "") return undefined
  const exact = set.exact.get(text)
  if (exact !== undefined) return exact
  for (const glob of set.wild) {
    for (const matcher of glob.matchers) {
      if (matcher.matches(text, steps)) return glob
    }
  }
  return undefined
}

/**
 * Whether some pattern of the set matches the text.
 *
 * @since 0.1.0
 * @category predicates
 */
export const matches = (set: GlobSet, text: string): boolean => find(set, text) !== undefined

/**
 * What is known of a containment.
 *
 * @since 0.1.0
 * @category models
 */
export type Subset =
  | { readonly _tag: "Subset" }
  /** The pattern reaches further than the parent; `witness` is a text that only the pattern matches. */
  | { readonly _tag: "NotSubset"; readonly glob: Glob; readonly witness: string }
  /** Not decided within the bound: to be treated as not contained (ARCP 1.0 §9.4). */
  | { readonly _tag: "TooComplex"; readonly glob: Glob }

const subset: Subset = { _tag: "Subset" }

/**
 * A fresh bound for {@link isSubset}; share it between calls that answer one question.
 *
 * @since 0.1.0
 * @category constructors
 */
export const work = (limit = maxContainmentWork): Work => ({ left: limit })

// Patterns whose literal starts differ have nothing in common.
const mayMeet = (a: Matcher, b: Matcher): boolean => a.prefix.startsWith(b.prefix) || b.prefix.startsWith(a.prefix)

/**
 * Whether every text that some pattern of `child` matches is matched by some pattern of `parent` (ARCP 1.0 §9.4): exact
 * for unions, so that several patterns of the parent may cover one of the child's together.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSubset = (child: GlobSet, parent: GlobSet, bound: Work = work()): Subset => {
  const spelled = new Set(parent.globs.map((glob) => glob.pattern))
  for (const glob of child.globs) {
    if (spelled.has(glob.pattern)) continue
    for (let i = 0; i < glob.nfas.length; i++) {
      const matcher = glob.matchers[i]!
      if (matcher.exact) {
        if (!matches(parent, matcher.prefix)) return { _tag: "NotSubset", glob, witness: matcher.prefix }
        continue
      }
      const others: Array<Nfa> = []
      for (const other of parent.globs) {
        other.matchers.forEach((candidate, n) => {
          if (mayMeet(matcher, candidate)) others.push(other.nfas[n]!)
        })
      }
      bound.left -= parent.globs.length
      const answer: Containment = decide(glob.nfas[i]!, others, bound)
      if (answer._tag === "NotContained") return { _tag: "NotSubset", glob, witness: answer.witness }
      if (answer._tag === "TooComplex") return { _tag: "TooComplex", glob }
    }
  }
  return subset
}
