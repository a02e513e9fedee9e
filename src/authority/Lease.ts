/**
 * Leases: what a job may do (ARCP 1.1 §9), compiled once when it is granted.
 *
 * A lease on the wire names capabilities with patterns. {@link compile} refuses whatever it does not understand entirely: an unknown
 * capability, a malformed pattern or amount, an unknown constraint. {@link authorize} decides on patterns alone; the order
 * of a whole check (canonical form, expiry, budget counters, pattern) is the runtime's. What a delegation may hand on is
 * decided in `Delegated`.
 *
 * A lease is immutable, and holds no reference to what it was compiled from.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { InvalidRequest, PermissionDenied } from "../protocol/Errors.js"
import { WireLease, type WireLeaseConstraints } from "../protocol/Fields.js"
import * as Address from "./Address.js"
import * as Amount from "./Amount.js"
import type { Canonical, CanonicalUrl } from "./Canonical.js"
import { type Capability, kindOf, parse as parseCapability, quote } from "./Capability.js"
import * as Expiry from "./Expiry.js"
import * as Glob from "./Glob.js"
import * as Pattern from "./Pattern.js"

/**
 * A lease names at most this many capabilities.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxCapabilities = 64

/**
 * The patterns of a lease are together at most this long, in UTF-16 code units. This bounds the memory of a compiled lease.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLeaseLength = 32_768

/**
 * A compiled lease.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly _tag: "Lease"
  /** The globs of every capability that is named, but `cost.budget`. */
  readonly grants: ReadonlyMap<Capability, Glob.GlobSet>
  /** What was granted of each currency (§9.6); empty where the lease sets no budget. */
  readonly budget: Amount.Amounts
  /** Milliseconds since the epoch; undefined where the lease has no expiry (§9.5). */
  readonly expiresAt: number | undefined
  /** What goes over the wire: patterns as they were spelled. */
  readonly wire: WireLease
  /** The constraints as they were spelled; undefined where there are none. */
  readonly constraints: WireLeaseConstraints | undefined
  /** The lease that this one was delegated from or narrowed to: {@link namesHost} holds only where it holds there too. */
  readonly ceiling?: Lease | undefined
}

/** @internal The parts of a lease that the others follow from. */
export interface Parts {
  readonly grants: ReadonlyMap<Capability, Glob.GlobSet>
  readonly budget: Amount.Amounts
  /** The amounts as spelled; made from `budget` if absent. */
  readonly amounts?: ReadonlyArray<string> | undefined
  readonly expiresAt: number | undefined
  readonly constraints: WireLeaseConstraints | undefined
  /** The order of capabilities on the wire. */
  readonly order: ReadonlyArray<Capability>
  readonly ceiling?: Lease | undefined
}

/** @internal puts a lease together from parts that have been checked. */
export const assemble = (parts: Parts): Lease => {
  const wire = parts.order.map((capability): readonly [string, ReadonlyArray<string>] => [
    capability,
    capability === "cost.budget"
      ? (parts.amounts ?? Amount.toPatterns(parts.budget))
      : (parts.grants.get(capability)?.globs ?? []).map((glob) => glob.source)
  ])
  return {
    _tag: "Lease",
    grants: parts.grants,
    budget: parts.budget,
    expiresAt: parts.expiresAt,
    wire: Object.fromEntries(wire),
    constraints: parts.constraints,
    ...(parts.ceiling === undefined ? {} : { ceiling: parts.ceiling })
  }
}

/**
 * The lease that allows nothing: what a submit without `lease_request` gets.
 *
 * @since 0.1.0
 * @category constructors
 */
export const emptyLease: Lease = {
  ...assemble({ grants: new Map(), budget: new Map(), expiresAt: undefined, constraints: undefined, order: [] }),
  // Jobs share it, and a handler has its wire form.
  wire: Object.freeze({})
}

interface Problem {
  readonly reason: string
  readonly message: string
  readonly capability?: string
  readonly pattern?: string
}

