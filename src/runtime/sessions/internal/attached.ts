/** A session with the connection that it was given. */
import type { Outbox } from "../../log/Outbox.js"
import type { SessionLog } from "../../log/SessionLog.js"

/** What the handshake of a connection comes to. */
export interface Attached {
  readonly session: SessionLog
  readonly link: Outbox
  /** The hash of the token in this connection's welcome. */
  readonly tokenHash: string
}
