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

/** Those that have been idle for longest, `count` at most. `spokeBy`: since when an idle one is silent. */
export const longestIdle = (
  sessions: ReadonlyArray<SessionLog>,
  spokeBy: number,
  count: number
): ReadonlyArray<SessionLog> => {
  const idle = sessions.filter((session) => isIdle(session, spokeBy))
  if (count > 1) return idle.sort((a, b) => a.spokeAt - b.spokeAt).slice(0, count)
  let longest = idle[0]
  // What comes at every hello where there is no room: without sorting.
  for (const session of idle) if (longest !== undefined && session.spokeAt < longest.spokeAt) longest = session
  return longest === undefined ? [] : [longest]
}
