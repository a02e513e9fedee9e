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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { type ArcpError, InternalError, JobNotFound, PermissionDenied } from "../../protocol/Errors.js"
import type { Subscribe, Subscribed } from "../../protocol/Job.js"
import { isTerminal, type ListJobs } from "../../protocol/Session.js"
import { decoded, type DecodedJob } from "../../store/Rows.js"
import { Store } from "../../store/Store.js"
import { Credentials } from "../credentials/Credentials.js"
import { shuttingDown } from "../jobs/Drain.js"
import { JobRunner } from "../jobs/JobRunner.js"
import { storeFailure } from "../jobs/JobScheduler.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { ObservationPolicy, type Visibility } from "../kernel/Policies.js"
import { EventLog } from "../log/EventLog.js"
import type { JobLog } from "../log/JobLog.js"
import type { Run } from "../log/Run.js"
import type { SessionLog } from "../log/SessionLog.js"
import { jobViews } from "./internal/jobViews.js"
import { listing } from "./internal/listing.js"
import { jobSeqAt, ownerFor } from "./internal/numbers.js"
import { type Looked, Observation } from "./internal/observation.js"

interface Found {
  readonly stored: Option.Option<DecodedJob>
  readonly visibility: Visibility
}

/** How a subscribe is answered: one of both is called, once. */
interface Callbacks {
  /** `behind`: the number of the session's event behind which the answer is sent. */
  readonly subscribed: (payload: Subscribed, behind: number | undefined) => void
  readonly failed: (error: ArcpError) => void
}

/** Attaches observers to jobs and lists jobs. */
export class Subscriptions extends Context.Tag("effect-arcp/runtime/Subscriptions")<
  Subscriptions,
  {
    /** Attaches the session to a job (§7.6). `subscribed` is called before anything can be sent that the subscribe brings. */
    readonly subscribe: (
      session: SessionLog,
      payload: Subscribe,
      jobId: string,
      callbacks: Callbacks
    ) => Effect.Effect<void, ArcpError>
    /** Ends an observation; the job does not notice. */
    readonly unsubscribe: (session: SessionLog, jobId: string, done: () => void) => Effect.Effect<void, ArcpError>
    /**
     * A page of the jobs that the session's principal may observe (§6.6): rows as JSON texts of at most so many bytes together, where
     * it is more than one row.
     */
    readonly list: (
      session: SessionLog,
      request: ListJobs,
      bytes: number
    ) => Effect.Effect<{ readonly rows: ReadonlyArray<string>; readonly nextCursor: string | null }, ArcpError>
  }
