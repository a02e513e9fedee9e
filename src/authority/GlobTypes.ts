/** Types that the glob language and its automata share. */

/** What a pattern names: POSIX paths, http URLs, or names of tools, agents and models. */
export type Kind = "path" | "url" | "name"

/**
 * A bound on work, shared by the questions that are asked together: one per word of a set that is gone over, per state that is
 * looked at, and per set that is compared.
 */
export interface Work {
  left: number
}
