/**
 * Observing jobs: subscribe with an exact boundary and history, unsubscribe, and listing (ARCP 1.1 §6.6, §7.6).
 *
 * Order: `job.subscribed` is posted before any replayed event; the replay is numbered in the subscriber's own session and
 * ends exactly where live events begin, because both are decided at one place in the journal's queue.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Amount from "../authority/Amount.js"
import * as AgentName from "../protocol/AgentName.js"
import { type ArcpError, InternalError, InvalidRequest, JobNotFound, PermissionDenied } from "../protocol/Errors.js"
import { formatTimestamp, parseTimestamp } from "../protocol/Fields.js"
import type { Credential, Subscribe, Subscribed } from "../protocol/Job.js"
import { isTerminal, type JobInfo, type ListJobs } from "../protocol/Session.js"
import * as Rows from "../store/Rows.js"
import { Store, type StoreError } from "../store/Store.js"
import { wireBudget } from "./Budgets.js"
import { Credentials } from "./Credentials.js"
import { shuttingDown } from "./internal/drain.js"
import * as FrameSize from "./internal/frameSize.js"
import * as JobsPage from "./internal/jobsPage.js"
import {
  acceptedParts,
  type Attachment,
  type EndedJob,
  type LiveJob,
  type LiveSession,
  type Run
} from "./internal/model.js"
import { JobRunner } from "./JobRunner.js"
import { storeFailure } from "./JobScheduler.js"
import { Journal } from "./Journal.js"
import { Limits } from "./Limits.js"
import { Meter } from "./Metrics.js"
import { ObservationPolicy, type Visibility } from "./Policies.js"

/** The number in the job of the last event at or before `seq` of its owner session; 0 where there is none. */
const jobSeqAt = (runs: ReadonlyArray<Run>, seq: number): number => {
  let at = 0
  for (const run of runs) {
    if (run.firstSeq > seq) break
    at = run.firstJobSeq + (Math.min(run.lastSeq, seq) - run.firstSeq)
  }
  return at
}

/**
 * The number of the owner session behind which every event from `jobSeq` on has its number: what `from_event_seq` would have to be
 * to ask for them.
 */
const ownerSeqBefore = (runs: ReadonlyArray<Run>, jobSeq: number): number | undefined => {
  for (const { firstJobSeq, firstSeq, lastSeq } of runs) {
    if (firstJobSeq + (lastSeq - firstSeq) >= jobSeq) return firstSeq + Math.max(0, jobSeq - firstJobSeq) - 1
  }
  return runs.at(-1)?.lastSeq
}

/** What a subscribe replays. */
interface Replay {
  /** The owner's number behind which events were asked for. */
  readonly from: number
  /** The number in the job behind which events were asked for. */
  readonly after: number
  /** Events of the job up to here are gone. */
  readonly gone: number
  readonly runs: ReadonlyArray<Run>
}

/**
 * `subscribed_from` of a replay: what was asked for where all of it is there, else greater, the owner's number behind which it is (§7.6).
 */
const replayedFrom = ({ after, from, gone, runs }: Replay): number =>
  gone <= after
    ? from
    : // Events may be gone that have no number in this owner's session; who asked for everything misses them.
      Math.max(from === 0 ? 1 : from, ownerSeqBefore(runs, gone + 1) ?? gone)

interface Found {
  readonly stored: Option.Option<Rows.DecodedJob>
  readonly visibility: Visibility
}

/** Credentials where a session may be shown them. */
interface Shown {
  readonly credentials?: ReadonlyArray<Credential>
}

const encodeCursor = (jobId: string): string => Encoding.encodeBase64Url(`1:${jobId}`)

const decodeCursor = (cursor: string): Either.Either<string, InvalidRequest> =>
  Either.match(Encoding.decodeBase64UrlString(cursor), {
    onLeft: () => Either.left(new InvalidRequest({ message: "payload.cursor: is not a cursor from session.jobs" })),
    onRight: (text) =>
      text.startsWith("1:job_")
        ? Either.right(text.slice(2))
        : Either.left(new InvalidRequest({ message: "payload.cursor: is not a cursor from session.jobs" }))
  })

