/**
 * In-memory everything, for the tests of programs that use this package.
 *
 * @module
 */

export { artifactLaws } from "./ArtifactLaws.js"
export {
  type AcceptedCredential,
  type AuthenticatorLawOptions,
  authenticatorLaws,
  type Credential
} from "./AuthenticatorLaws.js"

/**
 * A store that fails and hangs as a test says.
 *
 * @since 0.1.0
 * @category modules
 */
export * as FaultyStore from "./FaultyStore.js"

/**
 * Connections that break as a test says.
 *
 * @since 0.1.0
 * @category modules
 */
export * as FaultyTransport from "./FaultyTransport.js"
export { type Law, LawBroken, type LawOptions } from "./Law.js"
export { type LedgerLawOptions, ledgerLaws } from "./LedgerLaws.js"

/**
 * A peer that a test plays frame by frame.
 *
 * @since 0.1.0
 * @category modules
 */
export * as ScriptedPeer from "./ScriptedPeer.js"

/**
 * A client and a runtime in one process, as one layer.
 *
 * @since 0.1.0
 * @category modules
 */
export * as TestArcp from "./TestArcp.js"
export { type StoreLawOptions, storeLaws } from "./StoreLaws.js"
export * from "./TestGateway.js"
export { type TransportLawOptions, transportLaws } from "./TransportLaws.js"
