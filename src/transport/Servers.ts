/**
 * One runtime on several transports at once.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Server } from "./Connection.js"

const leastOf = (bounds: ReadonlyArray<number>): number | undefined =>
  bounds.length === 0 ? undefined : Math.min(...bounds)

/**
 * One server made of several: it yields the connections of all, stops all, and its address names all, separated by
 * `", "`. Its bound of connections is the least of theirs. Its connections end when those of every part have.
 *
 * @since 0.1.0
 * @category combinators
 */
export const combine = (servers: ReadonlyArray<typeof Server.Service>): typeof Server.Service => ({
  connections: Stream.mergeAll(
    servers.map((server) => server.connections),
    { concurrency: "unbounded" }
  ),
  stopAccepting: Effect.forEach(servers, (server) => server.stopAccepting, { concurrency: "unbounded", discard: true }),
  restrict: (restrictions) =>
    Effect.forEach(servers, (server) => server.restrict?.(restrictions) ?? Effect.void, { discard: true }),
  maxConnections: leastOf(servers.flatMap(({ maxConnections }) => maxConnections ?? [])),
  get address() {
    return servers.map((server) => server.address).join(", ")
  }
})

/**
 * A layer that listens on all of `layers` at once. If one of them cannot listen, none does.
 *
 * @example
 * ```ts
 * import { Servers } from "effect-arcp/transport"
 * import { StdioTransport, WebSocketServer } from "effect-arcp/transport/node"
 *
 * const Listen = Servers.mergeAll(WebSocketServer.layer({ port: 7777 }), StdioTransport.layerServer())
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const mergeAll = <
  Layers extends readonly [Layer.Layer<Server, unknown, unknown>, ...Array<Layer.Layer<Server, unknown, unknown>>]
>(
  ...layers: Layers
): Layer.Layer<Server, Layer.Layer.Error<Layers[number]>, Layer.Layer.Context<Layers[number]>> =>
  Layer.scoped(
    Server,
    Effect.gen(function* () {
      const memo = yield* Layer.CurrentMemoMap
      const scope = yield* Effect.scope
      const servers: Array<typeof Server.Service> = []
      for (const layer of layers) {
        // what each part needs and how it fails is in the result type; in here the tuple is heterogeneous
        const context = yield* Layer.buildWithMemoMap(layer as Layer.Layer<Server>, memo, scope)
        servers.push(Context.get(context, Server))
      }
      return combine(servers)
    })
  ) as Layer.Layer<Server, Layer.Layer.Error<Layers[number]>, Layer.Layer.Context<Layers[number]>>
