/** The options that a stand-alone, an attached and a routed WebSocket server share. */
import type * as Duration from "effect/Duration"
import type { PerMessageDeflateOptions } from "ws"

/**
 * Which proxies are trusted, and which header they write.
 *
 * @since 0.1.0
 * @category options
 */
export interface ProxyOptions {
  /**
   * Proxies in front of the server that are trusted to name a peer's address: addresses and networks (`"10.0.0.7"`,
   * `"10.0.0.0/8"`, `"fd00::/8"`), and `"unix"` for what connects over a Unix socket. Default: none; the address of the
   * TCP connection counts.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
  /** The header that those proxies append to. They must remove it from what they are sent, or append. Default: `"x-forwarded-for"`. */
  readonly forwardedHeader?: "x-forwarded-for" | "forwarded" | undefined
}

/**
 * The options of every WebSocket server.
 *
 * @since 0.1.0
 * @category options
 */
export interface WebSocketServerOptions extends ProxyOptions {
  /** The URL path that is served. Default: `/arcp`. */
  readonly path?: string | undefined
  /**
   * The largest frame that is read, in bytes; a larger one closes the connection with 1009. Default: 4 MiB, in which a
   * chunk of 1 MiB fits as base64 with its envelope. Give less only if no peer sends chunks of that size.
   */
  readonly maxFrameBytes?: number | undefined
  /** How many connections may be open at once; one more is refused with 503. Default: 4096. */
  readonly maxConnections?: number | undefined
  /**
   * Origins that browsers may connect from besides the server's own (`https://app.example`), or `"*"`. Requests
   * without Origin (programs) pass; any other is refused with 403. Default: none.
   */
  readonly allowedOrigins?: "*" | ReadonlyArray<string> | undefined
  /**
   * Host headers that are served (`arcp.example`, `arcp.example:7777`; without a port any port counts), or `"*"`; any
   * other is refused with 403. Default: where the server is bound to a loopback address, `localhost`, `127.0.0.1` and
   * `[::1]` with its port, which stops DNS rebinding; elsewhere any for programs, and for pages of browsers addresses, `localhost` and, over
   * the server's own TLS, any. Name the public host where pages of that host connect, and where a proxy on the same machine
   * passes it through. An entry that is no host throws a `RangeError`.
   */
  readonly allowedHosts?: "*" | ReadonlyArray<string> | undefined
  /** WebSocket sub-protocols that are echoed when a client offers them; others are ignored. Default: `["arcp"]`. */
  readonly protocols?: ReadonlyArray<string> | undefined
  /** Compression. Costs memory and time per connection. Default: false. */
  readonly perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
  /** How many bytes may wait in a socket before `send` suspends. Default: 256 KiB. */
  readonly highWaterBytes?: number | undefined
  /** How many bytes may wait unread before the peer is held back. Default: 1 MiB. */
  readonly inboundBytes?: number | undefined
  /** How long a close may take: flushing what was sent, then the peer's answer. Default: 5 seconds. */
  readonly closeTimeout?: Duration.DurationInput | undefined
}
