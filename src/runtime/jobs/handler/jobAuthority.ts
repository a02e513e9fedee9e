/**
 * The part of the `Job` service that needs authority: the gate, tool and model calls, charges and reservations
 * (ARCP 1.1 §9.3, §9.6, §9.7).
 *
 * Order of a call: `tool_call`, check, run, `tool_result`. Whatever ends a call (a result, a failure, a denial, an
 * interruption) queues its one `tool_result` in the same step. A call that is refused is not run.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { deniedCause } from "../../../agent/Denied.js"
import type { Denial, Gate } from "../../../agent/Gate.js"
import { type ChildJob, type DelegateOptions, Job, type JobCredential, type JobService } from "../../../agent/Job.js"
import type { ToolRegistration } from "../../../agent/ToolRegistry.js"
import * as Amount from "../../../authority/Amount.js"
import * as Canonical from "../../../authority/Canonical.js"
import type { Capability } from "../../../authority/Capability.js"
import * as Lease from "../../../authority/Lease.js"
import {
  type ArcpError,
  InvalidRequest,
  isArcpError,
  oneLine,
  PermissionDenied,
  toWire
} from "../../../protocol/Errors.js"
import type { Budgets } from "../Budgets.js"
import type { Leases } from "../Leases.js"
import * as Costs from "./costs.js"
import { causeToArcpError, toArcpError, type Upstream } from "./failures.js"
import { toolResultBody } from "../../kernel/Payload.js"
import type { Running } from "../Running.js"

/** What it needs of the runtime. */
export interface AuthorityDeps
  extends Pick<Context.Tag.Service<Leases>, "check" | "checkState">,
    Pick<Context.Tag.Service<Budgets>, "chargeable" | "charge" | "hold" | "available"> {
  /** What a refusal means for the job beyond its failure. */
  readonly refused: (running: Running, error: Denial) => void
  readonly findTool: (name: string) => ToolRegistration | undefined
  /** Services that tools do not get. */
  readonly withhold: ReadonlyArray<object>
  readonly startChild: (
    running: Running,
    agent: string,
    input: unknown,
    options: DelegateOptions | undefined
  ) => Effect.Effect<ChildJob<unknown>, ArcpError>
  readonly handoff: (running: Running, agent: string, input: unknown) => Effect.Effect<never, ArcpError>
  readonly credentials: (running: Running) => ReadonlyArray<JobCredential>
  /** What the job's credentials have to do with a failure; undefined where it has none. */
  readonly upstream: (running: Running) => UpstreamOf | undefined
}

/** An upstream's refusals are denials. */
export interface UpstreamOf extends Upstream {
  readonly translate: (failure: unknown) => Denial | undefined
}

/** What it needs of the job. */
export interface AuthorityEvents {
  /** Emits an event; `then` runs in the same step in which it is queued. */
  readonly push: (kind: string, body: unknown, then?: () => void) => Effect.Effect<void, InvalidRequest>
  /** Queues an event now, without waiting for room; undefined where the job emits no more. */
  readonly queue: (kind: string, body: unknown) => boolean | InvalidRequest | undefined
  readonly now: () => number
  readonly newId: (prefix: string) => string
  /** The job's own service, for the tools that it calls. */
  readonly service: () => JobService
}

const argumentOf = (capability: Capability): string =>
  capability.startsWith("fs.") ? "path" : capability === "net.fetch" ? "url" : "name"

