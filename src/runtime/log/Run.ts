/** How the numbers of a session and of a job belong together, and what of a job is read to make frames of its events. */
import type { SegmentClass } from "../../store/Store.js"

/** The session numbers `firstSeq..lastSeq` are the events from `firstJobSeq` on of one job. */
export interface Run {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly firstJobSeq: number
}

/** A run that has the newest number, and grows. */
export interface OpenRun extends Run {
  lastSeq: number
}

/** What a frame needs of a job that is no longer live. */
export interface EndedJob {
  readonly jobId: string
  readonly traceId: string
}

/** A run in a session, with its job. */
export interface SessionRun extends Run {
  readonly job: EndedJob
}

/** Events `first..last` of a job, all of one class. */
export interface ClassRun {
  readonly class: SegmentClass
  readonly first: number
  readonly last: number
}

/** Makes an assignment of live state undone. */
export type Undo = () => void

/** Adds numbers at the end of some runs: to the last of them where they go on from it. */
export const extend = (runs: Array<OpenRun>, firstSeq: number, lastSeq: number, firstJobSeq: number): void => {
  const last = runs[runs.length - 1]
  if (
    last !== undefined &&
    last.lastSeq + 1 === firstSeq &&
    last.firstJobSeq + (last.lastSeq - last.firstSeq) + 1 === firstJobSeq
  )
    last.lastSeq = lastSeq
  else runs.push({ firstSeq, lastSeq, firstJobSeq })
}
