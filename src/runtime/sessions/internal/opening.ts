/**
 * Opening and resuming sessions (ARCP 1.1 §6.2, §6.3).
 *
 * Order: what the handshake decides is durable before the welcome says so.
 *
 * Races closed here: a resume that fails changes nothing; a drop during the welcome loses nothing, since the token that was
 * presented counts until the client has shown that it holds the new one.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { Principal } from "../../../auth/Principal.js"
import { type ArcpError, InvalidRequest, oneLine, ResumeWindowExpired } from "../../../protocol/Errors.js"
import { intersect } from "../../../protocol/Features.js"
import type { Hello, ResumeRequest } from "../../../protocol/Session.js"
import type { Connection } from "../../../transport/Connection.js"
import { sha256 } from "../../kernel/Hash.js"
import * as Metrics from "../../kernel/Metrics.js"
import type { PeerKind } from "../../kernel/Peers.js"
import * as Frames from "../../log/Frames.js"
import { SessionLog } from "../../log/SessionLog.js"
import { carries } from "../../credentials/View.js"
import { storeFailure } from "../../jobs/JobScheduler.js"
import { attach } from "./attach.js"
import type { Attached } from "./attached.js"
import type { SessionsContext } from "./context.js"
import { findResumed, notResumable } from "./resuming.js"
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

/** Opens a session and posts its welcome (§6.2). */
export const open = (
  context: SessionsContext,
  table: SessionTable,
  { connection, hello, peer, principal }: Coming
): Effect.Effect<Attached, ArcpError, Scope.Scope> =>
  Effect.gen(function* () {
    const { deadlines, ids, eventLog } = context
    const refusal = table.refuseNew(principal)
    if (refusal !== undefined) return yield* refusal
    const now = deadlines.now()
    const token = `rt_${ids.unsafeSecret()}`
    const tokenHash = sha256(token)
    const session = new SessionLog({
      sessionId: `sess_${ids.unsafeUlid(now)}`,
      principal,
      client: { name: hello.client?.name, version: hello.client?.version },
      features: negotiate(context, hello, connection),
      tokenHash,
      previousTokenHash: undefined,
      createdAt: now,
      lastSeenAt: now,
      lastSeq: 0,
      ackedSeq: 0,
      floorSeq: 0
    })
    table.add(session)
    yield* eventLog
      .transact((batch) => batch.session(session))
      .pipe(
        Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(() => table.drop(session)) : Effect.void)),
        Effect.mapError(storeFailure)
      )
    return yield* attach(context, table, session, { connection, peer, cursor: 0, token, tokenHash })
  })

/** Every reason has the same answer; the log has the reason. */
const refuseResume = ({ session_id }: ResumeRequest, principal: Principal, reason: string) =>
  Effect.zipRight(
    Effect.annotateLogs(Effect.logInfo(`a resume was refused: ${reason}`), {
      principal: principal.id,
      session_id: session_id === undefined ? "not named" : oneLine(session_id)
    }),
    notResumable()
  )

/** The session that a resume means, where all that the client has not been sent is there. */
const resumable = (
  context: SessionsContext,
  table: SessionTable,
  principal: Principal,
  request: ResumeRequest,
  cursor: number
): Effect.Effect<SessionLog, ArcpError> =>
  Effect.gen(function* () {
    const found = findResumed(table.byId, table.tokens, request, principal)
    if (Either.isLeft(found)) return yield* refuseResume(request, principal, found.left)
    const session = found.right
    if (cursor > session.seq) {
      return yield* new InvalidRequest({
        message: `resume.last_event_seq: the session's last event is ${session.seq}`
      })
    }
    if (!(yield* Effect.mapError(Frames.covered(session, cursor, context.store), storeFailure))) {
      return yield* new ResumeWindowExpired({
        message: `resume.last_event_seq: events after ${cursor} are gone`,
        details: { oldest_resumable: session.floorSeq }
      })
    }
    return session.removed ? yield* refuseResume(request, principal, "the session has ended meanwhile") : session
  })

/** Resumes a session and posts its welcome (§6.3). A failure leaves the session as it is. */
export const resume = (
  context: SessionsContext,
  table: SessionTable,
  { connection, hello, peer, principal }: Coming,
  request: ResumeRequest
): Effect.Effect<Attached, ArcpError, Scope.Scope> =>
  Effect.gen(function* () {
    const { backPressure, deadlines, ids, eventLog, meter } = context
    const cursor = Math.max(0, request.last_event_seq ?? 0)
    const session = yield* resumable(context, table, principal, request, cursor)
    const token = `rt_${ids.unsafeSecret()}`
    const tokenHash = sha256(token)
    // It is not over while it is being resumed.
    session.seen(deadlines.now())
    session.spoke(deadlines.now())
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
        () => table.tokens.changed(session)
      ),
      storeFailure
    )
    // It may have made room for another while the store had its row.
    if (session.removed) return yield* refuseResume(request, principal, "the session has ended meanwhile")
    const attached = yield* attach(context, table, session, { connection, peer, cursor, token, tokenHash })
    meter.count(Metrics.resumes)
    // What it has seen is as good as acknowledged.
    backPressure.acknowledged(session)
    return attached
  })