const refuse = ({ capability, message, pattern, reason }: Problem) =>
  Either.left(
    new InvalidRequest({
      message,
      details: {
        reason,
        ...(capability === undefined ? {} : { capability }),
        ...(pattern === undefined ? {} : { pattern: pattern.slice(0, 256) })
      }
    })
  )

/**
 * Options of {@link compile}.
 *
 * @since 0.1.0
 * @category options
 */
export interface CompileOptions {
  /** Milliseconds since the epoch; where given, an expiry that is not after it is refused. */
  readonly now?: number | undefined
}

/**
 * Compiles a lease from the wire, or says with `INVALID_REQUEST` which capability, pattern, amount or constraint is wrong. Input
 * may be hostile: own properties alone count, and number and size of everything are bounded ({@link maxCapabilities},
 * {@link maxLeaseLength}, `Glob.maxPatterns`, `Glob.maxPatternLength`).
 *
 * @example
 * ```ts
 * import { Lease } from "effect-arcp/authority"
 *
 * const lease = Lease.compile(
 *   { "fs.read": ["/data/**"], "cost.budget": ["USD:5.00"] },
 *   { expires_at: "2026-05-13T23:42:00Z" }
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const compile = (
  lease: WireLease,
  constraints?: WireLeaseConstraints | undefined,
  options?: CompileOptions | undefined
): Either.Either<Lease, InvalidRequest> => {
  const names = Object.keys(lease)
  if (names.length > maxCapabilities) {
    return refuse({ reason: "too_large", message: `lease_request: more than ${maxCapabilities} capabilities` })
  }
  // Most jobs ask for nothing: they share one lease.
  if (names.length === 0 && constraints === undefined) return Either.right(emptyLease)
  const grants = new Map<Capability, Glob.GlobSet>()
  const order: Array<Capability> = []
  let budget: Amount.Amounts = new Map()
  let amounts: ReadonlyArray<string> | undefined
  let length = 0
  for (const name of names) {
    const parsed = parseCapability(name)
    if (Either.isLeft(parsed)) return Either.left(parsed.left)
    const capability = parsed.right
    const patterns: unknown = lease[name]
    if (!Array.isArray(patterns) || !patterns.every((pattern): pattern is string => typeof pattern === "string")) {
      return refuse({ reason: "malformed", message: `lease_request.${name}: expected an array of strings`, capability })
    }
    order.push(capability)
    const kind = kindOf(capability)
    if (kind === "amount") {
      const parsedBudget = Amount.parseAll(patterns)
      if (Either.isLeft(parsedBudget)) {
        return refuse({ reason: "amount", message: `lease_request.${name}: ${parsedBudget.left.message}`, capability })
      }
      budget = parsedBudget.right
      amounts = [...patterns]
      continue
    }
    const set = compilePatterns(capability, kind, patterns)
    if (Either.isLeft(set)) return Either.left(set.left)
    for (const pattern of patterns) length += pattern.length
    if (length > maxLeaseLength) {
      return refuse({
        reason: "too_large",
        message: `lease_request: patterns of more than ${maxLeaseLength} characters together`
      })
    }
    grants.set(capability, set.right)
  }
  const expiry = compileConstraints(constraints, options?.now)
  if (Either.isLeft(expiry)) return Either.left(expiry.left)
  if (order.length === 0 && expiry.right === undefined) return Either.right(emptyLease)
  return Either.right(
    assemble({
      grants,
      budget,
      amounts,
      expiresAt: expiry.right,
      constraints: expiry.right === undefined ? undefined : { expires_at: constraints!.expires_at! },
      order
    })
  )
}

const compilePatterns = (
  capability: Capability,
  kind: Glob.Kind,
  patterns: ReadonlyArray<string>
): Either.Either<Glob.GlobSet, InvalidRequest> => {
  const problem = Glob.tooMany(patterns)
  if (problem !== undefined) {
    return refuse({ reason: "too_large", message: `lease_request.${capability}: ${problem.reason}`, capability })
  }
  const globs: Array<Glob.Glob> = []
  for (const source of new Set(patterns)) {
    // user information in a URL is a secret: it is not repeated
    const visible = kind === "url" && source.includes("@") ? undefined : source
    const bad = (reason: string, why: string) =>
      refuse({
        reason,
        message: `lease_request.${capability}: ${visible === undefined ? "a pattern" : `the pattern ${quote(visible)}`} ${why}`,
        capability,
        ...(visible === undefined ? {} : { pattern: visible })
      })
    // bounded before anything looks at it
    const canonical = source.length > Glob.maxPatternLength ? Either.right(source) : Pattern.canonical(kind, source)
    if (Either.isLeft(canonical)) return bad("pattern", canonical.left)
    const glob = Glob.compile(kind, canonical.right, source, versions(capability, canonical.right))
    if (Either.isLeft(glob)) return bad("too_large", glob.left.reason)
    globs.push(glob.right)
  }
  return Either.right(Glob.union(kind, globs))
}

// An agent's name stands for all its versions (§7.5).
const versions = (capability: Capability, pattern: string): ReadonlyArray<string> =>
  capability !== "agent.delegate" || pattern === "" || pattern.includes("@") ? [] : [`${pattern}@**`]

// A constraint that nobody enforces would be authority that its author did not mean to give.
const compileConstraints = (
  constraints: WireLeaseConstraints | undefined,
  now: number | undefined
): Either.Either<number | undefined, InvalidRequest> => {
  if (constraints === undefined) return Either.right(undefined)
  for (const key of Object.keys(constraints)) {
    if (key !== "expires_at") {
      return refuse({
        reason: "unknown_constraint",
        message: `lease_constraints: unknown constraint ${quote(key)}${
          /expir/i.test(key.slice(0, 64)) ? "; did you mean expires_at?" : ""
        }`
      })
    }
  }
  const text: unknown = constraints.expires_at
  if (text === undefined || text === null) return Either.right(undefined)
  if (typeof text !== "string") {
    return refuse({ reason: "expiry_malformed", message: "lease_constraints.expires_at: expected a string" })
  }
  return now === undefined ? Expiry.parse(text) : Expiry.parseFuture(text, now)
}

/**
 * What {@link authorize} decides.
 *
 * @since 0.1.0
 * @category models
 */
