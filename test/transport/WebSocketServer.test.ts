import { createServer, get as httpGet, type IncomingMessage } from "node:http"
import { connect as tcpConnect } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Ref, Scope, Stream } from "effect"
import { WebSocket } from "ws"
import { type Connection, ConnectionClosed, type Inbound, Server, TransportError } from "../../src/transport/index.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { clientFrame, rawClient, rawWebSocket, requestText } from "./rawPeer.js"
import { accept, expectBad, pair, Reader, settled } from "./suite.js"
import { attached, certificate, privateKey, to, wsClient } from "./webSockets.js"

const portOf = Effect.map(Server, ({ address }) => Number(new URL(address).port))

/** Runs with a stand-alone server. */
const withServer = <A, E>(
  options: Omit<WebSocketServer.LayerOptions, "port">,
  body: Effect.Effect<A, E, Server | Scope.Scope> // a raw peer answers no close frame
) => Effect.provide(body, WebSocketServer.layer({ port: 0, closeTimeout: 50, ...options }))

/** What an upgrade request is answered with. */
const statusOf = (port: number, options: Parameters<typeof requestText>[1] = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const raw = yield* rawClient(port)
      raw.write(requestText(port, options))
      const answer = yield* raw.until("\r\n\r\n")
      return Number(answer.split(" ")[1])
    })
  )

const get = (port: number, path: string) =>
  Effect.async<{ readonly status: number; readonly body: string }>((resume) => {
    httpGet({ host: "127.0.0.1", port, path, agent: false }, (response: IncomingMessage) => {
      let body = ""
      response.on("data", (bytes: Buffer) => (body += bytes.toString()))
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body })))
    })
  })

