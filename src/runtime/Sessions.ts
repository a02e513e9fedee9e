/**
 * Sessions: who is connected or may come back (ARCP 1.1 §6).
 *
 * Responsibility: opening, resuming, taking over, leaving and expiry of sessions, and the sending side of their
 * connections.
 *
 * Order: the welcome is the first frame of a connection; replayed and live events follow it, in one sequence, because
 * one pump per connection reads the session's log from a cursor.
 *
 * Races closed here: two connections that resume one session: the later one has it, the earlier is closed; a resume that
 * fails changes nothing; a drop during the welcome loses nothing, since the previous token counts until the client has
 * shown that it holds the new one.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { Principal } from "../auth/Principal.js"
import {
  type ArcpError,
  InternalError,
  InvalidRequest,
  oneLine,
  PermissionDenied,
  ResumeWindowExpired
} from "../protocol/Errors.js"
import { intersect } from "../protocol/Features.js"
import { Ids } from "../protocol/Ids.js"
import type { Hello, ResumeRequest } from "../protocol/Session.js"
import type { DecodedRecovered } from "../store/Rows.js"
import { Store } from "../store/Store.js"
import { closeCodes, type Connection } from "../transport/Connection.js"
import { BackPressure, type Emitting } from "./BackPressure.js"
import { Deadlines } from "./Deadlines.js"
import type { Builder } from "./internal/builder.js"
import { atEnd } from "./internal/atEnd.js"
import { shuttingDown } from "./internal/drain.js"
import { errorFrame } from "./internal/errorFrame.js"
import * as Frames from "./internal/frames.js"
import * as FrameSize from "./internal/frameSize.js"
import { sha256 } from "./internal/hash.js"
import { longestIdle } from "./internal/idle.js"
import { inventory } from "./internal/inventory.js"
import { Link } from "./internal/link.js"
import { LiveSession } from "./internal/model.js"
import { JobRunner } from "./JobRunner.js"
import { removeOwner } from "./internal/owner.js"
import type { PeerKind } from "./internal/peers.js"
import { recoverJobs } from "./internal/recovered.js"
import { findResumed, notResumable, TokenIndex } from "./internal/resuming.js"
import { pause, pauseIfOver } from "./internal/turn.js"
import { welcome } from "./internal/welcome.js"
import { storeFailure } from "./JobScheduler.js"
import { Journal } from "./Journal.js"
import { Limits } from "./Limits.js"
import * as Metrics from "./Metrics.js"
import { RuntimeInfo } from "./RuntimeInfo.js"

/** A session with the connection that it was given. */
export interface Attached {
  readonly session: LiveSession
  readonly link: Link
}

/** Milliseconds for what is in the outbox when a connection is to end; then it ends, also if the peer does not read. */
const lastWords = 5_000

/** Milliseconds for the events that a client has not been sent when the runtime stops; it finds the rest at its resume. */
const flushTime = 2_000

/** Keeps the sessions. */
export class Sessions extends Context.Tag("effect-arcp/runtime/Sessions")<
  Sessions,
  {
    /** Opens a session and posts its welcome (§6.2). */
    readonly open: (
      connection: Connection,
      principal: Principal,
      hello: Hello,
      peer: PeerKind
    ) => Effect.Effect<Attached, ArcpError, Scope.Scope>
    /** Resumes a session and posts its welcome (§6.3). A failure leaves the session as it is. */
    readonly resume: (
      connection: Connection,
      principal: Principal,
      request: ResumeRequest,
      hello: Hello,
      peer: PeerKind
    ) => Effect.Effect<Attached, ArcpError, Scope.Scope>
    /** The client has sent a frame: it holds the token of the last welcome. */
    readonly confirm: (attached: Attached) => void
    /** The connection has ended; the session can be resumed for its window. */
    readonly leave: (attached: Attached) => void
    /** Takes up the sessions, jobs and subscriptions of an earlier process. */
    readonly recover: (recovered: DecodedRecovered) => Effect.Effect<void>
    /** Refuses new sessions and resumes from now on: the runtime is stopping. Clients that are connected stay. */
    readonly stopAdmitting: Effect.Effect<void>
    /** Sends every client what there is, then ends its connection, telling it to come back later; within 5 seconds. */
    readonly shutdown: Effect.Effect<void>
    /** Events of a session up to this number are gone; a resume from before it is refused (§6.3). Writes the session. */
    readonly raiseFloor: (sessionId: string, seq: number, builder: Builder) => void
    readonly count: () => number
  }
