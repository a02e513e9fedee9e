/**
 * The handshake of a connection: its first frame, who its peer is, and the session that it gets (ARCP 1.1 §6.1–§6.3).
 *
 * Responsibility: the first frame opens or resumes a session, or the connection is refused: one error frame, then the close. A peer
 * that has not been authenticated counts as a stranger until its session is there, and has `Limits.handshakeTimeout` for it.
 *
 * Order: the bounds of strangers come before authentication, those of its principal behind it, and all of them before anything of a session
 * is read. The transport's frame limit for strangers is lifted before the welcome is posted, because what follows the welcome may be large.
 *
 * Races: a session that has been given a connection always leaves it when that has ended, because attaching is one uninterruptible
 * step. An authenticator that takes longer than the connection lives is not waited for. A refusal by the deadline wins over an
 * authentication that ends later: the later one gets no session.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { Authenticator } from "../../auth/Authenticator.js"
import type { Principal } from "../../auth/Principal.js"
import * as Envelope from "../../protocol/Envelope.js"
import { type ArcpError, InternalError, InvalidRequest, Unauthenticated } from "../../protocol/Errors.js"
import { Ids } from "../../protocol/Ids.js"
import * as Message from "../../protocol/Message.js"
import type { ResumeRequest } from "../../protocol/Session.js"
import { closeCodes, type Connection, type Restrictions } from "../../transport/Connection.js"
import { Auditing } from "../kernel/Auditing.js"
import { type Deadline, Deadlines } from "../kernel/Deadlines.js"
import { errorFrame } from "../kernel/ErrorFrame.js"
import * as FrameSize from "../kernel/FrameSize.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { noted, noteOf } from "../kernel/Noted.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import * as Peers from "../kernel/Peers.js"
import { Heartbeats } from "./Heartbeats.js"
import { Admitted } from "./internal/admitted.js"
import { authenticationFailed, connected, credentialOver, type Refusal, sessionRefused } from "./internal/audited.js"
import { authenticating, failureOf } from "./internal/authenticating.js"
import { watchCredential } from "./internal/credentialExpiry.js"
import { isGuest } from "./internal/room.js"
import { spokenTo } from "./internal/spoken.js"
import { Strangers } from "./internal/strangers.js"
import { type Attached, Presence } from "./Presence.js"

/** A connection, what its peer has shown of itself, and the session that it was given. */
export class Arrival {
  readonly connection: Connection
  /** Closed when the connection has ended. */
  readonly scope: Scope.CloseableScope
  /** The hello or the resume that has come: from then on the peer waits for the runtime. */
  greeted: Envelope.RawEnvelope | undefined = undefined
  /** Whether it was refused: it gets no session, and is read no further. */
  refused = false
  attached: Attached | undefined = undefined
  private tooSlow: Deadline | undefined = undefined
  private expiry: Deadline | undefined = undefined

  constructor(connection: Connection, scope: Scope.CloseableScope) {
    this.connection = connection
    this.scope = scope
  }

  /** The handshake has until this deadline. */
  hurry(deadline: Deadline): void {
    this.tooSlow = deadline
  }

  greet(envelope: Envelope.RawEnvelope): void {
    this.greeted = envelope
  }

  refuse(): void {
    this.refused = true
  }

  attach(attached: Attached): void {
    this.attached = attached
  }

  /** The connection ends when the credential that opened it runs out. */
  expireBy(deadline: Deadline | undefined): void {
    this.expiry = deadline
  }

  /** The handshake is over, with a session or without one. */
  settle(): void {
    this.tooSlow?.cancel()
    this.tooSlow = undefined
    // It holds the client's credential, and is answered no more.
    this.greeted = undefined
  }

  /** The connection has ended. */
  end(): void {
    this.tooSlow?.cancel()
    this.expiry?.cancel()
  }
}

type HelloMessage = Extract<Message.ClientMessage, { readonly type: "session.hello" | "session.resume" }>

/** A first frame that opens nothing. */
interface NoHello {
  readonly error: InvalidRequest
  /** Undefined where the frame has no envelope. */
  readonly request: Envelope.RawEnvelope | undefined
  readonly requestId: string | undefined
}

/** What a hello or a resume asks to resume (§6.3), in either spelling; undefined: nothing. */
const resumeOf = ({ envelope, payload, type }: HelloMessage): ResumeRequest | undefined => {
  const nested = type === "session.hello" ? payload.resume : undefined
  const token = nested?.resume_token ?? payload.resume_token
  if (token === undefined) return undefined
  return {
    session_id: nested?.session_id ?? payload.session_id ?? envelope.session_id,
    resume_token: token,
    last_event_seq: nested === undefined ? payload.last_event_seq : nested.last_event_seq
  }
}

const isId = (u: unknown): u is string => typeof u === "string" && u.length > 0 && u.length <= 256

/** The session that a first frame names, also where its payload is refused; undefined where it names none. */
const namedSession = ({ payload, session_id }: Envelope.RawEnvelope): string | undefined => {
  const resume = payload.resume as { readonly session_id?: unknown } | null | undefined
  return [resume?.session_id, payload.session_id, session_id].find(isId)
}

