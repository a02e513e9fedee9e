/**
 * Admission: a submit becomes a job or a refusal, and a client cancels a job (ARCP 1.1 §7.1, §7.4, §9).
 *
 * Responsibility: what a submit asks for is judged here (agent, input, lease, limits, size of the reply), its credentials are issued, the
 * job is handed to `Run`, and the submit is answered. Which lease a submit is granted is the part of the runtime's own `Leases` that belongs
 * here. Repeats of a submit are the concern of `Idempotency`, ends of jobs that of `Ending`.
 *
 * Order: the idempotency key is looked up, the submit validated, the agent resolved and the lease admitted, then the job, its key and
 * its first event are one change of the log; `job.accepted` is posted when that is durable, and the handler starts after it. A
 * cancel is acknowledged when it is durable, before the job's end can be sent. A submit that begins at once belongs to one `submit` function:
 * code that puts another in its place (a decorator, a program's own scheduler) is not bypassed, since the new function has no such form.
 *
 * Races closed here: the limits are asked again once credentials have come, which may take long; a connection that ends while they come
 * leaves none behind.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import { isAnonymous } from "../../protocol/AnonymousIds.js"
import * as Delegated from "../../authority/Delegated.js"
import * as Lease from "../../authority/Lease.js"
import * as SystemFolders from "../../authority/SystemFolders.js"
import * as Withheld from "../../authority/Withheld.js"
import * as AgentName from "../../protocol/AgentName.js"
import {
  type ArcpError,
  Cancelled,
  InternalError,
  InvalidRequest,
  JobNotFound,
  PermissionDenied
} from "../../protocol/Errors.js"
import type { Priority } from "../../protocol/Envelope.js"
import { JobId } from "../../protocol/Ids.js"
import type { Accepted } from "../../protocol/Job.js"
import { isTerminal } from "../../protocol/Session.js"
import type { KeptAccepted } from "../../store/Rows.js"
import { anonymousShare } from "../kernel/AnonymousShare.js"
import * as FrameSize from "../kernel/FrameSize.js"
import type { Auditor } from "../kernel/Auditing.js"
import type { LeasePolicyShape } from "../kernel/Policies.js"
import { sessionEnded, shuttingDown, storeFailure } from "../kernel/Refusals.js"
import { refuse, type Reply } from "../kernel/Reply.js"
import { acceptedFor, maySee, tooLarge } from "../credentials/View.js"
import type { JobLog } from "../log/JobLog.js"
import { Idempotency, type Key, type Submitting } from "./Idempotency.js"
import type { Engine } from "./internal/engine.js"
import { issueRequest } from "./internal/issueRequest.js"
import { JobEngine } from "./JobEngine.js"
import {
  type CancelRequest,
  type JobAccepted,
  JobScheduler,
  type JobSchedulerService,
  type SubmitRequest
} from "./JobScheduler.js"
import type { LeaseRequest } from "./Leases.js"
import { admitted, type Made, newJob } from "./Run.js"
import { nameOf } from "./Running.js"

interface Resolved {
  readonly agent: AgentRegistration
  readonly input: unknown
}

/** A submit on its way to a job. */
interface Admitting {
  readonly submitting: Submitting
  readonly key: Key | undefined
  readonly resolved: Resolved
  readonly lease: Lease.Lease
  /** When it was admitted, in milliseconds since the epoch. */
  readonly now: number
  /** What was asked for and is not granted. */
  readonly withheld: ReadonlyArray<string>
}

/**
 * As `submit`, begun when it is called and not when its effect is run. Where a submit is done, the effect is an `Exit`.
 */
type SubmitNow = JobSchedulerService["submit"]

const forms = new WeakMap<object, SubmitNow>()

/** Says that a `submit` can also be had as `now`. Returns `submit`. */
const submittingNow = (submit: SubmitNow, now: SubmitNow): SubmitNow => {
  forms.set(submit, now)
  return submit
}

/** The form of a `submit` that begins at once; undefined where it has none. */
export const submitNowOf = (submit: object): SubmitNow | undefined => forms.get(submit)

/** A job that has been accepted, with the text of its payload where that is known. It is lost where the answer is copied. */
export class Acceptance implements JobAccepted {
  readonly jobId: JobId
  readonly traceId: string
  readonly payload: Accepted
  readonly priority: Priority | undefined
  readonly #text: string | undefined

  constructor(answer: JobAccepted, text: string | undefined) {
    this.jobId = answer.jobId
    this.traceId = answer.traceId
    this.payload = answer.payload
    this.priority = answer.priority
    this.#text = text
  }

