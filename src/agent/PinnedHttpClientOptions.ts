/** The options of `PinnedHttpClient`. */
import type * as Duration from "effect/Duration"

/**
 * How connections are made.
 *
 * @since 0.1.0
 * @category options
 */
export interface PinnedHttpClientOptions {
  /** Time for a connection, TLS included. Default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Time for a name to be resolved where the client is used without a guard. Default 10 seconds. */
  readonly resolveTimeout?: Duration.DurationInput | undefined
  /** Certificates for TLS: authorities in place of the usual ones, and the client's own. */
  readonly tls?:
    | {
        /** Certificates of the authorities that are trusted, PEM. Default: Node's. */
        readonly ca?: string | Uint8Array | undefined
        /** The client's own certificate chain, PEM. */
        readonly cert?: string | Uint8Array | undefined
        /** The private key of `cert`, PEM. */
        readonly key?: string | Uint8Array | undefined
      }
    | undefined
}
