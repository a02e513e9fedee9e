/**
 * Connections between clients and runtimes: the contract, and what runs anywhere. Node's transports:
 * `effect-arcp/transport/node`.
 */
export * from "./Connection.js"
export * as MemoryTransport from "./MemoryTransport.js"
/** One runtime on several transports. */
export * as Servers from "./Servers.js"
export * as WebSocketGlobal from "./WebSocketGlobal.js"
