/**
 * The wire contract of ARCP 1.1 as Schemas: pure, no I/O, runs anywhere.
 *
 * @module
 */

/**
 * Agent names: `name` or `name@version` (ARCP 1.1 §7.5).
 *
 * @since 0.1.0
 * @category modules
 */
export * as AgentName from "./AgentName.js"
export * from "./AgentSpec.js"

/**
 * Payloads of the artifact messages, and the ids and URIs of artifacts. Beyond the specification: the feature `artifacts`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Artifact from "./Artifact.js"

/**
 * JSON in one spelling, so that equal values have equal texts.
 *
 * @since 0.1.0
 * @category modules
 */
export * as CanonicalJson from "./CanonicalJson.js"

/**
 * The envelope of every message (ARCP 1.1 §5): reading untrusted text into one, and writing one.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Envelope from "./Envelope.js"
export * from "./Errors.js"

/**
 * The events of jobs (ARCP 1.1 §8): their kinds, the Schemas of their bodies, and reading them.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Event from "./Event.js"

/**
 * Names beyond the core: message types, event kinds and capabilities of vendors and experiments (ARCP 1.0 §15).
 *
 * @since 0.1.0
 * @category modules
 */
export * as ExtensionName from "./ExtensionName.js"

/**
 * The features that sessions negotiate (ARCP 1.1 §6.2).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Features from "./Features.js"

/**
 * Schemas of the fields that several messages have.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Fields from "./Fields.js"
export * from "./Ids.js"

/**
 * Payloads of the job messages (ARCP 1.1 §7).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Job from "./Job.js"
export type { LeaseRequest } from "./LeaseRequest.js"

/**
 * Every message by type and direction: decoding an envelope into a typed message, and making envelopes.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Message from "./Message.js"

/**
 * Payloads of the session messages (ARCP 1.1 §6).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Session from "./Session.js"

/**
 * W3C Trace Context as ARCP carries it (ARCP 1.1 §11).
 *
 * @since 0.1.0
 * @category modules
 */
export * as Trace from "./Trace.js"
