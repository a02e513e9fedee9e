/** Whose session a job's events go to. */
import type { LiveJob, LiveSession } from "./model.js"

/** Makes a session the owner of a job: its events go there from now on (§7.2). */
export const attachOwner = (live: LiveJob, session: LiveSession): void => {
  const previous = live.owner
  if (previous !== undefined && previous !== session) {
    previous.owned.delete(live)
    if (!previous.observed.has(live)) live.attachments.delete(previous.sessionId)
  }
  live.owner = session
  live.ownerSessionId = session.sessionId
  session.owned.add(live)
  if (!live.attachments.has(session.sessionId))
    live.attachments.set(session.sessionId, { session, runs: [], link: session.link })
}

/** Takes a job away from every session. */
export const detach = (live: LiveJob): void => {
  for (const { session } of live.attachments.values()) {
    session.owned.delete(live)
    session.observed.delete(live)
  }
  live.attachments.clear()
  live.owner = undefined
}
