/**
 * The WebSocket transport's server (ARCP 1.0 §4.1): stand-alone, or on a `node:http(s)` server that is there already. (On an
 * `@effect/platform` router: `WebSocketRoute`.)
 *
 * Responsibility: listening, TLS, the HTTP side of the handshake and its time limit, and the orderly end. One text frame is
 * one message; a binary frame is a `BadFrame`; a frame over the limit closes with 1009 and invalid UTF-8 with 1007 (RFC 6455
 * §8.1).
 *
 * Races closed: a reset during the upgrade is not an uncaught error; frames sent right behind the handshake are kept; an
 * upgrade that arrives after the stop is refused with 503.
 */
import * as Http from "node:http"
import * as Https from "node:https"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type * as Tls from "node:tls"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Configured from "../protocol/Configured.js"
import { Server, TransportError } from "./Connection.js"
import { isHost, urlHost } from "./Hosts.js"
import { guard, pathOf, refuse } from "./internal/upgrade.js"
import * as wsAcceptor from "./internal/wsAcceptor.js"
import type { WebSocketServerOptions } from "./WebSocketServerOptions.js"
import { timerMillis } from "../protocol/Options.js"

export type { ProxyOptions, WebSocketServerOptions } from "./WebSocketServerOptions.js"

/**
 * What every WebSocket server can be told.
 *
 * @since 0.1.0
 * @category options
 */
export type Options = WebSocketServerOptions

/**
 * TLS of a server, as Node takes it, with its secrets wrapped.
 *
 * @since 0.1.0
 * @category options
 */
export interface ServerTls extends Omit<Tls.TlsOptions, "key" | "passphrase"> {
  /** The private key, PEM. */
  readonly key: string | Uint8Array | Redacted.Redacted<string>
  /** The certificate chain, PEM. */
  readonly cert: string | Buffer | Array<string | Buffer>
  /** Opens the private key, where that is encrypted. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
}

/**
 * A stand-alone server's options.
 *
 * @since 0.1.0
 * @category options
 */
export interface LayerOptions extends Options {
  /** The address to bind. Default: `127.0.0.1`, which only this machine reaches. */
  readonly host?: string | undefined
  /** The TCP port; 0 lets the system pick one, which the server's `address` tells. */
  readonly port: number
  /** Serves `wss` instead of `ws`. Required of network deployments (ARCP 1.0 §4.1) unless a proxy ends TLS. */
  readonly tls?: ServerTls | undefined
  /** How long a peer may take for the TLS handshake, and again for its HTTP request. Default: 10 seconds. */
  readonly handshakeTimeout?: Duration.DurationInput | undefined
}

const reveal = <A>(value: A | Redacted.Redacted<A>): A => (Redacted.isRedacted(value) ? Redacted.value(value) : value)

const create = (options: LayerOptions, timeout: number): Http.Server => {
  const http: Http.ServerOptions = {
    headersTimeout: timeout,
    requestTimeout: timeout,
    connectionsCheckingInterval: Math.max(20, Math.min(1000, Math.floor(timeout / 4))),
    keepAliveTimeout: 1000
  }
  if (options.tls === undefined) return Http.createServer(http)
  const { key, passphrase, ...tls } = options.tls
  const revealed = reveal<string | Uint8Array>(key)
  return Https.createServer({
    ...tls,
    ...http,
    handshakeTimeout: timeout,
    key: typeof revealed === "string" ? revealed : Buffer.from(revealed),
    ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) })
  })
}

const listenError = (cause: NodeJS.ErrnoException, host: string, port: number): TransportError => {
  const where = `${urlHost(host)}:${port}`
  const why =
    cause.code === "EADDRINUSE"
      ? "the port is in use; choose another, or 0 for any free one"
      : cause.code === "EACCES"
        ? "this port needs privileges; choose one above 1023"
        : cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND"
          ? "this machine has no such address"
          : cause.message
  return new TransportError({ operation: "listen", message: `could not listen on ${where}: ${why}`, cause })
}

