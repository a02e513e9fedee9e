/**
 * The WebSocket transport's server as a route of an `@effect/platform` application on Node (`NodeHttpServer`).
 *
 * `@effect/platform`'s own upgrade is not used: it attaches its listener late and loses early frames, has no frame limit
 * and no back-pressure. This route takes the request's socket, upgrades it by itself in the handler's first step, and
 * leaves nothing for the application to write: the request is over at once, no fiber stays with the connection, and the
 * end of the application's fibers cannot write an HTTP answer into the WebSocket.
 *
 * Middleware runs before the route. If it waits (a session look-up), wrap the Node server in {@link guardUpgrades}, so that
 * a reset meanwhile is not an uncaught error.
 */
import { IncomingMessage, type Server as HttpServer, type ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Server } from "./Connection.js"
import { guard } from "./internal/upgrade.js"
import * as wsAcceptor from "./internal/wsAcceptor.js"
import type { WebSocketServerOptions } from "./WebSocketServerOptions.js"

export type { ProxyOptions, WebSocketServerOptions } from "./WebSocketServerOptions.js"

/**
 * As for any WebSocket server, but for the path, which is the route's.
 *
 * @since 0.1.0
 * @category options
 */
export type Options = Omit<WebSocketServerOptions, "path">

/** The bytes that came in one packet with the request, which `@effect/platform` does not hand on. */
const heads = new WeakMap<IncomingMessage, Buffer>()

/**
 * Prepares a Node server for upgrades: their sockets get an error listener at once, and what came in one packet with the
 * request is kept for the route. Returns the server.
 *
 * @example
 * ```ts
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { WebSocketRoute } from "effect-arcp/transport/platform"
 * import { createServer } from "node:http"
 *
 * const HttpLive = NodeHttpServer.layer(() => WebSocketRoute.guardUpgrades(createServer()), { port: 3000 })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const guardUpgrades = <S extends HttpServer>(server: S): S => {
  server.prependListener("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    guard(socket)
    heads.set(request, head)
  })
  return server
}

const plain = (status: number, message: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(`${message}\n`, { status, headers: status === 426 ? { upgrade: "websocket" } : {} })

/**
 * A server, and the application to mount at the path of your choice. It answers a request that is no upgrade with 426.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options & { readonly path?: string | undefined } = {}
): Effect.Effect<{ readonly server: typeof Server.Service; readonly app: HttpApp.Default }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { acceptor, path, upgrade } = wsAcceptor.make(options)
    yield* Effect.addFinalizer(() => acceptor.shutdown)
    const app: HttpApp.Default = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
      const source = request.source
      if (!(source instanceof IncomingMessage)) return plain(501, "WebSockets are served by NodeHttpServer only")
      const { connection, upgrade: protocol } = source.headers
      if (protocol?.toLowerCase() !== "websocket" || connection?.toLowerCase().includes("upgrade") !== true) {
        return plain(426, "this is an ARCP runtime: connect with a WebSocket")
      }
      takeSocket(source, NodeHttpServerRequest.toServerResponse(request))
      upgrade(source, source.socket, heads.get(source) ?? Buffer.alloc(0))
      return HttpServerResponse.empty()
    })
    return {
      app,
      server: {
        connections: acceptor.connections,
        stopAccepting: Effect.sync(() => acceptor.stop()),
        restrict: acceptor.restrict,
        maxConnections: options.maxConnections ?? wsAcceptor.defaults.maxConnections,
        address: `ws:${path}`
      }
    }
  })

/** Ends the response that the application would write, away from the socket. */
const takeSocket = (request: IncomingMessage, response: ServerResponse): void => {
  response.removeAllListeners("finish")
  response.detachSocket(request.socket)
  response.end()
}

/**
 * A server on a route of the application's `HttpLayerRouter`.
 *
 * @example
 * ```ts
 * import { HttpLayerRouter } from "@effect/platform"
 * import { NodeHttpServer } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { ArcpRuntime } from "effect-arcp/runtime"
 * import { WebSocketRoute } from "effect-arcp/transport/platform"
 * import { createServer } from "node:http"
 *
 * const Arcp = ArcpRuntime.layer({ name: "demo" }).pipe(Layer.provide(WebSocketRoute.layer("/arcp")))
 * const Main = HttpLayerRouter.serve(Arcp).pipe(Layer.provide(NodeHttpServer.layer(createServer, { port: 3000 })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  path: HttpLayerRouter.PathInput,
  options: Options = {}
): Layer.Layer<Server, never, HttpLayerRouter.HttpRouter> =>
  Layer.scoped(
    Server,
    Effect.gen(function* () {
      const router = yield* HttpLayerRouter.HttpRouter
      const { app, server } = yield* make({ ...options, path })
      yield* router.add("GET", path, app)
      return server
    })
  )
