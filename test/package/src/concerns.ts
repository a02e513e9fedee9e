/** The five concerns of a runtime, each written from nothing but the public entries. */
import type { Principal } from "effect-arcp/auth"
import { Amount, Canonical, Lease } from "effect-arcp/authority"
import {
  type ArcpError,
  BudgetExhausted,
  InvalidRequest,
  JobId,
  JobNotFound,
  PermissionDenied,
  ResumeWindowExpired,
  SessionId
} from "effect-arcp/protocol"
import {
  Budgets,
  type BudgetsService,
  type CancelRequest,
  type ClosedBudget,
  type JobAccepted,
  JobScheduler,
  type JobSchedulerService,
  type KeptSession,
  type LeaseHolder,
  type LeaseRequest,
  Leases,
  type LeasesService,
  type Listed,
  type ListRequest,
  type OpenedSession,
  type OpenSession,
  type Reply,
  type ResumedSession,
  type ResumeSession,
  Sessions,
  type SessionsService,
  type SubmitRequest,
  type SubscribeRequest,
  Subscriptions,
  type SubscriptionsService
} from "effect-arcp/runtime"
import { Effect, Either, Layer } from "effect"

const nothing: Amount.Amounts = new Map()
const noneReturned: ClosedBudget = { returned: nothing, parent: nothing }

/** One purse for all jobs: whoever spends, spends from it. */
export class Purse implements BudgetsService {
  private left: Amount.Amounts

  constructor(left: Amount.Amounts) {
    this.left = left
  }

  readonly open = (): void => undefined
  readonly counters = (): Amount.Amounts => this.left
  readonly available = (): Amount.Amounts => this.left
  readonly exhausted = (_jobId: JobId): BudgetExhausted | undefined =>
    [...this.left.values()].some(Amount.isExhausted)
      ? new BudgetExhausted({ message: "the purse is empty" })
      : undefined
  readonly chargeable = (_jobId: JobId, { currency }: Amount.Amount): Either.Either<void, InvalidRequest> =>
    this.left.has(currency) ? Either.void : Either.left(new InvalidRequest({ message: `no ${currency} in the purse` }))
  readonly charge = (_jobId: JobId, { currency, value }: Amount.Amount): Amount.Amounts => {
    const next = Amount.subtract(this.left.get(currency) ?? Amount.zero, value)
    this.left = new Map([...this.left, [currency, next]])
    return new Map([[currency, next]])
  }
  readonly hold = (_jobId: JobId, { currency, value }: Amount.Amount): Either.Either<() => void, BudgetExhausted> =>
    Amount.exceeds(value, this.left.get(currency) ?? Amount.zero)
      ? Either.left(new BudgetExhausted({ message: "the purse does not have that much" }))
      : Either.right(() => undefined)
  readonly grant = (): Amount.Amounts => nothing
  readonly close = (): ClosedBudget => noneReturned
}

/** Every job may call every tool, and do nothing else. */
export class ToolsOnly implements LeasesService {
  readonly admit = ({ constraints, now }: LeaseRequest): Either.Either<Lease.Lease, InvalidRequest> =>
    Lease.compile({ "tool.call": ["**"] }, constraints, { now })
  readonly recovered = (lease: Lease.Lease): Lease.Lease => lease
  readonly check = (
    { lease }: LeaseHolder,
    capability: Parameters<LeasesService["check"]>[1],
    target: string
  ): ReturnType<LeasesService["check"]> =>
    Either.flatMap(
      Either.mapLeft(Canonical.target(capability, target), ({ message }) => new PermissionDenied({ message })),
      (canonical) => {
        const decision = Lease.authorize(lease, capability, canonical)
        return decision._tag === "Allowed" ? Either.right(canonical) : Either.left(Lease.toPermissionDenied(decision))
      }
    )
  readonly checkState = (): Either.Either<void, never> => Either.void
}

/** Accepts every job, and runs none. */
export class Accepting implements JobSchedulerService {
  private readonly jobs = new Map<JobId, Principal>()

  readonly submit = (
    { payload, principal, trace }: SubmitRequest,
    reply: Reply<JobAccepted>
  ): Effect.Effect<void, ArcpError> =>
    Effect.sync(() => {
      const jobId = JobId(`job_${this.jobs.size + 1}`)
      this.jobs.set(jobId, principal)
      reply(
        Either.right({
          jobId,
          traceId: trace?.traceId ?? "4bf92f3577b34da6a3ce929d0e0e4736",
          payload: { job_id: jobId, agent: payload.agent, lease: {}, accepted_at: "2026-01-01T00:00:00.000Z" }
        })
      )
    })

  readonly cancel = ({ jobId }: CancelRequest, reply: Reply<void>): Effect.Effect<void, ArcpError> =>
    this.jobs.has(jobId)
      ? Effect.sync(() => reply(Either.void))
      : Effect.fail(new JobNotFound({ message: `there is no ${jobId}` }))

  readonly counts = () => ({ pending: this.jobs.size, running: 0 })
}

/** Nobody sees anybody's jobs. */
export class Blind implements SubscriptionsService {
  readonly subscribe = ({ jobId }: SubscribeRequest): Effect.Effect<void, ArcpError> =>
    new JobNotFound({ message: `there is no ${jobId}` })
  readonly unsubscribe: SubscriptionsService["unsubscribe"] = (_, reply) => Effect.sync(() => reply(Either.void))
  readonly list = (_: ListRequest): Effect.Effect<Listed, ArcpError> => Effect.succeed({ rows: [], nextCursor: null })
}

/** Sessions with names, which cannot be resumed. */
export class Named implements SessionsService {
  readonly ended: Array<SessionId> = []
  private opened = 0

  readonly open = ({ principal }: OpenSession): Effect.Effect<OpenedSession, ArcpError> =>
    Effect.sync(() => {
      const sessionId = SessionId(`${principal.id}-${++this.opened}`)
      return { sessionId, token: `token of ${sessionId}`, resumeWindow: 1_000 }
    })
  readonly resume = (_: ResumeSession): Effect.Effect<ResumedSession, ArcpError> =>
    new ResumeWindowExpired({ message: "resume: not here" })
  readonly confirm = (): void => undefined
  readonly left = (): void => undefined
  readonly expired = (sessionId: SessionId): void => void this.ended.push(sessionId)
  readonly adopt = (_: KeptSession): number | undefined => undefined
}

/** All of them, for `ArcpRuntime.layer({ replace })`. */
export const concerns = {
  budgets: Layer.sync(Budgets, () => new Purse(Either.getOrThrow(Amount.parseAll(["USD:1.00"])))),
  leases: Layer.sync(Leases, () => new ToolsOnly()),
  jobScheduler: Layer.sync(JobScheduler, () => new Accepting()),
  subscriptions: Layer.sync(Subscriptions, () => new Blind()),
  sessions: Layer.sync(Sessions, () => new Named())
}
