/**
 * The stdio transport of Node. Apart from `effect-arcp/transport/node`, whose users need `ws`.
 *
 * @module
 */

/**
 * Newline-delimited JSON over standard streams: a runtime as a child process (ARCP 1.0 §4.2).
 *
 * @since 0.1.0
 * @category modules
 */
export * as StdioTransport from "./StdioTransport.js"
