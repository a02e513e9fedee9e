/** What must outlive a process: interfaces, and the layers that keep it in memory. */
export * as MemoryStore from "./MemoryStore.js"
export * from "./Store.js"
