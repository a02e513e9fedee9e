/**
 * Delegation: jobs that start jobs, with a part of what they may do themselves (ARCP 1.1 §9.4, §10).
 *
 * Responsibility: `agent.delegate` is checked like every operation, the child's lease is proven to be a subset of its
 * parent's, its budget leaves the parent's counters, and the child runs in the same session's stream under the same trace (1.0 §10.3).
 * A refusal is a `tool_result` on the parent with the delegation's id. Handing a job over to another agent is here too.
 *
 * Order: the parent's `delegate` event, the child and what its budget takes from the parent are one change of the log;
 * `job.accepted` of the child is sent behind the `delegate` event and before anything of the child.
 *
 * Races closed here: the budget is held in the step in which it is compared, so that delegations side by side cannot give
 * the same money away twice, and leaves the parent's counter only with the child's start, so that a crash before it loses
 * none; a child whose parent is ending or has been stopped meanwhile is not started. That children end before their parent
 * does is the concern of `Ending`.
 */
import { Buffer } from "node:buffer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import type { ChildJob, DelegateOptions } from "../../agent/Job.js"
import type { Amounts } from "../../authority/Amount.js"
import * as Delegated from "../../authority/Delegated.js"
import * as Lease from "../../authority/Lease.js"
import * as SystemFolders from "../../authority/SystemFolders.js"
import * as AgentName from "../../protocol/AgentName.js"
import {
  type ArcpError,
  type BudgetExhausted,
  Cancelled,
  InvalidRequest,
  PermissionDenied
} from "../../protocol/Errors.js"
import type { JobId } from "../../protocol/Ids.js"
import type { TraceContext } from "../../protocol/Trace.js"
import * as FrameSize from "../kernel/FrameSize.js"
import { eventPayload, failedResultBody } from "../kernel/Payload.js"
import { storeFailure } from "../kernel/Refusals.js"
import { pause } from "../kernel/Turn.js"
import type { Batch } from "../log/Batch.js"
import { tooLarge } from "../credentials/View.js"
import { announcement } from "./internal/announced.js"
import { auditInherited, auditRefused } from "./internal/audited.js"
import { check } from "./internal/authority.js"
import { type Asked, copied, delegateBody, requestedLease } from "./internal/delegating.js"
import type { Delegates, Engine } from "./internal/engine.js"
import { issueRequest } from "./internal/issueRequest.js"
import { toText } from "./Accounts.js"
import { admitted, type Made, newJob } from "./Run.js"
import { nameOf, type Outcome, type Running } from "./Running.js"

/** A delegation that is being asked for. */
interface Request {
  readonly parent: Running
  readonly agentName: string
  readonly delegateId: string
  readonly jobId: string
  readonly asked: Asked
  /** The body of its `delegate` event where it is refused. */
  readonly refusedBody: string
}

/** What is reported of one that is refused, or of a handoff. */
interface Refused extends Pick<Request, "agentName" | "delegateId" | "refusedBody"> {
  readonly operation?: "delegate" | "handoff"
}

/** What a delegation may have. */
interface Prepared {
  readonly agent: AgentRegistration
  readonly input: unknown
  readonly lease: Lease.Lease
}

/** A child that has been made, and not started yet. */
interface Child extends Made {
  readonly request: Request
  readonly prepared: Prepared
  readonly now: number
  /** Its end, once it is durable. */
  readonly ended: Deferred.Deferred<Outcome>
  /** Releases what is set aside of the parent's budget. */
  readonly releaseShare: () => void
}

/** Whether it starts nothing any more: what it started now would have to be ended at once. */
const isEnding = (parent: Running): boolean => !parent.undecided || parent.live.ending

/** The span of the handler's fiber, where it is one of the job's trace (ARCP 1.1 §11) and the wire can name it. */
const currentSpanId = (parent: Running): Effect.Effect<string | undefined> =>
  Effect.map(
    Effect.option(Effect.currentParentSpan),
    Option.match({
      onNone: () => undefined,
      onSome: ({ spanId, traceId }) =>
        traceId === parent.live.traceId && /^[0-9a-f]{16}$/.test(spanId) ? spanId : undefined
    })
  )

const traceOf = (parent: Running, spanId: string | undefined): TraceContext | undefined => {
  const { traceContext: inherited } = parent.live.values
  return spanId === undefined ? inherited : { ...inherited, traceId: parent.live.traceId, parentSpanId: spanId }
}