describe("WebSocketServer, frames", () => {
  it.scopedLive("§4 keeps what comes in one packet with the handshake", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const raw = yield* rawClient(yield* portOf)
        raw.write(
          Buffer.concat([Buffer.from(requestText(yield* portOf)), clientFrame(1, '"early"'), clientFrame(1, "2")])
        )
        const server = yield* accept
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(2)).toEqual(['"early"', "2"])
      })
    )
  )

  it.scopedLive("§4 reads a handshake and frames that come byte by byte", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        const raw = yield* rawClient(port)
        const text = '{"text":"häβ€😀"}'
        const bytes = Buffer.concat([
          Buffer.from(requestText(port)),
          clientFrame(1, text),
          clientFrame(1, "x".repeat(200)),
          clientFrame(1, '"last"')
        ])
        for (const byte of bytes) {
          raw.write(Buffer.from([byte]))
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        const reader = yield* Effect.flatMap(accept, Reader.make)
        expect(yield* reader.take(3)).toEqual([text, "x".repeat(200), '"last"'])
      })
    )
  )

  it.scopedLive("§4 puts fragments together and answers pings between them", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const raw = yield* rawWebSocket(yield* portOf)
        raw.write(
          Buffer.concat([
            clientFrame(1, '{"a":', { fin: false }),
            clientFrame(9, "are you there"),
            clientFrame(0, "1}")
          ])
        )
        const reader = yield* Effect.flatMap(accept, Reader.make)
        expect(yield* reader.take(1)).toEqual(['{"a":1}'])
        yield* raw.until("are you there")
      })
    )
  )

  it.scopedLive("§4 a binary frame is a bad frame, and the next good one works", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const raw = yield* rawWebSocket(yield* portOf)
        raw.write(Buffer.concat([clientFrame(2, new Uint8Array([1, 2, 3])), clientFrame(1, '"good"')]))
        const reader = yield* Effect.flatMap(accept, Reader.make)
        const [bad, good] = yield* reader.take(2)
        expectBad(bad, /binary/)
        expect(good).toBe('"good"')
      })
    )
  )

  it.scopedLive("§4 takes a frame at the limit, and closes with 1009 at one byte more", () =>
    withServer(
      { maxFrameBytes: 1000 },
      Effect.gen(function* () {
        const raw = yield* rawWebSocket(yield* portOf)
        raw.write(clientFrame(1, "x".repeat(1000)))
        const server = yield* accept
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(1)).toEqual(["x".repeat(1000)])
        raw.write(clientFrame(1, "x".repeat(1001)))
        expect(yield* reader.rest).toEqual([])
        expect(yield* server.closed).toEqual({ code: 1009, reason: "a frame is larger than 1000 bytes" })
        yield* raw.ended
        expect(raw.received.subarray(-4)).toEqual(Buffer.from([0x88, 2, 1009 >> 8, 1009 & 255]))
      })
    )
  )

  it.scopedLive("§4 by default takes a chunk of 1 MiB as base64, and 4 MiB at most", () =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      const chunk = "A".repeat(4 * Math.ceil((1024 * 1024) / 3) + 2000)
      yield* client.send([chunk])
      const reader = yield* Reader.make(server)
      expect((yield* reader.take(1))[0] === chunk).toBe(true)
      yield* Effect.ignore(client.send(["x".repeat(4 * 1024 * 1024 + 1)]))
      expect((yield* server.closed).code).toBe(1009)
      expect((yield* client.closed).code).toBe(1009)
    }).pipe(Effect.provide(to(wsClient, WebSocketServer.layer({ port: 0 }))))
  )

  it.scopedLive("§4 closes on what is no WebSocket: 1007 for invalid UTF-8, 1002 for a broken frame", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const cases = [
          [clientFrame(1, new Uint8Array([0xff, 0xfe])), 1007],
          [clientFrame(3, "reserved opcode"), 1002],
          [clientFrame(1, "not masked", { mask: false }), 1002]
        ] as const
        for (const [bytes, code] of cases) {
          const raw = yield* rawWebSocket(yield* portOf)
          raw.write(Buffer.concat([clientFrame(1, '"before"'), bytes]))
          const server = yield* accept
          const reader = yield* Reader.make(server)
          expect(yield* reader.rest).toEqual(['"before"'])
          expect((yield* server.closed).code).toBe(code)
          yield* raw.ended
          expect(raw.received.subarray(-2)).toEqual(Buffer.from([code >> 8, code & 255]))
        }
      })
    )
  )

  it.scopedLive(
    "§4 the memory of a peer that sends without being read is bounded",
    () =>
      withServer(
        { inboundBytes: 64 * 1024 },
        Effect.gen(function* () {
          const raw = yield* rawWebSocket(yield* portOf)
          const server = yield* accept
          const frame = clientFrame(1, "")
          const batch = Buffer.concat(Array.from({ length: 10_000 }, () => frame))
          const sent = yield* Ref.make(0)
          const sender = yield* Effect.fork(
            Effect.forEach(
              Array.from({ length: 400 }, (_, i) => i),
              () =>
                Effect.zipRight(
                  Effect.async<void>((resume) => {
                    raw.socket.write(batch, () => resume(Effect.void))
                  }),
                  Ref.update(sent, (n) => n + 1)
                ),
              { discard: true }
            )
          )
          // 4 million empty frames: 24 MB on the wire, which the sockets of both sides do not hold
          expect(yield* settled(sent)).toBeLessThan(400)
          const reader = yield* Reader.make(server)
          expect((yield* reader.take(4_000_000)).length).toBe(4_000_000)
          yield* Fiber.join(sender)
        })
      ),
    120_000
  )
})