>() {
  static readonly layer: Layer.Layer<Sessions, never, Store | Emitting | Deadlines | Ids | JobRunner | RuntimeInfo> =
    Layer.effect(
      Sessions,
      Effect.gen(function* () {
        const store = yield* Store
        const journal = yield* Journal
        const deadlines = yield* Deadlines
        const ids = yield* Ids
        const runner = yield* JobRunner
        const backPressure = yield* BackPressure
        const info = yield* RuntimeInfo
        const limits = yield* Limits
        const meter = yield* Metrics.Meter
        const runFork = Runtime.runFork(yield* Effect.runtime<never>())
        const bounds: Frames.FrameBounds = {
          payload: FrameSize.payloadRoom(limits),
          result: FrameSize.resultRoom(limits, FrameSize.summaryBytes)
        }
        const { agents_omitted } = inventory(info.agents(), true, limits.maxFrameBytes)
        if (agents_omitted !== undefined)
          yield* Effect.logWarning(
            `welcomes leave out ${agents_omitted} agents: raise Limits.maxFrameBytes to show all`
          )
        const sessions = new Map<string, LiveSession>()
        const tokens = new TokenIndex()
        const perPrincipal = new Map<string, number>()
        let stopping = false
        let connected = 0

        const add = (session: LiveSession) => {
          sessions.set(session.sessionId, session)
          tokens.add(session)
          perPrincipal.set(session.principal.id, (perPrincipal.get(session.principal.id) ?? 0) + 1)
          meter.show(Metrics.sessions, sessions.size)
        }

        const drop = (session: LiveSession) => {
          if (!sessions.delete(session.sessionId)) return
          tokens.remove(session)
          const left = (perPrincipal.get(session.principal.id) ?? 1) - 1
          if (left === 0) perPrincipal.delete(session.principal.id)
          else perPrincipal.set(session.principal.id, left)
          meter.show(Metrics.sessions, sessions.size)
        }

        /** Ends a session for good; its jobs go on. */
        const remove = (session: LiveSession): void => {
          session.removed = true
          drop(session)
          // What others own too has to be known as theirs.
          const owned = [...session.owned].filter(({ owners }) => owners.length > 1)
          for (const live of [...session.owned, ...session.observed]) {
            session.observed.delete(live)
            removeOwner(live, session)
          }
          journal.change({
            write: (builder) => {
              builder.removeSession(session)
              for (const live of owned) builder.state(live)
            }
          })
        }

        const expireLater = (session: LiveSession): void => {
          const at = session.lastSeenAt + info.resumeWindow
          deadlines.schedule(at, () => {
            if (session.link !== undefined || session.removed) return
            if (session.lastSeenAt + info.resumeWindow > deadlines.now()) expireLater(session)
            else remove(session)
          })
        }

        /** Sends what the session has. Ends when that is done, and with the connection. */
        const pump = (session: LiveSession, link: Link): Effect.Effect<void> => {
          const { connection } = link
          const step = Effect.suspend(() => {
            link.settle()
            const upTo = link.release()
            const now = deadlines.now()
            const replies = link.outbox.length > 0 ? link.take() : undefined
            if (replies !== undefined) link.lastOut = now
            if (link.closing !== undefined) {
              return replies !== undefined
                ? Effect.as(connection.send(replies), true)
                : Effect.as(connection.close(link.closing.code, link.closing.reason), false)
            }
            // Replies that are left leave before events that may belong behind them.
            if (replies !== undefined && link.outbox.length > 0) return Effect.as(connection.send(replies), true)
            if (link.cursor >= session.seq) {
              if (replies !== undefined) return Effect.as(connection.send(replies), true)
              link.sent()
              link.sleep()
              return Effect.succeed(false)
            }
            const last = Math.min(session.seq, upTo)
            const events = Frames.ready(session, link.cursor, last, ids, now, bounds)
            if (events !== undefined) {
              sending(events, now)
              return Effect.as(
                connection.send(replies === undefined ? events.frames : [...replies, ...events.frames]),
                true
              )
            }
            if (replies !== undefined) return Effect.as(connection.send(replies), true)
            return Effect.flatMap(Frames.read(session, link.cursor, last, store, ids, now, bounds), (read) => {
              // The client may have left while the store was asked: nothing follows its bye (1.0 §6.4).
              if (link.closing !== undefined) return Effect.succeed(true)
              if (read === undefined) {
                link.post(
                  sessionError(session, new ResumeWindowExpired({ message: "the events that come next are gone" }))
                )
                link.end(closeCodes.policy, "RESUME_WINDOW_EXPIRED")
                return Effect.succeed(true)
              }
              sending(read, now)
              return Effect.as(connection.send(read.frames), true)
            })
          })
          const sending = ({ cursor }: Frames.Frames, now: number): void => {
            link.cursor = cursor
            link.lastOut = now
            session.lastSeenAt = now
          }
          let more = true
          let sent = false
          return Effect.whileLoop({
            while: () => more,
            // Between two steps, never between a look at what there is and falling asleep.
            body: () => {
              const wait = sent ? pauseIfOver() : undefined
              sent = true
              return wait === undefined ? step : Effect.zipRight(wait, step)
            },
            step: (left) => {
              more = left
            }
          }).pipe(
            Effect.catchTags({
              ConnectionClosed: () => Effect.sync(() => link.abandon()),
              StoreError: (error) =>
                Effect.zipRight(
                  Effect.logError("a session's log could not be read", error),
                  Effect.zipRight(
                    Effect.sync(() => link.abandon()),
                    connection.close(closeCodes.tryAgainLater, "the store is not available")
                  )
                )
            }),
            Effect.asVoid
          )
        }

        /** Lets the session's pump run whenever there is something to send, until the scope closes. No fiber waits for that. */
        const pumped = (session: LiveSession, link: Link): Effect.Effect<void, never, Scope.Scope> => {
          let running: Fiber.RuntimeFiber<void> | undefined
          link.pumpedBy(() => {
            const fiber = runFork(pump(session, link))
            if (fiber.unsafePoll() !== null) return
            running = fiber
            fiber.addObserver(() => {
              // It may have fallen asleep, and the next have been begun, before it ended.
              if (running === fiber) running = undefined
            })
          })
          link.wake()
          return Effect.addFinalizer(() => {
            link.pumpedBy(undefined)
            return running === undefined ? Effect.void : Fiber.interrupt(running)
          })
        }

        const sessionError = (session: LiveSession, error: ArcpError) =>
          errorFrame({ id: ids.unsafeUlid(deadlines.now()), session_id: session.sessionId }, error)

        /** Credentials go over encrypted transports only, or stay on this machine (§14). */
        const carries = ({ remoteAddress, secure }: Connection, feature: string) =>
          feature !== "provisioned_credentials" || secure || isLoopback(remoteAddress)

        const negotiate = (hello: Hello, connection: Connection) =>
          intersect(info.features, hello.capabilities?.features ?? []).filter((feature) => carries(connection, feature))

        const attach = (session: LiveSession, link: Link, token: string): Effect.Effect<Attached, never, Scope.Scope> =>
          Effect.suspend(() => {
            const previous = session.link
            session.link = link
            if (previous === undefined) meter.show(Metrics.connections, ++connected)
            link.since = session.seq
            link.sinceBytes = session.bytes
            if (previous !== undefined) {
              previous.heartbeat?.cancel()
              previous.post(
                sessionError(
                  session,
                  new PermissionDenied({
                    message: "the session was resumed on another connection",
                    details: { reason: "taken_over" }
                  })
                )
              )
              previous.end(closeCodes.policy, "taken over")
            }
            link.onEnd = () => {
              const { connection } = link
              const { code, reason } = link.closing ?? { code: closeCodes.normal, reason: "" }
              link.overdue = deadlines.schedule(
                deadlines.now() + lastWords,
                () => void runFork(connection.close(code, reason))
              )
            }
            const now = deadlines.now()
            link.post(welcome(info, session, token, ids.unsafeUlid(now), now, limits.maxFrameBytes))
            return Effect.as(pumped(session, link), { session, link })
          })

        /** Lets the session go that has been idle for longest, if there is one among those that fit. */
        const makeRoom = (fits: (session: LiveSession) => boolean): void => {
          const idle = longestIdle(sessions.values(), fits, deadlines.now() - limits.idleSession)
          if (idle === undefined) return
          meter.reached("idleSession")
          const { link } = idle
          link?.post(
            sessionError(
              idle,
              new InternalError({
                message: "the session was idle, and made room for another; open a new one",
                details: { reason: "idle_session" }
              })
            )
          )
          link?.end(closeCodes.tryAgainLater, "idle session")
          remove(idle)
        }

        const refuseNew = (principal: Principal): ArcpError | undefined => {
          if (stopping) return shuttingDown
          const mine = () => perPrincipal.get(principal.id) ?? 0
          if (mine() >= limits.sessionsPerPrincipal) makeRoom((session) => session.principal.id === principal.id)
          if (sessions.size >= limits.sessions) makeRoom(() => true)
          return sessions.size >= limits.sessions
            ? meter.reaching(
                "sessions",
                new InternalError({ message: `${limits.sessions} sessions are open already; try again later` })
              )
            : mine() >= limits.sessionsPerPrincipal
              ? meter.reaching(
                  "sessionsPerPrincipal",
                  new InternalError({ message: `you have ${limits.sessionsPerPrincipal} sessions already; close one` })
                )
              : undefined
        }

        const open = (connection: Connection, principal: Principal, hello: Hello, peer: PeerKind) =>
          Effect.gen(function* () {
            const refusal = refuseNew(principal)
            if (refusal !== undefined) return yield* refusal
            const now = deadlines.now()
            const token = `rt_${ids.unsafeSecret()}`
            const session = new LiveSession({
              sessionId: `sess_${ids.unsafeUlid(now)}`,
              principal,
              client: { name: hello.client?.name, version: hello.client?.version },
              features: negotiate(hello, connection),
              tokenHash: sha256(token),
              previousTokenHash: undefined,
              createdAt: now,
              lastSeenAt: now,
              lastSeq: 0,
              ackedSeq: 0,
              floorSeq: 0
            })
            // Counted before it is written, so that a burst of hellos cannot pass the limit.
            add(session)
            yield* journal
              .transact((builder) => builder.session(session))
              .pipe(
                Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(() => drop(session)) : Effect.void)),
                Effect.mapError(storeFailure)
              )
            session.peer = peer
            return yield* attach(session, new Link(connection, 0, now, limits), token)
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

        const resume = (
          connection: Connection,
          principal: Principal,
          request: ResumeRequest,
          hello: Hello,
          peer: PeerKind
        ) =>
          Effect.gen(function* () {
            if (stopping) return yield* shuttingDown
            const found = findResumed(sessions, tokens, request, principal)
            if (Either.isLeft(found)) return yield* refuseResume(request, principal, found.left)
            const session = found.right
            const cursor = Math.max(0, request.last_event_seq ?? 0)
            if (cursor > session.seq) {
              return yield* new InvalidRequest({
                message: `resume.last_event_seq: the session's last event is ${session.seq}`
              })
            }
            const covered = yield* Effect.mapError(Frames.covered(session, cursor, store), storeFailure)
            if (!covered) {
              return yield* new ResumeWindowExpired({
                message: `resume.last_event_seq: events after ${cursor} are gone`,
                details: { oldest_resumable: session.floorSeq }
              })
            }
            if (session.removed) {
              return yield* refuseResume(request, principal, "the session has ended meanwhile")
            }
            const token = `rt_${ids.unsafeSecret()}`
            const before = {
              current: session.tokenHash,
              previous: session.previousTokenHash,
              features: session.features
            }
            yield* journal
              .transact((builder) => {
                tokens.change(session, () => {
                  session.previousTokenHash = sha256(request.resume_token)
                  session.tokenHash = sha256(token)
                })
                // A resume that offers nothing keeps what there was, as far as the new connection may carry it.
                session.features = new Set(
                  hello.capabilities?.features === undefined
                    ? [...session.features].filter((feature) => carries(connection, feature))
                    : negotiate(hello, connection)
                )
                session.lastSeenAt = deadlines.now()
                if (cursor > session.ackedSeq) session.acknowledge(cursor)
                session.spokeAt = session.lastSeenAt
                builder.session(session)
              })
              .pipe(
                Effect.tapError(() =>
                  Effect.sync(() => {
                    tokens.change(session, () => {
                      session.tokenHash = before.current
                      session.previousTokenHash = before.previous
                    })
                    session.features = before.features
                  })
                ),
                Effect.mapError(storeFailure)
              )
            session.peer = peer
            const attached = yield* attach(session, new Link(connection, cursor, deadlines.now(), limits), token)
            meter.count(Metrics.resumes)
            // What it has seen is as good as acknowledged.
            backPressure.acknowledged(session)
            return attached
          })

        const confirm = ({ link, session }: Attached): void => {
          if (link.confirmed) return
          link.confirmed = true
          if (session.link !== link || session.previousTokenHash === undefined) return
          tokens.change(session, () => {
            session.previousTokenHash = undefined
          })
          journal.change({ write: (builder) => builder.session(session) })
        }

        const leave = ({ link, session }: Attached): void => {
          link.heartbeat?.cancel()
          link.overdue?.cancel()
          if (session.link !== link) return
          session.link = undefined
          meter.show(Metrics.connections, --connected)
          backPressure.left(session)
          if (session.removed) return
          session.lastSeenAt = Math.max(session.lastSeenAt, link.lastIn, link.lastOut)
          journal.change({ write: (builder) => builder.session(session) })
          expireLater(session)
        }

        const recover = (recovered: DecodedRecovered): Effect.Effect<void> =>
          Effect.gen(function* () {
            const now = deadlines.now()
            for (const record of recovered.sessions) {
              // The time while the runtime was down does not count: clients could not come back.
              const session = new LiveSession({ ...record, lastSeenAt: now })
              add(session)
              expireLater(session)
              yield* pause
            }
            yield* recoverJobs(recovered, sessions, store, runner)
            yield* runner.resume
          }).pipe(Effect.catchAll((error) => Effect.die(error)))

        const stopAdmitting = Effect.sync(() => {
          stopping = true
        })

        const shutdown = Effect.suspend(() => {
          stopping = true
          const links = [...sessions.values()].flatMap(({ link }) => (link === undefined ? [] : [link]))
          const each = (end: (link: Link) => Effect.Effect<unknown>) =>
            atEnd(
              Effect.timeoutOption(Effect.forEach(links, end, { concurrency: "unbounded", discard: true }), lastWords)
            )
          return each((link) =>
            Effect.zipRight(
              Effect.timeoutOption(link.flushed, flushTime),
              Effect.suspend(() => {
                link.end(closeCodes.goingAway, "the runtime is shutting down")
                return link.connection.closed
              })
            )
          ).pipe(
            // Whoever has not been told by now is told without having had everything.
            Effect.zipRight(
              Effect.sync(() => links.forEach((link) => link.end(closeCodes.goingAway, "the runtime is shutting down")))
            )
          )
        })

        const raiseFloor = (sessionId: string, seq: number, builder: Builder): void => {
          const session = sessions.get(sessionId)
          if (session === undefined || session.floorSeq >= seq) return
          session.floorSeq = seq
          builder.session(session)
        }

        return {
          open,
          resume,
          confirm,
          leave,
          recover,
          stopAdmitting,
          shutdown,
          raiseFloor,
          count: () => sessions.size
        }
      })
    )
}

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:::ffff:)?127\.|^::1$/.test(address)