  /** The payload as JSON, where it is known: an object that is not empty. */
  static textOf(answer: JobAccepted): string | undefined {
    return #text in answer ? answer.#text : undefined
  }
}

/** The scheduler of one runtime, over its job engine. */
export const layer: Layer.Layer<JobScheduler, never, JobEngine> = Layer.effect(
  JobScheduler,
  Effect.map(JobEngine, (engine) => {
    const admission = new Admission(engine)
    const { jobs } = engine
    const submitNow: SubmitNow = (request, reply) => admission.submit(request, reply)
    return {
      submit: submittingNow((request, reply) => Effect.suspend(() => submitNow(request, reply)), submitNow),
      cancel: (request, reply) => cancel(engine, request, reply),
      counts: () => ({ pending: jobs.pending, running: jobs.running })
    }
  })
)

/** From a submit to a job. */
class Admission {
  private readonly engine: Engine
  private readonly idempotency: Idempotency

  constructor(engine: Engine) {
    this.engine = engine
    this.idempotency = new Idempotency(engine, (submitting, record, kept) => accept(engine, submitting, record, kept))
  }

  /** Begins in the step in which it is called, as what it calls does: where it is done then, the effect is an exit. */
  submit(request: SubmitRequest, reply: Reply<JobAccepted>): Effect.Effect<void, ArcpError> {
    const session = this.engine.eventLog.sessions.get(request.sessionId)
    if (session === undefined) return Effect.fail(sessionEnded)
    const { idempotency_key: key } = request.payload
    const submitting = { session, request, reply }
    return key === undefined
      ? this.create(submitting, undefined)
      : this.idempotency.submit(submitting, key, (taken) => this.create(submitting, taken))
  }

  private create(submitting: Submitting, key: Key | undefined): Effect.Effect<void, ArcpError> {
    if (this.engine.drain.draining) return Effect.fail(shuttingDown)
    const resolved = this.resolve(submitting.request)
    return Either.isLeft(resolved) ? Effect.fail(resolved.left) : this.admit(submitting, key, resolved.right)
  }

  private resolve({ features, payload }: SubmitRequest): Either.Either<Resolved, ArcpError> {
    const name = AgentName.parse(payload.agent)
    if (Either.isLeft(name)) return Either.left(name.left)
    if (name.right.version !== undefined && !features.has("agent_versions")) {
      return Either.left(
        new InvalidRequest({ message: "payload.agent: the feature agent_versions was not negotiated" })
      )
    }
    const agent = this.engine.agents.resolve(name.right)
    if (Either.isLeft(agent)) return Either.left(agent.left)
    const input = agent.right.decode(payload.input ?? null)
    return Either.isLeft(input) ? Either.left(input.left) : Either.right({ agent: agent.right, input: input.right })
  }

  /** Called in the step in which the submit is judged. */
  private admit(submitting: Submitting, key: Key | undefined, resolved: Resolved): Effect.Effect<void, ArcpError> {
    const { features, payload, principal } = submitting.request
    const now = this.engine.deadlines.wall()
    const granted = this.engine.leases.admit({
      lease: payload.lease_request,
      constraints: payload.lease_constraints,
      features,
      principal,
      now
    })
    if (Either.isLeft(granted)) return Effect.fail(granted.left)
    const withheld = withheldOf(submitting, granted.right)
    const admitting: Admitting = { submitting, key, resolved, lease: granted.right, now, withheld }
    return withheld.length === 0
      ? this.make(admitting)
      : Effect.zipRight(
          reportWithheld(admitting),
          Effect.suspend(() => this.make(admitting))
        )
  }

  /** Why there is no room for the job; undefined where there is. */
  private full({ resolved, submitting }: Admitting): InternalError | undefined {
    const { drain, jobs, limits, meter } = this.engine
    const { id } = submitting.request.principal
    if (drain.draining) return shuttingDown
    if (jobs.submitted(id) >= limits.jobsPerPrincipal) {
      return meter.reaching(
        "jobsPerPrincipal",
        new InternalError({
          message: `you have ${limits.jobsPerPrincipal} jobs that run or wait; try again when one has ended`
        })
      )
    }
    if (jobs.pending >= limits.pendingJobs && !jobs.hasSlot(id, resolved.agent)) {
      return meter.reaching(
        "pendingJobs",
        new InternalError({ message: `${limits.pendingJobs} jobs are waiting already; try again later` })
      )
    }
    const guestsFull = isAnonymous(id) && jobs.pendingGuests >= anonymousShare(limits, limits.pendingJobs)
    if (guestsFull && !jobs.hasSlot(id, resolved.agent)) {
      return meter.reaching(
        "anonymousShare",
        new InternalError({
          message: "as many jobs of anonymous clients are waiting as may; present a token, or try again later"
        })
      )
    }
    return undefined
  }

