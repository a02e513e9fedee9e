/** An application of `@effect/platform`: the runtime is one of its routes. */
import { createServer } from "node:http"
import { HttpLayerRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { WebSocketRoute } from "effect-arcp/transport/platform"
import { Context, Effect, Layer } from "effect"
import { runtimeOn } from "./runtime.js"

const Health = HttpLayerRouter.add("GET", "/health", HttpServerResponse.text("platform is well"))
const Arcp = runtimeOn("platform", WebSocketRoute.layer("/arcp"))

const App = HttpLayerRouter.serve(Layer.merge(Health, Arcp), { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(
    NodeHttpServer.layer(() => WebSocketRoute.guardUpgrades(createServer()), { port: 0, host: "127.0.0.1" })
  )
)

/** Serves until the end; the port. */
export const platform = Effect.map(Layer.build(App), (services) => {
  const { address } = Context.get(services, HttpServer.HttpServer)
  return address._tag === "TcpAddress" ? address.port : 0
})
