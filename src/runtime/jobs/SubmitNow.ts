/**
 * The runtime's own scheduler, for a caller that asks it directly: a `submit` that begins in the step in which it is called, for a caller that
 * is no fiber, and an acceptance whose JSON has been made already.
 *
 * Order: `submitNow` belongs to one `submit` function. Code that puts another in its place (a decorator, a program's own scheduler) is not bypassed,
 * since the new function has no such form.
 */
import { type Priority, version } from "../../protocol/Envelope.js"
import type { JobId } from "../../protocol/Ids.js"
import type { Accepted } from "../../protocol/Job.js"
import type { JobAccepted, JobSchedulerService } from "./JobScheduler.js"

/**
 * As `submit`, begun when it is called and not when its effect is run. Where a submit is done, the effect is an `Exit`.
 */
export type SubmitNow = JobSchedulerService["submit"]

const forms = new WeakMap<object, SubmitNow>()

/** Says that a `submit` can also be had as `now`. Returns `submit`. */
export const submittingNow = (submit: SubmitNow, now: SubmitNow): SubmitNow => {
  forms.set(submit, now)
  return submit
}

/** The form of a `submit` that begins at once; undefined where it has none. */
export const submitNowOf = (submit: object): SubmitNow | undefined => forms.get(submit)

/** A job that has been accepted, with the text of its payload where that is known. It is lost where the answer is copied. */
export class Acceptance implements JobAccepted {
  readonly jobId: JobId
  readonly traceId: string
  readonly payload: Accepted
  readonly priority: Priority | undefined
  readonly #text: string | undefined

  constructor(answer: JobAccepted, text: string | undefined) {
    this.jobId = answer.jobId
    this.traceId = answer.traceId
    this.payload = answer.payload
    this.priority = answer.priority
    this.#text = text
  }

  /** The payload as JSON, where it is known: an object that is not empty. */
  static textOf(answer: JobAccepted): string | undefined {
    return #text in answer ? answer.#text : undefined
  }
}

/** The frame of `job.accepted` with a payload that is JSON already: the text of the same frame that is made of objects. */
export const acceptedFrame = (
  { id, sessionId }: { readonly id: string; readonly sessionId: string },
  { jobId, traceId }: Pick<JobAccepted, "jobId" | "traceId">,
  requestId: string,
  payload: string
): string =>
  `{"arcp":"${version}","id":${JSON.stringify(id)},"type":"job.accepted","session_id":${JSON.stringify(
    sessionId
  )},"trace_id":${JSON.stringify(traceId)},"job_id":${JSON.stringify(jobId)},"payload":{"request_id":${JSON.stringify(
    requestId
  )},${payload.slice(1)}}`
