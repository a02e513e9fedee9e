/**
 * Keeping a client's session alive over its connections: connect, say hello, resume, replace, come back, give up.
 *
 * Responsibility: one fiber that owns the connection of the moment, with a writer, a heartbeat and the acknowledgements
 * in that connection's scope. The rules of the session itself are in `core`.
 *
 * Order: after a welcome that resumes, unanswered requests are sent again. After a welcome of a new session, they are too,
 * and then every live job is taken up (see `recovery`).
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type ArcpError, oneLine } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import {
  BadFrame,
  closeCodes,
  type CloseInfo,
  type Connection,
  type ConnectionClosed,
  type Inbound,
  readChunks,
  type Connector
} from "../../transport/Connection.js"
import { ClientClosed, type ClientError, SessionEnded } from "../ClientError.js"
import type { ClientStatus } from "../ClientStatus.js"
import { Attempt, broken, Ends, failed, type Outcome as OutcomeOf } from "./attempt.js"
import type { Core, Reaction } from "./core.js"
import * as Fibers from "./fibers.js"
import * as FirstFrame from "./firstFrame.js"
import * as Hello from "./hello.js"
import { InFlight } from "./inFlight.js"
import { Pace, type PaceOptions } from "./pace.js"
import * as Recovery from "./recovery.js"
import { Signal } from "./signal.js"
import * as Silence from "./silence.js"
import { textOf } from "./text.js"

/** Options with every default filled in; times are milliseconds. */
export interface SupervisorOptions extends Hello.HelloOptions, PaceOptions {
  readonly connectTimeout: number
  readonly handshakeTimeout: number
  readonly closeTimeout: number
  readonly requestTimeout: number
  readonly ackEvery: number
  readonly ackBytes: number
  readonly ackInterval: number
  readonly eventBuffer: number
  readonly resume:
    | { readonly sessionId: string; readonly resumeToken: Redacted.Redacted<string>; readonly lastEventSeq: number }
    | undefined
  readonly now: () => number
  /** Called once, when the client has ended. */
  readonly onEnd: () => void
}

type Failure = ArcpError | ClientError
type Outcome = OutcomeOf<Failure | undefined>

/** So often the same number is asked for before it counts as gone. */
const maxGaps = 3
/** A connection that lives for so many milliseconds after its welcome is progress, whatever comes on it. */
const steady = 10_000
/** What follows a first frame that cannot be read has so many milliseconds to be better. */
const afterGarbage = 1_000

/** What the calls of a client need. */
export interface Supervisor {
  readonly status: Stream.Stream<ClientStatus>
  /** Waits for the first welcome; fails once the client has ended. */
  readonly connected: Effect.Effect<void, Failure>
  /** Why there is no session any more; undefined while there may be one. */
  readonly ended: () => Failure | undefined
  /** Sends what is queued. */
  readonly flush: () => void
  /** A consumer has taken events. */
  readonly consumed: () => void
  /** Why a request cannot be sent to this runtime; undefined where it can. */
  readonly refusal: (request: string) => ArcpError | undefined
  readonly close: Effect.Effect<void>
}

/** Frames that are read without giving way to whoever has been told of a new job. */
const few = 16
/** Time for such a fiber to come to where it consumes: it takes some steps. */
const turns = Effect.replicateEffect(Effect.yieldNow(), 4, { discard: true })

