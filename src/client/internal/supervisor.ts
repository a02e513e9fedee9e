/**
 * Keeping a client's session alive over its connections: connect, say hello, resume, replace, come back, give up.
 *
 * Responsibility: one fiber that owns the connection of the moment, with a writer, a heartbeat and the acknowledgements
 * in that connection's scope. The rules of the session itself are in `core`.
 *
 * Order: after a welcome that resumes, unanswered requests are sent again. After a welcome of a new session, every live
 * job is first observed from the last event that was seen, then submitted again under its key, so that nothing is missed
 * between the two.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type ArcpError, InvalidRequest, oneLine } from "../../protocol/Errors.js"
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
import type { Core, Reaction } from "./core.js"
import * as encode from "./encode.js"
import * as Fibers from "./fibers.js"
import * as Hello from "./hello.js"
import { startsAt, subscribedOf } from "./history.js"
import type { ClientJob } from "./job.js"
import { textOf } from "./text.js"

/** Options with every default filled in; times are milliseconds. */
export interface SupervisorOptions extends Hello.HelloOptions {
  readonly connectTimeout: number
  readonly handshakeTimeout: number
  readonly closeTimeout: number
  readonly backoff: number
  readonly maxBackoff: number
  readonly maxAttempts: number
  readonly ackEvery: number
  readonly ackBytes: number
  readonly ackInterval: number
  readonly eventBuffer: number
  readonly resume:
    | { readonly sessionId: string; readonly resumeToken: Redacted.Redacted<string>; readonly lastEventSeq: number }
    | undefined
  readonly now: () => number
  readonly random: Effect.Effect<number>
}

type Failure = ArcpError | ClientError

/** So often the same number is asked for before it counts as gone. */
const maxGaps = 3

/** How one connection ended. */
type Outcome =
  | { readonly _tag: "again"; readonly code: number; readonly reason: string }
  | { readonly _tag: "end"; readonly error: Failure | undefined }

/** What the calls of a client need. */
export interface Supervisor {
  readonly status: Stream.Stream<ClientStatus>
  /** Waits for the first welcome. */
  readonly connected: Effect.Effect<void, Failure>
  /** Why there is no session any more; undefined while there may be one. */
  readonly ended: () => Failure | undefined
  /** Sends what is queued. */
  readonly flush: () => void
  /** A consumer has taken events. */
  readonly consumed: () => void
  readonly close: Effect.Effect<void>
}

