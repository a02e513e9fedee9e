/** What can go wrong on the client's own side. Errors from the runtime are the protocol's (`ArcpError`). */
import * as Schema from "effect/Schema"

/** The client has been closed, by its scope or by `close`. */
export class ClientClosed extends Schema.TaggedError<ClientClosed>()("ClientClosed", {
  message: Schema.String
}) {}

/**
 * The session ended for good: refused authentication, taken over by another connection, given up, or `incompatible`, where what
 * answers is not a runtime of this protocol or of its version.
 */
export class SessionEnded extends Schema.TaggedError<SessionEnded>()("SessionEnded", {
  reason: Schema.Literal("unauthenticated", "taken_over", "refused", "gave_up", "incompatible"),
  message: Schema.String
}) {}

/**
 * A request lay unanswered on a live session for `requestTimeout`. The runtime may have acted on it: a submit can be repeated
 * under its idempotency key (ARCP 1.1 §7.2).
 */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()("RequestTimeout", {
  /** The type of the message, such as `job.submit`. */
  request: Schema.String,
  /** Milliseconds. */
  timeout: Schema.Number,
  message: Schema.String
}) {}

/** A request was refused before it was sent, such as one that needs a feature that was not negotiated (ARCP 1.1 §6.2). */
export class NotNegotiated extends Schema.TaggedError<NotNegotiated>()("NotNegotiated", {
  feature: Schema.String,
  message: Schema.String
}) {}

/** A result that does not fit the agent's output Schema, or a streamed one that is incomplete (ARCP 1.1 §8.4). */
export class ResultInvalid extends Schema.TaggedError<ResultInvalid>()("ResultInvalid", {
  jobId: Schema.String,
  message: Schema.String
}) {}

/** Events that nobody consumed went over the handle's buffer; `missed` of them are gone. Raise `eventBuffer` or consume earlier. */
export class EventsMissed extends Schema.TaggedError<EventsMissed>()("EventsMissed", {
  jobId: Schema.String,
  missed: Schema.Number,
  message: Schema.String
}) {}

/** Any of the client's own errors. */
export type ClientError = ClientClosed | SessionEnded | RequestTimeout | NotNegotiated | ResultInvalid | EventsMissed
