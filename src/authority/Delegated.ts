/**
 * What of a lease may be handed on: the subset proof of delegation (ARCP 1.1 §9.4, §10, 1.0 §9.4), the effective lease of a
 * child, and the narrowing of a request by policy. Nothing here ever widens: what cannot be proven is refused, or left out.
 */
import * as Either from "effect/Either"
import { LeaseSubsetViolation } from "../protocol/Errors.js"
import * as Amount from "./Amount.js"
import { type Capability, quote } from "./Capability.js"
import * as Expiry from "./Expiry.js"
import * as Glob from "./Glob.js"
import { intersection } from "./internal/intersection.js"
import { assemble, type Lease } from "./Lease.js"

/**
 * Why a lease is not contained in another.
 *
 * @since 0.1.0
 * @category models
 */
export type ViolationReason = "capability" | "pattern" | "too_complex" | "budget" | "budget_missing" | "expiry"

const violation = (
  reason: ViolationReason,
  capability: string,
  message: string,
  pattern?: string,
  more: Readonly<Record<string, unknown>> = {}
) =>
  Either.left(
    new LeaseSubsetViolation({
      message,
      details: { reason, capability, ...(pattern === undefined ? {} : { pattern: pattern.slice(0, 256) }), ...more }
    })
  )

/**
 * Options of {@link isSubset}.
 *
 * @since 0.1.0
 * @category options
 */
export interface SubsetOptions {
  /** What the parent's counters hold now; by default what its lease granted (§9.4). */
  readonly remaining?: Amount.Amounts | undefined
  /** Bound on the work of the proof, see `Glob.maxContainmentWork`. */
  readonly maxWork?: number | undefined
}

/**
 * Whether the child's lease is contained in the parent's, exactly: every capability, every text that a pattern matches, every currency
 * and the expiry. Equal leases contain each other.
 *
 * `LEASE_SUBSET_VIOLATION` says in `details.reason` what is too wide, with `capability`, `pattern`, and for a pattern the
 * `witness`, a text that only the child covers; `too_complex` where the patterns are too large to decide within the bound.
 *
 * A child of a parent with a budget must name a budget in each of the parent's currencies, and in no other. A child without
 * an expiry inherits the parent's ({@link inherit}).
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Delegated, Lease } from "effect-arcp/authority"
 *
 * const parent = Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] }))
 * const child = Either.getOrThrow(Lease.compile({ "fs.read": ["/data/a/*"], "cost.budget": ["USD:0.25"] }))
 * console.log(Either.isRight(Delegated.isSubset(child, parent))) // true
 * ```
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSubset = (
  child: Lease,
  parent: Lease,
  options?: SubsetOptions | undefined
): Either.Either<void, LeaseSubsetViolation> => {
  if (child.expiresAt !== undefined && Expiry.isLater(child.expiresAt, parent.expiresAt)) {
    return violation("expiry", "lease_constraints", "lease_constraints.expires_at: later than the parent's")
  }
  const budget = budgetSubset(child.budget, parent.budget, options?.remaining ?? parent.budget)
  if (Either.isLeft(budget)) return budget
  const work = Glob.work(options?.maxWork)
  for (const [capability, wanted] of child.grants) {
    const given = parent.grants.get(capability)
    if (given === undefined) {
      return violation("capability", capability, `lease_request.${capability}: not in the parent's lease`)
    }
    const answer = Glob.isSubset(wanted, given, work)
    if (answer._tag === "NotSubset") {
      const { source } = answer.glob
      const witness = answer.witness.slice(0, 256)
      return violation(
        "pattern",
        capability,
        `lease_request.${capability}: ${quote(source)} reaches further than the parent's lease, to ${quote(witness)}`,
        source,
        { witness }
      )
    }
    if (answer._tag === "TooComplex") {
      const { source } = answer.glob
      return violation(
        "too_complex",
        capability,
        `lease_request.${capability}: too complex to prove that ${quote(source)} is within the parent's lease`,
        source
      )
    }
  }
  return Either.void
}

const budgetSubset = (
  child: Amount.Amounts,
  granted: Amount.Amounts,
  remaining: Amount.Amounts
): Either.Either<void, LeaseSubsetViolation> => {
  for (const [currency, value] of child) {
    if (!granted.has(currency)) {
      return violation(
        "capability",
        "cost.budget",
        `lease_request.cost.budget: ${currency} is not in the parent's lease`
      )
    }
    const left = remaining.get(currency) ?? Amount.zero
    if (Amount.exceeds(value, left)) {
      return violation(
        "budget",
        "cost.budget",
        `lease_request.cost.budget: ${Amount.print({ currency, value })} exceeds the ${Amount.format(left)} that remain`,
        Amount.print({ currency, value }),
        { currency, remaining: Amount.toNumber(left) }
      )
    }
  }
  for (const currency of granted.keys()) {
    if (!child.has(currency)) {
      return violation(
        "budget_missing",
        "cost.budget",
        `lease_request.cost.budget: the parent has a budget in ${currency}, the child must name its share`,
        undefined,
        { currency }
      )
    }
  }
  return Either.void
}

// An absent `model.use` may mean any model by policy (§9.7). Where a side does name it the outcome names it too, with
// no pattern if need be, so that no policy can turn its absence into more than was given.
const closedModels = (
  grants: ReadonlyMap<Capability, Glob.GlobSet>,
  ...leases: ReadonlyArray<Lease>
): ReadonlyMap<Capability, Glob.GlobSet> =>
  grants.has("model.use") || !leases.some((lease) => lease.grants.has("model.use"))
    ? grants
    : new Map([...grants, ["model.use", Glob.union("name", [])]])

const orderOf = (
  first: Lease,
  grants: ReadonlyMap<Capability, Glob.GlobSet>,
  budget: Amount.Amounts
): ReadonlyArray<Capability> => {
  const present = (capability: Capability) => (capability === "cost.budget" ? budget.size > 0 : grants.has(capability))
  const listed = (Object.keys(first.wire) as Array<Capability>).filter(present)
  const added = [...grants.keys(), ...(budget.size > 0 ? ["cost.budget" as const] : [])]
  return [...listed, ...added.filter((capability) => !listed.includes(capability))]
}

/**
 * The effective lease of a child whose request {@link isSubset} has let pass: it expires with the parent at the latest (§9.4), and has
 * no models where the parent's were limited and the child asked for none.
 *
 * @since 0.1.0
 * @category combinators
 */
