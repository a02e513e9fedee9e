/** The tag of the job scheduler; the runtime's own is in `Admission`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Priority } from "../../protocol/Envelope.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobId } from "../../protocol/Ids.js"
import type { Accepted, Submit } from "../../protocol/Job.js"
import type { TraceContext } from "../../protocol/Trace.js"
import type { Asking, Reply } from "../kernel/Reply.js"

/**
 * A submit (ARCP 1.1 §7.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface SubmitRequest extends Asking {
  /** What was submitted. */
  readonly payload: Submit
  /** The trace that it continues (§11); a job without one begins its own. */
  readonly trace: TraceContext | undefined
  /** Of the submit's envelope. */
  readonly priority?: Priority | undefined
}

/**
 * A cancel (ARCP 1.1 §7.4).
 *
 * @since 0.1.0
 * @category models
 */
export interface CancelRequest extends Asking {
  /** The job. */
  readonly jobId: JobId
  /** Why, as the client says; undefined where it gives none. */
  readonly reason: string | undefined
}

/**
 * A job that has been accepted, as the session that asks is told of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobAccepted {
  /** The job's id. */
  readonly jobId: JobId
  /** Its trace: 32 hex digits (§11). */
  readonly traceId: string
  /** The payload of `job.accepted`, without `request_id`. */
  readonly payload: Accepted
  /** Of the envelope of the answer. */
  readonly priority?: Priority | undefined
}

/**
 * Takes jobs in, and ends them on request.
 *
 * @since 0.1.0
 * @category services
 */
export interface JobSchedulerService {
  /**
   * Takes a submit, or a repeat of one (§7.2). The reply is called once the job is durable, and before its first event can be sent. A
   * refusal is the failure of the effect, or the reply's.
   */
  readonly submit: (request: SubmitRequest, reply: Reply<JobAccepted>) => Effect.Effect<void, ArcpError>
  /** Begins to cancel a job; the reply is called before the job's end can be sent. */
  readonly cancel: (request: CancelRequest, reply: Reply<void>) => Effect.Effect<void, ArcpError>
  /** Jobs that wait and that run. */
  readonly counts: () => { readonly pending: number; readonly running: number }
}

/**
 * Accepts and cancels jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class JobScheduler extends Context.Tag("effect-arcp/runtime/JobScheduler")<
  JobScheduler,
  JobSchedulerService
>() {}
