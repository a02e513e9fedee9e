/**
 * §14 A page whose host name was made to point to this machine (DNS rebinding): refused by default, however a runtime is served and wherever
 * it listens. Its browser sends the page's own name as Host and as Origin.
 */
import { createServer, type Server as HttpServerOfNode } from "node:http"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, type Scope } from "effect"
import express from "express"
import { connect as tlsConnect } from "node:tls"
import { WebSocketServer } from "../../src/transport/node.js"
import { WebSocketRoute } from "../../src/transport/platform.js"
import { rawClient, requestText } from "./rawPeer.js"
import { certificate, privateKey, routedPort } from "./webSockets.js"

type Options = WebSocketRoute.Options
/** Serves, on an address or on every one, and names its port. */
type Serve = (options: Options, host?: string) => Effect.Effect<number, unknown, Scope.Scope>

const listening = (http: HttpServerOfNode, host: string | undefined) =>
  Effect.acquireRelease(
    Effect.async<number>((resume) => {
      http.listen({ port: 0, ...(host === undefined ? {} : { host }) }, () =>
        resume(Effect.sync(() => (http.address() as { readonly port: number }).port))
      )
    }),
    () =>
      Effect.async<void>((resume) => {
        http.close(() => resume(Effect.void))
        http.closeAllConnections()
      })
  )

const onServer =
  (make: () => HttpServerOfNode): Serve =>
  (options, host) =>
    Effect.gen(function* () {
      const http = make()
      const port = yield* listening(http, host)
      yield* WebSocketServer.attach(http, options)
      return port
    })

const platform = (host: string | undefined) =>
  NodeHttpServer.layer(() => WebSocketRoute.guardUpgrades(createServer()), {
    port: 0,
    ...(host === undefined ? {} : { host })
  })

const ways: ReadonlyArray<readonly [string, Serve]> = [
  [
    "a server of its own",
    (options, host = "::") =>
      Effect.map(WebSocketServer.make({ ...options, host, port: 0 }), ({ address }) => Number(new URL(address).port))
  ],
  ["a plain server of Node", onServer(() => createServer((_, response) => response.end("a page")))],
  [
    "an application of Express",
    onServer(() => {
      const app = express()
      app.get("/arcp", (_request, response) => void response.send("a page"))
      return createServer(app)
    })
  ],
  [
    "an HttpLayerRouter",
    (options, host) =>
      HttpLayerRouter.serve(WebSocketRoute.layer("/arcp", options), {
        disableLogger: true,
        disableListenLog: true
      }).pipe(
        Layer.provideMerge(platform(host)),
        Layer.build,
        Effect.flatMap((context) => Effect.provide(routedPort, context))
      )
  ],
  [
    "an HttpRouter",
    (options, host) =>
      Effect.gen(function* () {
        const context = yield* Layer.build(platform(host))
        const { app } = yield* WebSocketRoute.make(options)
        yield* Effect.provide(HttpServer.serveEffect(HttpRouter.empty.pipe(HttpRouter.get("/arcp", app))), context)
        return yield* Effect.provide(routedPort, context)
      })
  ]
]

const answer = (port: number, headers: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const raw = yield* rawClient(port)
      raw.write(requestText(port, { headers }))
      const head = yield* raw.until("\r\n\r\n")
      return { status: Number(head.split(" ")[1]), text: head.startsWith("HTTP/1.1 101") ? "" : yield* raw.ended }
    })
  )
const status = (port: number, host: string, origin?: string) =>
  Effect.map(
    answer(port, [`Host: ${host}`, ...(origin === undefined ? [] : [`Origin: ${origin}`])]),
    (answer) => answer.status
  )

/** What pages send that were rebound: names that are not this server's, with and without its port. */
const rebound = (port: number): ReadonlyArray<readonly [host: string, origin: string]> => [
  [`evil.example:${port}`, `http://evil.example:${port}`],
  ["evil.example", "http://evil.example"],
  ["evil.example", "https://evil.example"],
  [`127.0.0.1.evil.example:${port}`, `http://127.0.0.1.evil.example:${port}`],
  [`localhost.evil.example:${port}`, `http://localhost.evil.example:${port}`],
  [`127.0.0.1:${port}`, `http://evil.example:${port}`],
  [`evil.example:${port}`, `http://127.0.0.1:${port}`],
  [`127.0.0.1:${port}`, "null"]
]

