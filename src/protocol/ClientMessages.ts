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

/** Decodes the plainest payload of one type as its Schema would; undefined: the Schema is to be asked. */
type Plain = (payload: Envelope.Json) => object | undefined

const isPlain = (payload: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(payload)
  return prototype === Object.prototype || prototype === null
}

const plainSubmit: Plain = (payload) => {
  const { agent, input } = payload
  if (typeof agent !== "string") return undefined
  let others = 0
  for (const key in payload) if (key !== "agent" && (key !== "input" || input === undefined)) others++
  return others > 0 ? undefined : input === undefined ? { agent } : { agent, input }
}

const plainAck: Plain = (payload) => {
  const { last_processed_seq } = payload
  if (!Number.isSafeInteger(last_processed_seq) || (last_processed_seq as number) < 0) return undefined
  for (const key in payload) if (key !== "last_processed_seq") return undefined
  return { last_processed_seq }
}

/** What comes with every job. A Schema takes its time, and a good part of a job's memory. */
const plain: Readonly<Record<string, Plain | undefined>> = {
  __proto__: null,
  "job.submit": plainSubmit,
  "session.ack": plainAck
} as never

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
  const { payload, priority, type } = envelope
  const decoded = isPlain(payload) ? plain[type]?.(payload) : undefined
  if (decoded !== undefined && priority === undefined) {
    return Either.right({ type, envelope, payload: decoded } as ClientMessage)
  }
  return priority === undefined || priority === null || Envelope.isPriority(priority)
    ? (decodeWith(clientDecoders, envelope) as Either.Either<ClientMessage, InvalidRequest>)
    : Either.left(new InvalidRequest({ message: `priority: must be one of ${Envelope.priorities.join(", ")}` }))
}
