/** How the numbers of a session and of a job belong together, and what of a job is read to make frames of its events. */
import type { SegmentClass } from "../../store/Store.js"
import type { Run } from "../kernel/Runs.js"

export type { Run } from "../kernel/Runs.js"

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
