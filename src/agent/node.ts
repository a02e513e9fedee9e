/** What an agent's author needs on Node beyond `effect-arcp/agent`. Requires the optional peer `@effect/platform-node`. */
export * as NodeFiles from "./NodeFiles.js"
/** Names resolved by Node's own resolver. */
export * as NodeResolver from "./NodeResolver.js"
export * as PinnedHttpClient from "./PinnedHttpClient.js"
