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
   * Whether nobody vouched for it: each session of an anonymous client is a principal of its own. The id of one begins with `anonymous:`; the
   * runtime puts that before another id, so that none is a principal's that has presented a credential.
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
