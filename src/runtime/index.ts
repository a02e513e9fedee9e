/**
 * Hosting agents: `ArcpRuntime.layer`, the concerns that it is made of, and what a deployment decides.
 *
 * @module
 */

/**
 * The runtime as one layer.
 *
 * @since 0.1.0
 * @category modules
 */
export * as ArcpRuntime from "./ArcpRuntime.js"
export * from "./artifacts/Artifacts.js"
export * from "./credentials/CredentialProvisioner.js"
export * from "./credentials/Credentials.js"

/**
 * A provisioner of credentials at a LiteLLM gateway (ARCP 1.1 §9.8).
 *
 * @since 0.1.0
 * @category modules
 */
export * as LiteLlm from "./credentials/LiteLlm.js"
export * from "./jobs/Budgets.js"
export * from "./jobs/JobScheduler.js"
export * from "./jobs/Leases.js"
export {
  Audit,
  AuditMemory,
  type AuditMemoryService,
  type AuditService,
  type AuditWrite
} from "./kernel/Audit.js"
export type { AuditFileOptions } from "./kernel/AuditFile.js"
export { AuditRecord } from "./kernel/AuditRecord.js"
export { withoutCredentials } from "./kernel/Hidden.js"
export * from "./kernel/Limits.js"

/**
 * The metrics of a runtime.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Metrics from "./kernel/Metrics.js"
export * from "./kernel/Policies.js"
export type { Asking, Reply } from "./kernel/Reply.js"
export { SlowConsumers, type SlowConsumersOptions, type SlowConsumersShape } from "./log/BackPressure.js"
export * from "./sessions/Sessions.js"
export * from "./sessions/Subscriptions.js"