/** Types of first frames of the protocol's drafts before 1.0, which opened a session otherwise. */
const oldTypes: ReadonlySet<string> = new Set(["session.open", "session.authenticate"])

/** Why a message cannot be the first of a connection (§6.1). */
const notAHello = (type: string): InvalidRequest =>
  new InvalidRequest({
    message: oldTypes.has(type)
      ? `type: ${type} is the old dialect, ARCP before 1.0, which this runtime does not speak; it speaks ARCP ${Envelope.version}, whose first message is session.hello`
      : "type: the first message must be session.hello or session.resume"
  })

/** The first frame as a hello or a resume. */
const helloOf = (
  read: Either.Either<Envelope.RawEnvelope, Envelope.Unreadable>
): Either.Either<HelloMessage, NoHello> => {
  if (Either.isLeft(read)) {
    return Either.left({ error: read.left.error, request: undefined, requestId: read.left.requestId })
  }
  const envelope = read.right
  const no = (error: InvalidRequest) => Either.left({ error, request: envelope, requestId: envelope.id })
  if (!Message.isClientType(envelope.type)) return no(notAHello(envelope.type))
  const decoded = Message.decodeClient(envelope)
  if (Either.isLeft(decoded)) return no(decoded.left)
  const message = decoded.right
  return message.type === "session.hello" || message.type === "session.resume"
    ? Either.right(message)
    : no(notAHello(message.type))
}

/** What an authentication fails with whose connection has ended; it says nothing of the credential. */
const gone = noted(new Unauthenticated({ message: "auth: the connection has ended" }), "gone")

const isGone = (error: ArcpError): boolean => noteOf(error) === "gone"

/** Handshakes of one runtime. */
export type Handshake = Effect.Effect.Success<typeof make>

