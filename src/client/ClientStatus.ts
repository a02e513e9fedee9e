/** What a client's connection is doing: one tagged union, current state first. */
import type * as Duration from "effect/Duration"
import type { ArcpError } from "../protocol/Errors.js"
import type { SessionId } from "../protocol/Ids.js"
import type { ClientError } from "./ClientError.js"

/**
 * Branch on `_tag`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientStatus =
  /** The first connection is being opened. */
  | { readonly _tag: "Connecting" }
  /** A new session is open. */
  | { readonly _tag: "Connected"; readonly sessionId: SessionId }
  /** The session goes on after a drop; everything after `fromSeq` is sent again (ARCP 1.1 §6.3). */
  | { readonly _tag: "Resumed"; readonly sessionId: SessionId; readonly fromSeq: number }
  /** The connection ended; the client comes back by itself. */
  | { readonly _tag: "Disconnected"; readonly code: number; readonly reason: string }
  /** The next attempt is made after `delay`. */
  | { readonly _tag: "Reconnecting"; readonly attempt: number; readonly delay: Duration.Duration }
  /**
   * The old session could not be resumed; a new one was opened and `recovered` jobs were taken up in it by their keys and
   * by subscription. `lost` of them the runtime no longer knew.
   */
  | {
      readonly _tag: "SessionReplaced"
      /** The new session. */
      readonly sessionId: SessionId
      /** The session that could not be resumed. */
      readonly previousSessionId: SessionId
      /** Jobs that go on in the new session. */
      readonly recovered: number
      /** Jobs that the runtime no longer knew. */
      readonly lost: number
    }
  /** It is over; nothing follows. `error` is absent after a close that was asked for. */
  | { readonly _tag: "Closed"; readonly error?: ArcpError | ClientError | undefined }

/**
 * Why a connection ended, or was not opened: the input of a client's `retry` schedule.
 *
 * @since 0.1.0
 * @category models
 */
export interface LostConnection {
  /** The close code; 1006 where there was no connection. */
  readonly code: number
  /** Why, in words: the close reason, or what prevented the connection. */
  readonly reason: string
  /** How many connections in a row have brought nothing, this one included. */
  readonly attempt: number
}
