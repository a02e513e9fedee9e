/** A plain server of Node: the runtime takes the upgrades of one path, all else is the program's own. */
import { createServer } from "node:http"
import { WebSocketServer } from "effect-arcp/transport/node"
import { Effect, Layer } from "effect"
import { listening, runtimeOn } from "./runtime.js"

/** Serves until the end; the port. */
export const node = Effect.gen(function* () {
  const server = createServer((request, response) => {
    if (request.url === "/health") response.end("node is well")
    else response.writeHead(404).end()
  })
  yield* Layer.build(runtimeOn("node", WebSocketServer.layerFromServer(server)))
  return yield* listening(server)
})
