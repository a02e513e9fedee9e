/** How a request of a session is asked and answered whose answer has a place in the log. */
import * as Either from "effect/Either"
import type { Principal } from "../../auth/Principal.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { SessionId } from "../../protocol/Ids.js"

/**
 * Who asks: a session that is connected.
 *
 * @since 0.1.0
 * @category models
 */
export interface Asking {
  /** The session. */
  readonly sessionId: SessionId
  /** Whose session it is. */
  readonly principal: Principal
  /** What the session negotiated (§6.2). */
  readonly features: ReadonlySet<string>
  /** The id of the envelope that asks, for the audit trail. Absent where no envelope does. */
  readonly requestId?: string | undefined
}

/**
 * Answers a request: called once, with the answer or with its refusal, at the answer's place in the log. What is durable behind it is sent
 * behind it. Further calls are ignored, and so is one whose connection has ended.
 *
 * @since 0.1.0
 * @category types
 */
export type Reply<A> = (answer: Either.Either<A, ArcpError>) => void

/** Answers with a refusal. */
export const refuse = (reply: Reply<never>, error: ArcpError): void => reply(Either.left(error))
