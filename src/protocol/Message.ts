/**
 * Every message of ARCP 1.1 by type and direction: decoding a raw envelope into a typed message, and making envelopes.
 */
import type { ClientMessageType, ClientPayload } from "./ClientMessages.js"
import * as Envelope from "./Envelope.js"
import type { RuntimeMessageType, RuntimePayload } from "./RuntimeMessages.js"

export {
  type ClientMessage,
  type ClientMessageType,
  type ClientPayload,
  clientMessages,
  decodeClient,
  isClientType
} from "./ClientMessages.js"
export type { Messages } from "./Decoding.js"
export {
  decodeRuntime,
  isRuntimeType,
  type RuntimeMessage,
  type RuntimeMessageType,
  type RuntimePayload,
  runtimeMessages
} from "./RuntimeMessages.js"

/**
 * The head fields of an envelope that is made here.
 *
 * @since 0.1.0
 * @category models
 */
export interface Head {
  /** The message's id, 1 to 256 characters. */
  readonly id: string
  /** The session; absent before the welcome. */
  readonly session_id?: string | undefined
  /** 32 lower-case hex digits (§11). */
  readonly trace_id?: string | undefined
  /** The job that the message is about. */
  readonly job_id?: string | undefined
  /** The number of the event in the session (§8.3). */
  readonly event_seq?: number | undefined
  /** How urgent the sender says it is: a hint. */
  readonly priority?: Envelope.Priority | undefined
  /** Metadata by extension name. */
  readonly extensions?: Envelope.Json | undefined
}

const make = (type: string, head: Head, payload: object): Envelope.RawEnvelope => {
  // Field by field: this is on the path of every message, and the order is the one on the wire.
  const envelope: { [field: string]: unknown } = { arcp: Envelope.version, id: head.id, type }
  if (head.session_id !== undefined) envelope.session_id = head.session_id
  if (head.trace_id !== undefined) envelope.trace_id = head.trace_id
  if (head.job_id !== undefined) envelope.job_id = head.job_id
  if (head.event_seq !== undefined) envelope.event_seq = head.event_seq
  if (head.priority !== undefined) envelope.priority = head.priority
  if (head.extensions !== undefined) envelope.extensions = head.extensions
  envelope.payload = payload
  return envelope as unknown as Envelope.RawEnvelope
}

/**
 * A client's message as an envelope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const client = <T extends ClientMessageType>(
  type: T,
  head: Head,
  payload: ClientPayload<T>
): Envelope.RawEnvelope => make(type, head, payload)

/**
 * A runtime's message as an envelope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const runtime = <T extends RuntimeMessageType>(
  type: T,
  head: Head,
  payload: RuntimePayload<T>
): Envelope.RawEnvelope => make(type, head, payload)
