/**
 * The WebSocket transport's client on Node, over `ws` (ARCP 1.0 §4.1). In browsers: `WebSocketGlobal`.
 *
 * Responsibility: dialling with a time limit, TLS, errors that say what to do. Redirects are not followed, since they would
 * carry headers to another host.
 *
 * Races closed: frames that come in one packet with the handshake's answer are kept; an attempt that times out or is
 * interrupted, also in the moment in which it succeeds, closes its socket.
 */
import type { ClientRequest, IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type * as Tls from "node:tls"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { type ClientOptions, type PerMessageDeflateOptions, WebSocket } from "ws"
import * as Configured from "../protocol/Configured.js"
import { check as checkOptions, timerMillis } from "../protocol/Options.js"
import { closeCodes, type Connection, Connector, type TransportError } from "./Connection.js"
import * as Address from "./internal/address.js"
import { bytes } from "./internal/bounds.js"
import * as connectError from "./internal/connectError.js"
import { dial } from "./internal/dial.js"
import { Settled } from "./internal/Settled.js"
import { defaults } from "./internal/wsAcceptor.js"
import * as wsEndpoint from "./internal/wsEndpoint.js"

export { layer as layerGlobal } from "./WebSocketGlobal.js"

/**
 * TLS of a client, as Node takes it, with its secrets wrapped.
 *
 * @since 0.1.0
 * @category options
 */
export interface ClientTls
  extends Pick<Tls.SecureContextOptions, "ca" | "cert" | "ciphers" | "minVersion" | "maxVersion">,
    Pick<Tls.ConnectionOptions, "servername" | "rejectUnauthorized"> {
  /** The client certificate's private key, PEM. */
  readonly key?: string | Redacted.Redacted<string> | undefined
  /** Opens the private key, where that is encrypted. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
}

/**
 * How a connection is dialled, and its bounds.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** `ws://` or `wss://`; a runtime usually listens on the path `/arcp`. */
  readonly url: string
  /** Headers of the handshake, for a proxy's sake: ARCP itself authenticates in its first message (ARCP 1.1 §6.1). */
  readonly headers?: { readonly [name: string]: string | Redacted.Redacted<string> } | undefined
  /** Sub-protocols to offer. A server that takes none of them is refused. Default: none. */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** TLS of a `wss://` connection. Default: Node's authorities, without a client certificate. */
  readonly tls?: ClientTls | undefined
  /** How long opening may take, from the look-up of the name to the upgrade. Default: 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** The largest frame that is read, in bytes; a larger one closes the connection with 1009. Default: 4 MiB. */
  readonly maxFrameBytes?: number | undefined
  /** Offer compression. Default: false. */
  readonly perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
  /** How many bytes may wait in the socket before `send` suspends. Default: 256 KiB. */
  readonly highWaterBytes?: number | undefined
  /** How many bytes may wait unread before the peer is held back. Default: 1 MiB. */
  readonly inboundBytes?: number | undefined
  /** How long a close may take: flushing what was sent, then the peer's answer. Default: 5 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
}

const open = (options: Options, target: Address.Target): WebSocket => {
  const { key, passphrase, ...tls } = options.tls ?? {}
  const headers: { [name: string]: string } = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name] = Redacted.isRedacted(value) ? Redacted.value(value) : value
  }
  // `closeTimeout` is an option of ws that its types do not know yet
  const wsOptions: ClientOptions & { readonly closeTimeout: number } = {
    ...tls,
    ...(key === undefined ? {} : { key: Redacted.isRedacted(key) ? Redacted.value(key) : key }),
    ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) }),
    headers,
    followRedirects: false,
    maxPayload: bytes(options.maxFrameBytes ?? defaults.maxFrameBytes),
    perMessageDeflate: options.perMessageDeflate ?? false,
    closeTimeout: timerMillis(options.closeTimeout ?? defaults.closeTimeout)
  }
  return new WebSocket(target.url, [...(options.protocols ?? [])], wsOptions)
}

const attempt = (options: Options, target: Address.Target) =>
  Effect.fnUntraced(function* (scope: Scope.Scope): Effect.fn.Return<Connection, TransportError> {
    const { dialled, endpoint } = yield* Effect.uninterruptible(
      Effect.gen(function* () {
        const ws = yield* Effect.try({
          try: () => open(options, target),
          catch: (cause) => connectError.fromCause(target.address, cause)
        })
        const { endpoint, opened } = wsEndpoint.make(ws, {
          secure: target.secure,
          mask: true,
          highWaterBytes: options.highWaterBytes ?? defaults.highWaterBytes,
          inboundBytes: options.inboundBytes ?? defaults.inboundBytes,
          maxFrameBytes: options.maxFrameBytes ?? defaults.maxFrameBytes
        })
        const dialled = new Settled<void, TransportError>()
        ws.once("open", () => dialled.settle(Effect.void))
        ws.once("error", (cause: Error) => dialled.settle(Effect.fail(connectError.fromCause(target.address, cause))))
        ws.once("unexpected-response", (request: ClientRequest, response: IncomingMessage) => {
          dialled.settle(Effect.fail(connectError.fromStatus(target.address, response.statusCode ?? 0)))
          request.destroy()
        })
        ws.once("upgrade", (response: IncomingMessage) => opened(response.socket as Socket))
        yield* Scope.addFinalizer(
          scope,
          Effect.suspend(() => {
            if (ws.readyState !== ws.CONNECTING) return endpoint.close(closeCodes.normal, "")
            ws.terminate()
            return Effect.void
          })
        )
        return { endpoint, dialled }
      })
    )
    yield* dialled.wait
    return endpoint
  })

/**
 * A connector to `options.url`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): typeof Connector.Service => {
  checkOptions("WebSocketClient", options, optionKinds)
  return connector(options)
}

const optionKinds = {
  connectTimeout: "duration",
  maxFrameBytes: "size",
  highWaterBytes: "size",
  inboundBytes: "size",
  closeTimeout: "duration"
} as const

const connector = (options: Options): typeof Connector.Service => ({
  connect: Effect.suspend(() =>
    Either.match(Address.parse(options.url), {
      onLeft: (error) => Effect.fail(error),
      onRight: (target) =>
        dial(attempt(options, target), options.connectTimeout ?? defaults.handshakeTimeout, (limit) =>
          connectError.timedOut(target.address, limit)
        )
    })
  ),
  address: Address.shown(options.url)
})

/**
 * Dials with `ws`.
 *
 * @example
 * ```ts
 * import { WebSocketClient } from "effect-arcp/transport/ws"
 *
 * const Dial = WebSocketClient.layer({ url: "wss://agents.example/arcp" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Connector> => Layer.succeed(Connector, make(options))

const configured = Configured.all({
  url: Configured.matching("ARCP_URL", "a ws:// or wss:// URL", (text): text is string =>
    Either.isRight(Address.parse(text))
  ),
  connectTimeout: Configured.duration("ARCP_CLIENT_CONNECT_TIMEOUT", "duration"),
  maxFrameBytes: Configured.number("ARCP_CLIENT_MAX_FRAME_BYTES", "count"),
  ca: Configured.text("ARCP_CLIENT_TLS_CA"),
  cert: Configured.text("ARCP_CLIENT_TLS_CERT"),
  key: Configured.secret("ARCP_CLIENT_TLS_KEY"),
  passphrase: Configured.secret("ARCP_CLIENT_TLS_PASSPHRASE")
})

/**
 * {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the key
 * where a value is not valid.
 *
 * | key | default |
 * |---|---|
 * | `ARCP_URL`, `ws://` or `wss://` | required |
 * | `ARCP_CLIENT_CONNECT_TIMEOUT` | `10 seconds` |
 * | `ARCP_CLIENT_MAX_FRAME_BYTES` | `4194304` |
 * | `ARCP_CLIENT_TLS_CA`, PEM | the usual authorities |
 * | `ARCP_CLIENT_TLS_CERT`, PEM; `ARCP_CLIENT_TLS_KEY`, PEM, and `ARCP_CLIENT_TLS_PASSPHRASE` (secrets) | no client certificate |
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Partial<Options> = {}): Layer.Layer<Connector, ConfigError.ConfigError> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const { ca, cert, key, passphrase, ...rest } = yield* configured
      const url = yield* Configured.required("ARCP_URL", rest.url, options.url)
      const tls: ClientTls = {
        ...options.tls,
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        ...(passphrase === undefined ? {} : { passphrase })
      }
      return layer({ ...options, ...rest, url, tls })
    })
  )