describe("WebSocketServer, ends", () => {
  it.scopedLive("§4 a reset ends the connection with 1006; what came before is read", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const raw = yield* rawWebSocket(yield* portOf)
        raw.write(clientFrame(1, '"before"'))
        const server = yield* accept
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(1)).toEqual(['"before"'])
        raw.socket.resetAndDestroy()
        expect(yield* reader.rest).toEqual([])
        expect((yield* server.closed).code).toBe(1006)
        expect(yield* Effect.flip(server.send(["1"]))).toBeInstanceOf(ConnectionClosed)
      })
    )
  )

  it.scopedLive("§4 an end without a close frame is 1006, one without a code is 1000", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const one = yield* rawWebSocket(yield* portOf)
        const first = yield* accept
        yield* Effect.fork(Stream.runDrain(first.inbound))
        one.socket.end()
        expect((yield* first.closed).code).toBe(1006)
        const two = yield* rawWebSocket(yield* portOf)
        const second = yield* accept
        yield* Effect.fork(Stream.runDrain(second.inbound))
        two.write(clientFrame(8, ""))
        expect((yield* second.closed).code).toBe(1000)
      })
    )
  )

  it.scopedLive("§4 a peer that does not read cannot delay a close beyond its bound, nor hang a send", () =>
    withServer(
      { closeTimeout: 100 },
      Effect.gen(function* () {
        const raw = yield* rawWebSocket(yield* portOf)
        raw.socket.pause()
        const server = yield* accept
        const sent = yield* Ref.make(0)
        const sender = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(
              server.send(["x".repeat(65_536)]),
              Ref.update(sent, (n) => n + 1)
            )
          )
        )
        yield* settled(sent)
        yield* server.close(1008, "too slow")
        expect(yield* Effect.flip(Fiber.join(sender))).toEqual(new ConnectionClosed({ code: 1008, reason: "too slow" }))
        expect(yield* server.closed).toEqual({ code: 1008, reason: "too slow" })
      })
    )
  )

  it.scopedLive("§4 a long reason is cut to what a close frame holds", () =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      yield* Effect.fork(Stream.runDrain(client.inbound))
      yield* server.close(1006, "€".repeat(100))
      expect(yield* client.closed).toEqual({ code: 1011, reason: "€".repeat(41) })
    }).pipe(Effect.provide(to(wsClient, WebSocketServer.layer({ port: 0 }))))
  )

  it.scopedLive("§4 closing the layer's scope ends handshakes in progress too, and frees the port", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(Layer.build(WebSocketServer.layer({ port: 0, closeTimeout: 50 })), scope)
      const port = yield* Effect.provide(portOf, context)
      const silent = yield* rawClient(port)
      const half = yield* rawClient(port)
      half.write("GET /arcp HTTP/1.1\r\nHost: x\r\n")
      const open = yield* rawWebSocket(port)
      yield* Scope.close(scope, Exit.void)
      yield* silent.ended
      yield* half.ended
      yield* open.ended
      expect(open.received.subarray(-30).toString("latin1")).toContain("the server is shutting down")
      yield* Effect.scoped(Layer.build(WebSocketServer.layer({ port })))
    })
  )
})

