/**
 * Which session a resume means (ARCP 1.1 §6.3).
 *
 * A session is found by its id, or by the hash of its token where the client names no id. Whatever is wrong (no such session, another
 * principal's, a wrong token, the window over), the same work is done and the same error returned: only the runtime's log tells them apart.
 */
import * as Either from "effect/Either"
import type { Principal } from "../../../auth/Principal.js"
import { ResumeWindowExpired } from "../../../protocol/Errors.js"
import type { ResumeRequest } from "../../../protocol/Session.js"
import { matches, sha256 } from "../../kernel/Hash.js"
import type { SessionLog, SessionHead } from "../../log/SessionLog.js"

/** Sessions by the hashes of the tokens that resume them. */
export class TokenIndex {
  private readonly sessions = new Map<string, SessionLog>()
  /** What of each session is in it: its tokens may have changed since, and may change back. */
  private readonly indexed = new WeakMap<SessionLog, ReadonlyArray<string>>()

  /** The session that a token with this hash resumes. */
  get(hash: string): SessionLog | undefined {
    return this.sessions.get(hash)
  }

  add(session: SessionLog): void {
    const hashes = hashesOf(session.head)
    this.indexed.set(session, hashes)
    for (const hash of hashes) this.sessions.set(hash, session)
  }

  remove(session: SessionLog): void {
    for (const hash of this.indexed.get(session) ?? []) {
      if (this.sessions.get(hash) === session) this.sessions.delete(hash)
    }
    this.indexed.delete(session)
  }

  /** The session has other tokens than it had, and they are durable. */
  changed(session: SessionLog): void {
    this.remove(session)
    if (!session.removed) this.add(session)
  }
}

const hashesOf = ({ previousTokenHash, tokenHash }: SessionHead): ReadonlyArray<string> =>
  previousTokenHash === undefined ? [tokenHash] : [tokenHash, previousTokenHash]

/** A resume that is refused: the same for every reason. */
export const notResumable = (): ResumeWindowExpired =>
  new ResumeWindowExpired({
    message: "resume: no session can be resumed with this session_id and resume_token; open a new one"
  })

/** The session, or why not, for the log. */
export const findResumed = (
  sessions: ReadonlyMap<string, SessionLog>,
  tokens: TokenIndex,
  { resume_token: token, session_id: sessionId }: ResumeRequest,
  principal: Principal
): Either.Either<SessionLog, string> => {
  const byToken = tokens.get(sha256(token))
  const session = sessionId === undefined ? byToken : sessions.get(sessionId)
  const isCurrent = matches(token, session?.head.tokenHash)
  const isPrevious = matches(token, session?.head.previousTokenHash)
  if (session === undefined) return Either.left("there is no such session")
  const sameOwner = session.principal.id === principal.id || (session.principal.anonymous && principal.anonymous)
  if (!sameOwner) return Either.left("the session is another principal's")
  return isCurrent || isPrevious ? Either.right(session) : Either.left("the token is not the session's")
}
