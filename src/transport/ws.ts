/** WebSocket server and client of Node, over `ws`. */
export * as WebSocketClient from "./WebSocketClient.js"
export * as WebSocketServer from "./WebSocketServer.js"