export const inherit = (child: Lease, parent: Lease): Lease => {
  const later = Expiry.isLater(child.expiresAt, parent.expiresAt)
  const grants = closedModels(child.grants, parent)
  return assemble({
    grants,
    budget: child.budget,
    amounts: child.wire["cost.budget"],
    expiresAt: later ? parent.expiresAt : child.expiresAt,
    constraints: later ? parent.constraints : child.constraints,
    order: orderOf(child, grants, child.budget),
    ceiling: parent
  })
}

/**
 * The part of a requested lease that a policy's lease allows: never more than either.
 *
 * Of each capability that both name, a requested pattern stays if it is covered, and of one that is wider the policy's
 * patterns within it take its place; patterns that merely overlap, and what is too complex to decide, are left out. The
 * policy's budgets are ceilings: the smaller amount counts, and a currency that only one side limits keeps that limit.
 * The earlier expiry counts.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Delegated, Lease } from "effect-arcp/authority"
 *
 * const asked = Either.getOrThrow(Lease.compile({ "fs.read": ["/**"], "net.fetch": ["https://**"] }))
 * const allowed = Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"] }))
 * console.log(Lease.toWire(Delegated.narrow(asked, allowed)).lease) // { "fs.read": ["/data/**"] }
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const narrow = (requested: Lease, allowed: Lease): Lease => {
  const work = Glob.work()
  const grants = new Map<Capability, Glob.GlobSet>()
  for (const [capability, wanted] of requested.grants) {
    const given = allowed.grants.get(capability)
    if (given !== undefined) grants.set(capability, intersection(wanted, given, work))
  }
  const budget = new Map(requested.budget)
  for (const [currency, ceiling] of allowed.budget) {
    // a second counter in other case would escape the ceiling
    const other = Amount.misspelled(budget, currency)
    if (other !== undefined) budget.delete(other)
    const wanted = budget.get(currency)
    if (wanted === undefined || Amount.exceeds(wanted, ceiling)) budget.set(currency, ceiling)
  }
  const closed = closedModels(grants, requested, allowed)
  const later = Expiry.isLater(requested.expiresAt, allowed.expiresAt)
  const unchanged =
    budget.size === requested.budget.size &&
    [...budget].every(([currency, value]) => requested.budget.get(currency) === value)
  return assemble({
    grants: closed,
    budget,
    amounts: unchanged ? requested.wire["cost.budget"] : undefined,
    expiresAt: later ? allowed.expiresAt : requested.expiresAt,
    constraints: later ? allowed.constraints : requested.constraints,
    order: orderOf(requested, closed, budget),
    ceiling: allowed
  })
}

/**
 * The lease with no more of each of its currencies than `remaining` holds, zero at least: what a job hands over when another
 * takes its place.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withRemaining = (lease: Lease, remaining: Amount.Amounts): Lease => {
  const budget = new Map(
    Array.from(lease.budget, ([currency, granted]) => {
      const left = remaining.get(currency) ?? Amount.zero
      return [
        currency,
        Amount.isExhausted(left) ? Amount.zero : Amount.exceeds(left, granted) ? granted : left
      ] as const
    })
  )
  const { ceiling, constraints, expiresAt, grants } = lease
  return assemble({ grants, budget, expiresAt, constraints, ceiling, order: orderOf(lease, grants, budget) })
}
