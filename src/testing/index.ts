/** In-memory everything, for the tests of programs that use this package. */
export * as FaultyStore from "./FaultyStore.js"
/** Connections that break as a test says. */
export * as FaultyTransport from "./FaultyTransport.js"
/** A peer that a test plays frame by frame. */
export * as ScriptedPeer from "./ScriptedPeer.js"
export * as TestArcp from "./TestArcp.js"
export * from "./TestGateway.js"