/** Starts the supervisor; the scope's end closes the session. */
export const supervise = (
  core: Core,
  connector: Context.Tag.Service<Connector>,
  options: SupervisorOptions
): Effect.Effect<Supervisor, never, Scope.Scope> =>
  Effect.gen(function* () {
    const status = yield* SubscriptionRef.make<ClientStatus>({ _tag: "Connecting" })
    const firstWelcome = yield* Deferred.make<void, Failure>()
    const finished = yield* Deferred.make<void>()
    const toSend = new Signal()
    const toAcknowledge = new Signal()
    const taken = new Signal()
    const closing = yield* Deferred.make<void>()
    let isClosing = false
    let ended: Failure | undefined
    const pace = new Pace(options)
    const inFlight = new InFlight(core, options.requestTimeout, options.now)
    const ends = new Ends()
    let everWelcomed = false
    let paused = false
    /** The session that a new one stands in for. */
    let replaced: string | undefined
    /** Whether the next connection is made without a wait. */
    let atOnce = false
    let resuming = false
    /** The number that a gap asked for, and how often in a row. */
    let missing = 0
    let gaps = 0

    const given = options.resume === undefined ? undefined : Hello.checkResume(options.resume)
    if (given !== undefined && Either.isRight(given)) {
      core.sessionId = given.right.sessionId
      core.resumeToken = given.right.resumeToken
      core.lastSeq = given.right.lastSeq
      core.ackedSeq = given.right.lastSeq
    }

    const makeHello = Hello.make(options)
    const hello = Effect.suspend(() => {
      if (given !== undefined && Either.isLeft(given)) return Effect.fail(given.left)
      const { lastSeq, resumeToken, sessionId } = core
      resuming = sessionId !== undefined && resumeToken !== undefined
      return makeHello(
        sessionId === undefined || resumeToken === undefined ? undefined : { sessionId, resumeToken, lastSeq }
      )
    })

    const recover = (previousSessionId: string): void =>
      Recovery.recover(core, (jobs, lost) => {
        const sessionId = core.sessionId ?? ""
        pendingStatus.push({ _tag: "SessionReplaced", sessionId, previousSessionId, recovered: jobs - lost, lost })
      })

    /** Statuses that synchronous code has found; published by the reader. */
    const pendingStatus: Array<ClientStatus> = []
    const warnings: Array<string> = []
    const publish = Effect.suspend(() =>
      pendingStatus.length === 0 && warnings.length === 0
        ? Effect.void
        : Effect.zipRight(
            Effect.forEach(pendingStatus.splice(0), (s) => SubscriptionRef.set(status, s), { discard: true }),
            Effect.forEach(warnings.splice(0), Fibers.warn, { discard: true })
          )
    )

    const onWelcome = (previous: string | undefined): void => {
      everWelcomed = true
      replaced ??= previous
      const sessionId = core.sessionId ?? ""
      if (replaced === undefined) {
        pendingStatus.push(
          resuming ? { _tag: "Resumed", sessionId, fromSeq: core.lastSeq } : { _tag: "Connected", sessionId }
        )
        inFlight.welcomed()
        core.repeatPending()
      } else {
        pendingStatus.push({ _tag: "Connected", sessionId })
        const before = replaced
        replaced = undefined
        inFlight.forget()
        // First what was asked for before: recovery adds requests of its own, anew for each new session.
        for (const [id, pending] of core.pending) if (pending.recovers === true) core.pending.delete(id)
        inFlight.welcomed()
        core.repeatPending()
        recover(before)
      }
      Deferred.unsafeDone(firstWelcome, Effect.void)
    }

    const onRefused = (error: ArcpError, welcomed: boolean): Outcome => {
      if (error.details?.reason === "taken_over") {
        return {
          _tag: "end",
          error: new SessionEnded({ reason: "taken_over", message: "another connection has resumed this session" })
        }
      }
      if (error.code === "HEARTBEAT_LOST") return { _tag: "again", code: closeCodes.policy, reason: error.code }
      // A resume is refused in many words. Only one of them is about the credential, and some ask for patience.
      const sessionIsGone =
        error.code === "RESUME_WINDOW_EXPIRED" ||
        (resuming && !welcomed && error.code !== "UNAUTHENTICATED" && !error.retryable)
      if (sessionIsGone && core.sessionId !== undefined) {
        replaced = core.sessionId
        // The runtime is there, and refused the resume alone. A session that it has just opened and ends is waited for.
        atOnce = resuming
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

    /** A gap is resumed from. Where that does not close it, what is missing is gone, as after the window's end. */
    const onGap = (expected: number): void => {
      gaps = expected === missing ? gaps + 1 : 1
      missing = expected
      if (gaps < maxGaps || core.sessionId === undefined) return
      gaps = 0
      replaced = core.sessionId
      core.forgetSession()
    }

    const overLag = (): boolean => {
      for (const job of core.jobs.values()) if (job.isBehind(1)) return true
      return false
    }

    const waitForConsumers = Effect.suspend(function wait(): Effect.Effect<void> {
      if (!overLag()) {
        paused = false
        return Effect.void
      }
      paused = true
      return Effect.zipRight(taken.wait, Effect.suspend(wait))
    })

    const heartbeats = (connection: Connection, welcome: Signal): Effect.Effect<void> =>
      // The interval is known with the welcome; until then the handshake's time counts.
      Effect.zipRight(
        welcome.wait,
        Effect.suspend(function tick(): Effect.Effect<void> {
          const interval = core.terms.heartbeatMillis
          return Effect.zipRight(
            Effect.sleep(interval / 2),
            Effect.suspend(() => {
              if (!core.welcomed || !core.features.has("heartbeat")) return Effect.suspend(tick)
              const silent = options.now() - core.lastIn
              if (silent >= 2 * interval && !paused) return connection.close(closeCodes.policy, "HEARTBEAT_LOST")
              if (silent >= interval || options.now() - lastOut >= interval) {
                core.post("session.ping", {
                  nonce: `hb_${options.newId()}`,
                  sent_at: formatTimestamp(options.now())
                })
                toSend.signal()
              }
              return Effect.suspend(tick)
            })
          )
        })
      )
    let lastOut = 0
    /** When the frames that are being written were handed over; undefined while none are. */
    let writingSince: number | undefined

    /** Looks after the time of what was sent; what cannot even be written is given as long again. */
    const timeouts = (connection: Connection, attempt: Attempt): Effect.Effect<void> =>
      Effect.suspend(function look(): Effect.Effect<void> {
        const next = inFlight.expire(attempt.remark)
        // A job that was lost with its request holds up the reader no longer.
        if (paused) taken.signal()
        if (writingSince !== undefined && options.now() - writingSince >= 2 * options.requestTimeout) {
          return connection.close(closeCodes.policy, "the runtime reads nothing")
        }
        return publish.pipe(Effect.zipRight(Effect.sleep(next)), Effect.zipRight(Effect.suspend(look)))
      })

    const writer = (connection: Connection): Effect.Effect<void, ConnectionClosed> =>
      Effect.suspend(function next(): Effect.Effect<void, ConnectionClosed> {
        if (core.outgoing.size === 0) return Effect.zipRight(toSend.wait, Effect.suspend(next))
        lastOut = options.now()
        writingSince = lastOut
        const frames = core.outgoing.take()
        const requests = core.outgoing.takeUnwritten()
        return Effect.flatMap(connection.send(frames), () => {
          writingSince = undefined
          inFlight.written(requests)
          return next()
        })
      })

    const acknowledging = Effect.forever(
      Effect.zipRight(
        toAcknowledge.wait,
        Effect.zipRight(
          Effect.sleep(options.ackInterval),
          Effect.sync(() => {
            core.acknowledge()
            if (core.outgoing.size > 0) toSend.signal()
          })
        )
      )
    )

    const handshake = (connection: Connection, attempt: Attempt, garbage: Signal): Effect.Effect<void> =>
      Effect.sleep(options.handshakeTimeout).pipe(
        Effect.raceFirst(Effect.zipRight(garbage.wait, Effect.sleep(afterGarbage))),
        Effect.zipRight(
          Effect.suspend(() => {
            if (core.welcomed) return Effect.void
            attempt.gaveUp = true
            return connection.close(closeCodes.policy, "no welcome came in time")
          })
        )
      )

    /** One connection. Its outcome is settled by a frame, else by how the connection ends. */
    const connectOnce: Effect.Effect<Outcome> = Effect.suspend(() => {
      let outcome: Outcome | undefined
      const attempt = new Attempt()
      const welcome = new Signal()
      const garbage = new Signal()
      const progressBefore = core.progress
      inFlight.begin()
      writingSince = undefined
      const react = (reaction: Reaction): void => {
        switch (reaction._tag) {
          case "none":
            return
          case "welcomed":
            attempt.welcomedAt = options.now()
            welcome.signal()
            return onWelcome(reaction.previous)
          case "remarked": {
            const { code, message } = reaction.error
            attempt.remark = oneLine(`${code}: ${message}`)
            // Some runtimes do not know `session.close`, and say so.
            if (isClosing) return react({ _tag: "closed" })
            warnings.push(`the runtime reports ${attempt.remark}`)
            return
          }
          case "refused":
            outcome = onRefused(reaction.error, core.welcomed)
            return
          case "gap":
            onGap(reaction.expected)
            outcome = {
              _tag: "again",
              code: closeCodes.policy,
              reason: `event ${reaction.got} came where ${reaction.expected} was expected`
            }
            return
          case "closed":
            if (isClosing) Deferred.unsafeDone(closing, Effect.void)
            outcome = isClosing
              ? { _tag: "end", error: undefined }
              : {
                  _tag: "again",
                  code: closeCodes.normal,
                  reason: "the runtime closed the session"
                }
        }
      }
      /** What follows from the frames of one chunk. */
      const reacted = (connection: Connection): Effect.Effect<void> => {
        core.flush()
        if (core.changed.hasUndecided)
          return Effect.zipRight(
            turns,
            Effect.suspend(() => settled(connection))
          )
        return settled(connection)
      }
      const settled = (connection: Connection): Effect.Effect<void> => {
        core.changed.decide()
        const due =
          core.unackedBytes >= options.ackBytes ||
          // The first comparison is cheap, and the second cannot hold without it.
          (core.lastSeq - core.ackedSeq >= options.ackEvery && core.processedSeq - core.ackedSeq >= options.ackEvery)
        if (due) core.acknowledge()
        else if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
        if (core.outgoing.size > 0) toSend.signal()
        return outcome !== undefined
          ? Effect.zipRight(publish, connection.close(closeCodes.normal, ""))
          : overLag()
            ? Effect.zipRight(publish, waitForConsumers)
            : publish
      }
      const take = (connection: Connection, frames: ReadonlyArray<Inbound>): Effect.Effect<void> => {
        let at = 0
        return Effect.suspend(function next(): Effect.Effect<void> {
          while (at < frames.length && outcome === undefined) {
            const frame = frames[at++]!
            if (!attempt.heard) {
              attempt.heard = true
              attempt.garbage = FirstFrame.undecodable(frame)
              if (attempt.garbage !== undefined) garbage.signal()
            }
            if (!(frame instanceof BadFrame)) react(core.read(frame))
            // Whoever has just been told of a job begins to consume it before many of its events come.
            if (frames.length - at > few && core.takeAdopted()) return Effect.zipRight(turns, Effect.suspend(next))
          }
          return reacted(connection)
        })
      }
      const reader = (connection: Connection): Effect.Effect<CloseInfo> =>
        Effect.zipRight(
          readChunks(connection, (frames) =>
            Effect.catchAllDefect(
              Effect.suspend(() => take(connection, frames)),
              (defect) => {
                outcome = broken(Cause.die(defect))
                return Effect.die(defect)
              }
            )
          ),
          connection.closed
        )
      const connected = Effect.gen(function* () {
        core.welcomed = false
        core.outgoing.take()
        // Before it dials: a token may take longer than the runtime waits for a hello.
        const frame = yield* Effect.tapErrorCause(
          Effect.timeoutFail(hello, {
            duration: options.requestTimeout,
            onTimeout: () => ({ message: `no token within ${options.requestTimeout} ms` })
          }),
          (cause) =>
            Effect.suspend(() => {
              // Such as the token's own defect; the next hello would meet it again.
              if (isClosing || Cause.isFailure(cause)) return Effect.void
              outcome = broken(cause)
              return Fibers.report("the client could not authenticate", cause)
            })
        )
        const connection = yield* Effect.timeoutFail(connector.connect, {
          duration: options.connectTimeout,
          onTimeout: () => ({ message: `no connection within ${options.connectTimeout} ms` })
        })
        attempt.opened = true
        yield* connection.send([frame])
        lastOut = options.now()
        core.lastIn = lastOut
        return yield* Fibers.run(connection, reader(connection), {
          writer: writer(connection),
          heartbeat: heartbeats(connection, welcome),
          acknowledgements: acknowledging,
          handshake: handshake(connection, attempt, garbage),
          timeouts: timeouts(connection, attempt),
          silence: Silence.watch(core, connection, { isPaused: () => paused, onGap, flush: toSend.signal, publish })
        })
      })
      /** How it ended, with what follows for the requests that it had. */
      const judged = (code: number, reason: string): Outcome => {
        const progressed =
          core.progress > progressBefore ||
          (attempt.welcomedAt !== undefined && options.now() - attempt.welcomedAt >= steady)
        if (progressed) {
          pace.progressed()
          ends.progressed()
        }
        const blamed = inFlight.ended(code, progressed)
        return outcome ?? ends.judge(attempt, code, attempt.because(reason), blamed, everWelcomed)
      }
      return Effect.scoped(connected).pipe(
        Effect.matchCauseEffect({
          onSuccess: ({ code, reason }) => Effect.sync(() => judged(code, reason)),
          onFailure: (cause) => {
            if (isClosing && Cause.isInterrupted(cause)) return Effect.failCause(cause as Cause.Cause<never>)
            const end = failed(cause)
            return Effect.sync(() => outcome ?? (end._tag === "end" ? end : judged(end.code, end.reason)))
          }
        }),
        Effect.ensuring(
          Effect.sync(() => {
            core.welcomed = false
          })
        )
      )
    })

    const end = (error: Failure | undefined): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (ended !== undefined) return Effect.void
        ended = error ?? new ClientClosed({ message: "the client has been closed" })
        core.end(ended)
        options.onEnd()
        // Nobody is left to answer a polite close.
        Deferred.unsafeDone(closing, Effect.void)
        Deferred.unsafeDone(firstWelcome, Effect.fail(ended))
        return Effect.zipRight(
          SubscriptionRef.set(status, error === undefined ? { _tag: "Closed" } : { _tag: "Closed", error }),
          Deferred.succeed(finished, undefined)
        )
      })

    const warnOf = (attempt: number, delay: Duration.Duration, reason: string): Effect.Effect<void> =>
      Fibers.warn(
        `no session with ${textOf(connector.address)} after ${attempt} attempts: ${reason}; the next one in ${Duration.toMillis(delay)} ms`
      )

    const run = Effect.suspend(function loop(): Effect.Effect<void> {
      return Effect.flatMap(connectOnce, (outcome) => {
        if (outcome._tag === "end") return end(outcome.error)
        if (isClosing) return end(undefined)
        // A session that could not be resumed is replaced at once: the runtime is there.
        if (atOnce) {
          atOnce = false
          return Effect.suspend(loop)
        }
        return Effect.flatMap(pace.next(outcome.code, outcome.reason), (next) => {
          const { attempt } = pace
          if (Option.isNone(next)) {
            return end(
              new SessionEnded({
                reason: "gave_up",
                message: oneLine(
                  `no session after ${attempt} attempt${attempt === 1 ? "" : "s"}, the last one: ${outcome.reason}`
                )
              })
            )
          }
          const delay = next.value
          return SubscriptionRef.set(status, { _tag: "Disconnected", code: outcome.code, reason: outcome.reason }).pipe(
            Effect.zipRight(SubscriptionRef.set(status, { _tag: "Reconnecting", attempt, delay })),
            Effect.zipRight(attempt < 2 ? Effect.void : warnOf(attempt, delay, outcome.reason)),
            Effect.zipRight(Effect.sleep(delay)),
            Effect.zipRight(Effect.suspend(loop))
          )
        })
      })
    })

    // The end of the loop ends the client, so that no caller waits for a session that cannot come.
    const supervisor = yield* Effect.forkDaemon(
      Effect.onExit(run, (exit) => {
        if (Exit.isSuccess(exit) || isClosing) return end(undefined)
        const outcome = broken(exit.cause)
        return Effect.zipRight(end(outcome.error), Fibers.report("the client failed unexpectedly", exit.cause))
      })
    )

    const close = Effect.suspend(() => {
      if (isClosing || ended !== undefined) return Deferred.await(finished)
      isClosing = true
      const polite = core.welcomed
        ? Effect.suspend(() => {
            core.acknowledge()
            core.post("session.close", { reason: "client closed" })
            toSend.signal()
            // In a finalizer nothing can be interrupted unless it says so, and then no time-out would count.
            return Effect.asVoid(
              Effect.timeoutOption(Effect.interruptible(Deferred.await(closing)), options.closeTimeout)
            )
          })
        : Effect.void
      return polite.pipe(
        Effect.zipRight(supervisor.interruptAsFork(supervisor.id())),
        Effect.zipRight(Fiber.await(supervisor)),
        // A fiber that was interrupted before its first step has run no finalizer.
        Effect.zipRight(end(undefined)),
        Effect.zipRight(Deferred.await(finished))
      )
    })
    yield* Effect.addFinalizer(() => close)

    return {
      status: status.changes.pipe(Stream.takeUntil((s) => s._tag === "Closed")),
      connected: Effect.flatMap(Deferred.await(firstWelcome), () =>
        ended === undefined ? Effect.void : Effect.fail(ended)
      ),
      ended: () => ended,
      flush: () => {
        if (core.welcomed) toSend.signal()
      },
      refusal: (request) => inFlight.refusal(request),
      consumed: () => {
        taken.signal()
        if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
      },
      close
    }
  })
