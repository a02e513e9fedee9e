/** The tag of leases; the runtime's own are in `LeaseChecks`. */
import * as Context from "effect/Context"
import type * as Either from "effect/Either"
import type { Denial } from "../../agent/Gate.js"
import type * as Canonical from "../../authority/Canonical.js"
import type { Capability } from "../../authority/Capability.js"
import type * as Lease from "../../authority/Lease.js"
import type { Principal } from "../../auth/Principal.js"
import type { InvalidRequest } from "../../protocol/Errors.js"
import type { WireLease, WireLeaseConstraints } from "../../protocol/Fields.js"
import type { JobId, PrincipalId } from "../../protocol/Ids.js"

/**
 * The lease that a submit asks for.
 *
 * @since 0.1.0
 * @category models
 */
export interface LeaseRequest {
  /** The capabilities that are asked for; undefined for none. */
  readonly lease: WireLease | undefined
  /** The constraints that are asked for; undefined for none. */
  readonly constraints: WireLeaseConstraints | undefined
  /** What the session negotiated (§6.2). */
  readonly features: ReadonlySet<string>
  /** Who asks. */
  readonly principal: Principal
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * A job that wants to do something now.
 *
 * @since 0.1.0
 * @category models
 */
export interface LeaseHolder {
  /** The job. */
  readonly jobId: JobId
  /** Its effective lease. */
  readonly lease: Lease.Lease
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * What jobs may do (ARCP 1.1 §9): synchronous decisions, without any event. What one throws ends the job that it was called for.
 *
 * @since 0.1.0
 * @category services
 */
export interface LeasesService {
  /**
   * The effective lease of a submit, or `INVALID_REQUEST`: an unknown capability, a pattern that breaks the
   * grammar, an expiry that is past or not UTC, or a feature that was not negotiated (§6.2). Policy narrows it.
   */
  readonly admit: (request: LeaseRequest) => Either.Either<Lease.Lease, InvalidRequest>
  /**
   * The lease of a job that an earlier process admitted, as it was stored. What the store does not keep of it is decided anew.
   */
  readonly recovered: (lease: Lease.Lease, principalId: PrincipalId) => Lease.Lease
  /**
   * Whether the job may do this now, and on which target: the canonical form is what the operation then works on (§9.3). Asked of jobs
   * that have not ended.
   */
  readonly check: (
    job: LeaseHolder,
    capability: Capability,
    target: string
  ) => Either.Either<Canonical.Canonical, Denial>
  /** Expiry and budget alone, as for an operation that no pattern covers. */
  readonly checkState: (job: LeaseHolder) => Either.Either<void, Denial>
}

/**
 * Admits leases and checks operations against them.
 *
 * @since 0.1.0
 * @category services
 */
export class Leases extends Context.Tag("effect-arcp/runtime/Leases")<Leases, LeasesService>() {}