  /** Makes the job, has its credentials issued, and launches it; in the step in which it is called, but for credentials. */
  private make(admitting: Admitting): Effect.Effect<void, ArcpError> {
    const { limits } = this.engine
    const refusal = this.full(admitting)
    if (refusal !== undefined) return Effect.fail(refusal)
    const made = this.newJobOf(admitting)
    const { record, running } = made
    const room = FrameSize.replyRoom(limits)
    if (!FrameSize.fits(record.accepted, room)) {
      const message = `payload.lease_request: a reply that shows it has at most ${room} bytes here`
      return Effect.fail(new InvalidRequest({ message }))
    }
    if (running.provisioned) return this.issueAndLaunch(admitting, made)
    this.openBudget(made)
    this.launch(admitting, made)
    return Effect.void
  }

  private openBudget({ budget, live }: Made): void {
    this.engine.budgets.open(live.jobId, budget)
  }

  private newJobOf({ lease, now, resolved, submitting }: Admitting): Made {
    const { features, payload, priority, principal, sessionId, trace } = submitting.request
    const { credentials, ids } = this.engine
    return newJob({
      jobId: `job_${ids.unsafeUlid(now)}`,
      principalId: principal.id,
      ownerSessionId: sessionId,
      agent: resolved.agent,
      input: resolved.input,
      wireInput: payload.input,
      lease,
      maxRuntimeSec: payload.max_runtime_sec,
      idempotencyKey: payload.idempotency_key,
      traceId: trace?.traceId ?? ids.unsafeTraceId(),
      trace,
      now,
      inlineStream: !features.has("result_chunk"),
      priority,
      provisioned: credentials.available && maySee({ features }),
      parent: undefined
    })
  }

  /** The job holds nothing until it is launched: what it got before is returned where it is not. */
  private issueAndLaunch(admitting: Admitting, made: Made): Effect.Effect<void, ArcpError> {
    const { budgets, credentials, limits, money } = this.engine
    const { record, running } = made
    const { jobId } = record
    const issued = Effect.suspend(() => {
      this.openBudget(made)
      return credentials.issue(issueRequest(running, budgets))
    })
    const launched = Effect.suspend(() => {
      const late = this.full(admitting) ?? tooLarge(credentials, record, limits)
      if (late === undefined) return Effect.sync(() => this.launch(admitting, made))
      credentials.revoke(jobId)
      return Effect.fail(late)
    })
    return Effect.zipRight(issued, launched).pipe(
      // The connection may have ended just when they had come.
      Effect.onInterrupt(() => Effect.sync(() => (running.queued ? undefined : credentials.revoke(jobId)))),
      Effect.onError(() => Effect.sync(() => (running.queued ? undefined : money.close(running))))
    )
  }

  /** The job, its key and its start are one change; the reply goes out when it is durable. */
  private launch(admitting: Admitting, made: Made): void {
    const { key, now, submitting } = admitting
    const { live, record, running } = made
    const { audit, limits, run } = this.engine
    const { jobId } = record
    const { session } = submitting
    key?.queued()
    run.launch(running, {
      write: (batch) => {
        batch.job(record)
        batch.state(live)
        if (key !== undefined) {
          batch.key({
            principalId: record.principalId,
            key: key.key,
            jobId,
            parametersHash: key.hash,
            expiresAt: now + limits.keyLifetime
          })
        }
        if (!session.removed) batch.addOwner(live, session)
        batch.reply(() => accept(this.engine, submitting, record, live.values.accepted, record.accepted), live)
      },
      committed: () => {
        key?.done()
        if (audit !== undefined) auditAdmitted(audit, admitting, made)
      },
      failed: (error) => {
        key?.done()
        refuse(submitting.reply, storeFailure(error))
      }
    })
  }
}

/** What the runtime's own `Leases` grant a submit: what it asks for, or less (1.0 §7.1). */
export const granting =
  (policy: LeasePolicyShape) =>
  ({ constraints, features, lease, now, principal }: LeaseRequest): Either.Either<Lease.Lease, InvalidRequest> => {
    const invalid = (message: string) => Either.left(new InvalidRequest({ message }))
    if (constraints?.expires_at !== undefined && !features.has("lease_expires_at")) {
      return invalid("payload.lease_constraints.expires_at: the feature lease_expires_at was not negotiated")
    }
    for (const capability of ["cost.budget", "model.use"] as const) {
      if (lease !== undefined && Object.hasOwn(lease, capability) && !features.has(capability)) {
        return invalid(`payload.lease_request: the feature ${capability} was not negotiated`)
      }
    }
    return Either.map(Lease.compile(lease ?? {}, constraints, { now }), (requested) => {
      const allowed = policy.allowed(principal)
      const narrowed = allowed === undefined ? requested : Delegated.narrow(requested, allowed)
      return SystemFolders.restrict(narrowed, allowed)
    })
  }

