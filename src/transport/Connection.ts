/**
 * A transport as the protocol sees it: an inbound Stream of frames and an outbound sink with back-pressure (1.0 §4.3).
 *
 * Order: frames arrive and leave in order, none is dropped, none is duplicated, within one connection. Once the
 * connection has ended it stays ended: `inbound` ends after the frames that came before the end, `send` fails with
 * {@link ConnectionClosed}.
 */
import type { RawEnvelope } from "../protocol/Envelope.js"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/**
 * One message: its JSON text, or the envelope itself on a transport that passes references.
 *
 * @since 0.1.0
 * @category models
 */
export type Frame = string | RawEnvelope

/**
 * A frame that the transport received and could not read as text: a binary frame, invalid UTF-8. It is answered with
 * `INVALID_REQUEST`, and the connection lives on.
 *
 * @since 0.1.0
 * @category models
 */
export class BadFrame {
  readonly _tag = "BadFrame"
  /** What was wrong with it, in words for people. */
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/**
 * What arrives.
 *
 * @since 0.1.0
 * @category models
 */
export type Inbound = Frame | BadFrame

/**
 * WebSocket close codes (RFC 6455 §7.4.1) that ARCP uses; other transports carry them as far as they can.
 *
 * @since 0.1.0
 * @category constants
 */
export const closeCodes = {
  /** A clean end. */
  normal: 1000,
  /** The runtime shuts down; come back later. */
  goingAway: 1001,
  /** What came was not the protocol. */
  protocolError: 1002,
  /** No close frame came: the connection broke. */
  abnormal: 1006,
  /** Refused: authentication, resume, takeover, too many bad frames. */
  policy: 1008,
  /** A frame over the size limit. */
  tooBig: 1009,
  /** A fault on this side. */
  internal: 1011,
  /** Too busy; come back later. */
  tryAgainLater: 1013
} as const

/**
 * How a connection ended.
 *
 * @since 0.1.0
 * @category models
 */
export interface CloseInfo {
  /** A WebSocket close code (RFC 6455 §7.4.1), see {@link closeCodes}. */
  readonly code: number
  /** Why, in words; empty where no reason was given. */
  readonly reason: string
}

/**
 * The connection has ended, so nothing can be sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConnectionClosed extends Schema.TaggedError<ConnectionClosed>()("ConnectionClosed", {
  /** The close code (RFC 6455 §7.4.1), see {@link closeCodes}. */
  code: Schema.Number,
  /** Why, in words; empty where no reason was given. */
  reason: Schema.String
}) {
  /** One line with the code and the reason. */
  override get message(): string {
    return `the connection is closed (${this.code}${this.reason === "" ? "" : `, ${this.reason}`})`
  }
}

/**
 * A connection could not be opened, or a server could not listen.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  /** What was tried. */
  operation: Schema.Literal("connect", "listen", "spawn"),
  message: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {}

/**
 * Both directions to one peer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection {
  /** The transport's name. A transport outside this package chooses its own. */
  readonly transport: "memory" | "websocket" | "stdio" | (string & {})
  /** Whether the bytes are safe from eavesdroppers: TLS, or they never leave the machine's memory or pipes. */
  readonly secure: boolean
  /** The peer's network address; undefined where the transport has none. */
  readonly remoteAddress: string | undefined
  /**
   * What the peer sends, in chunks of as much as has arrived. Consume it once. It ends when the connection has ended,
   * for whatever reason ({@link Connection.closed} tells). Reading slowly holds the peer back. What arrives after our own
   * {@link Connection.close} is dropped.
   */
  readonly inbound: Stream.Stream<Inbound>
  /**
   * Sends frames in order, as one write where the transport can. Returns at once while fewer bytes than the high-water
   * mark wait in the socket, else when that is so again: this is the back-pressure. Interrupted while it waits, it has
   * sent nothing.
   */
  readonly send: (frames: ReadonlyArray<Frame>) => Effect.Effect<void, ConnectionClosed>
  /**
   * Ends the connection after what was sent has left, within a bounded time (the transport's option). Harmless when it
   * has ended already; the first close counts.
   */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
  /** Waits for the end and tells how it came. */
  readonly closed: Effect.Effect<CloseInfo>
  /**
   * The peer has been authenticated: lifts {@link Restrictions.frameBytes}. Absent where connections are not restricted.
   */
  readonly admit?: Effect.Effect<void>
}

/**
 * How a server treats peers that have not been authenticated.
 *
 * @since 0.1.0
 * @category options
 */
export interface Restrictions {
  /**
   * Bytes of one frame until {@link Connection.admit}; a larger one ends the connection with 1009. The transport's own limit holds
   * where it is smaller.
   */
  readonly frameBytes: number
  /** Why a peer from this address is refused now; undefined: it may connect. Called for each connection before it is accepted. */
  readonly refusal: (remoteAddress: string | undefined) => string | undefined
}

/**
 * Accepts connections: what a runtime listens on.
 *
 * Closing the layer's scope stops listening and closes what is still open with 1001.
 *
 * @since 0.1.0
 * @category services
 */
export class Server extends Context.Tag("effect-arcp/transport/Server")<
  Server,
  {
    /** Each accepted connection once. Consume it once. Ends when the server stops. */
    readonly connections: Stream.Stream<Connection>
    /** Stops accepting (idempotent); connections that are open stay. */
    readonly stopAccepting: Effect.Effect<void>
    /**
     * Restricts connections whose peer has not been authenticated, from now on and those that are open. A server without this accepts
     * every peer; the runtime then refuses those that it does not want once they are connected.
     */
    readonly restrict?: (restrictions: Restrictions) => Effect.Effect<void>
    /**
     * Connections that it has at a time; it refuses the next one, whoever comes. Anonymous principals get a part of them
     * (`Limits.anonymousShare`). Absent: it knows no bound.
     *
     * @since 0.2.0
     */
    readonly maxConnections?: number | undefined
    /** Where it listens, such as `ws://127.0.0.1:7777/arcp`, `stdio:` or `memory:`. */
    readonly address: string
  }
>() {}

/**
 * Opens connections: what a client dials with. Each call opens a new one, which the scope closes.
 *
 * @since 0.1.0
 * @category services
 */
export class Connector extends Context.Tag("effect-arcp/transport/Connector")<
  Connector,
  {
    /**
     * Opens a connection, within the transport's connect time-out. Fails with {@link TransportError} where it cannot be
     * opened.
     */
    readonly connect: Effect.Effect<Connection, TransportError, Scope.Scope>
    /** Where it connects to, without secrets. */
    readonly address: string
  }
>() {}