>() {
  static readonly layer: Layer.Layer<Subscriptions, never, Store | EventLog | JobRunner | Credentials> = Layer.effect(
    Subscriptions,
    Effect.gen(function* () {
      const store = decoded(yield* Store)
      const eventLog = yield* EventLog
      const runner = yield* JobRunner
      const limits = yield* Limits
      const { reached } = yield* Meter
      const policy = yield* ObservationPolicy
      const views = jobViews(runner.live, yield* Credentials)
      const list = listing(store, runner.live, policy, limits, views)
      const runFork = Runtime.runFork(yield* Effect.runtime<never>())

      const find = (session: SessionLog, jobId: string): Effect.Effect<Found, ArcpError> =>
        Effect.map(Effect.mapError(store.job(jobId), storeFailure), (stored) => ({
          stored,
          visibility: Option.isNone(stored)
            ? "nothing"
            : stored.value.record.principalId === session.principal.id
              ? "observe"
              : policy.visibility(session.principal, stored.value.record.principalId)
        }))

      /** The job where the principal may observe it; a job that it may not know of does not exist. */
      const permitted = (jobId: string, { stored, visibility }: Found): Effect.Effect<DecodedJob, ArcpError> =>
        Option.isNone(stored) || visibility === "nothing"
          ? new JobNotFound({ message: `job_id: there is no job ${jobId.slice(0, 64)}` })
          : visibility === "know"
            ? new PermissionDenied({ message: `job_id: you may not observe ${jobId}` })
            : Effect.succeed(stored.value)

      /** One line for each subscribe (§14). */
      const audit = (session: SessionLog, jobId: string, { stored, visibility }: Found) =>
        Effect.annotateLogs(Effect.logInfo("job.subscribe"), {
          subscriber: session.principal.id,
          session_id: session.sessionId,
          job_id: jobId.slice(0, 64),
          owner: Option.isSome(stored) ? stored.value.record.principalId : "none",
          decision: visibility
        })

      const ownerRuns = (
        session: SessionLog,
        live: JobLog | undefined,
        stored: DecodedJob
      ): Effect.Effect<ReadonlyArray<Run>, ArcpError> => {
        const isOther = stored.state.otherOwners?.includes(session.sessionId) === true
        const ownerId =
          live !== undefined ? ownerFor(session, live) : isOther ? session.sessionId : stored.state.ownerSessionId
        const attachment = live?.attachments.get(ownerId)
        return attachment !== undefined
          ? Effect.succeed(attachment.given.all)
          : Effect.mapError(store.deliveriesOfJob(ownerId, stored.record.jobId), storeFailure)
      }

      /** What of the job has to be read before the change: its owner's numbers, and an ended job's history. */
      const look = (session: SessionLog, payload: Subscribe, stored: DecodedJob): Effect.Effect<Looked, ArcpError> =>
        Effect.gen(function* () {
          const { jobId } = stored.record
          const history = payload.history === true && payload.from_event_seq !== "live"
          const from = typeof payload.from_event_seq === "number" ? payload.from_event_seq : 0
          const runs = history ? yield* ownerRuns(session, runner.live(jobId), stored) : []
          const after = from > 0 ? jobSeqAt(runs, from) : 0
          // An ended job is read from the store as it is after the look-up: it cannot change any more.
          const ended =
            runner.live(jobId) === undefined
              ? yield* Effect.mapError(store.job(jobId), storeFailure)
              : Option.none<DecodedJob>()
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

      const observe = (
        session: SessionLog,
        payload: Subscribe,
        stored: DecodedJob,
        callbacks: Callbacks
      ): Effect.Effect<void, ArcpError> =>
        Effect.gen(function* () {
          if (session.observed.size >= limits.subscriptionsPerSession) {
            reached("subscriptionsPerSession")
            return yield* new InternalError({
              message: `a session may observe ${limits.subscriptionsPerSession} jobs at a time; unsubscribe from one`
            })
          }
          const observation = new Observation(yield* look(session, payload, stored))
          eventLog.change({
            write: (batch) => {
              observation.write(batch, runner.live(stored.record.jobId))
              if (observation.missed) return
              batch.reply(() => {
                const { behind, live, replay, stored } = observation
                const answer = views.descriptor(session, stored, live, replay)
                callbacks.subscribed(answer, replay === undefined ? undefined : behind)
              })
            },
            committed: () => {
              if (!observation.missed) return
              runFork(
                Effect.catchAll(observe(session, payload, stored, callbacks), (error) =>
                  Effect.sync(() => callbacks.failed(error))
                )
              )
            },
            failed: (error) => callbacks.failed(storeFailure(error))
          })
        })

      const subscribe = (
        session: SessionLog,
        payload: Subscribe,
        jobId: string,
        callbacks: Callbacks
      ): Effect.Effect<void, ArcpError> =>
        Effect.gen(function* () {
          const found = yield* find(session, jobId)
          yield* audit(session, jobId, found)
          yield* observe(session, payload, yield* permitted(jobId, found), callbacks)
        })

      const unsubscribe = (session: SessionLog, jobId: string, done: () => void): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() => {
          const live = runner.live(jobId)
          if (live === undefined || !live.attachments.has(session.sessionId)) {
            return find(session, jobId).pipe(
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

      return { subscribe, unsubscribe, list }
    })
  )
}