export type Decision = Allowed | Denied

/**
 * The operation is covered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Allowed {
  readonly _tag: "Allowed"
  /** The capability that was asked for. */
  readonly capability: Capability
  /** The pattern that covers it, as the lease spells it. */
  readonly pattern: string
}

/**
 * The operation is not covered.
 *
 * @since 0.1.0
 * @category models
 */
export interface Denied {
  readonly _tag: "Denied"
  /** The capability that was asked for. */
  readonly capability: Capability
  /** The canonical target that was asked for. */
  readonly target: Canonical
  /** `capability`: the lease does not name it at all (for `model.use` policy may allow that, §9.7); `pattern`: it does. */
  readonly reason: "capability" | "pattern"
}

/**
 * Whether the lease's patterns cover an operation (§9.3): a synchronous look-up of about a microsecond. Expiry and
 * budget are not looked at. An `agent.delegate` pattern without an `@` covers every version of the agents that it names.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Canonical, Lease } from "effect-arcp/authority"
 *
 * const lease = Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"] }))
 * const path = Either.getOrThrow(Canonical.path("/data/../etc/passwd"))
 * console.log(Lease.authorize(lease, "fs.read", path)._tag) // Denied
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const authorize = (lease: Lease, capability: Capability, target: Canonical): Decision => {
  const set = lease.grants.get(capability)
  if (set === undefined) return { _tag: "Denied", capability, target, reason: "capability" }
  const glob = Glob.find(set, target)
  return glob === undefined
    ? { _tag: "Denied", capability, target, reason: "pattern" }
    : { _tag: "Allowed", capability, pattern: glob.source }
}

/**
 * Whether the lease names the host of a URL that it covers: some `net.fetch` pattern matches the URL and has no wildcard in its host,
 * in this lease and in every lease that it comes from. Only such a URL may lead to an address that is not public (`Address`).
 *
 * @since 0.1.0
 * @category predicates
 */