const resultOf = (outcome: Outcome): Effect.Effect<unknown, ArcpError> =>
  outcome._tag === "error"
    ? Effect.fail(outcome.error)
    : outcome.value._tag === "lost"
      ? Effect.fail(outcome.value.error)
      : Effect.succeed(outcome.value.value)

const denied = (reason: "depth" | "fan_out", problem: string): Either.Either<never, PermissionDenied> =>
  Either.left(
    new PermissionDenied({
      message: `agent.delegate: ${problem}`,
      details: { capability: "agent.delegate", reason }
    })
  )

/** Starts delegated jobs, and hands jobs over. */
export class Delegation implements Delegates {
  private readonly engine: Engine
  private readonly room: number

  constructor(engine: Engine) {
    this.engine = engine
    this.room = FrameSize.bodyRoom(engine.limits)
  }

  startChild(
    parent: Running,
    agentName: string,
    given: unknown,
    options: DelegateOptions | undefined
  ): Effect.Effect<ChildJob<unknown>, ArcpError> {
    return Effect.gen(this, function* () {
      // The proof that a lease is a subset takes milliseconds at most, in one step.
      yield* pause
      if (isEnding(parent)) return yield* Effect.interrupt
      const request = yield* this.request(parent, agentName, given, options)
      const spanId = yield* currentSpanId(parent)
      const prepared = this.prepare(request)
      if (Either.isLeft(prepared)) return yield* this.refuse(parent, request, prepared.left)
      const made = this.make(request, prepared.right, spanId)
      if (Either.isLeft(made)) return yield* this.refuse(parent, request, made.left)
      const child = made.right
      yield* Effect.interruptible(child.running.provisioned ? this.issue(child) : Effect.void).pipe(
        Effect.onError(() => this.abandon(child)),
        Effect.catchAll((error) => this.refuse(parent, request, error))
      )
      return yield* this.launch(child)
    }).pipe(Effect.uninterruptible)
  }

  handoff(running: Running, agentName: string, given: unknown): Effect.Effect<never, ArcpError> {
    return Effect.suspend(() => {
      const copy = copied(given, undefined)
      const prepared = this.prepareHandoff(running, agentName, copy)
      if (Either.isLeft(prepared)) {
        const delegateId = this.newId("del")
        const asked = { text: Either.isRight(copy) ? copy.right.text : "null", lease: "{}", constraints: undefined }
        const whole = delegateBody(delegateId, undefined, agentName, asked)
        // What is refused need not be reported whole.
        const refusedBody = FrameSize.fits(whole, this.room)
          ? whole
          : delegateBody(delegateId, undefined, String(agentName).slice(0, 256), { ...asked, text: "null" })
        const refused = { delegateId, refusedBody, operation: "handoff", agentName } as const
        return this.refuse(running, refused, prepared.left)
      }
      return Effect.zipRight(
        Effect.sync(() => this.engine.run.handOver(running, prepared.right)),
        // The interruption is on its way; where it cannot come in (a finalizer) the caller does not go on either.
        Effect.interrupt
      )
    })
  }

  private newId(prefix: string): string {
    const { deadlines, ids } = this.engine
    return `${prefix}_${ids.unsafeUlid(deadlines.wall())}`
  }

  /** Reads what is asked for; one that could not even be reported when it is refused fails here. */
  private request(
    parent: Running,
    agentName: string,
    given: unknown,
    options: DelegateOptions | undefined
  ): Either.Either<Request, InvalidRequest> {
    const { meter } = this.engine
    const { room } = this
    const delegateId = this.newId("del")
    const jobId = this.newId("job")
    return Either.flatMap(copied(given, options), (asked) => {
      const refusedBody = delegateBody(delegateId, undefined, agentName, asked)
      if (FrameSize.fits(refusedBody, room)) {
        return Either.right({ parent, agentName, delegateId, jobId, asked, refusedBody })
      }
      meter.reached("eventPayload")
      return Either.left(
        new InvalidRequest({
          message: `input: the delegation has ${Buffer.byteLength(refusedBody)} bytes, at most ${room} are allowed: keep the input as an artifact`
        })
      )
    })
  }

  /** The agent, where the lease lets the job delegate to it; its version is what the lease is matched against. */
  private permitted(running: Running, agent: string): Either.Either<AgentRegistration, ArcpError> {
    const { engine } = this
    return Either.gen(function* () {
      const name = yield* AgentName.parse(agent)
      const found = engine.agents.resolve(name)
      const target = Either.match(found, {
        onLeft: () => AgentName.format(name),
        onRight: ({ name, version }) => AgentName.format({ name, version })
      })
      // Before the registry's answer: a job that may not delegate does not learn what there is.
      yield* check(engine, running, "agent.delegate", target)
      return yield* found
    })
  }

