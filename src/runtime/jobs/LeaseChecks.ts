/**
 * The runtime's own leases: the one check that every operation of a job passes (ARCP 1.1 §9). What a submit is granted is decided where it is
 * admitted, by {@link granting}.
 *
 * Order of a check (§9.5, §9.6): expiry, every budget counter, canonical form, pattern, system folders. At or after `expires_at` every operation fails
 * with `LEASE_EXPIRED`, whatever its target. The job itself is stopped within `Limits.leaseGrace` of it, on the runtime's monotonic clock.
 * What is matched, and what the check returns, is the canonical form.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Denial } from "../../agent/Gate.js"
import * as Address from "../../authority/Address.js"
import * as Canonical from "../../authority/Canonical.js"
import type { Capability } from "../../authority/Capability.js"
import * as Expiry from "../../authority/Expiry.js"
import * as Lease from "../../authority/Lease.js"
import { PermissionDenied } from "../../protocol/Errors.js"
import type { PrincipalId } from "../../protocol/Ids.js"
import { grantsAnonymousToolsOnly, LeasePolicy, type LeasePolicyShape } from "../kernel/Policies.js"
import { granting } from "./Admission.js"
import { Budgets, type BudgetsService } from "./Budgets.js"
import { expired } from "./internal/authority.js"
import { closed } from "./internal/systemFolders.js"
import { type LeaseHolder, Leases } from "./Leases.js"

const denied = (capability: Capability, target: Canonical.Canonical, problem: string): PermissionDenied =>
  new PermissionDenied({
    message: `${capability}: ${Lease.shown(target)} ${problem}`,
    details: { capability, reason: "system_folder" }
  })

/** What they need. */
interface Uses {
  readonly budgets: BudgetsService
  readonly policy: LeasePolicyShape
}

/**
 * Which hosts the policy named is not stored with a lease, so the policy is consulted again, with what is known of the principal: its
 * id, as anonymous, without claims. Where it then sets no limit, or fails, the job reaches public addresses only.
 */
const recovered = ({ policy }: Uses, lease: Lease.Lease, principalId: PrincipalId): Lease.Lease => {
  if (grantsAnonymousToolsOnly(policy)) return lease
  const allowed = Option.liftThrowable(policy.allowed)({ id: principalId, anonymous: true, claims: {} })
  return { ...lease, ceiling: Option.getOrUndefined(allowed) ?? Lease.emptyLease }
}

const checkState = ({ budgets }: Uses, { jobId, lease, now }: LeaseHolder): Either.Either<void, Denial> => {
  if (Expiry.isOver(lease.expiresAt, now)) return Either.left(expired(lease))
  const exhausted = budgets.exhausted(jobId)
  return exhausted === undefined ? Either.void : Either.left(exhausted)
}

/** Whether a canonical target is inside a lease. */
const inside = (
  { policy }: Uses,
  lease: Lease.Lease,
  capability: Capability,
  target: Canonical.Canonical
): Either.Either<Canonical.Canonical, Denial> => {
  const decision = Lease.authorize(lease, capability, target)
  if (decision._tag !== "Allowed") {
    return capability === "model.use" && decision.reason === "capability" && !policy.requireModelUse
      ? Either.right(target)
      : Either.left(Lease.toPermissionDenied(decision))
  }
  const problem = closed(lease, capability, target)
  if (problem !== undefined) return Either.left(denied(capability, target, problem))
  return capability === "net.fetch" && Lease.isInside(lease, target as Canonical.CanonicalUrl)
    ? Either.left(
        new PermissionDenied({
          message: `net.fetch of ${Lease.shown(target)}: ${Address.notPublic}`,
          details: { capability, reason: "address" }
        })
      )
    : Either.right(target)
}

const check = (
  uses: Uses,
  job: LeaseHolder,
  capability: Capability,
  text: string
): Either.Either<Canonical.Canonical, Denial> => {
  const target = Canonical.target(capability, text)
  const state = checkState(uses, job)
  if (Either.isLeft(state)) return Either.left(state.left)
  return Either.isRight(target)
    ? inside(uses, job.lease, capability, target.right)
    : Either.left(
        new PermissionDenied({
          message: `${capability}: ${target.left.message}`,
          details: { capability, reason: "canonical" }
        })
      )
}

/** The leases of one runtime, as its `LeasePolicy` has them. */
export const layer: Layer.Layer<Leases, never, Budgets> = Layer.effect(
  Leases,
  Effect.gen(function* () {
    const uses: Uses = { budgets: yield* Budgets, policy: yield* LeasePolicy }
    return {
      admit: granting(uses.policy),
      recovered: (lease, principalId) => recovered(uses, lease, principalId),
      check: (job, capability, target) => check(uses, job, capability, target),
      checkState: (job) => checkState(uses, job)
    }
  })
)
