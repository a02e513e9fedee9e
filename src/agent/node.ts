/**
 * What an agent's author needs on Node beyond `effect-arcp/agent`. Requires the optional peer `@effect/platform-node`.
 *
 * @module
 */

/**
 * A guard of Node's file system on Linux that holds against races: what is opened is what was checked.
 *
 * @since 0.1.0
 * @category modules
 */
export * as NodeFiles from "./NodeFiles.js"

/**
 * Names resolved by Node's own resolver.
 *
 * @since 0.1.0
 * @category modules
 */
export * as NodeResolver from "./NodeResolver.js"

/**
 * An `HttpClient` of Node that connects to the addresses that were checked, and to no other.
 *
 * @since 0.1.0
 * @category modules
 */
export * as PinnedHttpClient from "./PinnedHttpClient.js"