describe("WebSocketServer, the handshake", () => {
  it.scopedLive("§4 a peer that never finishes its handshake is dropped and holds up nobody", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      const silent = yield* rawClient(port)
      const slow = yield* rawClient(port)
      slow.write("GET /arcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
      const { client, server } = yield* pair
      yield* client.send(['"quick"'])
      expect(yield* Effect.flatMap(Reader.make(server), (_) => _.take(1))).toEqual(['"quick"'])
      yield* silent.ended
      yield* slow.ended
      // the others stay
      yield* server.send(['"still here"'])
      expect(yield* Effect.flatMap(Reader.make(client), (_) => _.take(1))).toEqual(['"still here"'])
    }).pipe(Effect.provide(to(wsClient, WebSocketServer.layer({ port: 0, handshakeTimeout: 200, closeTimeout: 50 }))))
  )

  it.scopedLive("§4 a peer that never finishes the TLS handshake is dropped", () =>
    withServer(
      { handshakeTimeout: 200, tls: { cert: certificate, key: privateKey } },
      Effect.gen(function* () {
        const silent = yield* rawClient(yield* portOf)
        yield* silent.ended
        const wrong = yield* rawClient(yield* portOf)
        wrong.write(requestText(yield* portOf))
        yield* wrong.ended
      })
    )
  )

  it.scopedLive("§4 a reset during the upgrade kills nothing", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        for (let i = 0; i < 50; i++) {
          yield* Effect.async<void>((resume) => {
            const socket = tcpConnect({ host: "127.0.0.1", port }, () => {
              // accepted, refused and unfinished ones alike
              socket.write([requestText(port), requestText(port, { path: "/x" }), "GET /arcp HT"][i % 3]!, () => {
                if (i % 2 === 0) socket.resetAndDestroy()
                else setImmediate(() => socket.resetAndDestroy())
              })
            })
            socket.on("error", () => {})
            socket.on("close", () => resume(Effect.void))
          })
        }
        const raw = yield* rawWebSocket(port)
        raw.write(clientFrame(1, '"alive"'))
        const { connections } = yield* Server
        // those that were reset in time to be accepted come and go
        const alive = yield* Deferred.make<Inbound>()
        yield* Effect.fork(
          Stream.runForEach(connections, (connection) =>
            Effect.fork(Stream.runForEach(connection.inbound, (frame) => Deferred.succeed(alive, frame)))
          )
        )
        expect(yield* Deferred.await(alive)).toBe('"alive"')
      })
    )
  )

  it.scopedLive("§4 another path is 404, no upgrade is 426, no WebSocket is 400", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        expect(yield* statusOf(port, { path: "/other" })).toBe(404)
        expect(yield* statusOf(port, { path: "/arcp/" })).toBe(404)
        expect(yield* statusOf(port, { path: "/arcp?token=x" })).toBe(101)
        expect((yield* get(port, "/arcp")).status).toBe(426)
        expect((yield* get(port, "/")).status).toBe(404)
        const raw = yield* rawClient(port)
        raw.write("GET /arcp HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        expect(yield* raw.until("\r\n\r\n")).toContain("400")
      })
    )
  )

  it.scopedLive("§4 one connection too many is 503, until another has gone", () =>
    withServer(
      { maxConnections: 2 },
      Effect.gen(function* () {
        const port = yield* portOf
        const one = yield* rawWebSocket(port)
        yield* rawWebSocket(port)
        const [first] = Array.from(yield* Stream.runCollect(Stream.take((yield* Server).connections, 2))) as [
          Connection
        ]
        yield* Effect.fork(Stream.runDrain(first.inbound))
        expect(yield* statusOf(port)).toBe(503)
        one.socket.end(clientFrame(8, new Uint8Array([3, 232])))
        yield* first.closed
        expect(yield* statusOf(port)).toBe(101)
      })
    )
  )

  it.scopedLive("§4 connections that nobody takes are counted, also when they have ended", () =>
    withServer(
      { maxConnections: 3 },
      Effect.gen(function* () {
        const port = yield* portOf
        const answers: Array<number> = []
        for (let i = 0; i < 5; i++) answers.push(yield* statusOf(port))
        expect(answers).toEqual([101, 101, 101, 503, 503])
      })
    )
  )

  it.scopedLive("§4 after stopAccepting an attached server answers 503", () =>
    Effect.gen(function* () {
      const server = yield* Server
      const port = yield* portOf
      expect(yield* statusOf(port)).toBe(101)
      yield* server.stopAccepting
      expect(yield* statusOf(port)).toBe(503)
    }).pipe(Effect.provide(attached({ closeTimeout: 50 })))
  )

  it.scopedLive("§4 sub-protocols: a known one is echoed, others are ignored", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        const answer = (protocols: string) =>
          Effect.scoped(
            Effect.gen(function* () {
              const raw = yield* rawClient(port)
              raw.write(requestText(port, { headers: [`Sec-WebSocket-Protocol: ${protocols}`] }))
              return /sec-websocket-protocol: (.*)\r\n/i.exec(yield* raw.until("\r\n\r\n"))?.[1]
            })
          )
        expect(yield* answer("arcp")).toBe("arcp")
        expect(yield* answer("mqtt, arcp")).toBe("arcp")
        expect(yield* answer("mqtt")).toBe(undefined)
      })
    )
  )

  it.scopedLive("§4 does not compress unless told to, whatever the client offers", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const raw = yield* rawClient(yield* portOf)
        raw.write(requestText(yield* portOf, { headers: ["Sec-WebSocket-Extensions: permessage-deflate"] }))
        expect((yield* raw.until("\r\n\r\n")).toLowerCase()).not.toContain("extensions")
      })
    )
  )
})

