/**
 * Serving one connection: handshake, then its requests, until it ends (ARCP 1.1 §5–§7).
 *
 * Order: frames are read in order. Requests that only touch memory are answered in place; those that read the store run
 * beside the reading, bounded, so that pings are answered however slow the store is.
 *
 * Memory: while a connection's unsent replies are at their bound, its requests are not read; listings and artifacts, whose
 * replies are large, are answered one at a time. A peer that has not been authenticated counts as a stranger until its session is
 * there.
 *
 * Input is hostile: every frame is checked before use, a bad one is answered with `INVALID_REQUEST` naming the field and
 * the next good one works; too many in a row close the connection.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { Authenticator } from "../auth/Authenticator.js"
import * as Envelope from "../protocol/Envelope.js"
import { type ArcpError, InternalError, InvalidRequest, Unauthenticated } from "../protocol/Errors.js"
import * as ExtensionName from "../protocol/ExtensionName.js"
import { formatTimestamp } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import * as Message from "../protocol/Message.js"
import type { Hello } from "../protocol/Session.js"
import * as Trace from "../protocol/Trace.js"
import type { KeptAccepted } from "../store/Rows.js"
import { closeCodes, type Connection, type Inbound, readChunks, type Restrictions } from "../transport/Connection.js"
import { BackPressure } from "./BackPressure.js"
import { Artifacts } from "./Artifacts.js"
import { Credentials } from "./Credentials.js"
import { type Deadline, Deadlines } from "./Deadlines.js"
import { Heartbeats } from "./Heartbeats.js"
import { artifactAnswers } from "./internal/artifactAnswers.js"
import { watchCredential } from "./internal/credentialExpiry.js"
import { errorFrame } from "./internal/errorFrame.js"
import * as JobsPage from "./internal/jobsPage.js"
import type { Link } from "./internal/link.js"
import type { LiveSession } from "./internal/model.js"
import { isSignOfLife, Pace } from "./internal/pace.js"
import * as Peers from "./internal/peers.js"
import { refusing } from "./internal/refuse.js"
import * as Requests from "./internal/requests.js"
import { spokenTo } from "./internal/spoken.js"
import { Strangers } from "./internal/strangers.js"
import { asWork, pauseIfOver } from "./internal/turn.js"
import { authenticating } from "./internal/userCode.js"
import { JobScheduler } from "./JobScheduler.js"
import { Limits } from "./Limits.js"
import { badMessages, Meter } from "./Metrics.js"
import { RuntimeInfo } from "./RuntimeInfo.js"
import { type Attached, Sessions } from "./Sessions.js"
import { Subscriptions } from "./Subscriptions.js"

/** Puts of one connection whose bytes may be in memory at a time; the connection is not read meanwhile. */
const maxPutsInFlight = 4

/** Characters of a frame that takes a millisecond or more to be decoded. */
const largeFrame = 65_536

/** Serves connections. */
export class Serving extends Context.Tag("effect-arcp/runtime/Serving")<
  Serving,
  {
    /** Serves a connection until it ends. Never fails. */
    readonly serve: (connection: Connection) => Effect.Effect<void>
    /** How servers treat peers that have not been authenticated. */
    readonly restrictions: Restrictions
  }
