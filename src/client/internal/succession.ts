/**
 * Which session a client's next connection asks for: the current one, or a new one that replaces it (ARCP 1.1 §6.3).
 *
 * Responsibility: the hello, and the effect of a welcome, a refusal and a gap on the session. `pace` decides how long the
 * client waits before it reconnects, `attempt` what the end of a connection means.
 *
 * Order: after a welcome that resumes, unanswered requests are sent again. After a welcome of a new session they are too, and
 * then every live job is recovered (see `recovery`).
 *
 * Races: a runtime may refuse a resume before or after its welcome, and may open another session than the requested
 * one; each of these replaces the session once.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { ArcpError, InvalidRequest } from "../../protocol/Errors.js"
import { SessionId } from "../../protocol/Ids.js"
import { closeCodes } from "../../transport/Connection.js"
import { SessionEnded } from "../ClientError.js"
import type { Outcome as OutcomeOf } from "./attempt.js"
import type { Core } from "./core.js"
import * as Hello from "./hello.js"
import type { InFlight } from "./inFlight.js"
import type { Failure, Lifetime } from "./lifetime.js"
import type { Notices } from "./notices.js"
import type { SupervisorOptions } from "./options.js"
import * as Recovery from "./recovery.js"

/** How one connection ended, with the error that the client ends with. */
export type Outcome = OutcomeOf<Failure | undefined>

/** Gaps in a row at the same number after which the missing events count as gone. */
const maxGaps = 3

/** The sessions of one client, one after the other. */
export class Succession {
  private readonly core: Core
  private readonly inFlight: InFlight
  private readonly notices: Notices
  private readonly lifetime: Lifetime
  private readonly makeHello: ReturnType<typeof Hello.make>
  /** Why the session of an earlier process cannot be resumed. */
  private readonly wrong: InvalidRequest | undefined = undefined
  private welcomedOnce = false
  /** The session that the next one replaces. */
  private replaced: SessionId | undefined = undefined
  /** Whether the next connection is made without a wait. */
  private atOnce = false
  private resuming = false
  /** The first missing number of the last gap, and how many gaps in a row it began. */
  private missing = 0
  private gaps = 0

  constructor(core: Core, inFlight: InFlight, notices: Notices, lifetime: Lifetime, options: SupervisorOptions) {
    this.core = core
    this.inFlight = inFlight
    this.notices = notices
    this.lifetime = lifetime
    this.makeHello = Hello.make(options)
    const given = options.resume === undefined ? undefined : Hello.checkResume(options.resume)
    if (given === undefined) return
    if (Either.isLeft(given)) this.wrong = given.left
    else core.restore(given.right)
  }

  /** Whether this client has had a session. */
  get everWelcomed(): boolean {
    return this.welcomedOnce
  }

  /** The first frame of the next connection. */
  readonly hello: Effect.Effect<string, InvalidRequest> = Effect.suspend(() => {
    if (this.wrong !== undefined) return Effect.fail(this.wrong)
    const { lastSeq, resumeToken, sessionId } = this.core
    const resume =
      sessionId === undefined || resumeToken === undefined ? undefined : { sessionId, resumeToken, lastSeq }
    this.resuming = resume !== undefined
    return this.makeHello(resume)
  })

  /** A session is open. `previous`: the one that was to be resumed, where another one was given instead. */
  welcomed(previous: SessionId | undefined): void {
    const { core, inFlight, notices } = this
    this.welcomedOnce = true
    const before = this.replaced ?? previous
    this.replaced = undefined
    const sessionId = core.sessionId ?? SessionId("")
    notices.found(
      before === undefined && this.resuming
        ? { _tag: "Resumed", sessionId, fromSeq: core.lastSeq }
        : { _tag: "Connected", sessionId }
    )
    if (before !== undefined) {
      inFlight.forget()
      // The requests of an earlier recovery are dropped: each new session gets its own.
      for (const [id, pending] of core.pending) if (pending.recovers === true) core.pending.delete(id)
    }
    inFlight.welcomed()
    core.repeatPending()
    if (before !== undefined) this.recover(before)
    this.lifetime.welcomed()
  }

  private recover(previousSessionId: SessionId): void {
    Recovery.recover(this.core, (jobs, lost) => {
      const sessionId = this.core.sessionId ?? SessionId("")
      this.notices.found({ _tag: "SessionReplaced", sessionId, previousSessionId, recovered: jobs - lost, lost })
    })
  }

  /** The runtime refuses the session or ends it. `welcomed`: whether it had been open on this connection. */
  refused(error: ArcpError, welcomed: boolean): Outcome {
    if (error.details?.reason === "taken_over") {
      return {
        _tag: "end",
        error: new SessionEnded({ reason: "taken_over", message: "another connection has resumed this session" })
      }
    }
    if (error.code === "HEARTBEAT_LOST") return { _tag: "again", code: closeCodes.policy, reason: error.code }
    const { core, resuming } = this
    // Runtimes refuse a resume with many codes. Only one is about the credential, and retryable ones ask to wait.
    const sessionIsGone =
      error.code === "RESUME_WINDOW_EXPIRED" ||
      (resuming && !welcomed && error.code !== "UNAUTHENTICATED" && !error.retryable)
    if (sessionIsGone && core.sessionId !== undefined) {
      this.replaced = core.sessionId
      // A runtime that refused only the resume is there. After one that ends a session which it has just opened, the client waits.
      this.atOnce = resuming
      core.forgetSession()
      return { _tag: "again", code: closeCodes.policy, reason: error.code }
    }
    if (error.retryable) return { _tag: "again", code: closeCodes.tryAgainLater, reason: error.message }
    return {
      _tag: "end",
      error:
        error.code === "UNAUTHENTICATED"
          ? error
          : new SessionEnded({ reason: "refused", message: `the runtime refused the session: ${error.message}` })
    }
  }

  /** Resumes from below a gap. Where that does not close it, the missing events are gone, as after the end of the window. */
  gap(expected: number): void {
    this.gaps = expected === this.missing ? this.gaps + 1 : 1
    this.missing = expected
    if (this.gaps < maxGaps || this.core.sessionId === undefined) return
    this.gaps = 0
    this.replaced = this.core.sessionId
    this.core.forgetSession()
  }

  /** Whether the next connection is made without a wait; asked once for each. */
  takeAtOnce(): boolean {
    const { atOnce } = this
    this.atOnce = false
    return atOnce
  }
}
