/** An application of Express: it answers requests, and the runtime takes the upgrades of the server below it. */
import { createServer } from "node:http"
import { WebSocketServer } from "effect-arcp/transport/node"
import { Effect, Layer } from "effect"
import express from "express"
import { listening, runtimeOn } from "./runtime.js"

/** Serves until the end; the port. */
export const onExpress = Effect.gen(function* () {
  const app = express()
  app.get("/health", (_request, response) => void response.send("express is well"))
  const server = createServer(app)
  yield* Layer.build(runtimeOn("express", WebSocketServer.layerFromServer(server)))
  return yield* listening(server)
})
