/**
 * The numbers of a job's events as one session counts them (ARCP 1.1 §6.6, §7.6).
 *
 * An event has a number in its job and one in each session that was given it. A session that owns a job counts in its own numbers;
 * every other one counts in those of the job's first owner.
 */
import type { JobLog } from "../../log/JobLog.js"
import type { Run } from "../../log/Run.js"
import type { SessionLog } from "../../log/SessionLog.js"

/** What a subscribe replays. */
export interface Replay {
  /** The owner's number behind which events were asked for. */
  readonly from: number
  /** The number in the job behind which events were asked for. */
  readonly after: number
  /** Events of the job up to here are gone. */
  readonly gone: number
  readonly runs: ReadonlyArray<Run>
}

/** The number in the job of the last event at or before `seq` of its owner session; 0 where there is none. */
export const jobSeqAt = (runs: ReadonlyArray<Run>, seq: number): number => {
  let at = 0
  for (const run of runs) {
    if (run.firstSeq > seq) break
    at = run.firstJobSeq + (Math.min(run.lastSeq, seq) - run.firstSeq)
  }
  return at
}

/**
 * The number of the owner session behind which every event from `jobSeq` on has its number: what `from_event_seq` would have to be
 * to ask for them.
 */
const ownerSeqBefore = (runs: ReadonlyArray<Run>, jobSeq: number): number | undefined => {
  for (const { firstJobSeq, firstSeq, lastSeq } of runs) {
    if (firstJobSeq + (lastSeq - firstSeq) >= jobSeq) return firstSeq + Math.max(0, jobSeq - firstJobSeq) - 1
  }
  return runs.at(-1)?.lastSeq
}

/**
 * `subscribed_from` of a replay: what was asked for where all of it is there, else greater, the owner's number behind which it is (§7.6).
 */
export const replayedFrom = ({ after, from, gone, runs }: Replay): number =>
  gone <= after
    ? from
    : // Events may be gone that have no number in this owner's session; a client that asked for everything misses them.
      Math.max(from === 0 ? 1 : from, ownerSeqBefore(runs, gone + 1) ?? gone)

/** The owner whose numbers count in a session: itself where it is one, else the first. */
export const ownerFor = (session: SessionLog, live: JobLog): string =>
  live.owners.includes(session) ? session.sessionId : live.ownerSessionId

/** The number of a job's last event in the asking session where that owns it, else in the first owner's (§6.6). */
export const lastSeqFor = (session: SessionLog, live: JobLog): number =>
  live.owners[0] !== session && live.owners.includes(session)
    ? (live.attachments.get(session.sessionId)?.given.lastSeq ?? 0)
    : live.lastOwnerSeq