describe("WebSocketServer, Host and Origin", () => {
  const host = (port: number, name: string) => statusOf(port, { headers: [`Host: ${name}`] })
  const origin = (port: number, name: string, ...more: Array<string>) =>
    statusOf(port, { headers: [`Origin: ${name}`, ...more] })

  it.scopedLive("§4 on the loopback interface only its own names are served: no DNS rebinding", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        for (const name of ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]"]) {
          expect([name, yield* host(port, `${name}:${port}`)]).toEqual([name, 101])
        }
        const bad = [
          `evil.example:${port}`,
          `127.0.0.1.evil.example:${port}`,
          `localhost.evil.example:${port}`,
          "localhost",
          `localhost:${port + 1}`,
          `localhost:${port}:80`,
          `evil@localhost:${port}`,
          `127.1:${port}`,
          ""
        ]
        for (const name of bad) expect([name, yield* host(port, name)]).toEqual([name, 403])
      })
    )
  )

  it.scopedLive("§4 on other interfaces any host is served, unless listed", () =>
    Effect.gen(function* () {
      yield* withServer(
        { host: "0.0.0.0" },
        Effect.gen(function* () {
          expect(yield* host(yield* portOf, "arcp.example")).toBe(101)
        })
      )
      yield* withServer(
        { host: "0.0.0.0", allowedHosts: ["arcp.example", "Other.example:7777"] },
        Effect.gen(function* () {
          const port = yield* portOf
          expect(yield* host(port, "arcp.example")).toBe(101)
          expect(yield* host(port, "arcp.example:1234")).toBe(101)
          expect(yield* host(port, "other.example:7777")).toBe(101)
          expect(yield* host(port, "other.example:7778")).toBe(403)
          expect(yield* host(port, `127.0.0.1:${port}`)).toBe(403)
        })
      )
      yield* withServer(
        { allowedHosts: "*" },
        Effect.gen(function* () {
          expect(yield* host(yield* portOf, "proxy.example")).toBe(101)
        })
      )
    })
  )

  it.scopedLive("§4 a browser's origin must be the server's own or listed; programs send none", () =>
    Effect.gen(function* () {
      yield* withServer(
        {},
        Effect.gen(function* () {
          const port = yield* portOf
          expect(yield* statusOf(port)).toBe(101)
          expect(yield* origin(port, `http://127.0.0.1:${port}`)).toBe(101)
          for (const bad of [
            "https://evil.example",
            `http://127.0.0.1:${port + 1}`,
            "http://127.0.0.1",
            `http://localhost:${port}`,
            "null",
            "",
            `http://127.0.0.1:${port}/x`,
            `file://127.0.0.1:${port}`
          ]) {
            expect([bad, yield* origin(port, bad)]).toEqual([bad, 403])
          }
        })
      )
      yield* withServer(
        { allowedOrigins: ["https://app.example/", "null"] },
        Effect.gen(function* () {
          const port = yield* portOf
          expect(yield* origin(port, "https://app.example")).toBe(101)
          expect(yield* origin(port, "null")).toBe(101)
          expect(yield* origin(port, "http://app.example")).toBe(403)
          expect(yield* origin(port, "https://app.example.evil.example")).toBe(403)
        })
      )
      yield* withServer(
        { allowedOrigins: "*" },
        Effect.gen(function* () {
          expect(yield* origin(yield* portOf, "https://anyone.example")).toBe(101)
        })
      )
      // behind a proxy that ends TLS, the page and the runtime share a host
      yield* withServer(
        { allowedHosts: ["arcp.example"] },
        Effect.gen(function* () {
          expect(yield* origin(yield* portOf, "https://arcp.example", "Host: arcp.example")).toBe(101)
        })
      )
    })
  )

  it.scopedLive("§4 an attached server is judged by the address of the server that it is on", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      expect(yield* host(port, `evil.example:${port}`)).toBe(403)
      expect(yield* host(port, `localhost:${port}`)).toBe(101)
    }).pipe(Effect.provide(attached({ closeTimeout: 50 })))
  )
})

