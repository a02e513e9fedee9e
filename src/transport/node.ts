/**
 * The transports of Node: WebSocket server and client over `ws`, and stdio.
 */
export * as StdioTransport from "./StdioTransport.js"
export * as WebSocketClient from "./WebSocketClient.js"
export * as WebSocketServer from "./WebSocketServer.js"
