/** When a lease ends (ARCP 1.1 §9.5): `lease_constraints.expires_at`, strictly read, and compared. */
import * as Either from "effect/Either"
import { InvalidRequest } from "../protocol/Errors.js"
import { formatTimestamp, parseTimestamp } from "../protocol/Fields.js"

const utc = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/

const refuse = (reason: string, what: string) =>
  Either.left(
    new InvalidRequest({
      message: `lease_constraints.expires_at: ${what}`,
      details: { reason, field: "lease_constraints.expires_at" }
    })
  )

/**
 * Milliseconds since the epoch. `INVALID_REQUEST` unless it is ISO 8601 in UTC with a `Z` and an existing date and time. What
 * is finer than a millisecond is cut off, so that a lease never ends late.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parse = (text: string): Either.Either<number, InvalidRequest> => {
  if (!utc.test(text)) return refuse("expiry_malformed", "not an ISO 8601 time in UTC, such as 2026-05-13T23:42:00Z")
  const millis = parseTimestamp(text)
  // Date.parse rolls 30 February over into March
  return millis === undefined || formatTimestamp(millis).slice(0, 19) !== text.slice(0, 19)
    ? refuse("expiry_malformed", "no such date or time")
    : Either.right(millis)
}

/**
 * As {@link parse}, and `INVALID_REQUEST` unless it lies after `now` (milliseconds since the epoch).
 *
 * @since 0.1.0
 * @category decoding
 */
export const parseFuture = (text: string, now: number): Either.Either<number, InvalidRequest> =>
  Either.flatMap(parse(text), (millis) =>
    millis > now ? Either.right(millis) : refuse("expiry_past", "not in the future")
  )

/**
 * The earlier of two expiries; undefined is never.
 *
 * @since 0.1.0
 * @category combinators
 */
export const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/**
 * Whether `a` ends after `b` does; undefined is never.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isLater = (a: number | undefined, b: number | undefined): boolean =>
  b !== undefined && (a === undefined || a > b)

/**
 * Whether a lease is over at `now`, both in milliseconds: at its expiry and from then on (§9.5).
 *
 * @since 0.1.0
 * @category predicates
 */
export const isOver = (expiresAt: number | undefined, now: number): boolean =>
  expiresAt !== undefined && now >= expiresAt
