/** Features and their negotiation (ARCP 1.1 §6.2). */

/**
 * The features that ARCP 1.1 defines.
 *
 * @since 0.1.0
 * @category constants
 */
export const coreFeatures = [
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "provisioned_credentials",
  "progress",
  "result_chunk",
  "agent_versions"
] as const

/**
 * A feature of ARCP 1.1.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreFeature = (typeof coreFeatures)[number]

/**
 * A client that takes an agent's own error codes in `job.error` (1.0 §12); other sessions get `INTERNAL_ERROR` instead.
 *
 * @since 0.1.0
 * @category constants
 */
export const agentErrors = "x-vendor.effect-arcp.agent_errors"

/**
 * Features beyond the specification that this implementation negotiates by name.
 *
 * @since 0.1.0
 * @category constants
 */
export const extendedFeatures = ["artifacts", agentErrors] as const

/**
 * A feature beyond the specification.
 *
 * @since 0.1.0
 * @category models
 */
export type ExtendedFeature = (typeof extendedFeatures)[number]

/**
 * A feature that this implementation knows.
 *
 * @since 0.1.0
 * @category models
 */
export type Feature = CoreFeature | ExtendedFeature

/**
 * The features that both sides named, in the order of `ours`: all that either may use (§6.2). Unknown names pass without harm.
 *
 * @since 0.1.0
 * @category combinators
 */
export const intersect = <F extends string>(
  ours: ReadonlyArray<F>,
  theirs: ReadonlyArray<string>
): ReadonlyArray<F> => {
  const offered = new Set(theirs)
  return ours.filter((feature) => offered.has(feature))
}
