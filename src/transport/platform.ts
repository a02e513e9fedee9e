/**
 * Transports inside an `@effect/platform` application on Node. Apart from `effect-arcp/transport/node`, whose users need
 * not have `@effect/platform-node`.
 *
 * @module
 */

/**
 * A WebSocket server as a route of an `@effect/platform` application on Node.
 *
 * @since 0.1.0
 * @category modules
 */
export * as WebSocketRoute from "./WebSocketRoute.js"
