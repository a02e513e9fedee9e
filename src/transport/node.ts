/**
 * The transports of Node in one: `effect-arcp/transport/ws` (which needs the package `ws`) and `effect-arcp/transport/stdio` (which
 * does not).
 *
 * @module
 */

export * from "./stdio.js"
export * from "./ws.js"
