/** The tag of sessions; the runtime's own are in `KnownSessions`. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Principal } from "../../auth/Principal.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { SessionId } from "../../protocol/Ids.js"
import type { Connection } from "../../transport/Connection.js"

/**
 * What a connection shows of its peer.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionPeer = Pick<Connection, "transport" | "secure" | "remoteAddress">

/**
 * An authenticated client that wants a session (ARCP 1.1 §6.2).
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenSession {
  /** Who the client is. */
  readonly principal: Principal
  /** As it names itself. */
  readonly client: { readonly name?: string | undefined; readonly version?: string | undefined }
  /** What is negotiated. */
  readonly features: ReadonlySet<string>
  /** What its connection shows. */
  readonly peer: SessionPeer
}

/**
 * A session that may be opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface OpenedSession {
  /** Of no other session; 1 to 256 characters. */
  readonly sessionId: SessionId
  /** What resumes it, 1 to 256 characters: a secret, of which the runtime keeps the hash alone. */
  readonly token: string
  /** Milliseconds for which it can be resumed after its last message. */
  readonly resumeWindow: number
  /** Sessions that have to go to make room for it: the runtime ends them, and tells their clients. */
  readonly replaces?: ReadonlyArray<SessionId> | undefined
}

/**
 * An authenticated client that wants its session back (ARCP 1.1 §6.3).
 *
 * @since 0.1.0
 * @category models
 */
export interface ResumeSession {
  /** Who the client is. */
  readonly principal: Principal
  /** Some clients name the token alone. */
  readonly sessionId: SessionId | undefined
  /** The resume token that it shows: a secret. */
  readonly token: string
  /** The last event that it has. */
  readonly cursor: number
  /** What its connection shows. */
  readonly peer: SessionPeer
}

/**
 * A session that may be resumed, where its log still has all that the client has not seen.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResumedSession {
  /** The session that is meant. */
  readonly sessionId: SessionId
  /** What resumes it from now on. The one that was shown stays valid until {@link SessionsService.confirm}. */
  readonly token: string
  /** Milliseconds for which it can be resumed after its last message. */
  readonly resumeWindow: number
  /** Called in the step in which the new token is durable; not where the resume fails after all, and then nothing has changed. */
  readonly stored?: (() => void) | undefined
}

/**
 * A session of an earlier process. Times are in milliseconds since the epoch.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeptSession {
  /** Its id. */
  readonly sessionId: SessionId
  /** Whose it is. */
  readonly principal: Principal
  /** The hash of its token: SHA-256 in hex. */
  readonly tokenHash: string
  /** Of the token before, where the client has not shown yet that it has the new one. */
  readonly previousTokenHash: string | undefined
  /** When it was opened. */
  readonly createdAt: number
  /** The last message in either direction, as last written. */
  readonly lastSeenAt: number
}

/**
 * Whose sessions there are, under which id and token, and for how long (ARCP 1.1 §6). The runtime keeps their logs and their connections,
 * stores them, and asks here.
 *
 * A decision that is not there within `Limits.handshakeTimeout`, that is no session's, or that is a defect, refuses the client with
 * `INTERNAL_ERROR`. What the functions throw that return nothing is logged, and changes nothing.
 *
 * @since 0.1.0
 * @category services
 */
export interface SessionsService {
  /**
   * Decides on a new session. It counts from here on, until {@link SessionsService.expired}, which is called at once where the decision came
   * too late; after twice the time it is interrupted.
   */
  readonly open: (request: OpenSession) => Effect.Effect<OpenedSession, ArcpError>
  /**
   * Finds the session that a resume means. Every failed resume has one answer: `RESUME_WINDOW_EXPIRED`, with one text (§6.3). It is that of
   * a session of another principal too, whatever is decided here.
   */
  readonly resume: (request: ResumeSession) => Effect.Effect<ResumedSession, ArcpError>
  /** The client has shown that it holds the token of its last resume: the one before is no longer valid. */
  readonly confirm: (sessionId: SessionId) => void
  /** The connection has ended; the session can be resumed for its window. */
  readonly left: (sessionId: SessionId) => void
  /** The session is gone for good: its window is over, it made room for another, or it could not be stored. */
  readonly expired: (sessionId: SessionId) => void
  /**
   * A session of an earlier process, at the start of the runtime. Returns the milliseconds for which it can be resumed after its last
   * message; undefined: it cannot be, and is gone for good.
   */
  readonly adopt: (session: KeptSession) => number | undefined
}

/**
 * Decides on sessions.
 *
 * @since 0.1.0
 * @category services
 */
export class Sessions extends Context.Tag("effect-arcp/runtime/Sessions")<Sessions, SessionsService>() {}
