/**
 * What a lease allows: capability names, globs, canonical forms, amounts, and the proof that one lease is within another.
 * Pure, no I/O, runs anywhere.
 */
export * as Amount from "./Amount.js"
export * as Canonical from "./Canonical.js"
export * as Capability from "./Capability.js"
export * as Delegated from "./Delegated.js"
export * as Expiry from "./Expiry.js"
export * as Glob from "./Glob.js"
export * as Lease from "./Lease.js"
export * as Withheld from "./Withheld.js"
