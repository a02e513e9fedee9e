/** The options of `PinnedHttpClient`. */
import type * as Duration from "effect/Duration"

/** How connections are made. */
export interface PinnedHttpClientOptions {
  /** Time for a connection, TLS included. Default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Time for a name to be resolved where the client is used without a guard. Default 10 seconds. */
  readonly resolveTimeout?: Duration.DurationInput | undefined
  /** Certificates for TLS: authorities in place of the usual ones, and the client's own. */
  readonly tls?:
    | {
        readonly ca?: string | Uint8Array | undefined
        readonly cert?: string | Uint8Array | undefined
        readonly key?: string | Uint8Array | undefined
      }
    | undefined
}