  /** Whether the job may delegate once more: by depth, by children at a time, by delegations in all. */
  private within(parent: Running): Either.Either<void, PermissionDenied> {
    const { limits, meter } = this.engine
    if (parent.depth + 1 > limits.delegationDepth) {
      const problem = `jobs are delegated ${limits.delegationDepth} levels deep at most`
      return meter.reaching("delegationDepth", denied("depth", problem))
    }
    const usedUp = parent.delegated >= limits.delegationsPerJob
    if (parent.children.size < limits.childrenPerJob && !usedUp) return Either.void
    const problem = `a job has ${limits.childrenPerJob} children at a time, ${limits.delegationsPerJob} in all, at most`
    return meter.reaching(usedUp ? "delegationsPerJob" : "childrenPerJob", denied("fan_out", problem))
  }

  private prepare({ agentName, asked, parent }: Request): Either.Either<Prepared, ArcpError> {
    const { budgets, deadlines } = this.engine
    const { constraints, input, maxRuntimeSec } = asked
    return Either.gen(this, function* () {
      const agent = yield* this.permitted(parent, agentName)
      yield* this.within(parent)
      if (
        maxRuntimeSec !== undefined &&
        !(Math.floor(maxRuntimeSec) >= 1 && Number.isSafeInteger(Math.floor(maxRuntimeSec)))
      ) {
        return yield* Either.left(
          new InvalidRequest({ message: "maxRuntimeSec: must be a number of seconds, 1 or greater" })
        )
      }
      const decoded = yield* agent.decode(input)
      const requested = yield* Lease.compile(yield* requestedLease(asked), constraints, { now: deadlines.wall() })
      yield* Delegated.isSubset(requested, parent.lease, { remaining: budgets.available(parent.live.jobId) })
      yield* SystemFolders.isSubset(requested, parent.lease)
      return { agent, input: decoded, lease: Delegated.inherit(requested, parent.lease) }
    })
  }

  private prepareHandoff(
    running: Running,
    agentName: string,
    copy: ReturnType<typeof copied>
  ): Either.Either<Pick<Prepared, "agent" | "input">, ArcpError> {
    const { limits, meter } = this.engine
    return Either.gen(this, function* () {
      const agent = yield* this.permitted(running, agentName)
      if (running.handoffs >= limits.delegationDepth) {
        meter.reached("delegationDepth")
        return yield* denied("depth", `a job is handed over ${limits.delegationDepth} times at most`)
      }
      if (running.stream !== undefined) {
        return yield* Either.left(
          new InvalidRequest({ message: "handoff: the result streams already; another agent cannot take over" })
        )
      }
      const { input } = yield* copy
      return { agent, input: yield* agent.decode(input) }
    })
  }

  /** Reports a refusal on the parent (1.0 §10.2). */
  private refuse(
    parent: Running,
    { agentName, delegateId, operation = "delegate", refusedBody }: Refused,
    error: ArcpError
  ): Effect.Effect<never, ArcpError> {
    const { deadlines, ending, eventLog, limits } = this.engine
    return Effect.suspend(() => {
      const { live } = parent
      auditRefused(this.engine, parent, operation, String(agentName), error)
      if (live.ending) return Effect.interrupt
      const now = deadlines.wall()
      eventLog.emit(live, "event", eventPayload('"delegate"', now, refusedBody))
      const hasRoom = eventLog.emit(
        live,
        "event",
        eventPayload('"tool_result"', now, failedResultBody(delegateId, error, limits))
      )
      ending.refused(parent, error)
      return Effect.zipRight(hasRoom ? Effect.void : eventLog.room(live), Effect.fail(error))
    })
  }

  /** Makes the child and sets its budget aside, in the step in which it was compared with what is available. */
  private make(request: Request, prepared: Prepared, spanId: string | undefined): Either.Either<Child, ArcpError> {
    const { budgets, deadlines } = this.engine
    const { asked, delegateId, jobId, parent } = request
    const { agent, lease } = prepared
    const { live } = parent
    const { maxRuntimeSec } = asked
    const share = this.hold(live.jobId, Lease.budgetOf(lease))
    if (Either.isLeft(share)) return Either.left(share.left)
    parent.countDelegation()
    const now = deadlines.wall()
    const ended = Deferred.unsafeMake<Outcome>(FiberId.none)
    const made = newJob({
      jobId,
      principalId: live.record.principalId,
      ownerSessionId: live.ownerSessionId,
      agent,
      input: prepared.input,
      wireInput: asked.input,
      lease,
      maxRuntimeSec: maxRuntimeSec === undefined ? undefined : Math.floor(maxRuntimeSec),
      idempotencyKey: undefined,
      traceId: live.traceId,
      trace: traceOf(parent, spanId),
      now,
      inlineStream: parent.inlineStream,
      provisioned: parent.provisioned,
      parent: { running: parent, delegateId, ended }
    })
    budgets.open(made.live.jobId, made.budget)
    // A child is known to its parent from here on: what ends the parent ends it.
    parent.adopt(made.running)
    return Either.right({ ...made, request, prepared, now, ended, releaseShare: share.right })
  }

