/** Types that the glob language and its automata share. */

/**
 * What a pattern names: POSIX paths, http URLs, or names of tools, agents and models.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "path" | "url" | "name"

/**
 * A bound on work, shared by containment checks that belong together. It counts each word of a set that is visited, each state that is
 * examined, and each set that is compared.
 *
 * @since 0.1.0
 * @category models
 */
export interface Work {
  /** Units of work that are left; a check that would need more is `TooComplex`. */
  left: number
}