export const namesHost = (lease: Lease, url: CanonicalUrl): boolean => {
  const set = lease.grants.get("net.fetch")
  if (set === undefined || url === "") return false
  const named =
    set.exact.has(url) ||
    set.wild.some(
      ({ matchers, pattern }) => Pattern.namesHost(pattern) && matchers.some((matcher) => matcher.matches(url))
    )
  return named && (lease.ceiling === undefined || namesHost(lease.ceiling, url))
}

/**
 * Whether a URL that the lease covers spells a host inside the network, an address that is not public or `localhost`, which the lease does
 * not name ({@link namesHost}). Where other names lead is for the caller to resolve.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isInside = (lease: Lease, url: CanonicalUrl): boolean => {
  const { hostname } = new URL(url)
  const inside = Address.parse(hostname) === undefined ? Address.isLoopbackName(hostname) : !Address.isPublic(hostname)
  return inside && !namesHost(lease, url)
}

/**
 * A target as it may be shown in messages and logs: a URL without its query, which may hold secrets.
 *
 * @since 0.1.0
 * @category functions
 */
export const shown = (target: Canonical): string => {
  const mark = /^https?:\/\//.test(target) ? target.indexOf("?") : -1
  return quote(mark === -1 ? target : `${target.slice(0, mark)}?…`)
}

/**
 * A denial as the error that the agent gets (§12).
 *
 * @since 0.1.0
 * @category functions
 */
export const toPermissionDenied = (denied: Denied): PermissionDenied => {
  const hint =
    denied.capability === "net.fetch" && denied.target.includes("?") && denied.reason === "pattern"
      ? " (the query is matched too)"
      : ""
  return new PermissionDenied({
    message:
      denied.reason === "capability"
        ? `${denied.capability} is not in the lease`
        : `${denied.capability} of ${shown(denied.target)} is not covered by the lease${hint}`,
    details: { capability: denied.capability, reason: denied.reason }
  })
}

/**
 * What the lease grants of each currency: the initial counters (§9.6). Empty where it sets no budget.
 *
 * @since 0.1.0
 * @category functions
 */
export const budgetOf = (lease: Lease): Amount.Amounts => lease.budget

/**
 * Whether the lease names a capability.
 *
 * @since 0.1.0
 * @category predicates
 */
export const names = (lease: Lease, capability: Capability): boolean =>
  capability === "cost.budget" ? lease.budget.size > 0 : lease.grants.has(capability)

/**
 * The lease as `job.accepted` shows it (§7.1): `{}` at least, and its constraints where it has any.
 *
 * @since 0.1.0
 * @category encoding
 */
export const toWire = (
  lease: Lease
): { readonly lease: WireLease; readonly lease_constraints?: WireLeaseConstraints } =>
  lease.constraints === undefined ? { lease: lease.wire } : { lease: lease.wire, lease_constraints: lease.constraints }

const FromSelf = Schema.declare(
  (u): u is Lease => typeof u === "object" && u !== null && "_tag" in u && u._tag === "Lease" && "grants" in u,
  { identifier: "Lease", description: "a compiled lease" }
)

/**
 * A lease on the wire, decoded to a compiled one without constraints.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LeaseFromWire: Schema.Schema<Lease, WireLease> = Schema.transformOrFail(WireLease, FromSelf, {
  strict: true,
  decode: (wire, _, ast) => Either.mapLeft(compile(wire), (error) => new ParseResult.Type(ast, wire, error.message)),
  encode: (lease) => ParseResult.succeed(lease.wire)
})
