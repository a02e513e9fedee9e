/**
 * Capability names: the reserved ones of ARCP 1.1 §9.2 and vendors' `x-vendor.<vendor>.<name>`. Any other name, also a
 * reserved one in another spelling, is refused and never ignored: a grant that nobody enforces is a hole.
 */
import * as Either from "effect/Either"
import { InvalidRequest } from "../protocol/Errors.js"
import { classify, type CoreCapability, coreCapabilities } from "../protocol/ExtensionName.js"
import type { Kind } from "./Glob.js"

/**
 * A reserved capability (§9.2).
 *
 * @since 0.1.0
 * @category models
 */
export type Reserved = CoreCapability

/**
 * The reserved capabilities, in the order of the specification's table.
 *
 * @since 0.1.0
 * @category constants
 */
export const reserved: ReadonlyArray<Reserved> = coreCapabilities

/**
 * A vendor's capability. Its patterns are names, and what they name is the vendor's concern.
 *
 * @since 0.1.0
 * @category models
 */
export type Vendor = `x-vendor.${string}.${string}`

/**
 * A capability that may stand in a lease.
 *
 * @since 0.1.0
 * @category models
 */
export type Capability = Reserved | Vendor

/**
 * What a capability's patterns are: globs of a kind, or amounts of money (`cost.budget`).
 *
 * @since 0.1.0
 * @category models
 */
export type PatternKind = Kind | "amount"

const kinds: { readonly [C in Reserved]: PatternKind } = {
  "fs.read": "path",
  "fs.write": "path",
  "net.fetch": "url",
  "tool.call": "name",
  "agent.delegate": "name",
  "cost.budget": "amount",
  "model.use": "name"
}

/**
 * Whether a name is a reserved capability.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isReserved = (name: string): name is Reserved => Object.hasOwn(kinds, name)

/**
 * Whether a name is a vendor's capability.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isVendor = (name: string): name is Vendor => name.startsWith("x-vendor.") && classify(name) === "vendor"

/**
 * Whether a name may stand in a lease.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isCapability = (name: string): name is Capability => isReserved(name) || isVendor(name)

/**
 * What the patterns of a capability are.
 *
 * @since 0.1.0
 * @category functions
 */
export const kindOf = (capability: Capability): PatternKind => (isReserved(capability) ? kinds[capability] : "name")

// Compared by letters alone: case, separators and look-alikes fall away.
const letters = (name: string): string =>
  name
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[^a-z]/g, "")

const vendorShape = "x-vendor.<vendor>.<name>"

/** @internal The capability that a misspelled `name` probably means: a reserved name, the shape of a vendor's name, or undefined. */
export const suggest = (name: string): string | undefined => {
  if (name.length > 64) return undefined
  const plain = letters(name)
  if (plain.startsWith("xvendor") || plain.startsWith("vendor")) return vendorShape
  let best: Reserved | undefined
  let distance = 3
  for (const candidate of reserved) {
    const found = edits(plain, letters(candidate))
    if (found < distance) {
      best = candidate
      distance = found
    }
  }
  return best
}

/**
 * The capability of this name, or `INVALID_REQUEST` with a hint.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (name: string): Either.Either<Capability, InvalidRequest> => {
  if (isCapability(name)) return Either.right(name)
  const hint = suggest(name)
  return Either.left(
    new InvalidRequest({
      message: `lease_request: unknown capability ${quote(name)}${hint === undefined ? "" : `; did you mean ${hint}?`}`,
      details: { reason: "unknown_capability", capability: name.slice(0, 64), ...(hint === undefined ? {} : { hint }) }
    })
  )
}

/** @internal A name or pattern for a message: quoted, and cut where it is long. */
export const quote = (text: string): string => JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 79)}…`)

/** How many letters to add, drop or change to make one of the other (Levenshtein). */
const edits = (a: string, b: string): number => {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
