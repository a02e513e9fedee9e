/**
 * Jobs: admission, slots, running, stopping, and their one terminal message (ARCP 1.1 §7).
 *
 * Responsibility: a submit becomes a job or a refusal; a job waits for a slot, runs as one fiber and ends exactly once,
 * whatever ends it.
 *
 * Order: the idempotency key is looked up, the submit validated, the agent resolved and the lease admitted, then the job, its key and
 * its first event are one change of the journal; `job.accepted` is posted when that is durable, and the handler starts after it.
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
import { type AgentRegistration, AgentRegistry } from "../agent/AgentRegistry.js"
import type * as Lease from "../authority/Lease.js"
import * as Withheld from "../authority/Withheld.js"
import * as AgentName from "../protocol/AgentName.js"
import {
  type ArcpError,
  Cancelled,
  DuplicateKey,
  InternalError,
  InvalidRequest,
  JobNotFound,
  PermissionDenied
} from "../protocol/Errors.js"
import { Ids } from "../protocol/Ids.js"
import type { Accepted, Submit } from "../protocol/Job.js"
import type { Priority } from "../protocol/Envelope.js"
import type { TraceContext } from "../protocol/Trace.js"
import type { KeyRecord } from "../store/Store.js"
import * as Rows from "../store/Rows.js"
import { Store, type StoreError } from "../store/Store.js"
import { Credentials } from "./Credentials.js"
import { Deadlines } from "./Deadlines.js"
import { announcement } from "./internal/announced.js"
import * as FrameSize from "./internal/frameSize.js"
import { isTerminal } from "../protocol/Session.js"
import { askedHash, sameAsked } from "./internal/asked.js"
import type { LiveJob, LiveSession } from "./internal/model.js"
import { shuttingDown } from "./internal/drain.js"
import { newJob } from "./internal/newJob.js"
import { attachOwner, detach, removeOwner } from "./internal/owner.js"
import { replayChunks, replayEnd, runsOf } from "./internal/replay.js"
import type { Running } from "./internal/running.js"
import { JobRunner } from "./JobRunner.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import { Limits } from "./Limits.js"
import { Meter } from "./Metrics.js"

/** A submit as a session passes it on. */
export interface SubmitRequest {
  readonly requestId: string
  readonly payload: Submit
  readonly trace: TraceContext | undefined
  /** Of the submit's envelope. */
  readonly priority?: Priority | undefined
  /** Called once the job is durable, before its first event can be sent. */
  readonly accepted: (jobId: string, traceId: string, payload: Accepted) => void
  /** Called when the store did not take the job. */
  readonly failed: (error: ArcpError) => void
}

/** An idempotency key that is being used for the first time. */
interface Key {
  readonly key: string
  readonly hash: string
  /** Called when the job's change is queued: from then on the change releases the key, whatever becomes of the request. */
  readonly queued: () => void
  readonly done: () => void
}

interface Resolved {
  readonly agent: AgentRegistration
  readonly input: unknown
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
    /** Jobs that wait and that run. */
    readonly counts: () => { readonly pending: number; readonly running: number }
  }
