/**
 * Jobs: admission, slots, running, stopping, and their one terminal message (ARCP 1.1 §7).
 *
 * Responsibility: a submit becomes a job or a refusal; a job waits for a slot, runs as one fiber and ends exactly once,
 * whatever ends it.
 *
 * Order: a submit is validated and its lease admitted, the agent resolved, then the job, its key and its first event
 * are one change of the journal; `job.accepted` is posted when that is durable, and the handler starts after it.
 *
 * Races closed here: two submits with one key are one job (the second waits for the first); the first reason to stop a
 * job counts, and a job that was stopped cannot report success; the slot is free after the grace even when the handler
 * does not unwind.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { AgentRegistry } from "../agent/AgentRegistry.js"
import * as AgentName from "../protocol/AgentName.js"
import * as CanonicalJson from "../protocol/CanonicalJson.js"
import {
  type ArcpError,
  Cancelled,
  DuplicateKey,
  InternalError,
  InvalidRequest,
  JobNotFound,
  PermissionDenied
} from "../protocol/Errors.js"
import { formatTimestamp } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import type { Accepted, Submit } from "../protocol/Job.js"
import type { TraceContext } from "../protocol/Trace.js"
import type { JobRecord, KeyRecord, StoredJob } from "../store/Store.js"
import { Store, type StoreError } from "../store/Store.js"
import { Deadlines } from "./Deadlines.js"
import { sha256 } from "./internal/hash.js"
import { eventPayload } from "./internal/jobService.js"
import { LiveJob, type LiveSession } from "./internal/model.js"
import { Running } from "./internal/running.js"
import { JobRunner } from "./JobRunner.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import { Limits } from "./Limits.js"

/** A submit as a session passes it on. */
export interface SubmitRequest {
  readonly requestId: string
  readonly payload: Submit
  readonly trace: TraceContext | undefined
  /** Called once the job is durable, before its first event can be sent. */
  readonly accepted: (jobId: string, traceId: string, payload: Accepted) => void
  /** Called when the store did not take the job. */
  readonly failed: (error: ArcpError) => void
}

/** The store could not be read or written: the caller may try again. */
export const storeFailure = (error: StoreError): InternalError =>
  new InternalError({ message: `the store is not available: ${error.operation} failed; try again` })

/** Accepts, runs and ends jobs. */
export class JobScheduler extends Context.Tag("effect-arcp/runtime/JobScheduler")<
  JobScheduler,
  {
    /** Takes a submit (§7.1, §7.2). The answer goes out through the request's callbacks; a refusal is the failure. */
    readonly submit: (session: LiveSession, request: SubmitRequest) => Effect.Effect<void, ArcpError>
    /** Begins to cancel a job (§7.4); `acknowledged` is called before the job's end can be sent. */
    readonly cancel: (
      session: LiveSession,
      jobId: string,
      reason: string | undefined,
      acknowledged: () => void
    ) => Effect.Effect<void, ArcpError>
    /** A job that has not ended. */
    readonly live: (jobId: string) => LiveJob | undefined
    /** Takes up the jobs that an earlier process left (§4 of the guide on reliability). */
    readonly recover: (jobs: ReadonlyArray<StoredJob>) => Effect.Effect<void>
    /** Jobs that wait and that run. */
    readonly counts: () => { readonly pending: number; readonly running: number }
  }