  /** Holds what a child is about to get, all of it or nothing; returns what releases it. */
  private hold(parent: JobId, amounts: Amounts): Either.Either<() => void, BudgetExhausted> {
    const held: Array<() => void> = []
    const release = (): void => held.forEach((one) => one())
    for (const [currency, value] of amounts) {
      const one = this.engine.budgets.hold(parent, { currency, value })
      if (Either.isLeft(one)) {
        release()
        return Either.left(one.left)
      }
      held.push(one.right)
    }
    return Either.right(release)
  }

  private abandon({ releaseShare, running }: Child): Effect.Effect<void> {
    return Effect.sync(() => {
      releaseShare()
      this.engine.ending.abandon(running)
    })
  }

  private issue({ record, running }: Child): Effect.Effect<void, ArcpError> {
    const { budgets, credentials, limits } = this.engine
    const issued = Effect.suspend(() => credentials.issue(issueRequest(running, budgets)))
    return Effect.flatMap(issued, () => {
      const wrong = tooLarge(credentials, record, limits)
      return wrong === undefined ? Effect.void : Effect.fail(wrong)
    })
  }

  /** The `delegate` event, the child, its start and what it takes of its parent's budget are one change. */
  private launch(child: Child): Effect.Effect<ChildJob<unknown>, ArcpError> {
    const { budgets, credentials, money, run } = this.engine
    const { budget, live, releaseShare, request, running } = child
    const { parent } = request
    return Effect.async<ChildJob<unknown>, ArcpError>((resume) => {
      if (isEnding(parent) || running.finished) {
        credentials.revoke(live.jobId)
        return resume(Effect.zipRight(this.abandon(child), Effect.interrupt))
      }
      releaseShare()
      const { jobId } = parent.live
      const changed = budgets.grant(jobId, live.jobId, budget)
      const left = toText(budgets.counters(jobId))
      run.launch(running, {
        write: (batch) => this.write(child, batch, left),
        committed: () => {
          this.audit(child)
          resume(Effect.succeed(this.handle(child)))
        },
        failed: (error) => resume(this.refuse(parent, request, storeFailure(error)))
      })
      // Reported behind the delegation, in the batch that starts the child.
      if (budget.size > 0) money.granted(parent.live, changed)
    })
  }

  /** The child is durable. */
  private audit(child: Child): void {
    const { audit } = this.engine
    if (audit === undefined) return
    const { asked } = child.request
    const job = admitted(child)
    audit.add(job)
    auditInherited(this.engine, child.running, job.agent, { lease: asked.requested, constraints: asked.constraints })
  }

  /**
   * The child is announced behind the `delegate` event, and before its own events. `left`: what its parent's counters hold without its
   * budget; in the store the money is never with both.
   */
  private write(child: Child, batch: Batch, left: string | undefined): void {
    const { live, now, record, request } = child
    const { agentName, asked, delegateId, jobId, parent } = request
    const body = delegateBody(delegateId, jobId, agentName, asked)
    batch.event(parent.live, "event", eventPayload('"delegate"', now, body))
    batch.job(record)
    for (const owner of parent.live.owners) {
      batch.announce(owner, () => announcement(this.engine, owner, live))
      batch.addOwner(live, owner)
    }
    batch.state(parent.live, { budget: left })
    batch.state(live)
  }

  /** The child as its parent's handler sees it. */
  private handle({ ended, prepared, request, running }: Child): ChildJob<unknown> {
    const { ending } = this.engine
    return {
      jobId: running.live.jobId,
      delegateId: request.delegateId,
      agent: nameOf(prepared.agent),
      lease: prepared.lease.wire,
      result: Effect.flatMap(Deferred.await(ended), resultOf),
      cancel: (reason) =>
        Effect.sync(() =>
          ending.stop(running, {
            status: "cancelled",
            error: new Cancelled({ message: reason ?? "cancelled by its parent" })
          })
        )
    }
  }
}
