/**
 * Connections between clients and runtimes: the contract, and what runs anywhere. Node's transports:
 * `effect-arcp/transport/node`.
 */
export * from "./Connection.js"
// the interface of the line above, and what makes one
export { Connection, type FromConnection, type StreamsOptions } from "./Streams.js"
export type { ConnectionStreams, PeerFacts } from "./ConnectionStreams.js"
export * as MemoryTransport from "./MemoryTransport.js"
/** One runtime on several transports. */
export * as Servers from "./Servers.js"
/** Servers and connectors whose connections are made of Streams. */
export * as StreamTransport from "./StreamTransport.js"
export * as WebSocketGlobal from "./WebSocketGlobal.js"
