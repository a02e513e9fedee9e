/** What can go wrong on the client's own side. Errors from the runtime are the protocol's (`ArcpError`). */
import * as Schema from "effect/Schema"

/**
 * The client has been closed, by its scope or by `close`.
 *
 * @since 0.1.0
 * @category errors
 */
export class ClientClosed extends Schema.TaggedError<ClientClosed>()("ClientClosed", {
  message: Schema.String
}) {}

/**
 * The session ended for good: taken over by another connection, refused, given up, or `incompatible`, where what answers is not a
 * runtime of this protocol or of its version. A refused credential is `Unauthenticated`, the runtime's own error.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionEnded extends Schema.TaggedError<SessionEnded>()("SessionEnded", {
  /** Why it ended. `refused`: the runtime refused the session; `gave_up`: no more attempts were allowed. */
  reason: Schema.Literal("taken_over", "refused", "gave_up", "incompatible"),
  message: Schema.String
}) {}

/**
 * A request lay unanswered on a live session for `requestTimeout`. The runtime may have acted on it: a submit can be repeated
 * under its idempotency key (ARCP 1.1 §7.2).
 *
 * @since 0.1.0
 * @category errors
 */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()("RequestTimeout", {
  /** The type of the message, such as `job.submit`. */
  request: Schema.String,
  /** Milliseconds. */
  timeout: Schema.Number,
  message: Schema.String
}) {}

/**
 * A request was refused before it was sent, such as one that needs a feature that was not negotiated (ARCP 1.1 §6.2).
 *
 * @since 0.1.0
 * @category errors
 */
export class NotNegotiated extends Schema.TaggedError<NotNegotiated>()("NotNegotiated", {
  /** The feature that the request needs. */
  feature: Schema.String,
  message: Schema.String
}) {}

/**
 * A result that does not fit the agent's output Schema, or a streamed one that is incomplete (ARCP 1.1 §8.4).
 *
 * @since 0.1.0
 * @category errors
 */
export class ResultInvalid extends Schema.TaggedError<ResultInvalid>()("ResultInvalid", {
  /** The job. */
  jobId: Schema.String,
  message: Schema.String
}) {}

/**
 * Events of a job are gone: the stream cannot show all of them (ARCP 1.1 §6.3, §7.6). Either the job's events went over
 * `eventBuffer` before they were consumed, or the runtime's history starts later than was asked for (a session that could not
 * be resumed, a late observer). The job goes on; an inline result is still available.
 *
 * @since 0.1.0
 * @category errors
 */
export class EventsMissed extends Schema.TaggedError<EventsMissed>()("EventsMissed", {
  /** The job. */
  jobId: Schema.String,
  /**
   * The first number that is gone. Of the receiving session where the client's own buffer ran over; of the
   * session that owns the job where the runtime's history starts later, as in `subscribed_from`.
   */
  from: Schema.Number,
  /** The last number that is gone, as {@link from} counts. */
  to: Schema.Number,
  /** How many are gone. Where the runtime's history starts later, at most so many: other jobs have numbers in between. */
  missed: Schema.Number,
  message: Schema.String
}) {}

/**
 * The streamed result has been read as a stream (`bytes` or `chunks`) by the stream that owns it, and what was read is released
 * (ARCP 1.1 §8.4): it cannot be assembled, and no other stream can read it.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResultStreamed extends Schema.TaggedError<ResultStreamed>()("ResultStreamed", {
  /** The job. */
  jobId: Schema.String,
  message: Schema.String
}) {}

/**
 * The streamed result is too large to be assembled: read `bytes` from the start of the job, which takes constant memory.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResultTooLarge extends Schema.TaggedError<ResultTooLarge>()("ResultTooLarge", {
  /** The job. */
  jobId: Schema.String,
  /** Bytes that have come. */
  size: Schema.Number,
  message: Schema.String
}) {}

/**
 * Any of the client's own errors.
 *
 * @since 0.1.0
 * @category errors
 */
export type ClientError =
  | ClientClosed
  | SessionEnded
  | RequestTimeout
  | NotNegotiated
  | ResultInvalid
  | EventsMissed
  | ResultStreamed
  | ResultTooLarge
