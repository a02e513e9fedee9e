/**
 * Observing jobs: subscribe with an exact boundary and history, unsubscribe, and listing (ARCP 1.1 §6.6, §7.6, §7.7).
 *
 * Responsibility: whether a principal may observe a job; what is read of it before a subscribe is written, and what the answer shows.
 * What the change itself does is `internal/observation.ts`.
 *
 * Order: `job.subscribed` is sent before any replayed event, and behind what the session has been given before; the replay is numbered
 * in the session and ends exactly where live events begin, because both are decided at one place in the log's queue.
 *
 * Races: a job that ends between the look-up and the change is looked up again, and then has ended. A job that is being left to the
 * next process is not observed here: the client is told to try again.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { type ArcpError, InternalError, JobNotFound, PermissionDenied } from "../../protocol/Errors.js"
import { type JobId, PrincipalId } from "../../protocol/Ids.js"
import { isTerminal } from "../../protocol/Session.js"
import { decoded, type DecodedJob } from "../../store/Rows.js"
import { Store } from "../../store/Store.js"
import { Credentials } from "../credentials/Credentials.js"
import { sessionEnded, shuttingDown, storeFailure } from "../kernel/Refusals.js"
import { Auditing } from "../kernel/Auditing.js"
import { JobRunner } from "../jobs/JobRunner.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { type Asking, refuse, type Reply } from "../kernel/Reply.js"
import { ObservationPolicy, type Visibility } from "../kernel/Policies.js"
import type { EndedRead } from "../log/EndedReads.js"
import { EventLog } from "../log/EventLog.js"
import type { JobLog } from "../log/JobLog.js"
import type { Run } from "../log/Run.js"
import type { SessionLog } from "../log/SessionLog.js"
import { jobViews } from "./internal/jobViews.js"
import { listing } from "./internal/listing.js"
import { jobSeqAt, ownerFor } from "./internal/numbers.js"
import { type Looked, Observation } from "./internal/observation.js"
import { type JobSubscribed, type SubscribeRequest, Subscriptions, type SubscriptionsService } from "./Subscriptions.js"

interface Found {
  readonly stored: Option.Option<DecodedJob>
  readonly visibility: Visibility
}

/** A subscribe, and the session of the log that asks. */
interface Asked {
  readonly session: SessionLog
  readonly request: SubscribeRequest
  readonly reply: Reply<JobSubscribed>
}

const noSuchJob = (jobId: string): JobNotFound =>
  new JobNotFound({ message: `job_id: there is no job ${jobId.slice(0, 64)}` })

