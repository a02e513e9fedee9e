/** A submit as a session passes it on. */
import type { Priority } from "../../../protocol/Envelope.js"
import type { ArcpError } from "../../../protocol/Errors.js"
import type { Accepted, Submit } from "../../../protocol/Job.js"
import type { TraceContext } from "../../../protocol/Trace.js"

/** What is asked for, and what is called with the outcome. */
export interface SubmitRequest {
  readonly requestId: string
  readonly payload: Submit
  readonly trace: TraceContext | undefined
  /** Of the submit's envelope. */
  readonly priority?: Priority | undefined
  /** Called once the job is durable, before its first event can be sent. */
  readonly accepted: (jobId: string, traceId: string, payload: Accepted) => void
  /** Called when the store did not take the job. */
  readonly failed: (error: ArcpError) => void
}

/** An idempotency key that is being used for the first time. */
export interface Key {
  readonly key: string
  readonly hash: string
  /** Called when the job's change is queued: from then on the change releases the key, whatever becomes of the request. */
  readonly queued: () => void
  readonly done: () => void
}
