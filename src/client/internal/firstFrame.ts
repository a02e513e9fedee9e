/** What comes first on a connection: whether a runtime of this protocol has sent it. */
import * as Either from "effect/Either"
import * as Envelope from "../../protocol/Envelope.js"
import { oneLine } from "../../protocol/Errors.js"
import * as Message from "../../protocol/Message.js"
import { BadFrame, type Inbound } from "../../transport/Connection.js"

/** A text that may be of another protocol, as an error can quote it. */
const quoted = (text: string): string => oneLine(JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text))

/**
 * Why the first frame is not one of a runtime: no envelope, an envelope of another version, a welcome or an error that breaks its
 * schema. Undefined where it is one, and for a message of a type that is not known here.
 */
export const undecodable = (frame: Inbound): string | undefined => {
  if (frame instanceof BadFrame) return frame.reason
  const envelope = typeof frame === "string" ? Envelope.fromText(frame) : Envelope.fromUnknown(frame)
  if (Either.isLeft(envelope)) {
    const { message } = envelope.left.error
    return typeof frame === "string" ? `${message}; it begins with ${quoted(frame)}` : message
  }
  const { type } = envelope.right
  if (type !== "session.welcome" && type !== "session.error") return undefined
  const message = Message.decodeRuntime(envelope.right)
  return Either.isLeft(message) ? message.left.message : undefined
}