/** Makes the handshakes of one runtime, with its count of strangers. */
export const make = Effect.gen(function* () {
  const authenticate = authenticating(yield* Authenticator)
  const sessions = yield* Presence
  const heartbeats = yield* Heartbeats
  const deadlines = yield* Deadlines
  const ids = yield* Ids
  const info = yield* RuntimeInfo
  const limits = yield* Limits
  const meter = yield* Meter
  const audit = yield* Auditing
  const strangers = new Strangers(limits, deadlines.mono, meter)
  const admitted = new Admitted(limits, meter)
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())

  /** Refuses a connection that has no session. Its envelope carries a session id all the same (1.0 §5.1): peers drop it otherwise. */
  const refuse = (
    arrival: Arrival,
    error: ArcpError,
    request: Envelope.RawEnvelope | undefined,
    requestId = request?.id
  ): Effect.Effect<void> => {
    arrival.refuse()
    const { connection } = arrival
    const code = error instanceof InternalError ? closeCodes.tryAgainLater : closeCodes.policy
    const now = deadlines.wall()
    const named = request === undefined ? undefined : namedSession(request)
    const head = { id: ids.unsafeUlid(now), session_id: named ?? `sess_${ids.unsafeUlid(now)}` }
    const spoken = request === undefined ? connection : spokenTo(connection, request)
    return spoken
      .send([FrameSize.smaller(JSON.stringify(errorFrame(head, error, requestId)), limits.maxFrameBytes)])
      .pipe(Effect.ignore, Effect.zipRight(connection.close(code, error.code)))
  }

  /** As {@link refuse}, and recorded. */
  const refuseFor = (
    reason: Refusal,
    arrival: Arrival,
    error: ArcpError,
    request: Envelope.RawEnvelope | undefined,
    requestId?: string,
    principal?: Principal
  ): Effect.Effect<void> => {
    if (audit !== undefined) {
      const named = request === undefined ? undefined : namedSession(request)
      sessionRefused(audit, arrival.connection, request, error, reason, { named, principal })
    }
    return refuse(arrival, error, request, requestId)
  }

  /** The handshake has taken too long. Neither the hello nor its credential was judged, so the client may try again. */
  const refuseSlow = (arrival: Arrival): void => {
    if (arrival.attached !== undefined || arrival.refused) return
    const time = `within ${limits.handshakeTimeout} ms`
    const error =
      arrival.greeted !== undefined
        ? new InternalError({ message: `the session could not be opened ${time}; try again` })
        : new InvalidRequest({ message: `no session.hello came ${time}; try again`, retryable: true })
    runFork(refuseFor("timeout", arrival, meter.reaching("handshakeTimeout", error), arrival.greeted))
  }

  /** It makes room for a peer of another address, as long as it has said nothing. */
  const refuseCrowded = (arrival: Arrival): Effect.Effect<void> =>
    refuseFor(
      "bound",
      arrival,
      new InternalError({ message: "others need the room of this connection; try again" }),
      undefined
    )

  /** Takes a connection in as a stranger's; its refusal where there are too many. */
  const enter = (arrival: Arrival): Effect.Effect<void> | undefined => {
    const refusal = strangers.enter(arrival.connection, () => runFork(refuseCrowded(arrival)))
    if (refusal !== undefined) return refuseFor("bound", arrival, new InternalError({ message: refusal }), undefined)
    arrival.hurry(deadlines.schedule(deadlines.mono() + limits.handshakeTimeout, () => refuseSlow(arrival)))
    return undefined
  }

  const principalOf = (
    { connection }: Arrival,
    { auth }: HelloMessage["payload"]
  ): Effect.Effect<Principal, ArcpError> =>
    authenticate({
      scheme: auth?.scheme,
      token: auth?.token === undefined ? undefined : Redacted.make(auth.token),
      peer: {
        transport: connection.transport,
        secure: connection.secure,
        remoteAddress: connection.remoteAddress
      }
    }).pipe(
      // Its end is not waited for either.
      Effect.disconnect,
      Effect.raceFirst(Effect.zipRight(connection.closed, Effect.fail(gone)))
    )

  /** Counts it for its principal from here on; a session is opened only where there is room on the way to one. */
  const admit = (arrival: Arrival, principal: Principal, message: HelloMessage): Effect.Effect<void, ArcpError> => {
    const { connection } = arrival
    const refusal = admitted.enter(connection, principal)
    if (refusal !== undefined) return Effect.fail(new InternalError({ message: refusal }))
    // One that has presented a credential takes no stranger's place any more.
    if (!isGuest(principal)) strangers.leave(connection)
    return attach(arrival, principal, message)
  }

  /** Opens or resumes the session, and gives it the connection. */
  const attach = (arrival: Arrival, principal: Principal, message: HelloMessage): Effect.Effect<void, ArcpError> => {
    const { connection, scope } = arrival
    const { envelope, payload } = message
    const request = resumeOf(message)
    const peer = info.peers === "auto" ? Peers.peerKind(envelope) : undefined
    const spoken = spokenTo(connection, envelope)
    return Effect.zipRight(
      connection.admit ?? Effect.void,
      Effect.uninterruptible(
        Effect.map(
          Scope.extend(
            request === undefined
              ? sessions.open(spoken, principal, payload, peer)
              : sessions.resume(spoken, principal, request, payload, peer),
            scope
          ),
          (attached) => {
            arrival.attach(attached)
            strangers.leave(connection)
            admitted.opened(connection)
            heartbeats.watch(attached)
            arrival.expireBy(
              watchCredential(deadlines, attached, principal, ids, () => audit?.add(credentialOver(attached)))
            )
            const cursor = request && Math.max(0, request.last_event_seq ?? 0)
            if (audit !== undefined) connected(audit, attached, envelope, cursor)
          }
        )
      )
    )
  }

  const annotated = ({ attached }: Arrival): Effect.Effect<void> =>
    attached === undefined
      ? Effect.void
      : Effect.annotateCurrentSpan({
          "arcp.session_id": attached.session.sessionId,
          "arcp.features": [...attached.session.features].join(",")
        })

  /** Takes the first frame. After it the connection has a session or is refused. Never fails. */
  const first = (
    arrival: Arrival,
    read: Either.Either<Envelope.RawEnvelope, Envelope.Unreadable>
  ): Effect.Effect<void> => {
    strangers.spoke(arrival.connection)
    const hello = helloOf(read)
    if (Either.isLeft(hello)) {
      return refuseFor("handshake", arrival, hello.left.error, hello.left.request, hello.left.requestId)
    }
    const message = hello.right
    const { envelope, payload } = message
    const { connection } = arrival
    const barred = strangers.barred(connection.remoteAddress)
    if (barred !== undefined) return refuseFor("bound", arrival, new InternalError({ message: barred }), envelope)
    arrival.greet(envelope)
    let who: Principal | undefined
    return principalOf(arrival, payload).pipe(
      Effect.flatMap((principal) => {
        who = principal
        return arrival.refused ? Effect.void : admit(arrival, principal, message)
      }),
      Effect.catchAll((error) => {
        if (error instanceof Unauthenticated && !error.retryable && !isGone(error)) strangers.failed(connection)
        if (who === undefined && !isGone(error) && audit !== undefined) {
          authenticationFailed(audit, connection, envelope, failureOf(error, payload.auth?.token !== undefined))
        }
        if (arrival.refused) return Effect.void
        return who === undefined
          ? refuse(arrival, error, envelope)
          : refuseFor("session", arrival, error, envelope, envelope.id, who)
      }),
      Effect.zipRight(Effect.suspend(() => annotated(arrival)))
    )
  }

  /** The connection has ended. */
  const leave = (arrival: Arrival): void => {
    arrival.end()
    strangers.leave(arrival.connection)
    admitted.leave(arrival.connection)
  }

  const restrictions: Restrictions = {
    frameBytes: limits.unauthenticatedFrameBytes,
    refusal: (remoteAddress) => {
      const refusal = strangers.refusal(remoteAddress)
      if (refusal !== undefined && audit !== undefined) {
        sessionRefused(audit, { remoteAddress }, undefined, new InternalError({ message: refusal }), "bound")
      }
      return refusal
    }
  }

  return { enter, first, leave, restrictions }
})
