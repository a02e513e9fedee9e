/** The WebSocket transports in the forms in which they are tested. */
import { createServer } from "node:http"
import { readFileSync } from "node:fs"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { WebSocket } from "ws"
import { Connector, Server, type TransportError, WebSocketGlobal } from "../../src/transport/index.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { WebSocketRoute } from "../../src/transport/platform.js"

export const certificate = readFileSync(new URL("./fixtures/localhost.cert.pem", import.meta.url), "utf8")
export const privateKey = readFileSync(new URL("./fixtures/localhost.key.pem", import.meta.url), "utf8")

type Connect = (url: string) => Layer.Layer<Connector>

export const wsClient: Connect = (url) => WebSocketClient.layer({ url })

/** Node 20 has no global WebSocket; the class of `ws` has the same interface. */
export const globalClient: Connect = (url) =>
  WebSocketGlobal.layer({ url, WebSocket: WebSocket as unknown as NonNullable<WebSocketGlobal.Options["WebSocket"]> })

/** A server, and a connector to wherever it listens. */
export const to = (
  connect: Connect,
  server: Layer.Layer<Server, TransportError>
): Layer.Layer<Server | Connector, TransportError> =>
  Layer.flatMap(server, (context) =>
    Layer.merge(
      Layer.succeedContext(context),
      Layer.unwrapEffect(Effect.map(Server, ({ address }) => connect(address))).pipe(
        Layer.provide(Layer.succeedContext(context))
      )
    )
  )

/** A `node:http` server of the application's own, with a path for ARCP. */
export const attached = (options: WebSocketServer.Options = {}): Layer.Layer<Server> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const http = createServer((_, response) => response.end("the application's own page"))
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => {
          http.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () =>
          Effect.async<void>((resume) => {
            http.close(() => resume(Effect.void))
            http.closeAllConnections()
          })
      )
      return WebSocketServer.layerFromServer(http, options)
    })
  )

/** An `@effect/platform` application with a page and a route for ARCP. */
export const routed = (
  options: WebSocketRoute.Options = {},
  extra: Layer.Layer<never, never, HttpLayerRouter.HttpRouter> = Layer.empty
): Layer.Layer<Server | HttpServer.HttpServer> =>
  HttpLayerRouter.serve(
    Layer.mergeAll(
      HttpLayerRouter.add("GET", "/page", HttpServerResponse.text("the application's own page")),
      extra,
      WebSocketRoute.layer("/arcp", options)
    ),
    { disableLogger: true, disableListenLog: true }
  ).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(() => WebSocketRoute.guardUpgrades(createServer()), { port: 0, host: "127.0.0.1" })
    ),
    Layer.orDie
  )

export const routedPort = Effect.map(HttpServer.HttpServer, ({ address }) =>
  address._tag === "TcpAddress" ? address.port : 0
)

/** {@link to} for a routed server, which does not know its own port. */
export const toRouted = (connect: Connect): Layer.Layer<Server | Connector> =>
  Layer.unwrapEffect(Effect.map(routedPort, (port) => connect(`ws://127.0.0.1:${port}/arcp`))).pipe(
    Layer.provideMerge(routed())
  )
