/**
 * What must outlive a process: interfaces, and the layers that keep it in memory.
 *
 * @module
 */

export * from "./ArtifactStore.js"

/**
 * Artifacts as files of one folder.
 *
 * @since 0.1.0
 * @category modules
 */
export * as FolderArtifactStore from "./FolderArtifactStore.js"
export * from "./CredentialLedger.js"
export * from "./decorate.js"

/**
 * A store in memory: it lives as long as the process.
 *
 * @since 0.1.0
 * @category modules
 */
export * as MemoryStore from "./MemoryStore.js"
export * from "./Store.js"