/** A request that is no upgrade. */
const answerPlain =
  (path: string) =>
  (request: Http.IncomingMessage, response: Http.ServerResponse): void => {
    const here = pathOf(request) === path
    const body = here ? "this is an ARCP runtime: connect with a WebSocket\n" : "there is nothing here\n"
    response.writeHead(here ? 426 : 404, {
      "Content-Type": "text/plain; charset=utf-8",
      "Content-Length": Buffer.byteLength(body),
      Connection: "close",
      ...(here ? { Upgrade: "websocket" } : {})
    })
    response.end(body)
  }

/**
 * Listens on a server of its own until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: LayerOptions): Effect.Effect<typeof Server.Service, TransportError, Scope.Scope> =>
  Effect.gen(function* () {
    const host = options.host ?? "127.0.0.1"
    const timeout = timerMillis(options.handshakeTimeout ?? wsAcceptor.defaults.handshakeTimeout)
    const { acceptor, path, upgrade } = wsAcceptor.make(options)
    const server = yield* Effect.try({
      try: () => create(options, timeout),
      catch: (cause) =>
        new TransportError({
          operation: "listen",
          message: "could not set up TLS: check that key and certificate are PEM and belong together",
          cause
        })
    })
    // what has not upgraded yet is bounded too: as many again, dropped beyond that
    server.maxConnections = 2 * (options.maxConnections ?? wsAcceptor.defaults.maxConnections) + 16
    // the end does not wait for peers that are still in a handshake
    const sockets = new Set<Socket>()
    server.on("connection", (socket: Socket) => {
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
    })
    server.on("request", answerPlain(path))
    server.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
      guard(socket)
      if (pathOf(request) === path) upgrade(request, socket, head)
      else refuse(socket, { status: 404, message: `there is nothing here; the path is ${path}` })
    })

    yield* Effect.acquireRelease(
      Effect.async<void, TransportError>((resume) => {
        const failed = (cause: NodeJS.ErrnoException): void =>
          resume(Effect.fail(listenError(cause, host, options.port)))
        server.once("error", failed)
        server.listen({ host, port: options.port }, () => {
          server.off("error", failed)
          // a failing accept (no file descriptors left) loses that connection, not the server
          server.on("error", () => {})
          resume(Effect.void)
        })
      }),
      () =>
        Effect.zipRight(
          acceptor.shutdown,
          Effect.async<void>((resume) => {
            server.close(() => resume(Effect.void))
            for (const socket of sockets) socket.destroy()
          })
        )
    )
    const address = wsAcceptor.addressOf(server, path, options.tls !== undefined)
    return {
      connections: acceptor.connections,
      restrict: acceptor.restrict,
      maxConnections: options.maxConnections ?? wsAcceptor.defaults.maxConnections,
      stopAccepting: Effect.sync(() => {
        acceptor.stop()
        server.close()
      }),
      address
    }
  })

/**
 * Listens on a server of its own.
 *
 * Fails with {@link TransportError} (`operation: "listen"`), which says what to do.
 *
 * @example
 * ```ts
 * import { WebSocketServer } from "effect-arcp/transport/ws"
 *
 * const Listen = WebSocketServer.layer({ port: 7777 }) // ws://127.0.0.1:7777/arcp
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: LayerOptions): Layer.Layer<Server, TransportError> => Layer.scoped(Server, make(options))

/**
 * Serves one path of an HTTP server until the scope closes. Other upgrades are left to the server's other listeners, or
 * answered with 404 where there are none. The server itself, its TLS, its time limits and its end stay with its owner;
 * `requestTimeout` and `headersTimeout` of `node:http` bound the handshake.
 *
 * @since 0.1.0
 * @category constructors
 */
export const attach = (
  server: Http.Server | Https.Server,
  options: Options = {}
): Effect.Effect<typeof Server.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { acceptor, path, upgrade } = wsAcceptor.make(options)
    const onUpgrade = (request: Http.IncomingMessage, socket: Duplex, head: Buffer): void => {
      guard(socket)
      if (pathOf(request) === path) upgrade(request, socket, head)
      else if (server.listenerCount("upgrade") === 1) refuse(socket, { status: 404, message: "there is nothing here" })
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => server.prependListener("upgrade", onUpgrade)),
      () =>
        Effect.zipRight(
          acceptor.shutdown,
          Effect.sync(() => server.off("upgrade", onUpgrade))
        )
    )
    return {
      connections: acceptor.connections,
      restrict: acceptor.restrict,
      maxConnections: options.maxConnections ?? wsAcceptor.defaults.maxConnections,
      stopAccepting: Effect.sync(() => acceptor.stop()),
      get address() {
        return wsAcceptor.addressOf(server, path, server instanceof Https.Server)
      }
    }
  })

