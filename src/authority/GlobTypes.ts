/** Types that the glob language and its automata share. */

/** What a pattern names: POSIX paths, http URLs, or names of tools, agents and models. */
export type Kind = "path" | "url" | "name"

/**
 * A bound on work, shared by containment checks that belong together. It counts each word of a set that is visited, each state that is
 * examined, and each set that is compared.
 */
export interface Work {
  left: number
}