>() {
  static readonly layer: Layer.Layer<
    JobScheduler,
    never,
    Store | Journal | Deadlines | Ids | Leases | Credentials | AgentRegistry | JobRunner
  > = Layer.effect(
    JobScheduler,
    Effect.gen(function* () {
      const store = Rows.decoded(yield* Store)
      const journal = yield* Journal
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const leases = yield* Leases
      const credentials = yield* Credentials
      const registry = yield* AgentRegistry
      const runner = yield* JobRunner
      const limits = yield* Limits
      const { reaching } = yield* Meter
      const keysInProgress = new Map<string, Deferred.Deferred<void>>()

      /** Admits the job, has its credentials issued, and queues everything that announces it. */
      const create = (
        session: LiveSession,
        request: SubmitRequest,
        resolved: Resolved,
        key: Key | undefined
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend((): Effect.Effect<void, ArcpError> => {
          const { payload } = request
          const { agent } = resolved
          const now = deadlines.now()
          const admitted = leases.admit({
            lease: payload.lease_request,
            constraints: payload.lease_constraints,
            features: session.features,
            principal: session.principal,
            now
          })
          if (Either.isLeft(admitted)) return Effect.fail(admitted.left)
          const lease = admitted.right
          return Effect.zipRight(
            reportWithheld(session, agent, payload, lease),
            createWith(session, request, resolved, key, lease, now)
          )
        })

      /** The submitter sees it in `job.accepted`, the operator here. */
      const reportWithheld = (
        session: LiveSession,
        agent: AgentRegistration,
        payload: Submit,
        lease: Lease.Lease
      ): Effect.Effect<void> => {
        const withheld = Withheld.describe(
          { lease: payload.lease_request, constraints: payload.lease_constraints },
          { lease: lease.wire, constraints: lease.constraints }
        )
        return withheld.length === 0
          ? Effect.void
          : Effect.annotateLogs(Effect.logWarning(`a lease was narrowed: ${withheld.slice(0, 8).join("; ")}`), {
              principal: session.principal.id,
              agent: `${agent.name}@${agent.version}`
            })
      }

      const createWith = (
        session: LiveSession,
        request: SubmitRequest,
        resolved: Resolved,
        key: Key | undefined,
        lease: Lease.Lease,
        now: number
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend((): Effect.Effect<void, ArcpError> => {
          const { payload, trace } = request
          const { agent } = resolved
          // Asked again once credentials have come, which may take long.
          const full = (): InternalError | undefined =>
            runner.draining()
              ? shuttingDown
              : runner.submitted(session.principal.id) >= limits.jobsPerPrincipal
                ? reaching(
                    "jobsPerPrincipal",
                    new InternalError({
                      message: `you have ${limits.jobsPerPrincipal} jobs that run or wait; try again when one has ended`
                    })
                  )
                : runner.pending() >= limits.pendingJobs && !runner.hasSlot(session.principal.id, agent)
                  ? reaching(
                      "pendingJobs",
                      new InternalError({ message: `${limits.pendingJobs} jobs are waiting already; try again later` })
                    )
                  : undefined
          const refusal = full()
          if (refusal !== undefined) return Effect.fail(refusal)
          const { accepted, live, record, running } = newJob({
            jobId: `job_${ids.unsafeUlid(now)}`,
            principalId: session.principal.id,
            ownerSessionId: session.sessionId,
            agent,
            input: resolved.input,
            wireInput: payload.input,
            lease,
            maxRuntimeSec: payload.max_runtime_sec,
            idempotencyKey: payload.idempotency_key,
            traceId: trace?.traceId ?? ids.unsafeTraceId(),
            trace,
            now,
            inlineStream: !session.features.has("result_chunk"),
            priority: request.priority,
            provisioned: session.features.has("provisioned_credentials"),
            parent: undefined
          })
          const { jobId } = record
          const room = FrameSize.replyRoom(limits)
          if (!FrameSize.fits(record.accepted, room)) {
            const message = `payload.lease_request: a reply that shows it has at most ${room} bytes here`
            return Effect.fail(new InvalidRequest({ message }))
          }
          const announce = (): void => {
            running.queued = true
            key?.queued()
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
                if (!session.removed) attachOwner(live, session)
                if (start) runner.writeStart(running, builder)
              },
              committed: () => {
                key?.done()
                request.accepted(jobId, record.traceId, withCredentials(session, jobId, accepted))
                if (start) runner.start(running)
              },
              failed: (error) => {
                detach(live)
                runner.abandon(running)
                key?.done()
                request.failed(storeFailure(error))
              }
            })
          }
          if (!credentials.available || !running.provisioned) return Effect.sync(announce)
          return Effect.flatMap(
            credentials.issue({
              jobId,
              principalId: record.principalId,
              agent: `${agent.name}@${agent.version}`,
              lease,
              remaining: Effect.sync(() => running.budget)
            }),
            () =>
              Effect.suspend(() => {
                const late = full() ?? FrameSize.tooManyCredentials(record.accepted, credentials.wire(jobId), limits)
                if (late === undefined) return Effect.sync(announce)
                credentials.revoke(jobId)
                return Effect.fail(late)
              })
          ).pipe(
            // The connection may have ended just when they had come.
            Effect.onInterrupt(() => Effect.sync(() => (running.queued ? undefined : credentials.revoke(jobId))))
          )
        })

      /** The submitter alone is told the credentials, and only where it negotiated them (§9.8.2, §14). */
      const withCredentials = (session: LiveSession, jobId: string, accepted: Accepted): Accepted => {
        const issued = session.features.has("provisioned_credentials") ? credentials.wire(jobId) : []
        return issued.length === 0 ? accepted : { ...accepted, credentials: issued }
      }

      /** The jobs that a job's delegations have started and that have not ended. */
      const descendants = (running: Running): ReadonlyArray<LiveJob> =>
        [...running.children].flatMap((child) => (child.queued ? [child.live, ...descendants(child)] : []))

      /** Tells a session that has become an owner of a job of one of its children (§10). */
      const announceChild = (session: LiveSession, child: LiveJob): void => {
        const announced = announcement(
          session,
          child,
          child.values.accepted,
          () => credentials.wire(child.jobId),
          () => ids.unsafeUlid(deadlines.now())
        )
        if (announced !== undefined) session.link?.post(announced)
      }

      /** Answers a submit whose key is known (§7.2); false where its job is gone. */
      const repeat = (session: LiveSession, request: SubmitRequest, key: KeyRecord, hash: string) =>
        Effect.gen(function* () {
          // Before the store is read: a job that ends meanwhile is known by what it has become, and not by what was read.
          const live = runner.live(key.jobId)
          const found = yield* Effect.mapError(store.job(key.jobId), storeFailure)
          if (Option.isNone(found)) return false
          const { record, state, values } = found.value
          if (!sameAsked(key.parametersHash, hash, request.payload, record)) {
            return yield* new DuplicateKey({
              message: `idempotency_key: this key stands for ${record.jobId}, which was submitted with other parameters`,
              details: { job_id: record.jobId }
            })
          }
          const running = runner.running(record.jobId)
          // A job that is left to the next process can be asked for there.
          if (running === undefined ? live === undefined && !isTerminal(state.status) : runner.left(running)) {
            return yield* shuttingDown
          }
          const last = state.lastJobSeq
          const heads =
            live === undefined ? yield* Effect.mapError(store.segmentHeads(record.jobId, 1, last), storeFailure) : []
          const { accepted } = values
          const fresh = new Map<LiveJob, { readonly owned: boolean; readonly attached: boolean }>()
          journal.change({
            write: (builder) => {
              if (live === undefined) return replayEnd(builder, session, record, runsOf(heads), 0, last)
              // By what is in the log so far: the end of a job that is ending may be queued behind this change.
              if (builder.hasEnd(live)) {
                return replayEnd(builder, session, live, live.gated, live.trimmedTo, live.assigned)
              }
              // Its children's events belong to the same stream.
              for (const job of [live, ...(running === undefined ? [] : descendants(running))]) {
                const before = fresh.get(job) ?? {
                  owned: job.owners.includes(session),
                  attached: job.attachments.has(session.sessionId)
                }
                fresh.set(job, before)
                if (session.removed || before.owned) continue
                // The rest of the result is of no use without its beginning.
                if (!before.attached) replayChunks(builder, session, job, job.gated, job.trimmedTo + 1, job.assigned)
                attachOwner(job, session)
                builder.state(job)
              }
            },
            committed: () => {
              request.accepted(record.jobId, record.traceId, withCredentials(session, record.jobId, accepted))
              // Behind it, and before their events.
              for (const [job, { owned }] of fresh) if (job !== live && !owned) announceChild(session, job)
            },
            failed: (error) => {
              for (const [job, { owned }] of fresh) if (!owned) removeOwner(job, session)
              request.failed(storeFailure(error))
            }
          })
          return true
        })

      const submitWithKey = (
        session: LiveSession,
        request: SubmitRequest,
        key: string
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() => {
          const slot = `${session.principal.id}\u0000${key}`
          const inProgress = keysInProgress.get(slot)
          if (inProgress !== undefined) {
            return Effect.zipRight(Deferred.await(inProgress), submitWithKey(session, request, key))
          }
          const done = Deferred.unsafeMake<void>(FiberId.none)
          keysInProgress.set(slot, done)
          let queued = false
          const release = () => {
            keysInProgress.delete(slot)
            Deferred.unsafeDone(done, Effect.void)
          }
          const hash = askedHash(request.payload)
          return Effect.mapError(store.key(session.principal.id, key), storeFailure).pipe(
            // Before anything of the request is judged: what a deploy changes does not keep a submit from its job.
            Effect.flatMap((found) =>
              Option.isSome(found) && found.value.expiresAt > deadlines.now()
                ? repeat(session, request, found.value, hash)
                : Effect.succeed(false)
            ),
            Effect.flatMap((repeated) => {
              if (repeated) return Effect.sync(release)
              return createResolved(session, request, { key, hash, queued: () => void (queued = true), done: release })
            }),
            Effect.onExit((exit) => (exit._tag === "Failure" && !queued ? Effect.sync(release) : Effect.void))
          )
        })

      const resolve = (session: LiveSession, { agent: asked, input }: Submit): Either.Either<Resolved, ArcpError> =>
        Either.gen(function* () {
          const name = yield* AgentName.parse(asked)
          if (name.version !== undefined && !session.features.has("agent_versions")) {
            return yield* Either.left(
              new InvalidRequest({ message: "payload.agent: the feature agent_versions was not negotiated" })
            )
          }
          const agent = yield* registry.resolve(name)
          return { agent, input: yield* agent.decode(input ?? null) }
        })

      const createResolved = (
        session: LiveSession,
        request: SubmitRequest,
        key: Key | undefined
      ): Effect.Effect<void, ArcpError> =>
        Effect.suspend(() =>
          runner.draining()
            ? Effect.fail(shuttingDown)
            : Effect.flatMap(resolve(session, request.payload), (resolved) => create(session, request, resolved, key))
        )

      const submit = (session: LiveSession, request: SubmitRequest): Effect.Effect<void, ArcpError> => {
        const { idempotency_key: key } = request.payload
        return key === undefined ? createResolved(session, request, undefined) : submitWithKey(session, request, key)
      }

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
            if (!isTerminal(stored.value.state.status)) return yield* shuttingDown
            return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
          }
          const { live } = running
          if (live.record.principalId !== session.principal.id) return yield* unknown
          if (!live.owners.includes(session)) {
            return yield* new PermissionDenied({
              message: `job_id: only the session that submitted ${jobId} may cancel it`
            })
          }
          if (runner.left(running)) return yield* shuttingDown
          if (live.ending) return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
          const error = new Cancelled({
            message: reason === undefined ? "cancelled by the client" : `cancelled: ${reason}`
          })
          // Told once it is durable: a process that dies now leaves it to the next one to end the job.
          journal.change({
            write: (builder) => {
              live.cancelled ??= error.message
              builder.state(live)
            },
            committed: acknowledged
          })
          runner.stop(running, { status: "cancelled", error })
        })

      return { submit, cancel, live: runner.live, counts: runner.counts }
    })
  )
}
