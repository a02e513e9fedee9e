/**
 * Transports inside an `@effect/platform` application on Node. Apart from `effect-arcp/transport/node`, whose users need
 * not have `@effect/platform-node`.
 */
export * as WebSocketRoute from "./WebSocketRoute.js"
