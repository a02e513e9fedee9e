/** How the calls of a client reach its session. */
import type * as Effect from "effect/Effect"
import type { ArcpError } from "../../protocol/Errors.js"
import type { Priority } from "../../protocol/Envelope.js"
import type * as Message from "../../protocol/Message.js"
import type { TraceContext } from "../../protocol/Trace.js"
import { type ClientError, NotNegotiated } from "../ClientError.js"
import type { Fields } from "./encode.js"

/** The first feature that a request needs and the session does not have, as an error; undefined where it has all (ARCP 1.1 §6.2). */
export const notNegotiated = (
  request: Message.ClientMessageType,
  needed: ReadonlyArray<string> | undefined,
  features: ReadonlySet<string>
): NotNegotiated | undefined => {
  const feature = needed?.find((one) => !features.has(one))
  return feature === undefined
    ? undefined
    : new NotNegotiated({
        feature,
        message: `${request} needs the feature ${feature}, which this session does not have`
      })
}

/**
 * Sends a request and waits for its answer. Payload and head are encoded when the Effect starts; what cannot be encoded
 * fails this call with `InvalidRequest`. `answered` gets the answer and the encoded request, before any later frame is read.
 */
export type Call = <A>(
  type: Message.ClientMessageType,
  payload: Fields,
  answered: (message: Message.RuntimeMessage, request: string) => A,
  more?: {
    readonly jobId?: string | undefined
    readonly trace?: TraceContext | undefined
    readonly priority?: Priority | undefined
    /** The `nonce` of a ping, by which its pong is matched. */
    readonly nonce?: string | undefined
    /** The features that must have been negotiated (ARCP 1.1 §6.2). */
    readonly features?: ReadonlyArray<string> | undefined
    /** Milliseconds that it may lie unanswered, where that is more than the client's `requestTimeout`. */
    readonly timeout?: number | undefined
  }
) => Effect.Effect<A, ArcpError | ClientError>
