/**
 * Connections between clients and runtimes: the contract, and what runs anywhere. Node's transports:
 * `effect-arcp/transport/node`.
 *
 * @module
 */

export * from "./Connection.js"
// the interface of the line above, and what makes one
export { Connection, type FromConnection, type StreamsOptions } from "./Streams.js"
export type { ConnectionStreams, PeerFacts } from "./ConnectionStreams.js"

/**
 * A server and a connector in one process, by reference or through the encoder.
 *
 * @since 0.1.0
 * @category modules
 */
export * as MemoryTransport from "./MemoryTransport.js"

/**
 * One runtime on several transports.
 *
 * @since 0.1.0
 * @category modules
 */
export * as Servers from "./Servers.js"

/**
 * Servers and connectors whose connections are made of Streams.
 *
 * @since 0.1.0
 * @category modules
 */
export * as StreamTransport from "./StreamTransport.js"

/**
 * A WebSocket client over the global `WebSocket`: browsers, workers, Deno, Bun, Node 22 and later.
 *
 * @since 0.1.0
 * @category modules
 */
export * as WebSocketGlobal from "./WebSocketGlobal.js"
