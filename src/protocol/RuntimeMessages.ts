/** What runtimes send: the Schemas of the payloads by message type, and their decoding. `Message` exports it. */
import type * as Either from "effect/Either"
import type * as Schema from "effect/Schema"
import * as Artifact from "./Artifact.js"
import { compile, decodeWith, type Messages } from "./Decoding.js"
import type * as Envelope from "./Envelope.js"
import type { InvalidRequest } from "./Errors.js"
import * as Event from "./Event.js"
import * as Job from "./Job.js"
import * as Session from "./Session.js"

/**
 * What a runtime sends: message type to payload schema.
 *
 * @since 0.1.0
 * @category constants
 */
export const runtimeMessages = {
  "session.welcome": Session.Welcome,
  "session.ping": Session.Ping,
  "session.pong": Session.Pong,
  "session.jobs": Session.Jobs,
  "session.closed": Session.Closed,
  "session.bye": Session.Close,
  "session.error": Session.SessionError,
  "job.accepted": Job.Accepted,
  "job.cancelled": Job.CancelledReply,
  "job.event": Event.EventPayload,
  "job.result": Job.Result,
  "job.error": Job.JobError,
  "job.subscribed": Job.Subscribed,
  "job.unsubscribed": Job.Unsubscribed,
  "artifact.ref": Artifact.Ref,
  "artifact.data": Artifact.Data,
  "artifact.released": Artifact.Released
} as const

/**
 * A decoded message from a runtime. Branch on `type`.
 *
 * @since 0.1.0
 * @category models
 */
export type RuntimeMessage = Messages<typeof runtimeMessages>

/**
 * The type of a message from a runtime.
 *
 * @since 0.1.0
 * @category models
 */
export type RuntimeMessageType = RuntimeMessage["type"]

/**
 * The payload of a runtime's message.
 *
 * @since 0.1.0
 * @category types
 */
export type RuntimePayload<T extends RuntimeMessageType> = Schema.Schema.Type<(typeof runtimeMessages)[T]>

const runtimeDecoders = compile(runtimeMessages)

/**
 * Whether a runtime sends messages of this type.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRuntimeType = (type: string): type is RuntimeMessageType => runtimeDecoders.has(type)

/**
 * Decodes what a runtime sent; an unknown type or a payload that breaks its schema is `INVALID_REQUEST` naming the field. An unknown
 * priority is left to `Envelope.priorityOf`, which ignores it.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeRuntime = (envelope: Envelope.RawEnvelope): Either.Either<RuntimeMessage, InvalidRequest> =>
  decodeWith(runtimeDecoders, envelope) as Either.Either<RuntimeMessage, InvalidRequest>