describe("WebSocketServer, listening", () => {
  it.scopedLive("§4 port 0 picks one, and the address tells it", () =>
    withServer(
      { path: "/agents" },
      Effect.gen(function* () {
        const { address } = yield* Server
        expect(address).toMatch(/^ws:\/\/127\.0\.0\.1:[1-9][0-9]*\/agents$/)
        expect(yield* statusOf(yield* portOf, { path: "/agents" })).toBe(101)
      })
    )
  )

  it.scopedLive("§4 a port in use and a bad certificate are typed errors that say what to do", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const port = yield* portOf
        const inUse = yield* Effect.flip(Layer.build(WebSocketServer.layer({ port })))
        expect(inUse).toBeInstanceOf(TransportError)
        expect(inUse.operation).toBe("listen")
        expect(inUse.message).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*in use`))
        const noSuch = yield* Effect.flip(Layer.build(WebSocketServer.layer({ port: 0, host: "203.0.113.1" })))
        expect(noSuch.message).toContain("no such address")
        const badTls = yield* Effect.flip(
          Layer.build(WebSocketServer.layer({ port: 0, tls: { key: "no", cert: "pem" } }))
        )
        expect(badTls.message).toContain("PEM")
      })
    )
  )

  it.scopedLive("§4 shares an HTTP server with its pages and with other upgrades", () =>
    Effect.gen(function* () {
      const port = yield* portOf
      expect(yield* get(port, "/")).toEqual({ status: 200, body: "the application's own page" })
      expect(yield* statusOf(port, { path: "/elsewhere" })).toBe(404)
    }).pipe(Effect.provide(attached({ closeTimeout: 50 })))
  )

  it.scopedLive("§4 leaves other paths' upgrades to their own listeners", () =>
    Effect.gen(function* () {
      const http = createServer()
      http.on("upgrade", (request, socket) => {
        if (request.url === "/other") socket.end("HTTP/1.1 200 mine\r\n\r\n")
      })
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => {
          http.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () => Effect.sync(() => http.close())
      )
      const scope = yield* Scope.make()
      const server = yield* Scope.extend(WebSocketServer.attach(http, { closeTimeout: 50 }), scope)
      const port = Number(new URL(server.address).port)
      expect(yield* statusOf(port)).toBe(101)
      expect(yield* statusOf(port, { path: "/other" })).toBe(200)
      yield* Scope.close(scope, Exit.void)
      expect(http.listenerCount("upgrade")).toBe(1)
      expect(http.listening).toBe(true)
    })
  )

  it.scopedLive("§4 TLS end to end: both ends know that they are secure", () =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      expect([client.secure, server.secure]).toEqual([true, true])
      expect(server.remoteAddress).toBe("127.0.0.1")
      const { address } = yield* Server
      expect(address).toMatch(/^wss:/)
      // the certificate is not one that anybody trusts
      const failure = yield* Effect.flip(WebSocketClient.make({ url: address }).connect)
      expect(failure.message).toMatch(/self-signed.*tls\.ca/)
      const plain = yield* Effect.flip(WebSocketClient.make({ url: address.replace("wss:", "ws:") }).connect)
      expect(plain.message).toMatch(/TLS/)
      const misnamed = yield* Effect.flip(
        WebSocketClient.make({ url: address, tls: { ca: certificate, servername: "other.example" } }).connect
      )
      expect(misnamed.message).toContain("another host name")
    }).pipe(
      Effect.provide(
        to(
          (url) => WebSocketClient.layer({ url, tls: { ca: certificate } }),
          WebSocketServer.layer({ port: 0, tls: { cert: certificate, key: privateKey } })
        )
      )
    )
  )

  it.scopedLive("§4 works with a plain WebSocket that knows nothing of us", () =>
    withServer(
      {},
      Effect.gen(function* () {
        const { address } = yield* Server
        const ws = new WebSocket(address, ["arcp"])
        const got = Effect.async<string>((resume) => {
          ws.once("message", (data) => resume(Effect.succeed(String(data))))
        })
        ws.once("open", () => ws.send('{"hello":1}'))
        const server = yield* accept
        expect(server.secure).toBe(false)
        const reader = yield* Reader.make(server)
        expect(yield* reader.take(1)).toEqual(['{"hello":1}'])
        const reply = yield* Effect.fork(got)
        yield* Effect.yieldNow()
        yield* server.send(['{"welcome":1}'])
        expect(yield* Fiber.join(reply)).toBe('{"welcome":1}')
        ws.close(4321, "mine")
        expect(yield* server.closed).toEqual({ code: 4321, reason: "mine" })
      })
    )
  )
})
