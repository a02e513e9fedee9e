/** The store over any `@effect/sql` client. */
export * as Sealer from "./Sealer.js"
export * as SqlStore from "./SqlStore.js"