/** A target that may be told: a URL without what may be a secret in it. */
const shown = (capability: Capability, target: string): string => {
  if (capability !== "net.fetch") return oneLine(target.slice(0, 256))
  const canonical = Canonical.url(target)
  const url = Either.getOrElse(canonical, () => target)
  // Of a text that is no URL nobody can say where its user information ends.
  if (Either.isLeft(canonical) && url.includes("@")) return "…"
  const [whole] = /^[^?#]*[?#]?/.exec(url) ?? [""]
  return oneLine(whole.slice(0, 256)) + (whole.length < url.length ? "…" : "")
}

/** The services and the gate of a job. */
export interface JobAuthority {
  readonly service: Pick<
    JobService,
    | "authorize"
    | "tool"
    | "callTool"
    | "model"
    | "spend"
    | "reserve"
    | "remaining"
    | "startChild"
    | "handoff"
    | "credentials"
  >
  readonly gate: Gate
  readonly costs: Costs.Costs
}

/** Makes them. */
export const make = (running: Running, events: AuthorityEvents, deps: AuthorityDeps): JobAuthority => {
  /** Reports the end of a call that is open; of a result that does not fit an event its size is reported, of an error the message. */
  const close = (callId: string, outcome: Parameters<typeof toolResultBody>[1]): void => {
    if (!running.openCalls.delete(callId)) return
    const told = events.queue("tool_result", toolResultBody(callId, outcome))
    if (told instanceof InvalidRequest) {
      const omitted = { omitted: told.message }
      events.queue(
        "tool_result",
        "error" in outcome
          ? { call_id: callId, error: { ...toWire(outcome.error), details: omitted } }
          : toolResultBody(callId, { result: omitted })
      )
    }
  }

  /** Refuses an operation that no tool call stands for: the refusal is told as a call with its result. */
  const refuse = (
    tool: string,
    args: object,
    error: Denial,
    consequence: (running: Running, error: Denial) => void = deps.refused
  ): Effect.Effect<never, Denial> => {
    // Nothing follows the terminal message.
    if (running.finished) return Effect.fail(error)
    const callId = events.newId("call")
    return events
      .push("tool_call", { tool, args, call_id: callId }, () => {
        running.openCalls.add(callId)
        close(callId, { error })
        consequence(running, error)
      })
      .pipe(Effect.ignore, Effect.zipRight(Effect.fail(error)))
  }

  const authorize = (capability: Capability, target: string): Effect.Effect<Canonical.Canonical, Denial> =>
    Effect.suspend(() => {
      const checked = deps.check(running, capability, target)
      return Either.isRight(checked)
        ? Effect.succeed(checked.right)
        : refuse(capability, { [argumentOf(capability)]: shown(capability, target) }, checked.left)
    })

  const gate: Gate = {
    authorize,
    live: () => Either.getOrUndefined(Either.flip(deps.checkState(running))),
    namesHost: (url) => Lease.namesHost(running.lease, url),
    refuse: (capability, problem, at) =>
      Effect.suspend(() => {
        // Expiry and budget come first, whatever is wrong with the target.
        const state = deps.checkState(running)
        return refuse(
          capability,
          at === undefined ? {} : { [argumentOf(capability)]: shown(capability, at.target) },
          Either.isLeft(state)
            ? state.left
            : new PermissionDenied({
                message: `${capability}: ${problem.message}`,
                details: { capability, reason: at?.reason ?? "canonical" }
              })
        )
      })
  }

  /** Why a call has no result: what the whole job is stopped for, where that is what interrupted it. */
  const reasonOf = (cause: Cause.Cause<unknown>): ArcpError =>
    running.stop !== undefined && Cause.isInterruptedOnly(cause)
      ? running.stop.error
      : causeToArcpError(cause, deps.upstream(running))

  /** An upstream that refuses says so in its own words: the agent is told in the protocol's (§9.6, §13.7). */
  const translated = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    then: (denial: Denial) => void
  ): Effect.Effect<A, E | Denial, R> =>
    Effect.mapError(effect, (error) => {
      if (isArcpError(error) || deniedCause(error) !== undefined) return error
      const denial = deps.upstream(running)?.translate(error)
      if (denial === undefined) return error
      then(denial)
      return denial
    })

  const refusedUpstream = (denial: Denial): void => deps.refused(running, denial)

  /** A call with its two events; `check` decides in the step after `tool_call`. */
  const call = <A, E, R>(
    tool: string,
    args: unknown,
    check: () => Either.Either<unknown, Denial>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Denial | InvalidRequest, R> =>
    Effect.uninterruptibleMask((restore) => {
      const callId = events.newId("call")
      const announced = events.push("tool_call", { tool, args: args ?? {}, call_id: callId }, () =>
        running.openCalls.add(callId)
      )
      let denial: Denial | undefined
      const run = Effect.suspend((): Effect.Effect<A, E | Denial, R> => {
        const checked = check()
        if (Either.isRight(checked)) {
          return translated(effect, (upstream) => {
            denial = upstream
          })
        }
        denial = checked.left
        return Effect.fail(checked.left)
      })
      return restore(Effect.zipRight(announced, run)).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) return close(callId, { result: exit.value })
            close(callId, { error: denial ?? reasonOf(exit.cause) })
            if (denial !== undefined) deps.refused(running, denial)
          })
        ),
        Effect.withSpan("arcp.tool_call", {
          attributes: { "arcp.tool": tool, "arcp.call_id": callId, "arcp.job_id": running.live.jobId },
          captureStackTrace: false
        })
      )
    })

  const tool: JobService["tool"] = (name, args, effect) =>
    call(name, args, () => deps.check(running, "tool.call", name), effect)

  const costs = Costs.make(running, events, {
    checkState: deps.checkState,
    chargeable: deps.chargeable,
    charge: deps.charge,
    hold: deps.hold,
    available: deps.available,
    // Less is left than was asked for, but something is: no budget is spent.
    refuse: (args, error) => refuse("cost.budget", args, error, () => undefined),
    refuseState: (args, error) => refuse("cost.budget", args, error),
    translated: (effect) => translated(effect, refusedUpstream)
  })

  const service: JobAuthority["service"] = {
    authorize,
    tool,
    callTool: (name, input) =>
      Effect.mapError(
        tool(
          name,
          input,
          Effect.suspend((): Effect.Effect<unknown, unknown> => {
            const found = deps.findTool(name)
            return found === undefined
              ? Effect.fail(new InvalidRequest({ message: `tool: no tool ${JSON.stringify(name)} is hosted here` }))
              : Effect.provideService(found.run(input, deps.withhold), Job, events.service())
          })
        ),
        (error) => toArcpError(error, deps.upstream(running))
      ),
    model: (id, effect) => Effect.zipRight(authorize("model.use", id), translated(effect, refusedUpstream)),
    spend: costs.spend,
    reserve: costs.reserve,
    remaining: Effect.sync(() =>
      Object.fromEntries(
        Array.from(deps.available(running), ([currency, value]) => [currency, Amount.format(value)] as const)
      )
    ),
    startChild: (agent, input, options) => deps.startChild(running, agent, input, options),
    handoff: (agent, input) => deps.handoff(running, agent, input),
    credentials: Effect.sync(() => deps.credentials(running))
  }
  return { service, gate, costs }
}