/** Something that one fiber waits for and others signal. A signal before the wait is not lost. */
class Signal {
  private set = false
  private resume: (() => void) | undefined = undefined
  readonly signal = (): void => {
    const { resume } = this
    if (resume === undefined) this.set = true
    else {
      this.resume = undefined
      resume()
    }
  }
  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.set) {
      this.set = false
      return resume(Effect.void)
    }
    this.resume = () => resume(Effect.void)
    return Effect.sync(() => {
      this.resume = undefined
    })
  })
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
    let attempt = 0
    let paused = false
    /** The session that a new one stands in for. */
    let replaced: string | undefined
    let resuming = false
    /** The number that a gap asked for, and how often in a row. */
    let missing = 0
    let gaps = 0
    /** The number at the welcome, and whether the connections since the last new one have brought but gaps. */
    let seqAtWelcome = 0
    let stuck = false

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

    /** Takes one job up in a new session. */
    const recoverJob = (job: ClientJob, done: (lost: boolean) => void): void => {
      const lose = (error: Failure): void => {
        job.finish({ _tag: "lost", error })
        core.jobs.delete(job.jobId)
        job.notify()
        done(true)
      }
      const { recovery } = job
      const submitAgain = (): void => {
        if (recovery._tag === "observer" || job.end !== undefined) return done(false)
        core.request({
          type: "job.submit",
          request: recovery.submit,
          recovers: true,
          answered: () => {
            job.recovering = false
            done(false)
          },
          failed: lose
        })
      }
      if (!core.features.has("subscribe")) return submitAgain()
      // An owner's numbers are those of the session that owns the job. Where the one before this may or may not have become
      // that, everything is asked for, and what has been seen is passed over.
      const anew = recovery._tag === "observer" || job.recovering
      const from = recovery._tag === "observer" ? recovery.from : job.recovering ? 0 : job.lastSeq
      job.skip = anew ? job.received : 0
      job.lastSeq = 0
      job.recovering = recovery._tag === "owner"
      const request = encode.request({ job_id: job.jobId, history: true, from_event_seq: from }, { job_id: job.jobId })
      if (Either.isLeft(request)) return lose(request.left)
      core.request({
        type: "job.subscribe",
        request: request.right,
        jobId: job.jobId,
        recovers: true,
        answered: (message) => {
          startsAt(job, subscribedOf(message), from, anew)
          submitAgain()
        },
        failed: lose
      })
    }

    const recover = (previousSessionId: string): void => {
      const jobs = [...core.jobs.values()]
      let left = jobs.length
      let lost = 0
      const report = (): void => {
        pendingStatus.push({
          _tag: "SessionReplaced",
          sessionId: core.sessionId ?? "",
          previousSessionId,
          recovered: jobs.length - lost,
          lost
        })
      }
      if (left === 0) return report()
      for (const job of jobs) {
        recoverJob(job, (isLost) => {
          if (isLost) lost++
          if (--left === 0) report()
        })
      }
    }

    /** Statuses that synchronous code has found; published by the reader. */
    const pendingStatus: Array<ClientStatus> = []
    const publish = Effect.suspend(() =>
      pendingStatus.length === 0
        ? Effect.void
        : Effect.forEach(pendingStatus.splice(0), (s) => SubscriptionRef.set(status, s), { discard: true })
    )

    const onWelcome = (previous: string | undefined): void => {
      if (!stuck) attempt = 0
      seqAtWelcome = core.lastSeq
      replaced ??= previous
      const sessionId = core.sessionId ?? ""
      if (replaced === undefined) {
        pendingStatus.push(
          resuming ? { _tag: "Resumed", sessionId, fromSeq: core.lastSeq } : { _tag: "Connected", sessionId }
        )
        core.repeatPending()
      } else {
        pendingStatus.push({ _tag: "Connected", sessionId })
        const before = replaced
        replaced = undefined
        // First what was asked for before: recovery adds requests of its own, anew for each new session.
        for (const [id, pending] of core.pending) if (pending.recovers === true) core.pending.delete(id)
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
      const sessionIsGone =
        error.code === "RESUME_WINDOW_EXPIRED" ||
        (resuming &&
          !welcomed &&
          (error.code === "INVALID_REQUEST" || error.code === "UNAUTHENTICATED") &&
          !error.retryable)
      if (sessionIsGone && core.sessionId !== undefined) {
        replaced = core.sessionId
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
      stuck = true
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

    const heartbeats = (connection: Connection): Effect.Effect<void> =>
      Effect.suspend(function tick(): Effect.Effect<void> {
        const interval = core.heartbeatMillis
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
    let lastOut = 0

    const writer = (connection: Connection): Effect.Effect<void, ConnectionClosed> =>
      Effect.suspend(function next(): Effect.Effect<void, ConnectionClosed> {
        if (!core.hasOutbox) return Effect.zipRight(toSend.wait, Effect.suspend(next))
        lastOut = options.now()
        return Effect.zipRight(connection.send(core.takeOutbox()), Effect.suspend(next))
      })

    const acknowledging = Effect.forever(
      Effect.zipRight(
        toAcknowledge.wait,
        Effect.zipRight(
          Effect.sleep(options.ackInterval),
          Effect.sync(() => {
            core.acknowledge()
            if (core.hasOutbox) toSend.signal()
          })
        )
      )
    )

    /** After a fault on this side, which another connection would meet again. */
    const broken = (cause: Cause.Cause<unknown>): { readonly _tag: "end"; readonly error: SessionEnded } => ({
      _tag: "end",
      error: new SessionEnded({
        reason: "gave_up",
        message: oneLine(`the client failed unexpectedly: ${textOf(Cause.squash(cause))}`)
      })
    })

    /** How an attempt ended that came to no connection, or to one whose transport failed. */
    const failed = (cause: Cause.Cause<unknown>): Outcome => {
      const error = Cause.squash(cause)
      // Options that no hello can carry; the next one would be refused alike.
      return error instanceof InvalidRequest
        ? { _tag: "end", error }
        : {
            _tag: "again",
            code: Cause.isDie(cause) ? closeCodes.internal : closeCodes.abnormal,
            reason: Cause.isDie(cause) ? `the transport failed: ${textOf(error)}` : textOf(error)
          }
    }

    const handshake = (connection: Connection): Effect.Effect<void> =>
      Effect.zipRight(
        Effect.sleep(options.handshakeTimeout),
        Effect.suspend(() =>
          core.welcomed ? Effect.void : connection.close(closeCodes.policy, "no welcome came in time")
        )
      )

    /** One connection. Its outcome is settled by a frame, else by how the connection ends. */
    const connectOnce: Effect.Effect<Outcome> = Effect.suspend(() => {
      let outcome: Outcome | undefined
      const react = (reaction: Reaction): void => {
        switch (reaction._tag) {
          case "none":
            return
          case "welcomed":
            return onWelcome(reaction.previous)
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
        if (core.hasUndecided)
          return Effect.zipRight(
            turns,
            Effect.suspend(() => settled(connection))
          )
        return settled(connection)
      }
      const settled = (connection: Connection): Effect.Effect<void> => {
        core.decide()
        if (stuck && core.welcomed && core.lastSeq > seqAtWelcome) {
          stuck = false
          attempt = 0
        }
        const due =
          core.unackedBytes >= options.ackBytes ||
          // The first comparison is cheap, and the second cannot hold without it.
          (core.lastSeq - core.ackedSeq >= options.ackEvery && core.processedSeq - core.ackedSeq >= options.ackEvery)
        if (due) core.acknowledge()
        else if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
        if (core.hasOutbox) toSend.signal()
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
        const connection = yield* Effect.timeoutFail(connector.connect, {
          duration: options.connectTimeout,
          onTimeout: () => ({ message: `no connection within ${options.connectTimeout} ms` })
        })
        core.welcomed = false
        core.takeOutbox()
        const frame = yield* Effect.tapErrorCause(hello, (cause) =>
          Effect.suspend(() => {
            // Such as the token's own defect; the next hello would meet it again.
            if (isClosing || Cause.isFailure(cause)) return Effect.void
            outcome = broken(cause)
            return Fibers.report("the client could not authenticate", cause)
          })
        )
        yield* connection.send([frame])
        lastOut = options.now()
        core.lastIn = lastOut
        return yield* Fibers.run(connection, reader(connection), {
          writer: writer(connection),
          heartbeat: heartbeats(connection),
          acknowledgements: acknowledging,
          handshake: handshake(connection)
        })
      })
      return Effect.scoped(connected).pipe(
        Effect.matchCauseEffect({
          onSuccess: ({ code, reason }) => Effect.succeed(outcome ?? { _tag: "again" as const, code, reason }),
          onFailure: (cause) =>
            isClosing && Cause.isInterrupted(cause)
              ? Effect.failCause(cause as Cause.Cause<never>)
              : Effect.succeed(outcome ?? failed(cause))
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
        // Nobody is left to answer a polite close.
        Deferred.unsafeDone(closing, Effect.void)
        Deferred.unsafeDone(firstWelcome, Effect.fail(ended))
        return Effect.zipRight(
          SubscriptionRef.set(status, error === undefined ? { _tag: "Closed" } : { _tag: "Closed", error }),
          Deferred.succeed(finished, undefined)
        )
      })

    const run = Effect.suspend(function loop(): Effect.Effect<void> {
      return Effect.flatMap(connectOnce, (outcome) => {
        if (outcome._tag === "end") return end(outcome.error)
        if (isClosing) return end(undefined)
        attempt++
        if (attempt > options.maxAttempts) {
          return end(
            new SessionEnded({
              reason: "gave_up",
              message: `no session after ${options.maxAttempts} attempts, the last one: ${outcome.reason}`
            })
          )
        }
        // A session that could not be resumed is replaced at once: the runtime is there.
        if (replaced !== undefined && attempt === 1) return Effect.suspend(loop)
        return Effect.flatMap(options.random, (random) => {
          const longest = Math.min(options.backoff * 2 ** (attempt - 1), options.maxBackoff)
          const delay = Duration.millis(Math.round(longest / 2 + (longest / 2) * random))
          return SubscriptionRef.set(status, { _tag: "Disconnected", code: outcome.code, reason: outcome.reason }).pipe(
            Effect.zipRight(SubscriptionRef.set(status, { _tag: "Reconnecting", attempt, delay })),
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
        Effect.zipRight(Deferred.await(finished))
      )
    })
    yield* Effect.addFinalizer(() => close)

    return {
      status: status.changes.pipe(Stream.takeUntil((s) => s._tag === "Closed")),
      connected: Deferred.await(firstWelcome),
      ended: () => ended,
      flush: () => {
        if (core.welcomed) toSend.signal()
      },
      consumed: () => {
        taken.signal()
        if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
      },
      close
    }
  })
