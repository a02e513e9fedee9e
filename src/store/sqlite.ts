/** The store in a SQLite file. */
export * as SqliteStore from "./SqliteStore.js"
