/**
 * One connection that has a session, as its requests see it: what its answers share, and what of it runs beside the reading (ARCP 1.1 §6–§8).
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Envelope from "../../protocol/Envelope.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { IdsService } from "../../protocol/Ids.js"
import type * as Message from "../../protocol/Message.js"
import { closeCodes } from "../../transport/Connection.js"
import { errorFrame } from "../kernel/ErrorFrame.js"
import type { Auditor } from "../kernel/Auditing.js"
import type { MeterShape } from "../kernel/Metrics.js"
import type { Asking } from "../kernel/Reply.js"
import type { Outbox } from "../log/Outbox.js"
import type { SessionLog } from "../log/SessionLog.js"
import { refusalFor } from "../log/SessionView.js"
import { auditRefusal } from "./internal/audited.js"
import type { Attached } from "./Presence.js"

/** Puts of one connection whose bytes may be in memory at a time; the connection is not read meanwhile. */
const maxPutsInFlight = 4

/**
 * How a request runs that is answered later.
 *
 * - `inPlace`: the next frame is read when it has been answered.
 * - `beside`: in a fiber of its own, within the bound on concurrent requests.
 * - `put`: beside, and in place where {@link maxPutsInFlight} puts run already.
 */
export type Runs = "inPlace" | "beside" | "put"

/** Kinds of replies that are large: one request of a kind at a time, in their order. */
export type Lane = "listings" | "artifacts"

/** What conversations are given of their runtime. */
export interface Kit {
  readonly ids: IdsService
  readonly wall: () => number
  readonly meter: MeterShape
  /** Undefined where nothing is recorded. */
  readonly audit: Auditor | undefined
  readonly concurrentRequests: number
}

/** One connection with a session, as its requests see it. */
export class Conversation implements Attached {
  readonly session: SessionLog
  readonly link: Outbox
  readonly tokenHash: string
  /** Whether the client has ended it: the connection is read no further. */
  over = false
  private readonly kit: Kit
  private readonly scope: Scope.Scope
  private inFlight = 0
  private puts = 0
  private artifacts: Effect.Semaphore | undefined = undefined
  private listings: Effect.Semaphore | undefined = undefined

  /** Requests that run beside the reading end with the scope. */
  constructor({ link, session, tokenHash }: Attached, scope: Scope.Scope, kit: Kit) {
    this.session = session
    this.link = link
    this.tokenHash = tokenHash
    this.scope = scope
    this.kit = kit
  }

  /** Who asks, as the runtime's concerns are told. */
  asking({ id }: Envelope.RawEnvelope): Asking {
    const { features, principal, sessionId } = this.session
    return { sessionId, principal, features, requestId: id }
  }

  /** Of the next frame to the client. */
  head(jobId?: string, traceId?: string): Message.Head {
    return {
      id: this.kit.ids.unsafeUlid(this.kit.wall()),
      session_id: this.session.sessionId,
      job_id: jobId,
      trace_id: traceId
    }
  }

  /** Posts the error of a frame that has no envelope. */
  unreadable(error: ArcpError, requestId: string | undefined): void {
    this.link.post(errorFrame(this.head(), error, requestId))
  }

  /** Posts the error of a request. */
  fail(error: ArcpError, request: Envelope.RawEnvelope): void {
    if (this.kit.audit !== undefined) auditRefusal(this.kit.audit, this, error, request)
    this.link.post(errorFrame(this.head(), error, request.id))
    const refusal = refusalFor(this.session, request, error)
    if (refusal !== undefined) this.link.post(refusal)
  }

  /** The client ends the connection; what is in the outbox still leaves. */
  close(): void {
    this.over = true
    this.link.end(closeCodes.normal, "session closed")
  }

  /** Runs a request. */
  run(runs: Runs, request: Effect.Effect<void>): Effect.Effect<void> {
    if (runs === "inPlace") return request
    if (runs === "beside") return this.beside(request)
    if (this.puts >= maxPutsInFlight) return request
    this.puts++
    return this.beside(
      Effect.ensuring(
        request,
        Effect.sync(() => void this.puts--)
      )
    )
  }

  /** Behind the requests of its lane that have come before it. */
  inLane(lane: Lane, request: Effect.Effect<void>): Effect.Effect<void> {
    const semaphore =
      lane === "listings"
        ? (this.listings ??= Effect.unsafeMakeSemaphore(1))
        : (this.artifacts ??= Effect.unsafeMakeSemaphore(1))
    return semaphore.withPermits(1)(request)
  }

  /** Runs a request beside the reading; at the bound the reading waits. */
  private beside(request: Effect.Effect<void>): Effect.Effect<void> {
    const { concurrentRequests, meter } = this.kit
    if (this.inFlight >= concurrentRequests) return meter.reaching("concurrentRequests", request)
    this.inFlight++
    return Effect.asVoid(
      Effect.forkIn(
        Effect.ensuring(
          request,
          Effect.sync(() => void this.inFlight--)
        ),
        this.scope
      )
    )
  }
}
