import type { PrincipalId } from "../protocol/Ids.js"

/**
 * Who is behind a session.
 *
 * @since 0.1.0
 * @category models
 */
export interface Principal {
  /** Stable identity; jobs belong to it. */
  readonly id: PrincipalId
  /**
   * Whether it presented no credential. Each session of an anonymous client is a principal of its own, and its id begins with `anonymous:`.
   * The runtime adds that prefix where it is missing, so that an anonymous principal never has the id of another.
   */
  readonly anonymous: boolean
  /** What the authenticator knows besides, such as a token's claims. */
  readonly claims: Readonly<Record<string, unknown>>
  /**
   * When the credential that was presented runs out, in milliseconds since the epoch. A session that is connected then is told
   * (`UNAUTHENTICATED`, `retryable: true`, `details.reason: "credential_expired"`) and its connection is closed; its jobs go on, and it can
   * be resumed with another credential. Absent: never.
   */
  readonly expiresAt?: number | undefined
}
