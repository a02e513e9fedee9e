/**
 * WebSocket server and client of Node, over `ws`.
 *
 * @module
 */

/**
 * A WebSocket client of Node, over the package `ws`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as WebSocketClient from "./WebSocketClient.js"

/**
 * A WebSocket server of Node, over the package `ws`.
 *
 * @since 0.1.0
 * @category modules
 */
export * as WebSocketServer from "./WebSocketServer.js"
