/**
 * Letting go of the history of a job that goes on (ARCP 1.1 §6.5, §7.6).
 *
 * Responsibility: how much of a job's events stays in the store. What its sessions may still be owed stays, up to
 * `Limits.bufferedEvents` and `Limits.bufferedBytes` behind each; of the rest the newest `Limits.historyEvents` and
 * `Limits.historyBytes`. Sessions that are further behind cannot be resumed from before it: their floor rises with the trim.
 *
 * Order: events count as gone from the decision on, and are gone from the store once the batch that says so has committed.
 */
import type { LimitsShape } from "../kernel/Limits.js"
import type { MeterShape } from "../kernel/Metrics.js"
import type { Batch } from "./Batch.js"
import type { JobLog } from "./JobLog.js"
import type { SessionLog } from "./SessionLog.js"

/** What of a session's numbers must stay: those behind this one. */
const neededBy = (session: SessionLog, limits: LimitsShape): number =>
  Math.max(
    session.features.has("ack") ? session.ackedSeq : 0,
    session.seq - limits.bufferedEvents,
    session.seqAtBytes(session.bytes - limits.bufferedBytes)
  )

/** Up to which event the history of a job may go that has outgrown it; undefined where it stays. */
const trimmable = (job: JobLog, limits: LimitsShape): number | undefined => {
  const tooLong = job.seq - job.trimmedTo > limits.historyEvents * 2
  const tooLarge = job.keptBytes > limits.historyBytes * 2
  let upTo = Math.max(tooLong ? job.seq - limits.historyEvents : 0, tooLarge ? job.seqBefore(limits.historyBytes) : 0)
  for (const { given, session } of job.attachments.values()) {
    const needed = neededBy(session, limits)
    // All of them: where a history was replayed once more, later runs have earlier events.
    for (const run of given.all) {
      if (run.lastSeq <= needed) continue
      upTo = Math.min(upTo, run.firstJobSeq + Math.max(0, needed - run.firstSeq + 1) - 1)
    }
  }
  // The last event stays: a history that lacks its beginning always has something that says so.
  upTo = Math.min(upTo, job.seq - 1)
  // Not for a little.
  return upTo - job.trimmedTo < limits.historyEvents / 2 && job.freedBy(upTo) < limits.historyBytes / 2
    ? undefined
    : upTo
}

/** Writes that events of a job are gone, to each session that had them. */
const write = (batch: Batch, job: JobLog, upTo: number): void => {
  batch.trim(job.jobId, upTo)
  for (const { given, session } of job.attachments.values()) {
    let floor = 0
    for (const run of given.all) {
      if (run.firstJobSeq > upTo) continue
      floor = Math.max(floor, Math.min(run.lastSeq, run.firstSeq + (upTo - run.firstJobSeq)))
    }
    batch.raiseFloor(session, floor)
    batch.session(session)
  }
}

/** Tells which sessions lose what they have not acknowledged. */
const report = (job: JobLog, limits: LimitsShape, meter: MeterShape): void => {
  for (const { session } of job.attachments.values()) {
    if (session.features.has("ack") && session.floorSeq > session.ackedSeq) {
      meter.reached(session.seq - session.floorSeq >= limits.bufferedEvents ? "bufferedEvents" : "bufferedBytes")
    }
  }
}

/** Trims a job that has outgrown its history; `change` queues a change of the log. */
export const trim = (
  job: JobLog,
  limits: LimitsShape,
  meter: MeterShape,
  change: (change: { readonly write: (batch: Batch) => void; readonly committed: () => void }) => void
): void => {
  const upTo = trimmable(job, limits)
  if (upTo === undefined) return
  meter.reached(job.seq - job.trimmedTo > limits.historyEvents * 2 ? "historyEvents" : "historyBytes")
  job.trimTo(upTo)
  change({
    write: (batch) => write(batch, job, upTo),
    committed: () => {
      report(job, limits, meter)
      job.sessions.forgetRuns(upTo)
    }
  })
}