describe.each(ways)("a rebound page, and %s", (_name, serve) => {
  it.scopedLive(
    "§14 is refused on a loopback address, also without an Origin; the machine's own names are served",
    () =>
      Effect.gen(function* () {
        const port = yield* serve({ closeTimeout: 50 }, "127.0.0.1")
        for (const [host, origin] of rebound(port)) {
          expect([host, origin, yield* status(port, host, origin)]).toEqual([host, origin, 403])
        }
        expect(yield* status(port, `evil.example:${port}`)).toBe(403)
        for (const name of ["127.0.0.1", "localhost", "[::1]"]) {
          expect(yield* status(port, `${name}:${port}`)).toBe(101)
          expect(yield* status(port, `${name}:${port}`, `http://${name}:${port}`)).toBe(101)
        }
      })
  )

  it.scopedLive("§14 is refused where it listens on every address; programs and pages of an address are served", () =>
    Effect.gen(function* () {
      const port = yield* serve({ closeTimeout: 50 })
      for (const [host, origin] of rebound(port)) {
        expect([host, origin, yield* status(port, host, origin)]).toEqual([host, origin, 403])
      }
      const { text } = yield* answer(port, [`Host: evil.example:${port}`, `Origin: http://evil.example:${port}`])
      expect(text).toContain("allowedHosts")
      for (const name of ["127.0.0.1", "localhost", "agents.localhost", "[::1]", "192.0.2.7"]) {
        expect([name, yield* status(port, `${name}:${port}`, `http://${name}:${port}`)]).toEqual([name, 101])
      }
      // A program sends no Origin, and may know this machine by any name.
      expect(yield* status(port, "agents.example")).toBe(101)
    })
  )

  it.scopedLive("§14 is refused where others are named; pages of the hosts and origins that are named are served", () =>
    Effect.gen(function* () {
      const named = yield* serve({ closeTimeout: 50, allowedHosts: ["agents.example"] })
      expect(yield* status(named, "agents.example", "https://agents.example")).toBe(101)
      for (const [host, origin] of rebound(named)) expect(yield* status(named, host, origin)).toBe(403)
      expect(yield* status(named, "evil.example")).toBe(403)
      const origins = yield* serve({ closeTimeout: 50, allowedOrigins: ["https://app.example"] })
      expect(yield* status(origins, "agents.example", "https://app.example")).toBe(101)
      for (const [host, origin] of rebound(origins)) expect(yield* status(origins, host, origin)).toBe(403)
    })
  )
})

describe("a page", () => {
  it.scopedLive("§14 over the server's own TLS has a name that the certificate vouches for", () =>
    Effect.gen(function* () {
      const tls = { key: Redacted.make(privateKey), cert: certificate }
      const { address } = yield* WebSocketServer.make({ host: "0.0.0.0", port: 0, tls, closeTimeout: 50 })
      const port = Number(new URL(address).port)
      const over = (host: string, origin: string) =>
        Effect.async<number>((resume) => {
          const socket = tlsConnect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
            socket.write(requestText(port, { headers: [`Host: ${host}`, `Origin: ${origin}`] }))
            socket.once("data", (bytes: Buffer) => {
              socket.destroy()
              resume(Effect.succeed(Number(bytes.toString().split(" ")[1])))
            })
          })
        })
      expect(yield* over(`agents.example:${port}`, `https://agents.example:${port}`)).toBe(101)
      expect(yield* over(`agents.example:${port}`, `https://evil.example:${port}`)).toBe(403)
    })
  )

  it.scopedLive("§14 that reaches a Unix socket through a proxy needs a name that is listed", () =>
    Effect.gen(function* () {
      const path = join(tmpdir(), `arcp-rebound-${process.pid}.sock`)
      const http = createServer()
      yield* Effect.acquireRelease(
        Effect.async<void>((resume) => void http.listen(path, () => resume(Effect.void))),
        () => Effect.sync(() => http.close())
      )
      yield* WebSocketServer.attach(http, { closeTimeout: 50 })
      const over = (headers: ReadonlyArray<string>) =>
        Effect.async<number>((resume) => {
          const socket = connect(path, () => socket.write(requestText(0, { headers })))
          socket.once("data", (bytes: Buffer) => {
            socket.destroy()
            resume(Effect.succeed(Number(bytes.toString().split(" ")[1])))
          })
        })
      expect(yield* over(["Host: evil.example", "Origin: http://evil.example"])).toBe(403)
      expect(yield* over(["Host: agents.example"])).toBe(101)
    })
  )
})

it("§14 a host that no Host header can be is refused when the server is made, and named", () => {
  for (const entry of ["", " ", "https://agents.example", "agents.example/", "::1", "a b", "agents.example:x"]) {
    const options = { port: 0, allowedHosts: ["ok.example", entry] }
    expect(() => Effect.runSync(Effect.scoped(WebSocketServer.make(options)))).toThrow(
      `allowedHosts: ${JSON.stringify(entry)}`
    )
    expect(() => Effect.runSync(Effect.scoped(WebSocketServer.attach(createServer(), options)))).toThrow(/allowedHosts/)
    expect(() => Effect.runSync(Effect.scoped(WebSocketRoute.make(options)))).toThrow(/allowedHosts/)
  }
})
