/** Where a job stands (ARCP 1.1 §7.3). `Session` exports it. */
import * as Schema from "effect/Schema"

/**
 * The states of a job (§7.3).
 *
 * @since 0.1.0
 * @category constants
 */
export const jobStatuses = ["pending", "running", "success", "error", "cancelled", "timed_out"] as const

/**
 * A state of a job (§7.3).
 *
 * @since 0.1.0
 * @category schemas
 */
export const JobStatus = Schema.Literal(...jobStatuses)

/**
 * A state of a job (§7.3).
 *
 * @since 0.1.0
 * @category models
 */
export type JobStatus = typeof JobStatus.Type

/**
 * Whether a job in this state has ended (§7.3).
 *
 * @since 0.1.0
 * @category predicates
 */
export const isTerminal = (status: JobStatus): boolean => status !== "pending" && status !== "running"
