/**
 * The runtime's own sessions: who may open one, and which one a token resumes (ARCP 1.1 §6.2, §6.3, §14).
 *
 * Responsibility: their ids and their tokens, and which of them make room for another (`internal/room.ts` has the bounds). What is sent to
 * them, and whether they are idle, is the log's.
 *
 * Races closed here: a session counts from before its first row is written, so a burst of hellos cannot pass the limit; a token that was
 * replaced counts until the client has shown that it holds the new one; a resume that fails changes nothing.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { type ArcpError, InternalError } from "../../protocol/Errors.js"
import { Ids, type IdsService, SessionId } from "../../protocol/Ids.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { sha256 } from "../kernel/Hash.js"
import { Limits, type LimitsShape } from "../kernel/Limits.js"
import { Meter, type MeterShape } from "../kernel/Metrics.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import { EventLog } from "../log/EventLog.js"
import type { SessionLog } from "../log/SessionLog.js"
import { longestIdle } from "./internal/idle.js"
import { findResumed, refuseResume, TokenIndex } from "./internal/resuming.js"
import { addressOf, type Bound, type Counted, Room } from "./internal/room.js"
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

/** Milliseconds for which it is not looked again for idle sessions of anonymous clients where there were none: each look is at all sessions. */
const lookAgainAfter = 1_000

/** Bounds for which that is remembered. */
const maxVain = 1_024

/** The sessions that are open or can be resumed. */
class KnownSessions implements SessionsService {
  private readonly uses: Uses
  private readonly byId = new Map<SessionId, Counted>()
  private readonly tokens = new TokenIndex()
  private readonly room: Room
  /** When it was last looked in vain for room under a bound of anonymous clients, the latest last; at most {@link maxVain}. */
  private readonly vain = new Map<string, number>()

  constructor(uses: Uses) {
    this.uses = uses
    this.room = new Room(uses.limits)
  }

  readonly open = ({ peer, principal }: OpenSession): Effect.Effect<OpenedSession, ArcpError> =>
    Effect.suspend(() => {
      const address = addressOf(principal, peer)
      const bounds = this.room.boundsOf(principal, address)
      const replaces = this.roomWithin(bounds)
      const refusal = this.refusal(bounds, replaces)
      if (refusal !== undefined) return Effect.fail(refusal)
      const { deadlines, ids, meter, resumeWindow } = this.uses
      for (const sessionId of replaces) {
        meter.reached("idleSession")
        this.expired(sessionId)
      }
      const sessionId = SessionId(`sess_${ids.unsafeUlid(deadlines.wall())}`)
      const token = this.newToken()
      this.add({ sessionId, principal, tokenHash: sha256(token), previousTokenHash: undefined, address })
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
    this.room.leave(known)
  }

  readonly adopt = ({ previousTokenHash, principal, sessionId, tokenHash }: KeptSession): number => {
    this.add({ sessionId, principal, tokenHash, previousTokenHash, address: undefined })
    return this.uses.resumeWindow
  }

  private newToken(): string {
    return `rt_${this.uses.ids.unsafeSecret()}`
  }

  private add(known: Counted): void {
    this.byId.set(known.sessionId, known)
    this.tokens.add(known)
    this.room.enter(known)
  }

  private replaceTokens(sessionId: SessionId, tokenHash: string, previousTokenHash: string | undefined): void {
    const known = this.byId.get(sessionId)
    if (known === undefined) return
    const next = { ...known, tokenHash, previousTokenHash }
    this.byId.set(sessionId, next)
    this.tokens.remove(known)
    this.tokens.add(next)
  }

  /** Sessions that are idle and may go, where a bound leaves no room for another. None goes where they are too few. */
  private roomWithin(bounds: ReadonlyArray<Bound>): ReadonlySet<SessionId> {
    const gone = new Set<SessionId>()
    for (const bound of bounds) {
      const missing = this.remaining(bound, gone) - bound.max + 1
      if (missing <= 0 || this.wasInVain(bound)) continue
      const before = gone.size
      for (const gives of bound.gives) this.makeRoom(gone, this.remaining(bound, gone) - bound.max + 1, gives)
      if (bound.guests !== undefined && gone.size === before) this.lookedInVain(bound.guests)
    }
    return gone
  }

  private lookedInVain(guests: string): void {
    this.vain.delete(guests)
    this.vain.set(guests, this.uses.deadlines.mono())
    // Addresses come and go; the oldest look matters least.
    for (const [oldest] of this.vain) {
      if (this.vain.size <= maxVain) break
      this.vain.delete(oldest)
    }
  }

  /** Whether it was looked just now for sessions that make room under a bound. */
  private wasInVain({ guests }: Bound): boolean {
    const at = guests === undefined ? undefined : this.vain.get(guests)
    if (guests === undefined || at === undefined) return false
    if (this.uses.deadlines.mono() - at < lookAgainAfter) return true
    this.vain.delete(guests)
    return false
  }

  /** How many of those that a bound counts are left, where so many others go. */
  private remaining({ counts, used }: Bound, gone: ReadonlySet<SessionId>): number {
    let left = used
    for (const sessionId of gone) {
      const known = this.byId.get(sessionId)
      if (known !== undefined && counts(known)) left--
    }
    return left
  }

  /** Adds so many of those that fit, the one that has been idle for longest first. */
  private makeRoom(gone: Set<SessionId>, count: number, fits: (known: Counted) => boolean): void {
    if (count <= 0) return
    const { deadlines, eventLog, limits } = this.uses
    const logs: Array<SessionLog> = []
    for (const known of this.byId.values()) {
      const log = fits(known) && !gone.has(known.sessionId) ? eventLog.sessions.get(known.sessionId) : undefined
      if (log !== undefined) logs.push(log)
    }
    for (const { sessionId } of longestIdle(logs, deadlines.mono() - limits.idleSession, count)) gone.add(sessionId)
  }

  /** Why there is no room for another session, where so many others go: the widest bound that leaves none. */
  private refusal(bounds: ReadonlyArray<Bound>, gone: ReadonlySet<SessionId>): ArcpError | undefined {
    const full = bounds.findLast((bound) => this.remaining(bound, gone) >= bound.max)
    return full === undefined
      ? undefined
      : this.uses.meter.reaching(full.limit, new InternalError({ message: full.message }))
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
