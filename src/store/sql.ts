/**
 * The store over any `@effect/sql` client.
 *
 * @module
 */

/**
 * Encryption of what a store keeps.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Sealer from "./Sealer.js"

/**
 * The store over any `SqlClient` of `@effect/sql`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as SqlStore from "./SqlStore.js"
