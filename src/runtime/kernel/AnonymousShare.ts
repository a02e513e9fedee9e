/**
 * How much of a bound in all anonymous principals may have together (ARCP 1.1 §14).
 *
 * Each anonymous session is a principal of its own, so that the bounds of one principal do not bound clients without a token. What is left
 * of each bound in all is for principals with a credential. Who is anonymous is known from the principal's id alone.
 */
import type { LimitsShape } from "./Limits.js"

/** The part of a bound; at least one of what is not forbidden, so that nothing is reserved of a bound of one. */
export const anonymousShare = ({ anonymousShare: percent }: LimitsShape, bound: number): number =>
  percent >= 100 || bound <= 1 || bound === Number.POSITIVE_INFINITY
    ? bound
    : Math.max(1, Math.floor((bound * percent) / 100))
