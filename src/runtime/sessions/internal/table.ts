/**
 * The sessions whose logs this process keeps (ARCP 1.1 §6.3).
 *
 * Responsibility: which are there, which of them are connected, and when one is over.
 *
 * Races closed here: one that is gone is not found from that moment on, though its row and its jobs' attachments go with the log's next
 * batch.
 */
import type { SessionId } from "../../../protocol/Ids.js"
import * as Metrics from "../../kernel/Metrics.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { sessionOver } from "./audited.js"
import type { SessionsContext } from "./context.js"

/** The sessions. */
export class SessionTable {
  private readonly context: SessionsContext
  private readonly sessions = new Map<SessionId, SessionLog>()
  /** Milliseconds for which each can be resumed. */
  private readonly windows = new Map<SessionId, number>()
  private connections = 0

  constructor(context: SessionsContext) {
    this.context = context
  }

  get all(): Iterable<SessionLog> {
    return this.sessions.values()
  }

  get size(): number {
    return this.sessions.size
  }

  private get shown(): Metrics.MeterShape {
    return this.context.meter
  }

  /** Milliseconds for which a session can be resumed after its last message. */
  windowOf({ sessionId }: SessionLog): number {
    return this.windows.get(sessionId) ?? 0
  }

  /** Keeps a session, and for how long it can be resumed. */
  add(session: SessionLog, resumeWindow: number): void {
    this.sessions.set(session.sessionId, session)
    this.windows.set(session.sessionId, resumeWindow)
    this.context.eventLog.keep(session)
    this.shown.show(Metrics.sessions, this.sessions.size)
  }

  /** A session that is resumed may have another window than before. */
  keepFor({ sessionId }: SessionLog, resumeWindow: number): void {
    this.windows.set(sessionId, resumeWindow)
  }

  /** It is no longer found. */
  drop(session: SessionLog): void {
    if (!this.sessions.delete(session.sessionId)) return
    this.windows.delete(session.sessionId)
    this.context.eventLog.drop(session)
    this.context.decided.expired(session.sessionId)
    this.shown.show(Metrics.sessions, this.sessions.size)
  }

  /** Ends a session for good; its jobs go on. `cause`: its window is over, or it made room while it was idle. */
  remove(session: SessionLog, cause: "expired" | "idle"): void {
    this.context.audit?.add(sessionOver(session, cause))
    session.remove()
    this.drop(session)
    this.context.eventLog.change({ write: (batch) => batch.removeSession(session) })
  }

  /** Ends a session that is not connected when its window is over. */
  expireLater(session: SessionLog): void {
    const { deadlines } = this.context
    deadlines.schedule(session.lastSeenAt + this.windowOf(session), () => {
      if (session.link !== undefined || session.removed) return
      if (session.lastSeenAt + this.windowOf(session) > deadlines.mono()) this.expireLater(session)
      else this.remove(session, "expired")
    })
  }

  /** A session has a connection that had none, or has none any more. */
  connected(by: 1 | -1): void {
    this.connections += by
    this.shown.show(Metrics.connections, this.connections)
  }
}
