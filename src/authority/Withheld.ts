/** What a client asked for and was not granted, for people: logs of a runtime, messages of a client (ARCP 1.1 §7.1, §9). */
import type { WireLease, WireLeaseConstraints } from "../protocol/Fields.js"
import { quote } from "./Capability.js"

/**
 * A lease as it goes over the wire, with its constraints.
 *
 * @since 0.1.0
 * @category models
 */
export interface Terms {
  /** Capability to patterns; undefined counts as no capability. */
  readonly lease: WireLease | undefined
  /** The constraints; undefined counts as none. */
  readonly constraints: WireLeaseConstraints | undefined
}

/** At most this many patterns of a capability are listed. */
const maxListed = 5

const list = (capability: string, patterns: ReadonlyArray<string>): string => {
  // A query may hold a secret.
  const shown = (pattern: string) => quote(capability === "net.fetch" ? pattern.replace(/\?[\s\S]*/, "?…") : pattern)
  const more = patterns.length - maxListed
  return patterns.slice(0, maxListed).map(shown).join(", ") + (more > 0 ? ` and ${more} more` : "")
}

const patternsOf = (lease: WireLease | undefined, capability: string): ReadonlyArray<string> | undefined =>
  lease !== undefined && Object.hasOwn(lease, capability) ? lease[capability] : undefined

/**
 * A line for each capability of which less was granted than asked for, for a budget that was added, and for an expiry that was added or
 * is earlier. Empty where all was granted. Patterns are compared by their spelling, which a runtime keeps. The lines are bounded.
 *
 * @example
 * ```ts
 * import { Withheld } from "effect-arcp/authority"
 *
 * const lines = Withheld.describe(
 *   { lease: { "fs.read": ["/**"] }, constraints: undefined },
 *   { lease: { "fs.read": ["/data/**"] }, constraints: undefined }
 * )
 * console.log(lines) // ['fs.read: "/**" was not granted, only "/data/**"']
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const describe = (asked: Terms, granted: Terms): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const capability of Object.keys(asked.lease ?? {})) {
    const given = patternsOf(granted.lease, capability) ?? []
    const missing = (patternsOf(asked.lease, capability) ?? []).filter((pattern) => !given.includes(pattern))
    if (missing.length === 0) continue
    const rest = given.length === 0 ? "" : `, only ${list(capability, given)}`
    lines.push(`${capability.slice(0, 64)}: ${list(capability, missing)} was not granted${rest}`)
  }
  const budget = patternsOf(granted.lease, "cost.budget")
  if (budget !== undefined && budget.length > 0 && patternsOf(asked.lease, "cost.budget") === undefined) {
    lines.push(`cost.budget: limited to ${list("cost.budget", budget)}`)
  }
  const expiry = granted.constraints?.expires_at
  const wanted = asked.constraints?.expires_at
  if (expiry !== undefined && (wanted === undefined || Date.parse(expiry) < Date.parse(wanted))) {
    lines.push(`the lease expires at ${expiry.slice(0, 64)}`)
  }
  return lines
}
