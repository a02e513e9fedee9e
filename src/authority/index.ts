/**
 * What a lease allows: capability names, globs, canonical forms, amounts, and the proof that one lease is within another.
 * Pure, no I/O, runs anywhere.
 *
 * @module
 */

/**
 * Money of a budget, exact (ARCP 1.1 §9.6).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Amount from "./Amount.js"

/**
 * Targets of operations in one spelling, which alone is matched: paths, URLs and names (ARCP 1.1 §9.3).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Canonical from "./Canonical.js"

/**
 * The capabilities that a lease may name (ARCP 1.1 §9.2).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Capability from "./Capability.js"

/**
 * What of a lease may be handed on: the subset proof of delegation, and narrowing by policy (ARCP 1.1 §9.4).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Delegated from "./Delegated.js"

/**
 * When a lease ends (ARCP 1.1 §9.5).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Expiry from "./Expiry.js"

/**
 * The pattern language of leases: matching, and exact containment (ARCP 1.1 §9.2).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Glob from "./Glob.js"

/**
 * Leases, compiled: what a job may touch, spend and until when (ARCP 1.1 §9).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Lease from "./Lease.js"

/**
 * What a client asked for and was not granted, in words.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Withheld from "./Withheld.js"
