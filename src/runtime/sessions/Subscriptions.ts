/** The tag of subscriptions; the runtime's own are in `Observing`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobId } from "../../protocol/Ids.js"
import type { Subscribed } from "../../protocol/Job.js"
import type { ListJobs } from "../../protocol/Session.js"
import type { Asking, Reply } from "../kernel/Reply.js"

/**
 * A subscribe (ARCP 1.1 §7.6).
 *
 * @since 0.1.0
 * @category models
 */
export interface SubscribeRequest extends Asking {
  /** The job that is to be observed. */
  readonly jobId: JobId
  /** The number behind which history is asked for; 0: all of it. */
  readonly from: number
  /** Whether what came before is asked for. */
  readonly history: boolean
}

/**
 * An unsubscribe (ARCP 1.1 §7.6).
 *
 * @since 0.1.0
 * @category models
 */
export interface UnsubscribeRequest extends Asking {
  /** The job that is observed. */
  readonly jobId: JobId
}

/**
 * A listing (ARCP 1.1 §6.6).
 *
 * @since 0.1.0
 * @category models
 */
export interface ListRequest extends Asking {
  /** The filter, the page's size and the cursor. */
  readonly payload: ListJobs
  /** How many bytes the rows may have together, where they are more than one. */
  readonly bytes: number
}

/**
 * A job that is observed from now on.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobSubscribed {
  /** The payload of `job.subscribed`, without `request_id`. */
  readonly payload: Subscribed
  /** The number of the session's event behind which the answer belongs; undefined: before all that has not been sent. */
  readonly behind?: number | undefined
}

/**
 * A page of a listing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listed {
  /** Each the JSON text of a `JobInfo`. */
  readonly rows: ReadonlyArray<string>
  /** What asks for the next page; `null`: there is none. */
  readonly nextCursor: string | null
}

/**
 * Who observes what.
 *
 * @since 0.1.0
 * @category services
 */
export interface SubscriptionsService {
  /**
   * Attaches the session to a job. The reply is called before anything can be sent that the subscribe brings. A refusal is the failure of
   * the effect, or the reply's.
   */
  readonly subscribe: (request: SubscribeRequest, reply: Reply<JobSubscribed>) => Effect.Effect<void, ArcpError>
  /** Ends an observation; the job does not notice. */
  readonly unsubscribe: (request: UnsubscribeRequest, reply: Reply<void>) => Effect.Effect<void, ArcpError>
  /** A page of the jobs that the principal may observe. */
  readonly list: (request: ListRequest) => Effect.Effect<Listed, ArcpError>
}

/**
 * Attaches observers to jobs and lists jobs.
 *
 * @since 0.1.0
 * @category services
 */
export class Subscriptions extends Context.Tag("effect-arcp/runtime/Subscriptions")<
  Subscriptions,
  SubscriptionsService
>() {}
