/**
 * What an agent's author imports: `Agent.make`, the `Job` service, and the registry that hosts both; and the services of the
 * platform as a job may use them.
 *
 * @module
 */

/**
 * Defining agents, for both sides of the wire, and giving them handlers.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Agent from "./Agent.js"
export { type AgentEntry, type AgentRegistration, AgentRegistry, type OnRestart } from "./AgentRegistry.js"
export type { Denial, Gate } from "./Gate.js"
export { type GuardDrivers, type GuardOptions, guard } from "./Guard.js"

/**
 * A `FileSystem` whose every call a job's lease has to cover (ARCP 1.1 §9.3).
 *
 * @since 0.1.0
 * @category modules
 */
export * as GuardedFileSystem from "./GuardedFileSystem.js"

/**
 * An `HttpClient` whose every request a job's lease has to cover (ARCP 1.1 §9.3).
 *
 * @since 0.1.0
 * @category modules
 */
export * as GuardedHttpClient from "./GuardedHttpClient.js"
export * from "./Job.js"
export * from "./Resolver.js"
export { type ResponseRoom, ResponseRoomFull } from "./ResponseRoom.js"

/**
 * Tools that a runtime hosts, that agents call and leases cover.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Tool from "./Tool.js"
export { type ToolRegistration, ToolRegistry } from "./ToolRegistry.js"
