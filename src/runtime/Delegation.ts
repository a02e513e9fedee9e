/**
 * Delegation: jobs that start jobs, with a part of what they may do themselves (ARCP 1.1 §9.4, §10).
 *
 * Responsibility: `agent.delegate` is checked like every operation, the child's lease is proven to be a subset of its
 * parent's, its budget leaves the parent's counters, and the child runs in the same session's stream under the same trace.
 * A refusal is a `tool_result` on the parent with the delegation's id. Handing a job over to another agent is here too.
 *
 * Order: the parent's `delegate` event, the child and what its budget takes from the parent are one change of the journal;
 * `job.accepted` of the child is sent behind the `delegate` event and before anything of the child.
 *
 * Races closed here: the budget is held in the step in which it is compared, so that delegations side by side cannot give
 * the same money away twice, and leaves the parent's counter only with the child's start, so that a crash before it loses
 * none; a child whose parent is ending or has been stopped meanwhile is not started. That children end before their parent
 * does is the runner's concern.
 */
import { Buffer } from "node:buffer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type AgentRegistration, AgentRegistry } from "../agent/AgentRegistry.js"
import type { ChildJob, DelegateOptions } from "../agent/Job.js"
import * as Delegated from "../authority/Delegated.js"
import * as Lease from "../authority/Lease.js"
import * as SystemFolders from "../authority/SystemFolders.js"
import * as AgentName from "../protocol/AgentName.js"
import * as Decimal from "../protocol/Decimal.js"
import { type ArcpError, Cancelled, InternalError, InvalidRequest, PermissionDenied } from "../protocol/Errors.js"
import { formatTimestamp, type WireLeaseConstraints } from "../protocol/Fields.js"
import { Ids } from "../protocol/Ids.js"
import * as Text from "../protocol/Text.js"
import type { TraceContext } from "../protocol/Trace.js"
import { Budgets } from "./Budgets.js"
import { Credentials } from "./Credentials.js"
import { Deadlines } from "./Deadlines.js"
import type { LiveSession } from "./internal/model.js"
import * as FrameSize from "./internal/frameSize.js"
import { newJob } from "./internal/newJob.js"
import { announcement } from "./internal/announced.js"
import { attachOwner, detach } from "./internal/owner.js"
import { eventPayload, failedResultBody } from "./internal/payload.js"
import type { Outcome, Running } from "./internal/running.js"
import { pause } from "./internal/turn.js"
import { JobRunner } from "./JobRunner.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import { Limits } from "./Limits.js"
import { Meter } from "./Metrics.js"

/** Starts delegated jobs. */
export class Delegation extends Context.Tag("effect-arcp/runtime/Delegation")<
  Delegation,
  {
    /** Starts a child of a running job; a refusal has been told on the parent when this fails. */
    readonly startChild: (
      parent: Running,
      agent: string,
      input: unknown,
      options: DelegateOptions | undefined
    ) => Effect.Effect<ChildJob<unknown>, ArcpError>
    /** Lets another agent take a running job over; does not return where that succeeds. */
    readonly handoff: (running: Running, agent: string, input: unknown) => Effect.Effect<never, ArcpError>
  }
