/** A session with the connection that it was given. */
import type { Link } from "../../log/Link.js"
import type { LiveSession } from "../../log/SessionLog.js"

/** What the handshake of a connection comes to. */
export interface Attached {
  readonly session: LiveSession
  readonly link: Link
  /** The hash of the token in this connection's welcome. */
  readonly tokenHash: string
}
