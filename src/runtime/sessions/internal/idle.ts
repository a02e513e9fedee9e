/** Sessions that may go where there is no room for another (ARCP 1.1 §14). */
import type { SessionLog } from "../../log/SessionLog.js"

/**
 * Whether a session does nothing but be there (§14): it may go where there is no room. One that is away keeps the window
 * that it was promised, and one that has not been sent everything is not idle.
 */
const isIdle = (session: SessionLog, spokeBy: number): boolean =>
  session.link !== undefined &&
  session.link.cursor >= session.seq &&
  session.owned.size === 0 &&
  session.observed.size === 0 &&
  session.spokeAt <= spokeBy

/** The one that has been idle for longest; undefined where none is. `spokeBy`: since when an idle one is silent. */
export const longestIdle = (sessions: Iterable<SessionLog>, spokeBy: number): SessionLog | undefined => {
  let idle: SessionLog | undefined
  for (const session of sessions) {
    if (isIdle(session, spokeBy) && session.spokeAt < (idle?.spokeAt ?? Number.POSITIVE_INFINITY)) {
      idle = session
    }
  }
  return idle
}
