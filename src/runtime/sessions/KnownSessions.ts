/**
 * The runtime's own sessions: who may open one, and which one a token resumes (ARCP 1.1 §6.2, §6.3, §14).
 *
 * Responsibility: how many sessions there may be, their ids and their tokens. What is sent to them, and whether they are idle, is the log's.
 *
 * Races closed here: a session counts from before its first row is written, so a burst of hellos cannot pass the limit; a token that was
 * replaced counts until the client has shown that it holds the new one; a resume that fails changes nothing.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type { Principal } from "../../auth/Principal.js"
import { type ArcpError, InternalError } from "../../protocol/Errors.js"
import { Ids, type IdsService, SessionId } from "../../protocol/Ids.js"
import { count } from "../kernel/Counts.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { sha256 } from "../kernel/Hash.js"
import { Limits, type LimitsShape } from "../kernel/Limits.js"
import { Meter, type MeterShape } from "../kernel/Metrics.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import { EventLog } from "../log/EventLog.js"
import type { SessionLog } from "../log/SessionLog.js"
import { longestIdle } from "./internal/idle.js"
import { findResumed, type Known, refuseResume, TokenIndex } from "./internal/resuming.js"
import {
  type KeptSession,
  type OpenedSession,
  type OpenSession,
  type ResumedSession,
  type ResumeSession,
  Sessions,
  type SessionsService
} from "./Sessions.js"

interface Uses {
  readonly eventLog: Context.Tag.Service<EventLog>
  readonly deadlines: Context.Tag.Service<Deadlines>
  readonly ids: IdsService
  readonly limits: LimitsShape
  readonly meter: MeterShape
  readonly resumeWindow: number
}

/** The sessions that are open or can be resumed. */
class KnownSessions implements SessionsService {
  private readonly uses: Uses
  private readonly byId = new Map<SessionId, Known>()
  private readonly tokens = new TokenIndex()
  private readonly perPrincipal = new Map<string, number>()

  constructor(uses: Uses) {
    this.uses = uses
  }

  readonly open = ({ principal }: OpenSession): Effect.Effect<OpenedSession, ArcpError> =>
    Effect.suspend(() => {
      const replaces = this.roomFor(principal)
      const refusal = this.refusal(principal, replaces)
      if (refusal !== undefined) return Effect.fail(refusal)
      const { deadlines, ids, meter, resumeWindow } = this.uses
      for (const sessionId of replaces) {
        meter.reached("idleSession")
        this.expired(sessionId)
      }
      const sessionId = SessionId(`sess_${ids.unsafeUlid(deadlines.wall())}`)
      const token = this.newToken()
      this.add({ sessionId, principal, tokenHash: sha256(token), previousTokenHash: undefined })
      return Effect.succeed({ sessionId, token, resumeWindow, replaces: [...replaces] })
    })

  readonly resume = (request: ResumeSession): Effect.Effect<ResumedSession, ArcpError> =>
    Effect.suspend(() => {
      const found = findResumed(this.byId, this.tokens, request)
      if (Either.isLeft(found)) return refuseResume(found.left)
      const { sessionId } = found.right
      const token = this.newToken()
      const stored = (): void => this.replaceTokens(sessionId, sha256(token), sha256(request.token))
      return Effect.succeed({ sessionId, token, resumeWindow: this.uses.resumeWindow, stored })
    })

  readonly confirm = (sessionId: SessionId): void => {
    const known = this.byId.get(sessionId)
    if (known !== undefined) this.replaceTokens(sessionId, known.tokenHash, undefined)
  }

  readonly left = (): void => undefined

  readonly expired = (sessionId: SessionId): void => {
    const known = this.byId.get(sessionId)
    if (known === undefined) return
    this.byId.delete(sessionId)
    this.tokens.remove(known)
    count(this.perPrincipal, known.principal.id, -1)
  }

  readonly adopt = ({ previousTokenHash, principal, sessionId, tokenHash }: KeptSession): number => {
    this.add({ sessionId, principal, tokenHash, previousTokenHash })
    return this.uses.resumeWindow
  }

  private newToken(): string {
    return `rt_${this.uses.ids.unsafeSecret()}`
  }

  private add(known: Known): void {
    this.byId.set(known.sessionId, known)
    this.tokens.add(known)
    count(this.perPrincipal, known.principal.id, 1)
  }

  private replaceTokens(sessionId: SessionId, tokenHash: string, previousTokenHash: string | undefined): void {
    const known = this.byId.get(sessionId)
    if (known === undefined) return
    const next = { ...known, tokenHash, previousTokenHash }
    this.byId.set(sessionId, next)
    this.tokens.remove(known)
    this.tokens.add(next)
  }

  private mine({ id }: Principal): number {
    return this.perPrincipal.get(id) ?? 0
  }

  /** Sessions that are idle and may go, where there is no room for another of a principal. None goes where they are too few. */
  private roomFor(principal: Principal): ReadonlySet<SessionId> {
    const { limits } = this.uses
    const gone = new Set<SessionId>()
    const { id } = principal
    this.makeRoom(gone, this.mine(principal) - limits.sessionsPerPrincipal + 1, (known) => known.principal.id === id)
    this.makeRoom(gone, this.byId.size - gone.size - limits.sessions + 1, () => true)
    return gone
  }

  /** Adds so many of those that fit, the one that has been idle for longest first. */
  private makeRoom(gone: Set<SessionId>, count: number, fits: (known: Known) => boolean): void {
    if (count <= 0) return
    const { deadlines, eventLog, limits } = this.uses
    const logs: Array<SessionLog> = []
    for (const known of this.byId.values()) {
      const log = fits(known) && !gone.has(known.sessionId) ? eventLog.sessions.get(known.sessionId) : undefined
      if (log !== undefined) logs.push(log)
    }
    for (const { sessionId } of longestIdle(logs, deadlines.mono() - limits.idleSession, count)) gone.add(sessionId)
  }

  /** Why a principal cannot have another session, where so many others go. */
  private refusal(principal: Principal, gone: ReadonlySet<SessionId>): ArcpError | undefined {
    const { limits, meter } = this.uses
    const { id } = principal
    let mine = this.mine(principal)
    for (const sessionId of gone) if (this.byId.get(sessionId)?.principal.id === id) mine--
    if (this.byId.size - gone.size >= limits.sessions) {
      return meter.reaching(
        "sessions",
        new InternalError({ message: `${limits.sessions} sessions are open already; try again later` })
      )
    }
    if (mine >= limits.sessionsPerPrincipal) {
      return meter.reaching(
        "sessionsPerPrincipal",
        new InternalError({ message: `you have ${limits.sessionsPerPrincipal} sessions already; close one` })
      )
    }
    return undefined
  }
}

/** The sessions of one runtime. */
export const layer: Layer.Layer<Sessions, never, EventLog | Deadlines | Ids | RuntimeInfo> = Layer.effect(
  Sessions,
  Effect.gen(function* () {
    const { resumeWindow } = yield* RuntimeInfo
    return new KnownSessions({
      eventLog: yield* EventLog,
      deadlines: yield* Deadlines,
      ids: yield* Ids,
      limits: yield* Limits,
      meter: yield* Meter,
      resumeWindow
    })
  })
)
