import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Scope, Stream } from "effect"
import { ConnectionClosed, Connector, Server, TransportError } from "../../src/transport/index.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { rawServer, shakeHands } from "./rawPeer.js"
import { accept, expectBad, Reader } from "./suite.js"
import { to, wsClient } from "./webSockets.js"

const connect = (url: string, options: Partial<WebSocketClient.Options> = {}) =>
  Effect.scoped(WebSocketClient.make({ url, ...options }).connect)

/** A server's frame: not masked. */
const serverFrame = (opcode: number, payload: string | Uint8Array): Buffer => {
  const data = Buffer.from(payload)
  return Buffer.concat([Buffer.from([0x80 | opcode, data.length]), data])
}

/** An HTTP server that answers upgrades as told. */
const answering = (answer: string) =>
  Effect.gen(function* () {
    const seen = yield* Deferred.make<IncomingHttpHeaders>()
    const http = createServer()
    http.on("upgrade", (request, socket) => {
      socket.on("error", () => {})
      Deferred.unsafeDone(seen, Effect.succeed(request.headers))
      socket.end(answer)
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        http.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          http.close()
          http.closeAllConnections()
        })
    )
    return { port: (http.address() as AddressInfo).port, headers: Deferred.await(seen) }
  })

describe("WebSocketClient, connecting", () => {
  it.scopedLive("§4 says what to do when nothing listens or nobody is there", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(rawServer(() => {}))
      const refused = yield* Effect.flip(connect(`ws://127.0.0.1:${port}/arcp`))
      expect(refused).toBeInstanceOf(TransportError)
      expect(refused.operation).toBe("connect")
      expect(refused.message).toBe(
        `could not connect to ws://127.0.0.1:${port}/arcp: nothing listens there; start the runtime or check host and port (ECONNREFUSED)`
      )
      const unknown = yield* Effect.flip(connect("ws://no-such-host.invalid:1/arcp"))
      expect(unknown.message).toContain("DNS")
    })
  )

  it.scopedLive("§4 says what a refused upgrade means", () =>
    Effect.gen(function* () {
      for (const [status, hint] of [
        ["401 Unauthorized", /401.*token/],
        ["403 Forbidden", /403.*allowedHosts or allowedOrigins/],
        ["404 Not Found", /404.*path/],
        ["503 Service Unavailable", /503.*later/],
        ["302 Found", /302, a redirect/],
        ["200 OK", /200 instead of upgrading/],
        ["418 Teapot", /418/]
      ] as const) {
        const { port } = yield* answering(
          `HTTP/1.1 ${status}\r\nConnection: close\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n`
        )
        const failure = yield* Effect.flip(connect(`ws://127.0.0.1:${port}/arcp`))
        expect(failure.message).toMatch(hint)
      }
    })
  )

  it.scopedLive("§4 a handshake that is none is an error", () =>
    Effect.gen(function* () {
      const { port } = yield* answering(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n"
      )
      expect((yield* Effect.flip(connect(`ws://127.0.0.1:${port}/arcp`))).message).toContain("Sec-WebSocket-Accept")
      const closing = yield* rawServer((socket) => socket.destroy())
      expect((yield* Effect.flip(connect(`ws://127.0.0.1:${closing}/arcp`))).message).toContain("reset")
    })
  )

  it.scopedLive("§4 an attempt that times out is an error and leaves no socket", () =>
    Effect.gen(function* () {
      const gone = yield* Deferred.make<void>()
      const port = yield* rawServer((socket) => {
        socket.resume()
        socket.on("close", () => Deferred.unsafeDone(gone, Effect.void))
      })
      const failure = yield* Effect.flip(connect(`ws://127.0.0.1:${port}/arcp`, { connectTimeout: 100 }))
      expect(failure.message).toContain("no WebSocket within 100 ms")
      yield* Deferred.await(gone)
    })
  )

  it.scopedLive("§4 an attempt that is interrupted leaves no socket, and at once", () =>
    Effect.gen(function* () {
      const here = yield* Deferred.make<void>()
      const gone = yield* Deferred.make<void>()
      const port = yield* rawServer((socket) => {
        socket.resume()
        Deferred.unsafeDone(here, Effect.void)
        socket.on("close", () => Deferred.unsafeDone(gone, Effect.void))
      })
      const fiber = yield* Effect.fork(connect(`ws://127.0.0.1:${port}/arcp`))
      yield* Deferred.await(here)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(gone)
    })
  )

  it.scopedLive("§4 an attempt that is interrupted at any moment leaves no connection, though its scope stays", () =>
    Effect.gen(function* () {
      const connector = yield* Connector
      const { connections } = yield* Server
      const open = { count: 0 }
      yield* Effect.forkScoped(
        Stream.runForEach(connections, (connection) =>
          Effect.forkScoped(
            Effect.gen(function* () {
              open.count++
              yield* Stream.runDrain(connection.inbound)
              yield* connection.closed
              open.count--
            })
          )
        )
      )
      const scope = yield* Effect.scope
      for (let turns = 0; turns < 60; turns++) {
        const fiber = yield* Effect.fork(Scope.extend(connector.connect, scope))
        for (let i = 0; i < turns; i++) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        const exit = yield* Fiber.interrupt(fiber)
        if (Exit.isSuccess(exit)) yield* exit.value.close(1000, "")
      }
      // one that stays: its frames come after the ends of the others
      const last = yield* connector.connect
      yield* last.close(1000, "")
      for (let i = 0; i < 1000 && open.count > 0; i++)
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      expect(open.count).toBe(0)
    }).pipe(Effect.provide(to(wsClient, WebSocketServer.layer({ port: 0 }))))
  )

  it.scopedLive("§4 refuses a URL that is none, and shows no secrets of one that is", () =>
    Effect.gen(function* () {
      for (const [url, hint] of [
        ["nonsense", /ws:\/\/127/],
        ["http://127.0.0.1/arcp", /must begin with ws/],
        ["", /cannot be read/]
      ] as const) {
        expect((yield* Effect.flip(connect(url))).message).toMatch(hint)
      }
      const port = yield* Effect.scoped(rawServer(() => {}))
      const connector = WebSocketClient.make({ url: `ws://user:pa55@127.0.0.1:${port}/arcp?token=s3cret#frag` })
      expect(connector.address).toBe(`ws://127.0.0.1:${port}/arcp`)
      const failure = yield* Effect.flip(Effect.scoped(connector.connect))
      expect(failure.message).not.toMatch(/pa55|s3cret/)
    })
  )

  it.scopedLive("§4 sends headers, their secrets wrapped, and offers sub-protocols", () =>
    Effect.gen(function* () {
      const { headers, port } = yield* answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
      const failure = yield* Effect.flip(
        connect(`ws://127.0.0.1:${port}/arcp`, {
          headers: { authorization: Redacted.make("Bearer s3cret"), "x-plain": "1" },
          protocols: ["arcp"]
        })
      )
      expect(yield* headers).toMatchObject({
        authorization: "Bearer s3cret",
        "x-plain": "1",
        "sec-websocket-protocol": "arcp"
      })
      expect(JSON.stringify(failure)).not.toContain("s3cret")
      // a header that HTTP cannot carry
      const bad = yield* Effect.flip(connect(`ws://127.0.0.1:${port}/arcp`, { headers: { "x-bad": "a\r\nb" } }))
      expect(bad).toBeInstanceOf(TransportError)
    })
  )
})

