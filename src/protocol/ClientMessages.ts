/** What clients send: the Schemas of the payloads by message type, and their decoding. `Message` exports it. */
import * as Either from "effect/Either"
import type * as Schema from "effect/Schema"
import * as Artifact from "./Artifact.js"
import { compile, decodeWith, type Messages } from "./Decoding.js"
import * as Envelope from "./Envelope.js"
import { InvalidRequest } from "./Errors.js"
import * as Job from "./Job.js"
import * as Session from "./Session.js"

/**
 * What a client sends: message type to payload schema.
 *
 * @since 0.1.0
 * @category constants
 */
export const clientMessages = {
  "session.hello": Session.Hello,
  "session.resume": Session.Resume,
  "session.ping": Session.Ping,
  "session.pong": Session.Pong,
  "session.ack": Session.Ack,
  "session.list_jobs": Session.ListJobs,
  "session.close": Session.Close,
  "session.bye": Session.Close,
  "job.submit": Job.Submit,
  "job.cancel": Job.Cancel,
  "job.subscribe": Job.Subscribe,
  "job.unsubscribe": Job.Unsubscribe,
  "artifact.put": Artifact.Put,
  "artifact.fetch": Artifact.Fetch,
  "artifact.release": Artifact.Release
} as const

/**
 * A decoded message from a client. Branch on `type`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientMessage = Messages<typeof clientMessages>

/**
 * The type of a message from a client.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientMessageType = ClientMessage["type"]

/**
 * The payload of a client's message.
 *
 * @since 0.1.0
 * @category types
 */
export type ClientPayload<T extends ClientMessageType> = Schema.Schema.Type<(typeof clientMessages)[T]>

const clientDecoders = compile(clientMessages)

/**
 * Whether a client sends messages of this type.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isClientType = (type: string): type is ClientMessageType => clientDecoders.has(type)

/**
 * Decodes what a client sent; an unknown type, a payload that breaks its schema or an unknown priority is `INVALID_REQUEST` naming the
 * field.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeClient = (envelope: Envelope.RawEnvelope): Either.Either<ClientMessage, InvalidRequest> => {
  const { priority } = envelope
  return priority === undefined || priority === null || Envelope.isPriority(priority)
    ? (decodeWith(clientDecoders, envelope) as Either.Either<ClientMessage, InvalidRequest>)
    : Either.left(new InvalidRequest({ message: `priority: must be one of ${Envelope.priorities.join(", ")}` }))
}
