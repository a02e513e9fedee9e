/**
 * Opening and resuming sessions (ARCP 1.1 §6.2, §6.3).
 *
 * Order: what the handshake decides is durable before the welcome says so.
 *
 * Races closed here: a resume that fails changes nothing; a drop during the welcome loses nothing, since the token that was
 * presented counts until the client has shown that it holds the new one.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Principal } from "../../../auth/Principal.js"
import { type ArcpError, InternalError, InvalidRequest, oneLine } from "../../../protocol/Errors.js"
import { SessionId } from "../../../protocol/Ids.js"
import { intersect } from "../../../protocol/Features.js"
import type { Hello, ResumeRequest } from "../../../protocol/Session.js"
import { closeCodes, type Connection } from "../../../transport/Connection.js"
import { sha256 } from "../../kernel/Hash.js"
import * as Metrics from "../../kernel/Metrics.js"
import type { PeerKind } from "../../kernel/Peers.js"
import * as Coverage from "../../log/Coverage.js"
import { SessionLog } from "../../log/SessionLog.js"
import { carries } from "../../credentials/View.js"
import { storeFailure } from "../../kernel/Refusals.js"
import type { SessionRecord } from "../../../store/Store.js"
import { attach, goneBehind } from "./attach.js"
import type { Attached } from "./attached.js"
import { sessionError, type SessionsContext } from "./context.js"
import { isOwner, refuseResume } from "./resuming.js"
import type { ResumeSession, SessionPeer } from "../Sessions.js"
import type { SessionTable } from "./table.js"

const negotiate = ({ info }: SessionsContext, hello: Hello, connection: Connection): ReadonlyArray<string> =>
  intersect(info.features, hello.capabilities?.features ?? []).filter((feature) => carries(connection, feature))

/** Who comes, over what. */
export interface Coming {
  readonly connection: Connection
  readonly principal: Principal
  readonly hello: Hello
  readonly peer: PeerKind
}

const peerOf = ({ remoteAddress, secure, transport }: Connection): SessionPeer => ({ transport, secure, remoteAddress })

/** Refuses a session that would have the id of another; the program's own sessions may be wrong. */
const refuseId = (sessionId: SessionId): Effect.Effect<never, InternalError> =>
  Effect.zipRight(
    Effect.logError(`Sessions.open: the session id ${oneLine(sessionId)} is in use`),
    new InternalError({ message: "the session could not be opened; try again" })
  )

/** Ends a session that has to make room, and tells its client. */
const makeWay = (context: SessionsContext, table: SessionTable, sessionId: SessionId): void => {
  const session = context.eventLog.sessions.get(sessionId)
  if (session === undefined) return
  const error = new InternalError({
    message: "the session was idle, and made room for another; open a new one",
    details: { reason: "idle_session" }
  })
  session.link?.post(sessionError(context, session, error))
  session.link?.end(closeCodes.tryAgainLater, "idle session")
  table.remove(session, "idle")
}

/** Opens a session and posts its welcome (§6.2). */
export const open = (
  context: SessionsContext,
  table: SessionTable,
  { connection, hello, peer, principal }: Coming
): Effect.Effect<Attached, ArcpError, Scope.Scope> =>
  Effect.gen(function* () {
    const { decided, deadlines, eventLog } = context
    const client = { name: hello.client?.name, version: hello.client?.version }
    const features = negotiate(context, hello, connection)
    const opened = yield* decided.open({ principal, client, features: new Set(features), peer: peerOf(connection) })
    const { replaces, resumeWindow, sessionId, token } = opened
    if (eventLog.sessions.get(sessionId) !== undefined) return yield* refuseId(sessionId)
    for (const other of replaces ?? []) makeWay(context, table, other)
    const now = deadlines.wall()
    const tokenHash = sha256(token)
    const record: SessionRecord = {
      sessionId,
      principal,
      client,
      features,
      tokenHash,
      previousTokenHash: undefined,
      createdAt: now,
      lastSeenAt: now,
      lastSeq: 0,
      ackedSeq: 0,
      floorSeq: 0
    }
    const session = new SessionLog(record, deadlines.mono())
    table.add(session, resumeWindow)
    yield* eventLog
      .transact((batch) => batch.session(session))
      .pipe(
        Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(() => table.drop(session)) : Effect.void)),
        Effect.mapError(storeFailure)
      )
    return yield* attach(context, table, session, { connection, peer, cursor: 0, token, tokenHash })
  })

/** The log of a session that is resumed, where all that the client has not been sent is there. */
const covered = (
  { eventLog, store }: SessionsContext,
  { cursor, principal }: ResumeSession,
  sessionId: SessionId
): Effect.Effect<SessionLog, ArcpError> =>
  Effect.gen(function* () {
    const session = eventLog.sessions.get(sessionId)
    if (session === undefined) return yield* refuseResume("the session has ended")
    // Compared here too, since Sessions may be replaced: a session shows the jobs of its principal.
    if (!isOwner(session.principal, principal)) {
      return yield* refuseResume("the session is another principal's")
    }
    if (cursor > session.seq) {
      return yield* new InvalidRequest({
        message: `resume.last_event_seq: the session's last event is ${session.seq}`
      })
    }
    if (!(yield* Effect.mapError(Coverage.covered(session, cursor, store), storeFailure))) {
      return yield* goneBehind(session, cursor)
    }
    return session.removed ? yield* refuseResume("the session has ended meanwhile") : session
  })

/** Resumes a session and posts its welcome (§6.3). A failure leaves the session as it is. */
export const resume = (
  context: SessionsContext,
  table: SessionTable,
  { connection, hello, peer, principal }: Coming,
  request: ResumeRequest
): Effect.Effect<Attached, ArcpError, Scope.Scope> =>
  Effect.gen(function* () {
    const { backPressure, deadlines, decided, eventLog, meter } = context
    const cursor = Math.max(0, request.last_event_seq ?? 0)
    const named = request.session_id === undefined ? undefined : SessionId(request.session_id)
    const asked = { principal, sessionId: named, token: request.resume_token, cursor, peer: peerOf(connection) }
    const { resumeWindow, sessionId, stored, token } = yield* decided.resume(asked)
    const session = yield* covered(context, asked, sessionId)
    const tokenHash = sha256(token)
    // It is not over while it is being resumed.
    session.seen(deadlines.mono())
    session.spoke(deadlines.mono())
    yield* Effect.mapError(
      eventLog.transact(
        (batch) => {
          const before = session.head
          // A resume that offers nothing keeps what there was, as far as the new connection may carry it.
          const features =
            hello.capabilities?.features === undefined
              ? [...before.features].filter((feature) => carries(connection, feature))
              : negotiate(context, hello, connection)
          batch.head(session, {
            ...before,
            features: new Set(features),
            tokenHash,
            previousTokenHash: sha256(request.resume_token)
          })
          batch.acknowledge(session, cursor)
        },
        // In the step in which it is durable: the next batch may have other tokens, and may fail.
        stored
      ),
      storeFailure
    )
    // It may have made room for another while the store had its row.
    if (session.removed) return yield* refuseResume("the session has ended meanwhile")
    table.keepFor(session, resumeWindow)
    const attached = yield* attach(context, table, session, { connection, peer, cursor, token, tokenHash })
    meter.count(Metrics.resumes)
    // What it has seen is as good as acknowledged.
    backPressure.acknowledged(session)
    return attached
  })
