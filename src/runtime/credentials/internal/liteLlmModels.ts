/**
 * The patterns of `model.use` as LiteLLM's list of allowed models, never wider (ARCP 1.1 §9.7, §9.8.3).
 *
 * LiteLLM knows exact names, names of access groups, special names that mean everything, and names with `*`, which it turns
 * into a regular expression in which `*` is any text and every other character keeps its meaning: `a.b/*` also matches
 * `axb/c`. An empty list means every model. A lease's `*` stays within a segment, so it is narrower than LiteLLM's.
 */
import * as Either from "effect/Either"
import * as Glob from "../../../authority/Glob.js"

/** What of a gateway's models is known. */
export interface Models {
  /** Every model that the gateway serves: patterns are expanded against it. */
  readonly known: ReadonlyArray<string> | undefined
  /** Patterns that stand for an access group of the gateway, as the operator declares. */
  readonly accessGroups: Readonly<Record<string, string>>
}

/** Names with a meaning of their own at LiteLLM: they would allow more than themselves. */
const special = new Set(["all-proxy-models", "all-team-models", "no-default-models", "all-org-models"])

/** A text without `*` that LiteLLM reads as itself, and that is no name of more. */
const isPlain = (name: string): boolean => !name.includes("*") && !special.has(name.toLowerCase())

/** Prefixes in which no character means anything to a regular expression. */
const openEnded = /^([A-Za-z0-9_/:@-]+\/)\*\*$/

/**
 * The list for LiteLLM, and the patterns that it enforces; or the first pattern that it could only hold by allowing more. An empty
 * list means that there is no model to allow, and must not be sent.
 */
export const toLiteLlm = (
  patterns: ReadonlyArray<string>,
  models: Models
): Either.Either<{ readonly allowed: ReadonlyArray<string>; readonly enforced: ReadonlyArray<string> }, string> => {
  const allowed = new Set<string>()
  const enforced = new Set<string>()
  for (const pattern of patterns) {
    if (pattern === "") continue
    if (Object.hasOwn(models.accessGroups, pattern)) {
      allowed.add(models.accessGroups[pattern]!)
      enforced.add(pattern)
      continue
    }
    const glob = Glob.compile("name", pattern)
    if (Either.isLeft(glob)) return Either.left(pattern)
    if (models.known !== undefined) {
      const set = Glob.union("name", [glob.right])
      for (const name of models.known) {
        if (!isPlain(name) || !Glob.matches(set, name)) continue
        allowed.add(name)
        enforced.add(name)
      }
      continue
    }
    const open = openEnded.exec(pattern)
    if (open !== null) {
      allowed.add(`${open[1]!}*`)
      enforced.add(pattern)
    } else if (isPlain(pattern)) {
      allowed.add(pattern)
      enforced.add(pattern)
    } else return Either.left(pattern)
  }
  return Either.right({ allowed: [...allowed], enforced: [...enforced] })
}