describe("WebSocketClient, the connection", () => {
  const talkingTo = (
    handle: (socket: Socket) => void,
    also?: Uint8Array,
    options: Partial<WebSocketClient.Options> = {}
  ) =>
    Effect.gen(function* () {
      const port = yield* rawServer((socket) => shakeHands(socket, () => handle(socket), also))
      return yield* WebSocketClient.make({ url: `ws://127.0.0.1:${port}/arcp`, closeTimeout: 50, ...options }).connect
    })

  it.scopedLive("§4 keeps what comes in one packet with the handshake's answer", () =>
    Effect.gen(function* () {
      const client = yield* talkingTo(() => {}, Buffer.concat([serverFrame(1, '"early"'), serverFrame(1, "2")]))
      const reader = yield* Reader.make(client)
      expect(yield* reader.take(2)).toEqual(['"early"', "2"])
      expect(client.remoteAddress).toBe("127.0.0.1")
      expect(client.secure).toBe(false)
    })
  )

  it.scopedLive("§4 a reset is 1006, and sending fails", () =>
    Effect.gen(function* () {
      const client = yield* talkingTo((socket) => {
        socket.write(serverFrame(1, '"last"'), () => setImmediate(() => socket.resetAndDestroy()))
      })
      const reader = yield* Reader.make(client)
      expect(yield* reader.rest).toEqual(['"last"'])
      expect((yield* client.closed).code).toBe(1006)
      expect(yield* Effect.flip(client.send(["1"]))).toBeInstanceOf(ConnectionClosed)
    })
  )

  it.scopedLive("§4 a binary frame is a bad frame; a frame over the limit is 1009; a masked one is 1002", () =>
    Effect.gen(function* () {
      const client = yield* talkingTo(
        (socket) =>
          socket.write(
            Buffer.concat([serverFrame(2, "\x00"), serverFrame(1, "x".repeat(100)), serverFrame(1, "x".repeat(101))])
          ),
        undefined,
        { maxFrameBytes: 100 }
      )
      const reader = yield* Reader.make(client)
      const [bad, good] = yield* reader.take(2)
      expectBad(bad, /binary/)
      expect(good).toBe("x".repeat(100))
      expect(yield* reader.rest).toEqual([])
      expect((yield* client.closed).code).toBe(1009)
      const masked = yield* talkingTo((socket) => socket.write(Buffer.from([0x81, 0x81, 1, 2, 3, 4, 0x31])))
      yield* Stream.runDrain(masked.inbound)
      expect((yield* masked.closed).code).toBe(1002)
    })
  )

  it.scopedLive("§4 a peer that answers no close cannot delay it beyond its bound", () =>
    Effect.gen(function* () {
      const client = yield* talkingTo((socket) => socket.pause())
      yield* client.close(1000, "bye")
      expect(yield* client.closed).toEqual({ code: 1000, reason: "bye" })
    })
  )

  it.scopedLive("§4 each connect is a connection of its own", () =>
    Effect.gen(function* () {
      const connector = yield* Connector
      const one = yield* connector.connect
      const first = yield* accept
      const two = yield* connector.connect
      const second = yield* accept
      yield* one.close(1000, "")
      yield* Stream.runDrain(first.inbound)
      yield* two.send(["2"])
      expect(yield* Effect.flatMap(Reader.make(second), (_) => _.take(1))).toEqual(["2"])
    }).pipe(Effect.provide(to(wsClient, WebSocketServer.layer({ port: 0 }))))
  )
})