/** The subscriptions of one runtime. */
export const layer: Layer.Layer<Subscriptions, never, Store | EventLog | JobRunner | Credentials> = Layer.effect(
  Subscriptions,
  Effect.gen(function* () {
    const store = decoded(yield* Store)
    const eventLog = yield* EventLog
    const runner = yield* JobRunner
    const limits = yield* Limits
    const { reached } = yield* Meter
    const audit = yield* Auditing
    const policy = yield* ObservationPolicy
    const views = jobViews(runner.live, yield* Credentials)
    const list = listing(store, runner.live, policy, limits, views)
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())

    /** Runs a request of a session that the log has. */
    const asked = <A>(
      { sessionId }: Asking,
      run: (session: SessionLog) => Effect.Effect<A, ArcpError>
    ): Effect.Effect<A, ArcpError> =>
      Effect.suspend(() => {
        const session = eventLog.sessions.get(sessionId)
        return session === undefined ? Effect.fail(sessionEnded) : run(session)
      })

    const find = ({ principal }: Asking, jobId: JobId): Effect.Effect<Found, ArcpError> =>
      Effect.map(Effect.mapError(store.job(jobId), storeFailure), (stored) => ({
        stored,
        visibility: Option.isNone(stored)
          ? "nothing"
          : stored.value.record.principalId === principal.id
            ? "observe"
            : policy.visibility(principal, PrincipalId(stored.value.record.principalId))
      }))

    /** The job where the principal may observe it; a job that it may not know of does not exist. */
    const permitted = (jobId: JobId, { stored, visibility }: Found): Effect.Effect<DecodedJob, ArcpError> =>
      Option.isNone(stored) || visibility === "nothing"
        ? noSuchJob(jobId)
        : visibility === "know"
          ? new PermissionDenied({ message: `job_id: you may not observe ${jobId}` })
          : Effect.succeed(stored.value)

    /** Who asked for which job; `owner`: whose it is, where there is one. */
    const audited = ({ request, session }: Pick<Asked, "request" | "session">, owner: string | undefined) => ({
      principal: request.principal.id,
      session_id: request.sessionId,
      job_id: request.jobId,
      request_id: request.requestId,
      remote_address: session.link?.connection.remoteAddress,
      owner
    })

    const refused = (asked: Pick<Asked, "request" | "session">, owner: string | undefined, { code }: ArcpError): void =>
      audit?.add({ type: "subscription.refused", ...audited(asked, owner), code })

    const ownerRuns = (
      session: SessionLog,
      live: JobLog | undefined,
      stored: DecodedJob
    ): Effect.Effect<ReadonlyArray<Run>, ArcpError> => {
      const isOther = stored.otherOwners.includes(session.sessionId)
      const ownerId =
        live !== undefined ? ownerFor(session, live) : isOther ? session.sessionId : stored.state.ownerSessionId
      const attachment = live?.attachments.get(ownerId)
      return attachment !== undefined
        ? Effect.succeed(attachment.given.all)
        : Effect.mapError(store.deliveriesOfJob(ownerId, stored.record.jobId), storeFailure)
    }

    /** What of the job has to be read before the change: its owner's numbers, and an ended job's history. */
    const look = ({ request, session }: Asked, stored: DecodedJob): Effect.Effect<Looked, ArcpError> =>
      Effect.gen(function* () {
        const { jobId } = stored.record
        const { from, history } = request
        const runs = history ? yield* ownerRuns(session, runner.live(jobId), stored) : []
        const after = from > 0 ? jobSeqAt(runs, from) : 0
        // An ended job is read from the store as it is after the look-up: it cannot change any more.
        const isLive = runner.live(jobId) !== undefined
        const ended = isLive ? Option.none<DecodedJob>() : yield* Effect.mapError(store.job(jobId), storeFailure)
        if (!isLive && Option.isNone(ended)) return yield* noSuchJob(jobId)
        if (isLeft(jobId, ended)) return yield* shuttingDown
        const heads =
          Option.isSome(ended) && history
            ? yield* Effect.mapError(store.segmentHeads(jobId, after + 1, ended.value.state.lastJobSeq), storeFailure)
            : []
        return { session, stored, ended, heads, history, from, after, ownerRuns: runs }
      })

    /** Whether a job is being left to the next process. */
    const isLeft = (jobId: string, ended: Option.Option<DecodedJob>): boolean => {
      const running = runner.running(jobId)
      return running === undefined
        ? Option.isSome(ended) && !isTerminal(ended.value.state.status)
        : runner.left(running)
    }

    const observe = (asked: Asked, stored: DecodedJob): Effect.Effect<void, ArcpError> =>
      Effect.gen(function* () {
        const { session } = asked
        if (session.observed.size >= limits.subscriptionsPerSession) {
          reached("subscriptionsPerSession")
          return yield* new InternalError({
            message: `a session may observe ${limits.subscriptionsPerSession} jobs at a time; unsubscribe from one`
          })
        }
        yield* Effect.uninterruptibleMask((restore) => {
          // Retention leaves the job until the session has its history.
          const read = eventLog.endedReads.begin(stored.record.jobId)
          return Effect.map(
            Effect.onError(restore(look(asked, stored)), () => Effect.sync(read.over)),
            (looked) => write(asked, new Observation(looked, read.isVoid), read)
          )
        })
      })

    /** Queues the change of a subscribe, and its answer. */
    const write = (asked: Asked, observation: Observation, { over }: EndedRead): void => {
      const { reply, session } = asked
      eventLog.change({
        write: (batch) => {
          observation.write(batch, runner.live(asked.request.jobId))
          if (observation.missed) return
          batch.reply(() => {
            const { behind, live, replay, stored } = observation
            const { principalId, traceId } = stored.record
            audit?.add({
              type: "subscription.opened",
              ...audited(asked, principalId),
              owner: principalId,
              trace_id: traceId,
              history: asked.request.history
            })
            const payload = views.descriptor(session, stored, live, replay)
            reply(Either.right({ payload, behind: replay === undefined ? undefined : behind }))
          })
        },
        committed: () => {
          over()
          if (!observation.missed) return
          const again = observe(asked, observation.stored)
          runFork(Effect.catchAll(again, (error) => Effect.sync(() => refuse(reply, error))))
        },
        failed: (error) => {
          over()
          refuse(reply, storeFailure(error))
        }
      })
    }

    const subscribe: SubscriptionsService["subscribe"] = (request, reply) =>
      asked(request, (session) =>
        Effect.gen(function* () {
          const { jobId } = request
          const found = yield* find(request, jobId)
          const owner = Option.getOrUndefined(found.stored)?.record.principalId
          const told: Reply<JobSubscribed> = (answer) => {
            if (Either.isLeft(answer)) refused({ session, request }, owner, answer.left)
            reply(answer)
          }
          yield* Effect.flatMap(permitted(jobId, found), (stored) =>
            observe({ session, request, reply: audit === undefined ? reply : told }, stored)
          ).pipe(Effect.tapError((error) => Effect.sync(() => refused({ session, request }, owner, error))))
        })
      )

    const unsubscribe: SubscriptionsService["unsubscribe"] = (request, reply) =>
      asked(request, (session) => {
        const { jobId } = request
        const done = () => reply(Either.void)
        const live = runner.live(jobId)
        if (live === undefined || !live.attachments.has(session.sessionId)) {
          return find(request, jobId).pipe(
            Effect.flatMap((found) => permitted(jobId, found)),
            Effect.map(done)
          )
        }
        eventLog.change({
          write: (batch) => {
            batch.unobserve(live, session)
            batch.reply(done)
          }
        })
        return Effect.void
      })

    return { subscribe, unsubscribe, list: (request) => asked(request, (session) => list(session, request)) }
  })
)
