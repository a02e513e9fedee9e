/** In-memory everything, for the tests of programs that use this package. */
export { artifactLaws } from "./ArtifactLaws.js"
export {
  type AcceptedCredential,
  type AuthenticatorLawOptions,
  authenticatorLaws,
  type Credential
} from "./AuthenticatorLaws.js"
export * as FaultyStore from "./FaultyStore.js"
/** Connections that break as a test says. */
export * as FaultyTransport from "./FaultyTransport.js"
export { type Law, LawBroken, type LawOptions } from "./Law.js"
export { type LedgerLawOptions, ledgerLaws } from "./LedgerLaws.js"
/** A peer that a test plays frame by frame. */
export * as ScriptedPeer from "./ScriptedPeer.js"
export * as TestArcp from "./TestArcp.js"
export { type StoreLawOptions, storeLaws } from "./StoreLaws.js"
export * from "./TestGateway.js"
export { type TransportLawOptions, transportLaws } from "./TransportLaws.js"
