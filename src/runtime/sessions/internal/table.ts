/**
 * The sessions that there are (ARCP 1.1 §6.3, §14).
 *
 * Responsibility: which sessions are open or can be resumed, by id, by token and by principal; how many there may be; when one is over.
 *
 * Races closed here: a session counts from before its first row is written, so a burst of hellos cannot pass the limit; one that is
 * gone is not found from that moment on, though its row and its jobs' attachments go with the log's next batch.
 */
import type { Principal } from "../../../auth/Principal.js"
import { type ArcpError, InternalError } from "../../../protocol/Errors.js"
import { closeCodes } from "../../../transport/Connection.js"
import * as Metrics from "../../kernel/Metrics.js"
import type { SessionLog } from "../../log/SessionLog.js"
import { type SessionsContext, sessionError } from "./context.js"
import { longestIdle } from "./idle.js"
import { TokenIndex } from "./resuming.js"

/** The sessions that are open or can be resumed. */
export class SessionTable {
  readonly tokens = new TokenIndex()
  private readonly context: SessionsContext
  private readonly sessions = new Map<string, SessionLog>()
  private readonly perPrincipal = new Map<string, number>()
  private connections = 0

  constructor(context: SessionsContext) {
    this.context = context
  }

  get byId(): ReadonlyMap<string, SessionLog> {
    return this.sessions
  }

  private get shown(): Metrics.MeterShape {
    return this.context.meter
  }

  add(session: SessionLog): void {
    this.sessions.set(session.sessionId, session)
    this.context.eventLog.keep(session)
    this.tokens.add(session)
    const { id } = session.principal
    this.perPrincipal.set(id, (this.perPrincipal.get(id) ?? 0) + 1)
    this.shown.show(Metrics.sessions, this.sessions.size)
  }

  /** It is no longer found. */
  drop(session: SessionLog): void {
    if (!this.sessions.delete(session.sessionId)) return
    this.context.eventLog.drop(session)
    this.tokens.remove(session)
    const { id } = session.principal
    const left = (this.perPrincipal.get(id) ?? 1) - 1
    if (left === 0) this.perPrincipal.delete(id)
    else this.perPrincipal.set(id, left)
    this.shown.show(Metrics.sessions, this.sessions.size)
  }

  /** Ends a session for good; its jobs go on. */
  remove(session: SessionLog): void {
    session.remove()
    this.drop(session)
    this.context.eventLog.change({ write: (batch) => batch.removeSession(session) })
  }

  /** Ends a session that is not connected when its window is over. */
  expireLater(session: SessionLog): void {
    const { deadlines, info } = this.context
    deadlines.schedule(session.lastSeenAt + info.resumeWindow, () => {
      if (session.link !== undefined || session.removed) return
      if (session.lastSeenAt + info.resumeWindow > deadlines.now()) this.expireLater(session)
      else this.remove(session)
    })
  }

  /** A session has a connection that had none, or has none any more. */
  connected(by: 1 | -1): void {
    this.connections += by
    this.shown.show(Metrics.connections, this.connections)
  }

  /** Lets the session go that has been idle for longest, if there is one among those that fit. */
  private makeRoom(fits: (session: SessionLog) => boolean): void {
    const { deadlines, limits, meter } = this.context
    const idle = longestIdle(this.sessions.values(), fits, deadlines.now() - limits.idleSession)
    if (idle === undefined) return
    meter.reached("idleSession")
    const error = new InternalError({
      message: "the session was idle, and made room for another; open a new one",
      details: { reason: "idle_session" }
    })
    idle.link?.post(sessionError(this.context, idle, error))
    idle.link?.end(closeCodes.tryAgainLater, "idle session")
    this.remove(idle)
  }

  /** Why a principal cannot have another session; room is made where a session is idle. */
  refuseNew(principal: Principal): ArcpError | undefined {
    const { limits, meter } = this.context
    const mine = () => this.perPrincipal.get(principal.id) ?? 0
    if (mine() >= limits.sessionsPerPrincipal) this.makeRoom((session) => session.principal.id === principal.id)
    if (this.sessions.size >= limits.sessions) this.makeRoom(() => true)
    return this.sessions.size >= limits.sessions
      ? meter.reaching(
          "sessions",
          new InternalError({ message: `${limits.sessions} sessions are open already; try again later` })
        )
      : mine() >= limits.sessionsPerPrincipal
        ? meter.reaching(
            "sessionsPerPrincipal",
            new InternalError({ message: `you have ${limits.sessionsPerPrincipal} sessions already; close one` })
          )
        : undefined
  }
}