>() {
  static readonly layer: Layer.Layer<
    Delegation,
    never,
    AgentRegistry | Budgets | Credentials | Deadlines | Ids | JobRunner | Journal | Leases
  > = Layer.effect(
    Delegation,
    Effect.gen(function* () {
      const registry = yield* AgentRegistry
      const budgets = yield* Budgets
      const credentials = yield* Credentials
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const journal = yield* Journal
      const leases = yield* Leases
      const limits = yield* Limits
      const { reached, reaching } = yield* Meter
      const runner = yield* JobRunner
      const room = FrameSize.bodyRoom(limits)

      /** The agent, where the lease lets the job delegate to it; its version is what the lease is matched against. */
      const permitted = (running: Running, agent: string): Either.Either<AgentRegistration, ArcpError> =>
        Either.gen(function* () {
          const name = yield* AgentName.parse(agent)
          const found = registry.resolve(name)
          const target = Either.match(found, {
            onLeft: () => AgentName.format(name),
            onRight: ({ name, version }) => AgentName.format({ name, version })
          })
          // Before the registry's answer: who may not delegate does not learn what there is.
          yield* leases.check(running, "agent.delegate", target)
          return yield* found
        })

      const within = (parent: Running): Either.Either<void, PermissionDenied> =>
        parent.depth + 1 > limits.delegationDepth
          ? reaching(
              "delegationDepth",
              Either.left(
                new PermissionDenied({
                  message: `agent.delegate: jobs are delegated ${limits.delegationDepth} levels deep at most`,
                  details: { capability: "agent.delegate", reason: "depth" }
                })
              )
            )
          : parent.children.size >= limits.childrenPerJob || parent.delegated >= limits.delegationsPerJob
            ? reaching(
                parent.delegated >= limits.delegationsPerJob ? "delegationsPerJob" : "childrenPerJob",
                Either.left(
                  new PermissionDenied({
                    message: `agent.delegate: a job has ${limits.childrenPerJob} children at a time, ${limits.delegationsPerJob} in all, at most`,
                    details: { capability: "agent.delegate", reason: "fan_out" }
                  })
                )
              )
            : Either.void

      const constraintsOf = (options: DelegateOptions | undefined): WireLeaseConstraints | undefined =>
        options?.expiresAt === undefined
          ? undefined
          : {
              // A number that is no time is refused like a text that is none.
              expires_at:
                typeof options.expiresAt !== "number"
                  ? options.expiresAt
                  : Math.abs(options.expiresAt) <= 8.64e15
                    ? formatTimestamp(options.expiresAt)
                    : String(options.expiresAt)
            }

      const prepare = (
        parent: Running,
        agentName: string,
        input: unknown,
        options: DelegateOptions | undefined
      ): Either.Either<
        { readonly agent: AgentRegistration; readonly input: unknown; readonly lease: Lease.Lease },
        ArcpError
      > =>
        Either.gen(function* () {
          const agent = yield* permitted(parent, agentName)
          yield* within(parent)
          if (
            options?.maxRuntimeSec !== undefined &&
            !(Math.floor(options.maxRuntimeSec) >= 1 && Number.isSafeInteger(Math.floor(options.maxRuntimeSec)))
          ) {
            return yield* Either.left(
              new InvalidRequest({ message: "maxRuntimeSec: must be a number of seconds, 1 or greater" })
            )
          }
          const decoded = yield* agent.decode(input ?? null)
          const requested = yield* Lease.compile(options?.lease ?? {}, constraintsOf(options), {
            now: deadlines.now()
          })
          yield* Delegated.isSubset(requested, parent.lease, { remaining: budgets.available(parent) })
          yield* SystemFolders.isSubset(requested, parent.lease)
          return { agent, input: decoded, lease: Delegated.inherit(requested, parent.lease) }
        })

      /** The body of a `delegate` event. `input` is JSON text: user code does not run where events are written. */
      const body = (
        delegateId: string,
        childJobId: string | undefined,
        agent: string,
        input: string,
        asked: { readonly lease: string; readonly constraints: WireLeaseConstraints | undefined }
      ): string => {
        const head = JSON.stringify({ delegate_id: delegateId, child_job_id: childJobId, agent: String(agent) })
        const constraints =
          asked.constraints === undefined ? "" : `,"lease_constraints":${JSON.stringify(asked.constraints)}`
        return `${head.slice(0, -1)},"input":${input},"lease_request":${asked.lease}${constraints}}`
      }

      /** What was asked for, copied: it is read once, and what is checked is what is started. */
      const copied = (input: unknown, options: DelegateOptions | undefined) =>
        Either.gen(function* () {
          const json = (field: string, value: unknown, otherwise: string) => {
            const made = Text.toJson(value)
            return made._tag === "NotJson"
              ? Either.left(new InvalidRequest({ message: `${field}: is not JSON: ${made.why}` }))
              : Either.right(made._tag === "Json" ? made.text : otherwise)
          }
          const text = yield* json("input", input ?? null, "null")
          const lease = Decimal.plainBudgetText(yield* json("lease", options?.lease ?? {}, "{}"))
          const { expiresAt, maxRuntimeSec } = options ?? {}
          if (!["undefined", "string", "number"].includes(typeof expiresAt)) {
            return yield* Either.left(new InvalidRequest({ message: "expiresAt: must be a text or a number" }))
          }
          const copy: DelegateOptions = {
            lease: JSON.parse(lease) as NonNullable<DelegateOptions["lease"]>,
            ...(expiresAt === undefined ? {} : { expiresAt }),
            ...(maxRuntimeSec === undefined ? {} : { maxRuntimeSec })
          }
          return {
            text,
            input: JSON.parse(text) as unknown,
            options: copy,
            asked: { lease, constraints: constraintsOf(copy) }
          }
        })

      /** Tells a refusal on the parent (1.0 §10.2). */
      const refuse = (
        parent: Running,
        delegateId: string,
        delegateBody: string,
        error: ArcpError
      ): Effect.Effect<never, ArcpError> =>
        Effect.suspend(() => {
          const { live } = parent
          if (live.ending) return Effect.interrupt
          const now = deadlines.now()
          journal.emit(live, "event", eventPayload('"delegate"', now, delegateBody))
          const hasRoom = journal.emit(
            live,
            "event",
            eventPayload('"tool_result"', now, failedResultBody(delegateId, error, limits))
          )
          runner.refused(parent, error)
          return Effect.zipRight(hasRoom ? Effect.void : journal.room(live), Effect.fail(error))
        })

      const traceOf = (parent: Running, spanId: string | undefined): TraceContext | undefined => {
        const { traceContext: inherited } = parent.live.values
        return spanId === undefined ? inherited : { ...inherited, traceId: parent.live.traceId, parentSpanId: spanId }
      }

      /** Whether it starts nothing any more: what it started now would have to be ended at once. */
      const isEnding = (parent: Running): boolean =>
        parent.stop !== undefined || parent.outcome !== undefined || parent.finished || parent.live.ending

      const startChild = (
        parent: Running,
        agentName: string,
        given: unknown,
        asked: DelegateOptions | undefined
      ): Effect.Effect<ChildJob<unknown>, ArcpError> =>
        Effect.gen(function* () {
          // The proof that a lease is a subset takes milliseconds at most, in one step.
          yield* pause
          if (isEnding(parent)) return yield* Effect.interrupt
          const delegateId = `del_${ids.unsafeUlid(deadlines.now())}`
          const jobId = `job_${ids.unsafeUlid(deadlines.now())}`
          const copy = yield* copied(given, asked)
          const { input, options } = copy
          const refusedBody = body(delegateId, undefined, agentName, copy.text, copy.asked)
          if (!FrameSize.fits(refusedBody, room)) {
            reached("eventPayload")
            return yield* new InvalidRequest({
              message: `input: the delegation has ${Buffer.byteLength(refusedBody)} bytes, at most ${room} are allowed: keep the input as an artifact`
            })
          }
          const refused = (error: ArcpError) => refuse(parent, delegateId, refusedBody, error)
          const spanId = yield* Effect.map(
            Effect.option(Effect.currentSpan),
            Option.match({
              onNone: () => undefined,
              onSome: (span) => (/^[0-9a-f]{16}$/.test(span.spanId) ? span.spanId : undefined)
            })
          )
          const prepared = prepare(parent, agentName, input, options)
          if (Either.isLeft(prepared)) return yield* refused(prepared.left)
          const { agent, lease } = prepared.right
          const share = Lease.budgetOf(lease)
          const letGo = budgets.setAside(parent, share)
          parent.delegated++
          const { live: parentLive } = parent
          const now = deadlines.now()
          const { accepted, live, record, running } = newJob({
            jobId,
            principalId: parentLive.record.principalId,
            ownerSessionId: parentLive.ownerSessionId,
            agent,
            input: prepared.right.input,
            wireInput: input,
            lease,
            maxRuntimeSec: options?.maxRuntimeSec === undefined ? undefined : Math.floor(options.maxRuntimeSec),
            idempotencyKey: undefined,
            traceId: parentLive.traceId,
            trace: traceOf(parent, spanId),
            now,
            inlineStream: parent.inlineStream,
            provisioned: parent.provisioned,
            parent: { running: parent, delegateId }
          })
          // A child is known to its parent from here on: what ends the parent ends it.
          parent.children.add(running)
          const abandoned = Effect.sync(() => {
            letGo()
            runner.abandon(running)
          })
          const issued = Effect.suspend(() =>
            credentials.issue({
              jobId,
              principalId: record.principalId,
              agent: `${agent.name}@${agent.version}`,
              parentJobId: parentLive.jobId,
              lease,
              remaining: Effect.sync(() => running.budget)
            })
          ).pipe(
            Effect.flatMap(() => {
              const wrong = FrameSize.tooManyCredentials(record.accepted, credentials.wire(jobId), limits)
              return wrong === undefined ? Effect.void : Effect.fail(wrong)
            })
          )
          yield* Effect.interruptible(running.provisioned ? issued : Effect.void).pipe(
            Effect.onError(() => abandoned),
            Effect.catchAll(refused)
          )
          return yield* Effect.async<ChildJob<unknown>, ArcpError>((resume) => {
            const result = Effect.async<unknown, ArcpError>((done) => {
              const tell = (outcome: Outcome): void =>
                done(
                  outcome._tag === "error"
                    ? Effect.fail(outcome.error)
                    : outcome.value._tag === "lost"
                      ? Effect.fail(outcome.value.error)
                      : Effect.succeed(outcome.value.value)
                )
              if (running.told !== undefined) return tell(running.told)
              running.ended.push(tell)
              return Effect.sync(() => {
                const at = running.ended.indexOf(tell)
                if (at !== -1) running.ended.splice(at, 1)
              })
            })
            if (isEnding(parent) || running.finished) {
              credentials.revoke(jobId)
              return resume(Effect.zipRight(abandoned, Effect.interrupt))
            }
            let announced: ReadonlyArray<{ readonly owner: LiveSession; readonly at: number }> = []
            running.queued = true
            runner.addChild(running)
            letGo()
            journal.change({
              write: (builder) => {
                builder.event(
                  parentLive,
                  "event",
                  eventPayload('"delegate"', now, body(delegateId, jobId, agentName, copy.text, copy.asked))
                )
                announced = parentLive.owners.map((owner) => ({ owner, at: owner.assigned }))
                builder.job(record)
                for (const { owner } of announced) attachOwner(live, owner)
                builder.state(parentLive)
                builder.state(live)
                runner.writeStart(running, builder)
              },
              committed: () => {
                for (const { at, owner } of announced) {
                  const announced = announcement(
                    owner,
                    live,
                    accepted,
                    () => credentials.wire(jobId),
                    () => ids.unsafeUlid(deadlines.now())
                  )
                  if (announced !== undefined) owner.link?.postAfter(at, announced)
                }
                runner.start(running)
                resume(
                  Effect.succeed<ChildJob<unknown>>({
                    jobId,
                    delegateId,
                    agent: `${agent.name}@${agent.version}`,
                    lease: lease.wire,
                    result,
                    cancel: (reason) =>
                      Effect.sync(() =>
                        runner.stop(running, {
                          status: "cancelled",
                          error: new Cancelled({ message: reason ?? "cancelled by its parent" })
                        })
                      )
                  })
                )
              },
              failed: (error) => {
                detach(live)
                resume(
                  Effect.zipRight(
                    abandoned,
                    refused(
                      new InternalError({ message: `the store is not available: ${error.operation} failed; try again` })
                    )
                  )
                )
              }
            })
            // Told behind the delegation, in the batch that starts the child.
            budgets.escrow(parent, share)
          })
        }).pipe(Effect.uninterruptible)

      const handoff = (running: Running, agentName: string, given: unknown): Effect.Effect<never, ArcpError> =>
        Effect.suspend(() => {
          const copy = copied(given, undefined)
          const prepared = Either.gen(function* () {
            const agent = yield* permitted(running, agentName)
            if (running.handoffs >= limits.delegationDepth) {
              reached("delegationDepth")
              return yield* Either.left(
                new PermissionDenied({
                  message: `agent.delegate: a job is handed over ${limits.delegationDepth} times at most`,
                  details: { capability: "agent.delegate", reason: "depth" }
                })
              )
            }
            if (running.stream !== undefined) {
              return yield* Either.left(
                new InvalidRequest({ message: "handoff: the result streams already; another agent cannot take over" })
              )
            }
            const { input } = yield* copy
            return { agent, input: yield* agent.decode(input) }
          })
          if (Either.isLeft(prepared)) {
            const delegateId = `del_${ids.unsafeUlid(deadlines.now())}`
            const asked = { lease: "{}", constraints: undefined }
            const text = Either.isRight(copy) ? copy.right.text : "null"
            const whole = body(delegateId, undefined, agentName, text, asked)
            // What is refused need not be reported whole.
            const refusedBody = FrameSize.fits(whole, room)
              ? whole
              : body(delegateId, undefined, String(agentName).slice(0, 256), "null", asked)
            return refuse(running, delegateId, refusedBody, prepared.left)
          }
          return Effect.zipRight(
            Effect.sync(() => runner.handOver(running, prepared.right)),
            // The interruption is on its way; where it cannot come in (a finalizer) the caller does not go on either.
            Effect.interrupt
          )
        })

      const service = { startChild, handoff }
      runner.useDelegation(service)
      return service
    })
  )
}
