/** What a job has sent already, as a session is given it: one that observes it, or submits it again (ARCP 1.1 §7.2, §7.6, §8.4). */
import type { SegmentClass, SegmentHead } from "../../store/Store.js"
import type { Batch } from "./Batch.js"
import type { ClassRun, EndedJob } from "./Run.js"
import type { SessionLog } from "./SessionLog.js"

/** Stored segments as runs; those that continue each other are one, since each large chunk is a segment of its own. */
export const runsOf = (heads: ReadonlyArray<SegmentHead>): ReadonlyArray<ClassRun> => {
  const runs: Array<{ readonly class: SegmentHead["class"]; readonly first: number; last: number }> = []
  for (const head of heads) {
    const before = runs[runs.length - 1]
    if (before !== undefined && before.class === head.class && before.last + 1 === head.firstSeq)
      before.last = head.lastSeq
    else runs.push({ class: head.class, first: head.firstSeq, last: head.lastSeq })
  }
  return runs
}

/** The parts of `from..to` that a session may be sent, where `gated` tells the runs of negotiated classes; without those of one class. */
export const acceptedParts = (
  session: SessionLog,
  gated: ReadonlyArray<ClassRun>,
  from: number,
  to: number,
  without?: SegmentClass | undefined
): ReadonlyArray<readonly [from: number, to: number]> => {
  const parts: Array<readonly [number, number]> = []
  let next = from
  for (const run of gated) {
    if (run.last < next || (run.class !== without && session.accepts(run.class))) continue
    if (run.first > to) break
    if (run.first > next) parts.push([next, run.first - 1])
    next = run.last + 1
  }
  if (next <= to) parts.push([next, to])
  return parts
}

/** Gives a session the chunks of a job's result among the events `from..to`. */
export const replayChunks = (
  batch: Batch,
  session: SessionLog,
  job: EndedJob,
  runs: ReadonlyArray<ClassRun>,
  from: number,
  to: number
): void => {
  if (!session.features.has("result_chunk")) return
  for (const run of runs) {
    const first = Math.max(run.first, from)
    const last = Math.min(run.last, to)
    if (run.class === "chunk" && first <= last) batch.deliver(session, job, first, last)
  }
}

/**
 * Gives a session a job's end again: the chunks of its result that are kept (those after `trimmedTo`), where it streamed, then its
 * terminal message. These are no events of the job: they do not count as its last (§6.6), so the job is passed on by its ids alone.
 */
export const replayEnd = (
  batch: Batch,
  session: SessionLog,
  { jobId, traceId }: EndedJob,
  runs: ReadonlyArray<ClassRun>,
  trimmedTo: number,
  last: number
): void => {
  const job: EndedJob = { jobId, traceId }
  replayChunks(batch, session, job, runs, trimmedTo + 1, last - 1)
  batch.deliver(session, job, last, last)
}
