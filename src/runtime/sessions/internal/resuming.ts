/**
 * Which session a resume means (ARCP 1.1 §6.3).
 *
 * A session is found by its id, or by the hash of its token where the client names no id. Whatever is wrong (no such session, another
 * principal's, a wrong token, the window over), the same work is done and the same error returned: only the audit trail tells them apart.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Principal } from "../../../auth/Principal.js"
import { ResumeWindowExpired } from "../../../protocol/Errors.js"
import type { SessionId } from "../../../protocol/Ids.js"
import { matches, sha256 } from "../../kernel/Hash.js"
import { noted } from "../../kernel/Noted.js"
import type { KeptSession, ResumeSession } from "../Sessions.js"

/** A session with the tokens that resume it. */
export type Known = Pick<KeptSession, "sessionId" | "principal" | "tokenHash" | "previousTokenHash">

/** Sessions by the hashes of the tokens that resume them. */
export class TokenIndex {
  private readonly sessions = new Map<string, SessionId>()

  /** The session that a token with this hash resumes. */
  get(hash: string): SessionId | undefined {
    return this.sessions.get(hash)
  }

  add(known: Known): void {
    for (const hash of hashesOf(known)) this.sessions.set(hash, known.sessionId)
  }

  remove(known: Known): void {
    for (const hash of hashesOf(known)) {
      if (this.sessions.get(hash) === known.sessionId) this.sessions.delete(hash)
    }
  }
}

const hashesOf = ({ previousTokenHash, tokenHash }: Known): ReadonlyArray<string> =>
  previousTokenHash === undefined ? [tokenHash] : [tokenHash, previousTokenHash]

/** Refuses a resume: the same for every reason, which is noted on the error for the audit trail. No client may know it. */
export const refuseResume = (reason: string): Effect.Effect<never, ResumeWindowExpired> =>
  Effect.fail(
    noted(
      new ResumeWindowExpired({
        message: "resume: no session can be resumed with this session_id and resume_token; open a new one"
      }),
      reason
    )
  )

/** Whether a session of `owner` may be resumed by a principal. */
export const isOwner = (owner: Principal, principal: Principal): boolean =>
  owner.anonymous === principal.anonymous && (owner.anonymous || owner.id === principal.id)

/** The session, or why not, for the audit trail. */
export const findResumed = (
  sessions: ReadonlyMap<SessionId, Known>,
  tokens: TokenIndex,
  { principal, sessionId, token }: ResumeSession
): Either.Either<Known, string> => {
  const named = sessionId ?? tokens.get(sha256(token))
  const known = named === undefined ? undefined : sessions.get(named)
  const isCurrent = matches(token, known?.tokenHash)
  const isPrevious = matches(token, known?.previousTokenHash)
  if (known === undefined) return Either.left("there is no such session")
  if (!isOwner(known.principal, principal)) return Either.left("the session is another principal's")
  return isCurrent || isPrevious ? Either.right(known) : Either.left("the token is not the session's")
}
