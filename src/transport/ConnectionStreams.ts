/** The Streams that a program supplies for a connection (1.0 §4.3). */
import type * as Effect from "effect/Effect"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import type { CloseInfo, Connection, Inbound } from "./Connection.js"

/**
 * What is known of the peer of a connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface PeerFacts {
  /**
   * The transport's name, such as `"quic"`. A runtime applies its limits for peers that have not been authenticated to every transport
   * but `"memory"` and `"stdio"`, whose peers are on this machine.
   */
  readonly transport: Connection["transport"]
  /** Whether the bytes are safe from eavesdroppers: TLS, or they never leave the machine's memory or pipes. */
  readonly secure: boolean
  /** The peer's network address, such as `10.0.0.7`; absent where it has none. */
  readonly remoteAddress?: string | undefined
}

/**
 * Both directions to one peer, as a Stream and a Sink.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionStreams<E = never, R = never> {
  /**
   * What the peer sends: one element is one frame, whatever the chunks. A frame that could not be read as text is a `BadFrame`.
   *
   * Its end means that the peer sends nothing more. The connection closes with 1000 once the reader has seen the end, or after the
   * close time-out. A failure ends the connection at once: `ConnectionClosed` with its code and reason, any other with 1006; a defect
   * with 1011.
   */
  readonly inbound: Stream.Stream<Inbound, E, R>
  /**
   * Takes what is sent to the peer, each frame as its JSON text, in order. A Sink that waits holds senders back. It is given the end of
   * its input when this side closes, and then has the close time-out to finish. One that ends before that, or fails, ends the
   * connection as a failure of `inbound` does (1006 where it just ends).
   */
  readonly outbound: Sink.Sink<unknown, string, unknown, E, R>
  /**
   * Reports the end to the peer, and releases what the pair holds. Called once, at every end, ours or not, after the last frame has
   * gone through `outbound`, and abandoned after the close time-out. Its failures are ignored. Default: nothing is done.
   */
  readonly close?: ((info: CloseInfo) => Effect.Effect<unknown, unknown, R>) | undefined
  /** What is known of the peer; the connection shows it. */
  readonly peer: PeerFacts
}