/** What was asked for and is not granted. */
const withheldOf = (submitting: Submitting, lease: Lease.Lease): ReadonlyArray<string> => {
  const { lease_constraints: constraints, lease_request: asked } = submitting.request.payload
  // A policy may add to what was not asked for.
  return asked === undefined && constraints === undefined && lease.constraints === undefined && isEmpty(lease.wire)
    ? nothing
    : Withheld.describe({ lease: asked, constraints }, { lease: lease.wire, constraints: lease.constraints })
}

/** The job is durable. */
const auditAdmitted = (audit: Auditor, { submitting, withheld }: Admitting, made: Made): void => {
  const { request, session } = submitting
  const asked = { request_id: request.requestId, remote_address: session.link?.connection.remoteAddress }
  const job = admitted(made)
  audit.add({ ...job, ...asked })
  if (withheld.length === 0) return
  const { agent, job_id, principal, session_id, trace_id } = job
  const facts = { agent, job_id, principal, session_id, trace_id, ...asked }
  audit.add({ type: "lease.narrowed", ...facts, at: "admission", outcome: "reduced", withheld })
}

const isEmpty = (lease: object): boolean => {
  for (const _ in lease) return false
  return true
}

const nothing: ReadonlyArray<string> = []

/** The submitter sees it in `job.accepted`, the operator here. */
const reportWithheld = ({ resolved, submitting, withheld }: Admitting): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logWarning(`a lease was narrowed: ${withheld.slice(0, 8).join("; ")}`), {
    principal: submitting.request.principal.id,
    agent: nameOf(resolved.agent)
  })

/** Answers with a job's acceptance, as the session that asks may see it; `text`: of the acceptance, where that is its JSON. */
const accept = (
  { credentials }: Engine,
  { reply, session }: Submitting,
  record: JobLog["record"],
  kept: KeptAccepted,
  text?: string
): void => {
  const { priority } = kept
  const accepted = priority === undefined ? kept : withoutPriority(kept)
  // Where none are provisioned there is none to show.
  const payload = credentials.available ? acceptedFor(credentials, session, record, accepted) : accepted
  const answer: JobAccepted = { jobId: JobId(record.jobId), traceId: record.traceId, payload, priority }
  reply(Either.right(payload === kept ? new Acceptance(answer, text) : answer))
}

const withoutPriority = ({ priority: _, ...accepted }: KeptAccepted): Accepted => accepted

const cancel = (
  { drain, ending, jobs, eventLog, store }: Engine,
  { jobId, principal, reason, requestId, sessionId }: CancelRequest,
  reply: Reply<void>
): Effect.Effect<void, ArcpError> =>
  Effect.gen(function* () {
    const running = jobs.get(jobId)
    const unknown = new JobNotFound({ message: `job_id: there is no job ${jobId.slice(0, 64)}` })
    if (running === undefined) {
      const stored = yield* Effect.mapError(store.job(jobId), storeFailure)
      if (Option.isNone(stored) || stored.value.record.principalId !== principal.id) return yield* unknown
      if (!isTerminal(stored.value.state.status)) return yield* shuttingDown
      return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
    }
    const { live } = running
    if (live.record.principalId !== principal.id) return yield* unknown
    if (!live.owners.some((owner) => owner.sessionId === sessionId)) {
      return yield* new PermissionDenied({
        message: `job_id: only the session that submitted ${jobId} may cancel it`
      })
    }
    if (drain.isLeft(running)) return yield* shuttingDown
    if (live.ending) return yield* new InvalidRequest({ message: `job_id: ${jobId} has ended already` })
    const error = new Cancelled({
      message: reason === undefined ? "cancelled by the client" : `cancelled: ${reason}`
    })
    // Acknowledged once it is durable: a process that dies now leaves it to the next one to end the job.
    eventLog.change({
      write: (batch) => {
        batch.state(live, { cancelled: live.cancelled ?? error.message })
        batch.reply(() => reply(Either.void))
      }
    })
    ending.stop(running, { status: "cancelled", error, by: { sessionId, requestId } })
  })