>() {
  static readonly layer: Layer.Layer<
    JobScheduler,
    never,
    Store | Journal | Deadlines | Ids | Leases | AgentRegistry | JobRunner
  > = Layer.effect(
    JobScheduler,
    Effect.gen(function* () {
      const store = yield* Store
      const journal = yield* Journal
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const leases = yield* Leases
      const registry = yield* AgentRegistry
      const runner = yield* JobRunner
      const limits = yield* Limits
      const keysInProgress = new Map<string, Deferred.Deferred<void>>()

      const parametersHash = (agent: string, payload: Submit): string =>
        sha256(
          CanonicalJson.canonicalize({
            agent,
            input: payload.input ?? null,
            lease_request: payload.lease_request ?? {},
            lease_constraints: payload.lease_constraints ?? {},
            max_runtime_sec: payload.max_runtime_sec ?? null
          })
        )

      /** Makes the job and queues everything that announces it. */
      const create = (
        session: LiveSession,
        request: SubmitRequest,
        resolved: { readonly agent: Parameters<typeof runner.add>[0]["agent"]; readonly input: unknown },
        key: { readonly key: string; readonly hash: string; readonly done: () => void } | undefined
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend((): Effect.Effect<void, ArcpError> => {
          const { payload, trace } = request
          const now = deadlines.now()
          const granted = leases.admit({
            lease: payload.lease_request,
            constraints: payload.lease_constraints,
            features: session.features,
            now
          })
          if (Either.isLeft(granted)) return Effect.fail(granted.left)
          if (runner.pending() >= limits.pendingJobs) {
            return Effect.fail(
              new InternalError({ message: `${limits.pendingJobs} jobs are waiting already; try again later` })
            )
          }
          const grant = granted.right
          const { agent, input } = resolved
          const jobId = `job_${ids.unsafeUlid(now)}`
          const traceId = trace?.traceId ?? ids.unsafeTraceId()
          const accepted: Accepted = {
            job_id: jobId,
            agent: `${agent.name}@${agent.version}`,
            lease: grant.lease,
            ...(grant.constraints === undefined ? {} : { lease_constraints: grant.constraints }),
            ...(grant.budget === undefined ? {} : { budget: grant.budget }),
            accepted_at: formatTimestamp(now),
            trace_id: traceId
          }
          const record: JobRecord = {
            jobId,
            principalId: session.principal.id,
            agent: agent.name,
            version: agent.version,
            input: JSON.stringify(payload.input ?? null),
            lease: JSON.stringify(grant.lease),
            leaseConstraints: grant.constraints === undefined ? undefined : JSON.stringify(grant.constraints),
            idempotencyKey: payload.idempotency_key,
            maxRuntimeSec: payload.max_runtime_sec,
            traceId,
            traceContext: trace === undefined ? undefined : JSON.stringify(trace),
            parentJobId: undefined,
            delegateId: undefined,
            createdAt: now,
            accepted: JSON.stringify(accepted)
          }
          const live = new LiveJob(record, {
            status: "pending",
            ownerSessionId: session.sessionId,
            startedAt: undefined,
            lastJobSeq: 0,
            lastOwnerSeq: 0,
            attempt: 1,
            budget: grant.budget === undefined ? undefined : JSON.stringify(grant.budget)
          })
          const running = new Running({
            live,
            agent,
            input,
            lease: grant.lease,
            leaseConstraints: grant.constraints,
            inlineStream: !session.features.has("result_chunk")
          })
          const start = runner.add(running)
          journal.change({
            write: (builder) => {
              builder.job(record)
              builder.state(live)
              if (key !== undefined) {
                builder.key({
                  principalId: record.principalId,
                  key: key.key,
                  jobId,
                  parametersHash: key.hash,
                  expiresAt: now + limits.keyLifetime
                })
              }
              attachOwner(live, session)
              if (start) runner.writeStart(running, builder)
            },
            committed: () => {
              key?.done()
              request.accepted(jobId, traceId, accepted)
              if (start) runner.start(running)
            },
            failed: (error) => {
              detach(live)
              runner.remove(running)
              key?.done()
              request.failed(storeFailure(error))
            }
          })
          return Effect.void
        })

      /** Answers a submit whose key is known (§7.2). */
      const repeat = (session: LiveSession, request: SubmitRequest, key: KeyRecord, hash: string) =>
        Effect.gen(function* () {
          const found = yield* Effect.mapError(store.job(key.jobId), storeFailure)
          if (Option.isNone(found)) return false
          const { record, state } = found.value
          if (key.parametersHash !== hash) {
            return yield* new DuplicateKey({
              message: `idempotency_key: this key stands for ${record.jobId}, which was submitted with other parameters`,
              details: { job_id: record.jobId }
            })
          }
          const accepted = JSON.parse(record.accepted) as Accepted
          const live = runner.live(record.jobId)
          journal.change({
            write: (builder) => {
              if (live !== undefined && !live.ending) {
                attachOwner(live, session)
                builder.state(live)
              } else {
                const last = live === undefined ? state.lastJobSeq : live.assigned
                builder.deliver(session, live ?? { jobId: record.jobId, traceId: record.traceId }, last, last)
              }
            },
            committed: () => request.accepted(record.jobId, record.traceId, accepted),
            failed: (error) => request.failed(storeFailure(error))
          })
          return true
        })

      const submitWithKey = (
        session: LiveSession,
        request: SubmitRequest,
        resolved: { readonly agent: Parameters<typeof runner.add>[0]["agent"]; readonly input: unknown },
        key: string
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() => {
          const slot = `${session.principal.id}\u0000${key}`
          const inProgress = keysInProgress.get(slot)
          if (inProgress !== undefined) {
            return Effect.zipRight(Deferred.await(inProgress), submitWithKey(session, request, resolved, key))
          }
          const done = Deferred.unsafeMake<void>(FiberId.none)
          keysInProgress.set(slot, done)
          const release = () => {
            keysInProgress.delete(slot)
            Deferred.unsafeDone(done, Effect.void)
          }
          const hash = parametersHash(`${resolved.agent.name}@${resolved.agent.version}`, request.payload)
          return Effect.mapError(store.key(session.principal.id, key), storeFailure).pipe(
            Effect.flatMap((found) =>
              Option.isSome(found) && found.value.expiresAt > deadlines.now()
                ? repeat(session, request, found.value, hash)
                : Effect.succeed(false)
            ),
            Effect.flatMap((repeated) => {
              if (repeated) return Effect.sync(release)
              return create(session, request, resolved, { key, hash, done: release })
            }),
            Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(release) : Effect.void))
          )
        })

      const submit = (session: LiveSession, request: SubmitRequest): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() => {
          const { payload } = request
          const name = AgentName.parse(payload.agent)
          if (Either.isLeft(name)) return Effect.fail(name.left)
          if (name.right.version !== undefined && !session.features.has("agent_versions")) {
            return Effect.fail(new InvalidRequest({ message: "payload.agent: agent_versions was not negotiated" }))
          }
          const agent = registry.resolve(name.right)
          if (Either.isLeft(agent)) return Effect.fail(agent.left)
          const input = agent.right.decode(payload.input ?? null)
          if (Either.isLeft(input)) return Effect.fail(input.left)
          const resolved = { agent: agent.right, input: input.right }
          return payload.idempotency_key === undefined
            ? create(session, request, resolved, undefined)
            : submitWithKey(session, request, resolved, payload.idempotency_key)
        })

      const cancel = (
        session: LiveSession,
        jobId: string,
        reason: string | undefined,
        acknowledged: () => void
      ): Effect.Effect<void, ArcpError> =>
        Effect.gen(function* () {
          const running = runner.running(jobId)
          const unknown = new JobNotFound({ message: `job_id: there is no job ${jobId.slice(0, 64)}` })
          if (running === undefined) {
            const stored = yield* Effect.mapError(store.job(jobId), storeFailure)
            if (Option.isNone(stored) || stored.value.record.principalId !== session.principal.id) return yield* unknown
            return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
          }
          const { live } = running
          if (live.record.principalId !== session.principal.id) return yield* unknown
          if (live.ownerSessionId !== session.sessionId) {
            return yield* new PermissionDenied({
              message: `job_id: only the session that submitted ${jobId} may cancel it`
            })
          }
          if (live.ending) return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
          acknowledged()
          runner.stop(running, {
            status: "cancelled",
            error: new Cancelled({ message: reason === undefined ? "cancelled by the client" : `cancelled: ${reason}` })
          })
        })

      const recover = (jobs: ReadonlyArray<StoredJob>): Effect.Effect<void> =>
        Effect.sync(() => {
          for (const stored of jobs) runner.recover(stored)
        })

      return { submit, cancel, live: runner.live, recover, counts: runner.counts }
    })
  )
}

/** Makes a session the owner of a job: its events go there from now on (§7.2). */
export const attachOwner = (live: LiveJob, session: LiveSession): void => {
  const previous = live.owner
  if (previous !== undefined && previous !== session) {
    previous.owned.delete(live)
    if (!previous.observed.has(live)) live.attachments.delete(previous.sessionId)
  }
  live.owner = session
  live.ownerSessionId = session.sessionId
  session.owned.add(live)
  if (!live.attachments.has(session.sessionId)) live.attachments.set(session.sessionId, { session, runs: [] })
}

/** Takes a job away from every session. */
export const detach = (live: LiveJob): void => {
  for (const { session } of live.attachments.values()) {
    session.owned.delete(live)
    session.observed.delete(live)
  }
  live.attachments.clear()
  live.owner = undefined
}

/** The first event of a job: it runs (§7.3). */
export const runningEvent = (millis: number): string => eventPayload('"status"', millis, '{"phase":"running"}')
