/** The stdio transport of Node. Apart from `effect-arcp/transport/node`, whose users need `ws`. */
export * as StdioTransport from "./StdioTransport.js"