/** Attaches observers to jobs and lists jobs. */
export class Subscriptions extends Context.Tag("effect-arcp/runtime/Subscriptions")<
  Subscriptions,
  {
    /** Attaches the session to a job (§7.6). `subscribed` is called before anything of the job can be sent. */
    readonly subscribe: (
      session: LiveSession,
      payload: Subscribe,
      jobId: string,
      callbacks: { readonly subscribed: (payload: Subscribed) => void; readonly failed: (error: ArcpError) => void }
    ) => Effect.Effect<void, ArcpError>
    /** Ends an observation; the job does not notice. */
    readonly unsubscribe: (session: LiveSession, jobId: string, done: () => void) => Effect.Effect<void, ArcpError>
    /**
     * A page of the jobs that the session's principal may observe (§6.6): rows as JSON texts of at most so many bytes together, where
     * it is more than one row.
     */
    readonly list: (
      session: LiveSession,
      request: ListJobs,
      bytes: number
    ) => Effect.Effect<{ readonly rows: ReadonlyArray<string>; readonly nextCursor: string | null }, ArcpError>
  }
>() {
  static readonly layer: Layer.Layer<Subscriptions, never, Store | Journal | JobRunner | Credentials> = Layer.effect(
    Subscriptions,
    Effect.gen(function* () {
      const store = Rows.decoded(yield* Store)
      const journal = yield* Journal
      const runner = yield* JobRunner
      const limits = yield* Limits
      const { reached } = yield* Meter
      const policy = yield* ObservationPolicy
      const credentials = yield* Credentials
      const runFork = Runtime.runFork(yield* Effect.runtime<never>())

      const find = (session: LiveSession, jobId: string): Effect.Effect<Found, ArcpError> =>
        Effect.map(Effect.mapError(store.job(jobId), storeFailure), (stored) => ({
          stored,
          visibility: Option.isNone(stored)
            ? "nothing"
            : stored.value.record.principalId === session.principal.id
              ? "observe"
              : policy.visibility(session.principal, stored.value.record.principalId)
        }))

      /** The job where the principal may observe it; a job that it may not know of does not exist. */
      const permitted = (jobId: string, { stored, visibility }: Found): Effect.Effect<Rows.DecodedJob, ArcpError> =>
        Option.isNone(stored) || visibility === "nothing"
          ? new JobNotFound({ message: `job_id: there is no job ${jobId.slice(0, 64)}` })
          : visibility === "know"
            ? new PermissionDenied({ message: `job_id: you may not observe ${jobId}` })
            : Effect.succeed(stored.value)

      /** One line for each subscribe (§14). */
      const audit = (session: LiveSession, jobId: string, { stored, visibility }: Found) =>
        Effect.annotateLogs(Effect.logInfo("job.subscribe"), {
          subscriber: session.principal.id,
          session_id: session.sessionId,
          job_id: jobId.slice(0, 64),
          owner: Option.isSome(stored) ? stored.value.record.principalId : "none",
          decision: visibility
        })

      /** Live credentials of a job: for its submitter alone, where its session negotiated them, which takes a secure transport (§7.6, §14). */
      const credentialsOf = (session: LiveSession, { jobId, principalId }: Rows.DecodedJob["record"]): Shown => {
        if (principalId !== session.principal.id || !session.features.has("provisioned_credentials")) return {}
        const issued = credentials.wire(jobId)
        return issued.length === 0 ? {} : { credentials: issued }
      }

      /** The number of a job's last event in the asking session where that owns it, else in the first owner's (§6.6). */
      const lastSeqFor = (session: LiveSession, live: LiveJob): number =>
        live.owners[0] !== session && live.owners.includes(session)
          ? (live.attachments.get(session.sessionId)?.runs.at(-1)?.lastSeq ?? 0)
          : live.lastOwnerSeq

      /** The counters of a job: as they are now where it has not ended. */
      const budgetOf = ({ counters }: Rows.DecodedJob, live: LiveJob | undefined) =>
        live?.budget !== undefined ? wireBudget(live.budget) : counters.size === 0 ? undefined : Amount.toWire(counters)

      /** `replay` tells what follows; undefined: nothing does. */
      const descriptor = (
        session: LiveSession,
        stored: Rows.DecodedJob,
        live: LiveJob | undefined,
        replay: Replay | undefined
      ): Subscribed => {
        const { record, state, values } = stored
        const budget = budgetOf(stored, live)
        return {
          job_id: record.jobId,
          current_status: live?.status ?? state.status,
          agent: `${record.agent}@${record.version}`,
          lease: values.lease,
          ...(values.leaseConstraints === undefined ? {} : { lease_constraints: values.leaseConstraints }),
          ...(budget === undefined ? {} : { budget }),
          ...credentialsOf(session, record),
          parent_job_id: record.parentJobId ?? null,
          trace_id: record.traceId,
          subscribed_from:
            replay !== undefined
              ? replayedFrom(replay)
              : live === undefined
                ? state.lastOwnerSeq
                : lastSeqFor(session, live),
          replayed: replay !== undefined
        }
      }

      /** The owner whose numbers count in a session: itself where it is one, else the first. */
      const ownerFor = (session: LiveSession, live: LiveJob): string =>
        live.owners.includes(session) ? session.sessionId : live.ownerSessionId

      const ownerRuns = (
        session: LiveSession,
        live: LiveJob | undefined,
        stored: Rows.DecodedJob
      ): Effect.Effect<ReadonlyArray<Run>, ArcpError> => {
        const isOther = stored.state.otherOwners?.includes(session.sessionId) === true
        const ownerId =
          live !== undefined ? ownerFor(session, live) : isOther ? session.sessionId : stored.state.ownerSessionId
        const attachment = live?.attachments.get(ownerId)
        return attachment !== undefined
          ? Effect.succeed(attachment.runs)
          : Effect.mapError(store.deliveriesOfJob(ownerId, stored.record.jobId), storeFailure)
      }

      const runsNow = (session: LiveSession, live: LiveJob | undefined): ReadonlyArray<Run> | undefined =>
        live?.attachments.get(ownerFor(session, live))?.runs

      const subscribe = (
        session: LiveSession,
        payload: Subscribe,
        jobId: string,
        callbacks: { readonly subscribed: (payload: Subscribed) => void; readonly failed: (error: ArcpError) => void }
      ): Effect.Effect<void, ArcpError> =>
        Effect.gen(function* () {
          const found = yield* find(session, jobId)
          yield* audit(session, jobId, found)
          const stored = yield* permitted(jobId, found)
          yield* observe(session, payload, jobId, stored, callbacks)
        })

      const observe = (
        session: LiveSession,
        payload: Subscribe,
        jobId: string,
        stored: Rows.DecodedJob,
        callbacks: { readonly subscribed: (payload: Subscribed) => void; readonly failed: (error: ArcpError) => void }
      ): Effect.Effect<void, ArcpError> =>
        Effect.gen(function* () {
          if (session.observed.size >= limits.subscriptionsPerSession) {
            reached("subscriptionsPerSession")
            return yield* new InternalError({
              message: `a session may observe ${limits.subscriptionsPerSession} jobs at a time; unsubscribe from one`
            })
          }
          const history = payload.history === true && payload.from_event_seq !== "live"
          const from = typeof payload.from_event_seq === "number" ? payload.from_event_seq : 0
          const ownersRuns = history ? yield* ownerRuns(session, runner.live(jobId), stored) : []
          const after = from > 0 ? jobSeqAt(ownersRuns, from) : 0
          // An ended job is read from the store as it is after the look-up: it cannot change any more.
          const ended =
            runner.live(jobId) === undefined
              ? yield* Effect.mapError(store.job(jobId), storeFailure)
              : Option.none<Rows.DecodedJob>()
          const there = runner.running(jobId)
          const isLeft =
            there === undefined ? Option.isSome(ended) && !isTerminal(ended.value.state.status) : runner.left(there)
          if (isLeft) return yield* shuttingDown
          const heads =
            Option.isSome(ended) && history
              ? yield* Effect.mapError(store.segmentHeads(jobId, after + 1, ended.value.state.lastJobSeq), storeFailure)
              : []
          let live: LiveJob | undefined
          let attached = false
          let again: (Pick<Attachment, "before" | "link"> & { readonly attachment: Attachment }) | undefined
          let missed = false
          let replay: Replay | undefined
          const { link } = session
          journal.change({
            write: (builder) => {
              live = runner.live(jobId)
              replay = undefined
              const deliver = (
                job: LiveJob | EndedJob,
                parts: ReadonlyArray<readonly [first: number, last: number]>,
                gone: number
              ): void => {
                if (parts.length === 0) return
                replay ??= { from, after, gone, runs: runsNow(session, live) ?? ownersRuns }
                for (const [first, last] of parts) builder.deliver(session, job, first, last)
              }
              if (live === undefined) {
                if (Option.isNone(ended)) {
                  // It ended between the look-up and here: what is to be sent must be read again.
                  missed = true
                  return
                }
                const job: EndedJob = { jobId, traceId: stored.record.traceId }
                for (const head of heads) {
                  const run = { class: head.class, first: head.firstSeq, last: head.lastSeq }
                  const first = Math.max(head.firstSeq, after + 1)
                  deliver(job, acceptedParts(session, [run], first, head.lastSeq), heads[0]!.firstSeq - 1)
                }
                return
              }
              const first = Math.max(after, live.trimmedTo) + 1
              const known = live.attachments.get(session.sessionId)
              const run = known?.runs[0]
              // All that the session was given of it comes on this connection anyway: the answer was lost with the last one, and
              // the client asks again. Twice would be once too often.
              const comes =
                link !== undefined && run !== undefined && run.firstSeq > link.start && run.firstJobSeq <= first
              if (known === undefined) {
                attached = true
                live.attachments.set(session.sessionId, { session, runs: [], link })
              } else if (history && !comes && (known.link !== link || (known.before ?? 0) > 0)) {
                again = { attachment: known, link: known.link, before: known.before }
                known.link = link
                known.before = 0
              }
              // Where the session was resumed, this may be another process, which asks for what the one before it has had.
              if (history && (attached || (again !== undefined && again.link !== link))) {
                deliver(live, acceptedParts(session, live.gated, first, live.assigned), live.trimmedTo)
              } else if (again?.before !== undefined) {
                // An owner that came later has what came since, and the chunks (§7.2).
                const last = Math.min(again.before, live.assigned)
                deliver(live, acceptedParts(session, live.gated, first, last, "chunk"), live.trimmedTo)
              }
              session.observed.add(live)
              builder.subscriptions.push({ sessionId: session.sessionId, jobId })
            },
            committed: () => {
              if (!missed) {
                const found = Option.getOrElse(ended, () => stored)
                return callbacks.subscribed(descriptor(session, found, live, replay))
              }
              runFork(
                Effect.catchAll(observe(session, payload, jobId, stored, callbacks), (error) =>
                  Effect.sync(() => callbacks.failed(error))
                )
              )
            },
            failed: (error) => {
              if (live !== undefined) {
                session.observed.delete(live)
                if (attached) live.attachments.delete(session.sessionId)
                if (again !== undefined) {
                  again.attachment.link = again.link
                  again.attachment.before = again.before
                }
              }
              callbacks.failed(storeFailure(error))
            }
          })
        })

      const unsubscribe = (session: LiveSession, jobId: string, done: () => void): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() => {
          const live = runner.live(jobId)
          if (live === undefined || !live.attachments.has(session.sessionId)) {
            return find(session, jobId).pipe(
              Effect.flatMap((found) => permitted(jobId, found)),
              Effect.map(done)
            )
          }
          journal.change({
            write: (builder) => {
              session.observed.delete(live)
              if (!live.owners.includes(session)) live.attachments.delete(session.sessionId)
              builder.subscriptionsRemoved.push({ sessionId: session.sessionId, jobId })
            },
            committed: done
          })
          return Effect.void
        })

      const info = (session: LiveSession, stored: Rows.DecodedJob): JobInfo & Shown => {
        const { record, state, values } = stored
        const live = runner.live(record.jobId)
        const budget = budgetOf(stored, live)
        const createdAt = formatTimestamp(record.createdAt)
        return {
          job_id: record.jobId,
          agent: `${record.agent}@${record.version}`,
          status: live?.status ?? state.status,
          lease: values.lease,
          ...(values.leaseConstraints === undefined ? {} : { lease_constraints: values.leaseConstraints }),
          ...(budget === undefined ? {} : { budget }),
          ...credentialsOf(session, record),
          parent_job_id: record.parentJobId ?? null,
          created_at: createdAt,
          // The same, as other clients read it.
          submitted_at: createdAt,
          trace_id: record.traceId,
          last_event_seq: live === undefined ? state.lastOwnerSeq : lastSeqFor(session, live)
        }
      }

      /** An ended job as a session sees it that was one of several owners: its own numbers count there. */
      const numberedFor = (session: LiveSession, job: Rows.DecodedJob): Effect.Effect<Rows.DecodedJob, StoreError> =>
        job.state.otherOwners?.includes(session.sessionId) !== true || runner.live(job.record.jobId) !== undefined
          ? Effect.succeed(job)
          : Effect.map(store.deliveriesOfJob(session.sessionId, job.record.jobId), (runs) => ({
              ...job,
              state: { ...job.state, lastOwnerSeq: runs.at(-1)?.lastSeq ?? 0 }
            }))

      const list = (session: LiveSession, request: ListJobs, bytes: number) =>
        Effect.gen(function* () {
          const filter = request.filter ?? {}
          const agent = filter.agent === undefined ? undefined : yield* AgentName.parse(filter.agent)
          if (agent?.version !== undefined && !session.features.has("agent_versions")) {
            const message = "payload.filter.agent: the feature agent_versions was not negotiated"
            return yield* new InvalidRequest({ message })
          }
          const after = request.cursor === undefined ? undefined : yield* decodeCursor(request.cursor)
          const listed = policy.listed(session.principal)
          const query = {
            principalIds: listed === "all" ? undefined : [...new Set([session.principal.id, ...listed])],
            statuses:
              filter.status === undefined
                ? undefined
                : typeof filter.status === "string"
                  ? [filter.status]
                  : [...new Set(filter.status)],
            agent: agent?.name,
            version: agent?.version,
            createdAfter: filter.created_after === undefined ? undefined : parseTimestamp(filter.created_after)
          }
          const page = yield* JobsPage.gather(
            after,
            { rows: Math.min(request.limit ?? limits.listPage, limits.listPage), bytes },
            (afterJobId, limit) =>
              Effect.mapError(
                Effect.flatMap(
                  store.jobs({ ...query, afterJobId, limit }),
                  Effect.forEach((job) => numberedFor(session, job))
                ),
                storeFailure
              ),
            (stored) => info(session, stored)
          )
          const rows = page.rows.map((row) => FrameSize.row(row, FrameSize.replyRoom(limits)))
          return { rows, nextCursor: page.moreAfter === undefined ? null : encodeCursor(page.moreAfter) }
        })

      return { subscribe, unsubscribe, list }
    })
  )
}
