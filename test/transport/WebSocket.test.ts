import { WebSocketServer } from "../../src/transport/node.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { suite } from "./suite.js"
import { attached, certificate, globalClient, privateKey, to, toRouted, wsClient } from "./webSockets.js"

const plain = () => WebSocketServer.layer({ port: 0 })

suite({ name: "WebSocket server, ws client", layer: () => to(wsClient, plain()), testClock: false, codes: true })

suite({
  name: "WebSocket server, global WebSocket",
  layer: () => to(globalClient, plain()),
  testClock: false,
  codes: true,
  // what a browser may not send
  clientCode: (code) => code + 3000,
  clientHoldsBack: false
})

suite({ name: "WebSocket on a node:http server", layer: () => to(wsClient, attached()), testClock: false, codes: true })

suite({ name: "WebSocket on a route", layer: () => toRouted(wsClient), testClock: false, codes: true })

suite({
  name: "WebSocket over TLS",
  layer: () =>
    to(
      (url) => WebSocketClient.layer({ url, tls: { ca: certificate } }),
      WebSocketServer.layer({ port: 0, tls: { cert: certificate, key: privateKey } })
    ),
  testClock: false,
  codes: true
})

suite({
  name: "WebSocket with compression",
  layer: () =>
    to(
      (url) => WebSocketClient.layer({ url, perMessageDeflate: true }),
      WebSocketServer.layer({ port: 0, perMessageDeflate: true })
    ),
  testClock: false,
  codes: true
})
