/**
 * The store in a SQLite file.
 *
 * @module
 */

/**
 * The store in a SQLite file, over `@effect/sql-sqlite-node`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as SqliteStore from "./SqliteStore.js"
