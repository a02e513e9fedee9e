import { createServer, get as httpGet, type IncomingMessage } from "node:http"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Scope, Stream } from "effect"
import { Server } from "../../src/transport/index.js"
import { WebSocketRoute } from "../../src/transport/platform.js"
import { WebSocketClient } from "../../src/transport/node.js"
import { clientFrame, rawClient, rawWebSocket, requestText } from "./rawPeer.js"
import { accept, Reader } from "./suite.js"
import { routed, routedPort } from "./webSockets.js"

const get = (port: number, path: string) =>
  Effect.async<{ readonly status: number; readonly body: string }>((resume) => {
    httpGet({ host: "127.0.0.1", port, path, agent: false }, (response: IncomingMessage) => {
      let body = ""
      response.on("data", (bytes: Buffer) => (body += bytes.toString()))
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body })))
    })
  })

describe("WebSocketRoute", () => {
  it.scopedLive("§4 shares the application with its pages; what is no upgrade gets 426, what is elsewhere 404", () =>
    Effect.gen(function* () {
      const port = yield* routedPort
      expect(yield* get(port, "/page")).toEqual({ status: 200, body: "the application's own page" })
      expect((yield* get(port, "/arcp")).status).toBe(426)
      const raw = yield* rawClient(port)
      raw.write(requestText(port, { path: "/nowhere" }))
      expect(yield* raw.until("\r\n")).toContain("404")
      const evil = yield* rawClient(port)
      evil.write(requestText(port, { headers: [`Host: evil.example:${port}`] }))
      expect(yield* evil.ended).toMatch(/^HTTP\/1.1 403[\s\S]*allowedHosts[^\n]*\n$/)
    }).pipe(Effect.provide(routed()))
  )

  it.scopedLive("§4 keeps what comes in one packet with the handshake", () =>
    Effect.gen(function* () {
      const port = yield* routedPort
      const raw = yield* rawClient(port)
      raw.write(Buffer.concat([Buffer.from(requestText(port)), clientFrame(1, '"early"'), clientFrame(1, "2")]))
      const reader = yield* Effect.flatMap(accept, Reader.make)
      expect(yield* reader.take(2)).toEqual(['"early"', "2"])
    }).pipe(Effect.provide(routed({ closeTimeout: 50 })))
  )

  it.scopedLive("§4 the application's end writes nothing but the close frame", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(Layer.build(routed({ closeTimeout: 50 })), scope)
      const port = yield* Effect.provide(routedPort, context)
      const raw = yield* rawWebSocket(port)
      const server = yield* Effect.provide(accept, context)
      yield* server.send(['"hello"'])
      yield* raw.until("hello")
      const before = raw.received.length
      yield* Scope.close(scope, Exit.void)
      yield* raw.ended
      const reason = "the server is shutting down"
      expect(raw.received.subarray(before)).toEqual(
        Buffer.concat([Buffer.from([0x88, 2 + reason.length, 1001 >> 8, 1001 & 255]), Buffer.from(reason)])
      )
      expect((yield* server.closed).code).toBe(1001)
    })
  )

  it.scopedLive("§4 middleware that waits loses no frame, and a reset meanwhile kills nothing", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const arrived = yield* Deferred.make<void>()
      const slow = HttpLayerRouter.middleware(
        (handler) =>
          Deferred.succeed(arrived, undefined).pipe(Effect.zipRight(Deferred.await(gate)), Effect.zipRight(handler)),
        { global: true }
      )
      yield* Effect.gen(function* () {
        const port = yield* routedPort
        const reset = yield* rawClient(port)
        reset.write(requestText(port))
        yield* Deferred.await(arrived)
        reset.socket.resetAndDestroy()
        const raw = yield* rawClient(port)
        raw.write(Buffer.concat([Buffer.from(requestText(port)), clientFrame(1, "1")]))
        raw.write(clientFrame(1, "2"))
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
        yield* Deferred.succeed(gate, undefined)
        const found = yield* Deferred.make<ReadonlyArray<unknown>>()
        yield* Effect.forkScoped(
          Stream.runForEach((yield* Server).connections, (connection) =>
            Effect.forkScoped(
              Effect.gen(function* () {
                const reader = yield* Reader.make(connection)
                yield* Deferred.succeed(found, yield* reader.take(2))
              })
            )
          )
        )
        expect(yield* Deferred.await(found)).toEqual(["1", "2"])
      }).pipe(Effect.provide(routed({ closeTimeout: 50 }, slow)))
    })
  )

  it.scopedLive("§4 mounts on an HttpRouter as well", () =>
    Effect.gen(function* () {
      const { app, server } = yield* WebSocketRoute.make()
      yield* HttpServer.serveEffect(HttpRouter.empty.pipe(HttpRouter.get("/agents/arcp", app)))
      const port = yield* routedPort
      const client = yield* WebSocketClient.make({ url: `ws://127.0.0.1:${port}/agents/arcp` }).connect
      yield* client.send(['"hello"'])
      const [connection] = Array.from(yield* Stream.runCollect(Stream.take(server.connections, 1)))
      expect(yield* Effect.flatMap(Reader.make(connection!), (reader) => reader.take(1))).toEqual(['"hello"'])
    }).pipe(
      // the connections end before the HTTP server, which waits for them
      Effect.scoped,
      Effect.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
    )
  )
})
