/** The part of one set of patterns that another covers. */
import * as Glob from "../Glob.js"

/**
 * Each wanted pattern that `given` covers, and of one that is wider the patterns of `given` within it. Patterns that only overlap,
 * and what is too complex to decide within `work`, are left out: the outcome is never more than either set.
 */
export const intersection = (
  wanted: Glob.GlobSet,
  given: Glob.GlobSet,
  work: ReturnType<typeof Glob.work>
): Glob.GlobSet => {
  const { kind } = wanted
  const kept = new Map<string, Glob.Glob>()
  for (const glob of wanted.globs) {
    const one = Glob.union(kind, [glob])
    if (Glob.isSubset(one, given, work)._tag === "Subset") {
      kept.set(glob.pattern, glob)
      continue
    }
    for (const part of given.globs) {
      if (!kept.has(part.pattern) && Glob.isSubset(Glob.union(kind, [part]), one, work)._tag === "Subset") {
        kept.set(part.pattern, part)
      }
    }
  }
  return Glob.union(kind, [...kept.values()])
}