>() {
  static readonly layer: Layer.Layer<
    Serving,
    never,
    | Authenticator
    | Sessions
    | JobScheduler
    | Subscriptions
    | Heartbeats
    | Deadlines
    | Ids
    | BackPressure
    | Artifacts
    | Credentials
    | RuntimeInfo
  > = Layer.effect(
    Serving,
    Effect.gen(function* () {
      const authenticate = authenticating(yield* Authenticator)
      const sessions = yield* Sessions
      const scheduler = yield* JobScheduler
      const subscriptions = yield* Subscriptions
      const heartbeats = yield* Heartbeats
      const backPressure = yield* BackPressure
      const deadlines = yield* Deadlines
      const credentials = yield* Credentials
      const ids = yield* Ids
      const info = yield* RuntimeInfo
      const limits = yield* Limits
      const meter = yield* Meter
      const { count, reached, reaching } = meter
      const answerArtifact = artifactAnswers(yield* Artifacts, limits, meter)
      const strangers = new Strangers(limits, deadlines.now, meter)
      const runFork = Runtime.runFork(yield* Effect.runtime<never>())
      const readLimits = { maxDepth: limits.jsonDepth }
      const pageBytes = Math.min(limits.frameBytes ?? limits.maxFrameBytes, limits.maxFrameBytes)

      const head = (session: LiveSession, jobId?: string, traceId?: string): Message.Head => ({
        id: ids.unsafeUlid(deadlines.now()),
        session_id: session.sessionId,
        job_id: jobId,
        trace_id: traceId
      })

      const refuse = refusing(deadlines.now, (now) => ids.unsafeUlid(now), limits.maxFrameBytes)

      const handshake = (connection: Connection, state: Requests.State, frame: Inbound, scope: Scope.Scope) =>
        Effect.gen(function* () {
          const read = Requests.readFrame(frame, readLimits)
          if (Either.isLeft(read)) {
            return yield* refuse(connection, state, read.left.error, undefined, read.left.requestId)
          }
          const envelope = read.right
          const decoded = Message.isClientType(envelope.type)
            ? Message.decodeClient(envelope)
            : Either.left(Requests.notAHello(envelope.type))
          if (Either.isLeft(decoded)) return yield* refuse(connection, state, decoded.left, envelope)
          const message = decoded.right
          if (message.type !== "session.hello" && message.type !== "session.resume") {
            return yield* refuse(connection, state, Requests.notAHello(message.type), envelope)
          }
          const request = Requests.resumeOf(message)
          const barred = strangers.barred(connection.remoteAddress)
          if (barred !== undefined) {
            return yield* refuse(connection, state, new InternalError({ message: barred }), envelope)
          }
          const peer = info.peers === "auto" ? Peers.peerKind(envelope) : undefined
          state.greeted = envelope
          const { auth } = message.payload
          const hello: Hello = message.payload
          const gone = new Unauthenticated({ message: "auth: the connection has ended" })
          const authenticated = authenticate({
            scheme: auth?.scheme,
            token: auth?.token === undefined ? undefined : Redacted.make(auth.token),
            peer: {
              transport: connection.transport,
              secure: connection.secure,
              remoteAddress: connection.remoteAddress
            }
          }).pipe(
            // An authenticator that takes longer than the connection lives is not waited for, nor is its end.
            Effect.disconnect,
            Effect.raceFirst(Effect.zipRight(connection.closed, Effect.fail(gone)))
          )
          yield* authenticated.pipe(
            Effect.flatMap((principal) =>
              state.done
                ? Effect.void
                : // Before the welcome is posted: what comes behind it may be large.
                  Effect.zipRight(
                    connection.admit ?? Effect.void,
                    // One step: a session that has a connection is always left when that has ended.
                    Effect.uninterruptible(
                      Effect.map(
                        Scope.extend(
                          request === undefined
                            ? sessions.open(spokenTo(connection, envelope), principal, hello, peer)
                            : sessions.resume(spokenTo(connection, envelope), principal, request, hello, peer),
                          scope
                        ),
                        (attached) => {
                          state.attached = attached
                          strangers.leave(connection)
                          heartbeats.watch(attached)
                          state.expiry = watchCredential(deadlines, attached, principal, ids)
                        }
                      )
                    )
                  )
            ),
            Effect.catchAll((error) => {
              if (error instanceof Unauthenticated && !error.retryable && error !== gone) strangers.failed(connection)
              return state.done ? Effect.void : refuse(connection, state, error, envelope)
            })
          )
          const { attached } = state
          if (attached !== undefined) {
            yield* Effect.annotateCurrentSpan({
              "arcp.session_id": attached.session.sessionId,
              "arcp.features": [...attached.session.features].join(",")
            })
          }
        })

      const reply = (link: Link, envelope: Envelope.RawEnvelope): void => link.post(envelope)

      const fail = ({ link, session }: Attached, error: ArcpError, request: Envelope.RawEnvelope): void => {
        reply(link, errorFrame(head(session), error, request.id))
        const refusal = Peers.refusalFor(session, request, error)
        if (refusal !== undefined) reply(link, refusal)
      }

      /** Runs a request beside the reading; at the bound the reading waits. */
      const beside = (state: Requests.State, scope: Scope.Scope, request: Effect.Effect<void>): Effect.Effect<void> => {
        if (state.inFlight >= limits.concurrentRequests) return reaching("concurrentRequests", request)
        state.inFlight++
        return Effect.asVoid(
          Effect.forkIn(
            Effect.ensuring(
              request,
              Effect.sync(() => void state.inFlight--)
            ),
            scope
          )
        )
      }

      const handle = (
        attached: Attached,
        state: Requests.State,
        scope: Scope.Scope,
        message: Message.ClientMessage,
        size: number
      ): Effect.Effect<void> => {
        const { link, session } = attached
        const { envelope } = message
        const requestId = envelope.id
        const asked = (bytes: number) =>
          Requests.asked(link, message.type, bytes, (error) => fail(attached, error, envelope))
        const refused = (error: ArcpError): Effect.Effect<void> => Effect.sync(() => fail(attached, error, envelope))
        switch (message.type) {
          case "session.ping":
            return Effect.sync(() =>
              reply(
                link,
                Message.runtime("session.pong", head(session), {
                  ping_nonce: message.payload.nonce,
                  received_at: formatTimestamp(deadlines.now())
                })
              )
            )
          case "session.pong":
            return Effect.void
          case "session.ack": {
            const missing = Requests.need(session, "ack")
            if (missing !== undefined) return refused(missing)
            const seq = message.payload.last_processed_seq
            if (seq > session.seq) {
              return refused(
                new InvalidRequest({
                  message: `payload.last_processed_seq: the session's last event is ${session.seq}`
                })
              )
            }
            return Effect.sync(() => {
              if (seq <= session.ackedSeq) return
              session.acknowledge(seq)
              backPressure.acknowledged(session)
            })
          }
          case "session.bye":
            return Effect.sync(() => {
              state.done = true
              // Nothing follows it (1.0 §6.4): what waits to be sent is found at a resume.
              link.abandon()
              link.end(closeCodes.normal, "session closed")
            })
          case "session.close":
            return Effect.sync(() => {
              state.done = true
              reply(link, Message.runtime("session.closed", head(session), { request_id: requestId }))
              link.end(closeCodes.normal, "session closed")
            })
          case "session.list_jobs": {
            const missing = Requests.need(session, "list_jobs")
            if (missing !== undefined) return refused(missing)
            const { answered, settled } = asked(Requests.smallReply)
            state.listings ??= Effect.unsafeMakeSemaphore(1)
            const list = Effect.suspend(() => {
              const frame = JobsPage.frame(head(session), requestId)
              return Effect.flatMap(
                subscriptions.list(session, message.payload, frame.room(pageBytes)),
                ({ nextCursor, rows }) => {
                  settled()
                  return link.postTaken(frame.text(rows, nextCursor))
                }
              )
            })
            return beside(state, scope, state.listings.withPermits(1)(answered(list)))
          }
          case "job.submit": {
            const trace =
              envelope.trace_id === undefined
                ? Either.right(undefined)
                : Trace.parse(envelope.trace_id, envelope.extensions)
            if (Either.isLeft(trace)) return refused(trace.left)
            // Its reply shows no more than what it brought, and waits for the store.
            const { answered, failed, reply } = asked(size + Requests.smallReply)
            const request = answered(
              scheduler.submit(session, {
                requestId,
                payload: message.payload,
                trace: trace.right,
                priority: Envelope.priorityOf(envelope),
                accepted: (jobId, traceId, kept: KeptAccepted) => {
                  const { priority, ...payload } = kept
                  const accepted = { ...head(session, jobId, traceId), priority: Envelope.priorityOf({ priority }) }
                  reply(Message.runtime("job.accepted", accepted, { request_id: requestId, ...payload }))
                },
                failed
              })
            )
            // What reads the store, or waits for an upstream, does not hold up the reading.
            return message.payload.idempotency_key === undefined && !credentials.available
              ? request
              : beside(state, scope, request)
          }
          case "job.cancel": {
            const jobId = Requests.jobIdOf(message.payload, envelope)
            if (Either.isLeft(jobId)) return refused(jobId.left)
            const { reason } = message.payload
            const { answered, reply } = asked(Requests.smallReply)
            return beside(
              state,
              scope,
              answered(
                scheduler.cancel(session, jobId.right, reason, () =>
                  reply(
                    Message.runtime("job.cancelled", head(session, jobId.right), {
                      job_id: jobId.right,
                      request_id: requestId,
                      ...(reason === undefined ? {} : { reason })
                    })
                  )
                )
              )
            )
          }
          case "job.subscribe": {
            const missing = Requests.need(session, "subscribe")
            if (missing !== undefined) return refused(missing)
            const jobId = Requests.jobIdOf(message.payload, envelope)
            if (Either.isLeft(jobId)) return refused(jobId.left)
            const { answered, failed, reply } = asked(Requests.leaseReply)
            return beside(
              state,
              scope,
              answered(
                subscriptions.subscribe(session, message.payload, jobId.right, {
                  subscribed: (payload) =>
                    reply(
                      Message.runtime("job.subscribed", head(session, jobId.right, payload.trace_id), {
                        request_id: requestId,
                        ...payload
                      })
                    ),
                  failed
                })
              )
            )
          }
          case "job.unsubscribe": {
            const missing = Requests.need(session, "subscribe")
            if (missing !== undefined) return refused(missing)
            const jobId = Requests.jobIdOf(message.payload, envelope)
            if (Either.isLeft(jobId)) return refused(jobId.left)
            const { answered, reply } = asked(Requests.smallReply)
            return beside(
              state,
              scope,
              answered(
                subscriptions.unsubscribe(session, jobId.right, () =>
                  reply(
                    Message.runtime("job.unsubscribed", head(session, jobId.right), {
                      job_id: jobId.right,
                      request_id: requestId
                    })
                  )
                )
              )
            )
          }
          case "session.hello":
          case "session.resume":
            return refused(new InvalidRequest({ message: `type: the connection has a session already` }))
          case "artifact.put":
          case "artifact.fetch":
          case "artifact.release": {
            const missing = Requests.need(session, "artifacts")
            if (missing !== undefined) return refused(missing)
            const { answered, settled } = asked(Requests.smallReply)
            state.artifacts ??= Effect.unsafeMakeSemaphore(1)
            const request = state.artifacts.withPermits(1)(
              answered(
                Effect.flatMap(answerArtifact(session.principal.id, message), ([type, payload]) => {
                  settled()
                  return link.postTaken(Message.runtime(type, head(session), { request_id: requestId, ...payload }))
                })
              )
            )
            if (message.type !== "artifact.put") return beside(state, scope, request)
            if (state.puts >= maxPutsInFlight) return request
            state.puts++
            const put = Effect.ensuring(
              request,
              Effect.sync(() => void state.puts--)
            )
            return beside(state, scope, put)
          }
        }
      }

      /** A frame that is no message of a client; answered, and counted. */
      const bad = (
        attached: Attached,
        state: Requests.State,
        error: InvalidRequest,
        request: Envelope.RawEnvelope | undefined,
        requestId?: string
      ) =>
        Effect.sync(() => {
          const { link, session } = attached
          count(badMessages)
          if (request === undefined) link.post(errorFrame(head(session), error, requestId))
          else fail(attached, error, request)
          if (++link.badFrames < limits.badFramesInARow) return
          state.done = true
          reached("badFramesInARow")
          link.end(closeCodes.policy, `${limits.badFramesInARow} bad messages in a row`)
        })

      const onFrame = (
        attached: Attached,
        state: Requests.State,
        scope: Scope.Scope,
        frame: Inbound
      ): Effect.Effect<void> => {
        const { link, session } = attached
        link.lastIn = deadlines.now()
        session.lastSeenAt = link.lastIn
        const envelope = Requests.readFrame(frame, readLimits)
        if (Either.isLeft(envelope)) {
          return bad(attached, state, envelope.left.error, undefined, envelope.left.requestId)
        }
        const raw = envelope.right
        if (raw.session_id !== undefined && raw.session_id !== session.sessionId) {
          return bad(
            attached,
            state,
            new InvalidRequest({ message: "session_id: is not this connection's session" }),
            raw
          )
        }
        if (!Message.isClientType(raw.type)) {
          if (ExtensionName.isExtension(raw.type)) return Effect.void
          return bad(
            attached,
            state,
            new InvalidRequest({
              message: Message.isRuntimeType(raw.type)
                ? `type: ${raw.type} is sent by runtimes only`
                : "type: is not a message type of ARCP 1.1"
            }),
            raw
          )
        }
        const decoded = Message.decodeClient(raw)
        if (Either.isLeft(decoded)) return bad(attached, state, decoded.left, raw)
        link.badFrames = 0
        if (!isSignOfLife(raw.type)) session.spokeAt = link.lastIn
        if (!link.confirmed) sessions.confirm(attached)
        return handle(attached, state, scope, decoded.right, typeof frame === "string" ? frame.length : 0)
      }

      /** Reads the connection until it ends, or is to be read no further. */
      const reading = (connection: Connection, state: Requests.State, scope: Scope.Scope, tooSlow: Deadline) =>
        readChunks(connection, (frames) => {
          let i = 0
          let waited = false
          const next: Effect.Effect<void> = Effect.suspend(() => {
            while (i < frames.length && !state.done) {
              // Once for each frame: where a test moves the clock, there is nothing to wait for, and the turn stays over.
              const wait = waited ? undefined : pauseIfOver()
              waited = wait !== undefined
              if (wait !== undefined) return Effect.zipRight(wait, next)
              const { attached } = state
              if (attached !== undefined && !attached.link.hasRoom)
                return Effect.zipRight(Requests.drained(attached, state, reached), next)
              const frame = frames[i++]!
              if (attached === undefined) {
                return Effect.zipRight(
                  Effect.tap(handshake(connection, state, frame, scope), () => tooSlow.cancel()),
                  next
                )
              }
              const handled =
                typeof frame === "string" && frame.length > largeFrame
                  ? // It is decoded in one step: one of its kind in a turn of the event loop, over all connections.
                    asWork(Effect.suspend(() => onFrame(attached, state, scope, frame)))
                  : onFrame(attached, state, scope, frame)
              const pace = state.pace.next(deadlines.now)
              return Effect.zipRight(pace === undefined ? handled : Effect.zipRight(pace, handled), next)
            }
            return Effect.void
          })
          return next
        })

      // One frame for all that is to happen at the end: what waits here, waits for as long as the session lives.
      const serve = (connection: Connection): Effect.Effect<void> =>
        Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(Scope.make(), (scope) => {
            const state = Requests.begin(new Pace(limits.messagesPerSecond, deadlines.now(), meter))
            const refusal = strangers.enter(connection)
            if (refusal !== undefined) {
              return refuse(connection, state, new InternalError({ message: refusal }), undefined)
            }
            const tooSlow = deadlines.schedule(deadlines.now() + limits.handshakeTimeout, () => {
              if (state.attached !== undefined || state.done) return
              const time = `within ${limits.handshakeTimeout} ms`
              // Nothing was judged, neither the hello nor its credential.
              const error =
                state.greeted !== undefined
                  ? new InternalError({ message: `the session could not be opened ${time}; try again` })
                  : new InvalidRequest({ message: `no session.hello came ${time}; try again`, retryable: true })
              runFork(refuse(connection, state, reaching("handshakeTimeout", error), state.greeted))
            })
            // Its inbound has ended, so its end is near. The transport cannot count.
            const tooLarge = Effect.map(connection.closed, ({ code }) => {
              if (code === closeCodes.tooBig) reached("unauthenticatedFrameBytes")
            })
            const ended = (exit: Exit.Exit<void>): Effect.Effect<void> => {
              tooSlow.cancel()
              state.expiry?.cancel()
              strangers.leave(connection)
              if (state.attached !== undefined) sessions.leave(state.attached)
              const closed = Scope.close(scope, exit)
              if (Exit.isSuccess(exit)) return state.attached === undefined ? Effect.zipRight(closed, tooLarge) : closed
              return Effect.zipRight(
                closed,
                Exit.isInterrupted(exit)
                  ? connection.close(closeCodes.goingAway, "the runtime is shutting down")
                  : Effect.zipRight(
                      Effect.logError("a connection could not be served", exit.cause),
                      connection.close(closeCodes.internal, "the connection could not be served")
                    )
              )
            }
            const span = Effect.makeSpanScoped("arcp.session", {
              root: true,
              attributes: { "arcp.transport": connection.transport },
              captureStackTrace: false
            })
            return Effect.flatMap(Scope.extend(span, scope), (span) =>
              Effect.flatMap(
                Effect.exit(restore(Effect.withParentSpan(reading(connection, state, scope, tooSlow), span))),
                ended
              )
            )
          })
        )

      const restrictions: Restrictions = {
        frameBytes: limits.unauthenticatedFrameBytes,
        refusal: (remoteAddress) => strangers.refusal(remoteAddress)
      }

      return { serve, restrictions }
    })
  )
}
