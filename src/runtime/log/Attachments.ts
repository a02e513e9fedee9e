/**
 * Whose sessions a job's events go to: the one that submitted it, and those that submitted it again with its key (ARCP 1.1 §7.2).
 *
 * The first owner's numbers are the job's in listings and for observers (§6.6). Where it leaves for good, the next one is the first.
 */
import type { LiveJob, LiveSession } from "./Model.js"

const makeFirst = (live: LiveJob, session: LiveSession): void => {
  if (live.ownerSessionId === session.sessionId) return
  live.ownerSessionId = session.sessionId
  live.lastOwnerSeq = live.attachments.get(session.sessionId)?.runs.at(-1)?.lastSeq ?? 0
}

/** Makes a session an owner of a job, beside those that it has: the job's events go there too from now on. */
export const attachOwner = (live: LiveJob, session: LiveSession): void => {
  if (!live.attachments.has(session.sessionId))
    live.attachments.set(session.sessionId, { session, runs: [], link: session.link, before: live.assigned })
  if (live.owners.includes(session)) return
  if (live.owners.length === 0) makeFirst(live, session)
  live.owners = [...live.owners, session]
  session.owned.add(live)
}

/** A session is an owner no more, and is sent no more of the job unless it observes it; the job goes on. */
export const removeOwner = (live: LiveJob, session: LiveSession): void => {
  session.owned.delete(live)
  if (!session.observed.has(live)) live.attachments.delete(session.sessionId)
  live.owners = live.owners.filter((owner) => owner !== session)
  const [first] = live.owners
  if (first !== undefined) makeFirst(live, first)
}

/** Takes a job away from every session. */
export const detach = (live: LiveJob): void => {
  for (const { session } of live.attachments.values()) {
    session.owned.delete(live)
    session.observed.delete(live)
  }
  live.attachments.clear()
  live.owners = []
}
