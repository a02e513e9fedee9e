/**
 * What a job may do: the one place where a requested lease becomes the effective one, and the one check that every
 * operation of a job passes (ARCP 1.1 §9). It is what was asked for, or less (1.0 §7.1).
 *
 * Order of a check: the job's end, canonical form, expiry, every budget counter, pattern, system folders. A target without a canonical form is refused, but
 * an expired lease and a spent budget come first: at or after `expires_at` every operation fails with `LEASE_EXPIRED`,
 * whatever its target. The job itself is stopped within `Limits.leaseGrace` of it, on the runtime's monotonic clock. What is
 * matched, and what the check returns, is the canonical form.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Denial } from "../../agent/Gate.js"
import * as Address from "../../authority/Address.js"
import * as Canonical from "../../authority/Canonical.js"
import type { Capability } from "../../authority/Capability.js"
import * as Delegated from "../../authority/Delegated.js"
import * as Expiry from "../../authority/Expiry.js"
import * as Lease from "../../authority/Lease.js"
import * as SystemFolders from "../../authority/SystemFolders.js"
import type { Principal } from "../../auth/Principal.js"
import { InvalidRequest, LeaseExpired, PermissionDenied } from "../../protocol/Errors.js"
import { formatTimestamp, type WireLease, type WireLeaseConstraints } from "../../protocol/Fields.js"
import { Budgets } from "./Budgets.js"
import { Deadlines } from "../kernel/Deadlines.js"
import type { Running } from "./Running.js"
import { closed } from "./internal/systemFolders.js"
import { grantsAnonymousToolsOnly, LeasePolicy } from "../kernel/Policies.js"

/** A lease ends with its job: a fiber that outlives it has no authority (§9.5, §7.3). */
const ended = new PermissionDenied({
  message: "the job has ended, and its lease with it",
  details: { reason: "job_ended" }
})

const denied = (capability: Capability, target: Canonical.Canonical, problem: string): PermissionDenied =>
  new PermissionDenied({
    message: `${capability}: ${Lease.shown(target)} ${problem}`,
    details: { capability, reason: "system_folder" }
  })

/** Admits leases and checks operations against them. */
export class Leases extends Context.Tag("effect-arcp/runtime/Leases")<
  Leases,
  {
    /**
     * The effective lease of a submit, or `INVALID_REQUEST`: an unknown capability, a pattern that breaks the
     * grammar, an expiry that is past or not UTC, or a feature that was not negotiated (§6.2). Policy narrows it.
     */
    readonly admit: (request: {
      readonly lease: WireLease | undefined
      readonly constraints: WireLeaseConstraints | undefined
      readonly features: ReadonlySet<string>
      readonly principal: Principal
      readonly now: number
    }) => Either.Either<Lease.Lease, InvalidRequest>
    /** Whether the job may do this now, and on which target: synchronous, without any event (§9.3). */
    readonly check: (
      running: Running,
      capability: Capability,
      target: string
    ) => Either.Either<Canonical.Canonical, Denial>
    /**
     * The lease of a job that an earlier process admitted, as it was stored. Which hosts the policy named is not stored with it, so the
     * policy is consulted again, with what is known of the principal: its id, as anonymous, without claims. Where it
     * then sets no limit, or fails, the job reaches public addresses only.
     */
    readonly recovered: (lease: Lease.Lease, principalId: string) => Lease.Lease
    /** Expiry and budget alone, as for an operation that no pattern covers. */
    readonly checkState: (running: Running) => Either.Either<void, Denial>
    /** The error of a lease that is over. */
    readonly expired: (lease: Lease.Lease) => LeaseExpired
  }
>() {
  static readonly layer: Layer.Layer<Leases, never, Budgets | Deadlines> = Layer.effect(
    Leases,
    Effect.gen(function* () {
      const budgets = yield* Budgets
      const deadlines = yield* Deadlines
      const policy = yield* LeasePolicy

      const expired = (lease: Lease.Lease): LeaseExpired =>
        new LeaseExpired({
          message: `the lease expired${lease.expiresAt === undefined ? "" : ` at ${formatTimestamp(lease.expiresAt)}`}`
        })

      const checkState = (running: Running): Either.Either<void, Denial> => {
        if (running.finished) return Either.left(ended)
        if (Expiry.isOver(running.lease.expiresAt, deadlines.now())) return Either.left(expired(running.lease))
        const exhausted = budgets.exhausted(running.live.jobId)
        return exhausted === undefined ? Either.void : Either.left(exhausted)
      }

      return {
        admit: ({ constraints, features, lease, now, principal }) => {
          const invalid = (message: string) => Either.left(new InvalidRequest({ message }))
          if (constraints?.expires_at !== undefined && !features.has("lease_expires_at")) {
            return invalid("payload.lease_constraints.expires_at: the feature lease_expires_at was not negotiated")
          }
          for (const capability of ["cost.budget", "model.use"] as const) {
            if (lease !== undefined && Object.hasOwn(lease, capability) && !features.has(capability)) {
              return invalid(`payload.lease_request: the feature ${capability} was not negotiated`)
            }
          }
          return Either.map(Lease.compile(lease ?? {}, constraints, { now }), (requested) => {
            const allowed = policy.allowed(principal)
            const narrowed = allowed === undefined ? requested : Delegated.narrow(requested, allowed)
            return SystemFolders.restrict(narrowed, allowed)
          })
        },
        recovered: (lease, principalId) => {
          if (grantsAnonymousToolsOnly(policy)) return lease
          const allowed = Option.liftThrowable(policy.allowed)({ id: principalId, anonymous: true, claims: {} })
          return { ...lease, ceiling: Option.getOrUndefined(allowed) ?? Lease.emptyLease }
        },
        check: (running, capability, text) => {
          const target = Canonical.target(capability, text)
          const state = checkState(running)
          if (Either.isLeft(state)) return Either.left(state.left)
          if (Either.isLeft(target)) {
            return Either.left(
              new PermissionDenied({
                message: `${capability}: ${target.left.message}`,
                details: { capability, reason: "canonical" }
              })
            )
          }
          const decision = Lease.authorize(running.lease, capability, target.right)
          if (decision._tag === "Allowed") {
            const problem = closed(running.lease, capability, target.right)
            if (problem !== undefined) return Either.left(denied(capability, target.right, problem))
            return capability === "net.fetch" && Lease.isInside(running.lease, target.right as Canonical.CanonicalUrl)
              ? Either.left(
                  new PermissionDenied({
                    message: `net.fetch of ${Lease.shown(target.right)}: ${Address.notPublic}`,
                    details: { capability, reason: "address" }
                  })
                )
              : Either.right(target.right)
          }
          return capability === "model.use" && decision.reason === "capability" && !policy.requireModelUse
            ? Either.right(target.right)
            : Either.left(Lease.toPermissionDenied(decision))
        },
        checkState,
        expired
      }
    })
  )
}