const hostsOf = (name: string): Configured.Configured<"*" | ReadonlyArray<string>> =>
  Configured.parsed(name, 'hosts such as "arcp.example" or "arcp.example:7777", separated by commas, or *', (text) => {
    const hosts = text.split(",").map((host) => host.trim())
    return text === "*" ? "*" : hosts.every(isHost) ? hosts : undefined
  })

const anyOr = (name: string): Configured.Configured<"*" | ReadonlyArray<string>> =>
  Config.map(Configured.list(name), (values) => (values?.length === 1 && values[0] === "*" ? "*" : values))

const configured = Configured.all({
  host: Configured.text("ARCP_SERVER_HOST"),
  port: Configured.port("ARCP_SERVER_PORT"),
  path: Configured.matching("ARCP_SERVER_PATH", 'a path, such as "/arcp"', (text): text is `/${string}` =>
    /^\/[^\s?#]*$/.test(text)
  ),
  maxFrameBytes: Configured.number("ARCP_SERVER_MAX_FRAME_BYTES", "count"),
  maxConnections: Configured.number("ARCP_SERVER_MAX_CONNECTIONS", "countOrZero"),
  allowedOrigins: anyOr("ARCP_SERVER_ALLOWED_ORIGINS"),
  allowedHosts: hostsOf("ARCP_SERVER_ALLOWED_HOSTS"),
  trustedProxies: Configured.list("ARCP_SERVER_TRUSTED_PROXIES"),
  handshakeTimeout: Configured.duration("ARCP_SERVER_HANDSHAKE_TIMEOUT", "duration"),
  closeTimeout: Configured.duration("ARCP_SERVER_CLOSE_TIMEOUT", "duration"),
  cert: Configured.text("ARCP_SERVER_TLS_CERT"),
  key: Configured.secret("ARCP_SERVER_TLS_KEY"),
  passphrase: Configured.secret("ARCP_SERVER_TLS_PASSPHRASE")
})

/**
 * {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the key
 * where a value is not valid. Lists are separated by commas.
 *
 * | key | default |
 * |---|---|
 * | `ARCP_SERVER_PORT` | `7777` |
 * | `ARCP_SERVER_HOST` | `127.0.0.1` |
 * | `ARCP_SERVER_PATH` | `/arcp` |
 * | `ARCP_SERVER_MAX_FRAME_BYTES` | `4194304` |
 * | `ARCP_SERVER_MAX_CONNECTIONS` | `4096` |
 * | `ARCP_SERVER_ALLOWED_ORIGINS`, a list or `*` | none |
 * | `ARCP_SERVER_ALLOWED_HOSTS`, a list or `*` | as {@link Options} says |
 * | `ARCP_SERVER_TRUSTED_PROXIES`, a list | none |
 * | `ARCP_SERVER_HANDSHAKE_TIMEOUT` | `10 seconds` |
 * | `ARCP_SERVER_CLOSE_TIMEOUT` | `5 seconds` |
 * | `ARCP_SERVER_TLS_CERT`, PEM; `ARCP_SERVER_TLS_KEY`, PEM, and `ARCP_SERVER_TLS_PASSPHRASE` (secrets) | no TLS |
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Partial<LayerOptions> = {}
): Layer.Layer<Server, TransportError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const { cert, key, passphrase, ...rest } = yield* configured
      const port = rest.port ?? options.port ?? 7777
      if (cert === undefined && key === undefined && passphrase === undefined) {
        return layer({ ...options, ...rest, port })
      }
      const tls: ServerTls = {
        ...options.tls,
        cert: yield* Configured.required("ARCP_SERVER_TLS_CERT", cert, options.tls?.cert),
        key: yield* Configured.required("ARCP_SERVER_TLS_KEY", key, options.tls?.key),
        ...(passphrase === undefined ? {} : { passphrase })
      }
      return layer({ ...options, ...rest, port, tls })
    })
  )

/**
 * {@link attach} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromServer = (server: Http.Server | Https.Server, options: Options = {}): Layer.Layer<Server> =>
  Layer.scoped(Server, attach(server, options))
