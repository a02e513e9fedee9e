/** The `session.error` of an error (ARCP 1.1 §12). */
import type { RawEnvelope } from "../../protocol/Envelope.js"
import { type ArcpError, toWire } from "../../protocol/Errors.js"
import * as Message from "../../protocol/Message.js"

/** `requestId`: the request that has failed; undefined where the error is about none. */
export const errorFrame = (head: Message.Head, error: ArcpError, requestId?: string): RawEnvelope =>
  Message.runtime("session.error", head, {
    ...toWire(error),
    ...(requestId === undefined ? {} : { request_id: requestId })
  })
