/**
 * Names of extensions and what they are: core, experimental, vendor or malformed.
 *
 * `x-vendor.<vendor>.<name>` names event kinds, features, capabilities and extension fields; `arcpx.<seg>+.v<N>` and
 * reverse-DNS `<tld>.<seg>+.v<N>` name message types; any other `x-` name is experimental (ARCP 1.0 §8.2, §15).
 */
import { coreFeatures, extendedFeatures } from "./Features.js"

/**
 * What a name is.
 *
 * @since 0.1.0
 * @category models
 */
export type Classification = "core" | "experimental" | "vendor" | "malformed"

/**
 * Names are at most this long.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLength = 200

/**
 * The message types of ARCP 1.1, those that 1.0 supplies, and the artifact messages.
 *
 * @since 0.1.0
 * @category constants
 */
export const coreMessageTypes = [
  "session.hello",
  "session.resume",
  "session.welcome",
  "session.ping",
  "session.pong",
  "session.ack",
  "session.list_jobs",
  "session.jobs",
  "session.close",
  "session.closed",
  "session.bye",
  "session.error",
  "job.submit",
  "job.accepted",
  "job.cancel",
  "job.cancelled",
  "job.event",
  "job.result",
  "job.error",
  "job.subscribe",
  "job.subscribed",
  "job.unsubscribe",
  "job.unsubscribed",
  "artifact.put",
  "artifact.ref",
  "artifact.fetch",
  "artifact.data",
  "artifact.release",
  "artifact.released"
] as const

/**
 * A message type of this implementation.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreMessageType = (typeof coreMessageTypes)[number]

/**
 * The event kinds of ARCP 1.1 §8.2.
 *
 * @since 0.1.0
 * @category constants
 */
export const coreEventKinds = [
  "log",
  "thought",
  "tool_call",
  "tool_result",
  "status",
  "metric",
  "artifact_ref",
  "delegate",
  "progress",
  "result_chunk"
] as const

/**
 * An event kind of ARCP 1.1 §8.2.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreEventKind = (typeof coreEventKinds)[number]

/**
 * The capabilities of ARCP 1.1 §9.2.
 *
 * @since 0.1.0
 * @category constants
 */
export const coreCapabilities = [
  "fs.read",
  "fs.write",
  "net.fetch",
  "tool.call",
  "agent.delegate",
  "cost.budget",
  "model.use"
] as const

/**
 * A capability of ARCP 1.1 §9.2.
 *
 * @since 0.1.0
 * @category models
 */
export type CoreCapability = (typeof coreCapabilities)[number]

let core: ReadonlySet<string> | undefined

/** Made when it is first asked for: most programs ask for names of vendors alone. */
const isCore = (name: string): boolean => {
  core ??= new Set<string>([
    ...coreMessageTypes,
    ...coreEventKinds,
    ...coreCapabilities,
    ...coreFeatures,
    ...extendedFeatures.filter((feature) => !feature.startsWith("x-"))
  ])
  return core.has(name)
}

const vendorName = /^x-vendor\.[a-z0-9][a-z0-9_-]*(\.[a-zA-Z0-9][a-zA-Z0-9_-]*)+$/
const experimentalName = /^x-[a-z0-9][a-zA-Z0-9._-]*$/
const versionedType = /^([a-z][a-z0-9-]*)(\.[a-z0-9][a-z0-9_-]*)+\.v[1-9][0-9]*$/
// Namespaces of the protocol itself cannot be a vendor's.
const reserved = /^(session|job|artifact|arcp|cost|fs|net|tool|agent|model)\./

const isVendorName = (name: string): boolean => name.length <= maxLength && vendorName.test(name)

/**
 * Classifies a name. `x-vendor` alone or without a name behind the vendor is malformed.
 *
 * @since 0.1.0
 * @category functions
 */
export const classify = (name: string): Classification => {
  if (isCore(name)) return "core"
  if (name.length > maxLength) return "malformed"
  if (name.startsWith("x-vendor")) return isVendorName(name) ? "vendor" : "malformed"
  if (name.startsWith("x-")) return experimentalName.test(name) ? "experimental" : "malformed"
  return versionedType.test(name) && !reserved.test(name) ? "vendor" : "malformed"
}

/**
 * Whether an unknown name may be ignored: it is a vendor's or experimental.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isExtension = (name: string): boolean => {
  const kind = classify(name)
  return kind === "vendor" || kind === "experimental"
}

/**
 * Whether a name is one that a vendor may give to its event kinds: `x-vendor.<vendor>.<name>`, and not this implementation's own.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isVendorKind = (name: string): name is `x-vendor.${string}` =>
  name.startsWith("x-vendor.") && !name.startsWith("x-vendor.effect-arcp.") && isVendorName(name)
