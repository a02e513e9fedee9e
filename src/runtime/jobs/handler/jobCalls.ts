/**
 * Calls of a job's handler that its lease decides on: their two events, and refusals (ARCP 1.1 §9.3, §9.6, §13.7).
 *
 * Order of a call: `tool_call`, check, run, `tool_result`. Whatever ends a call (a result, a failure, a denial, an
 * interruption) queues its one `tool_result` in the same step. A call that is refused is not run.
 *
 * Races closed here: a call that the end of its job closes has one `tool_result`; a refusal after the end reports nothing.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { deniedCause } from "../../../agent/Denied.js"
import type { Denial } from "../../../agent/Gate.js"
import * as Canonical from "../../../authority/Canonical.js"
import type { Capability } from "../../../authority/Capability.js"
import { type ArcpError, InvalidRequest, isArcpError, oneLine, toWire } from "../../../protocol/Errors.js"
import type { Upstream } from "../../credentials/UpstreamErrors.js"
import { toolResultBody } from "../../kernel/Payload.js"
import { auditDenied } from "../internal/audited.js"
import { check } from "../internal/authority.js"
import type { Engine } from "../internal/engine.js"
import type { Running } from "../Running.js"
import { causeToArcpError } from "./failures.js"
import type { JobEvents } from "./jobEvents.js"
import { secretsOf } from "./secrets.js"

const argumentOf = (capability: Capability): string =>
  capability.startsWith("fs.") ? "path" : capability === "net.fetch" ? "url" : "name"

/** A target that may be reported: a URL without what may be a secret in it. */
export const shownTarget = (capability: Capability, target: string): string => {
  if (capability !== "net.fetch") return oneLine(target.slice(0, 256))
  const canonical = Canonical.url(target)
  const url = Either.getOrElse(canonical, () => target)
  // A text that is not a URL may have user information anywhere.
  if (Either.isLeft(canonical) && url.includes("@")) return "…"
  const [whole] = /^[^?#]*[?#]?/.exec(url) ?? [""]
  return oneLine(whole.slice(0, 256)) + (whole.length < url.length ? "…" : "")
}

/** The arguments with which an operation on a target is reported. */
export const argumentsOf = (capability: Capability, target: string): object => ({
  [argumentOf(capability)]: shownTarget(capability, target)
})

/** The calls of one job. */
export class JobCalls {
  readonly running: Running
  readonly engine: Engine
  readonly events: JobEvents

  constructor(events: JobEvents) {
    this.running = events.running
    this.engine = events.engine
    this.events = events
  }

  /** Whether the lease allows it; a refusal is reported. */
  authorize(capability: Capability, target: string): Effect.Effect<Canonical.Canonical, Denial> {
    return Effect.suspend(() => {
      const checked = check(this.engine, this.running, capability, target)
      return Either.isRight(checked)
        ? Effect.succeed(checked.right)
        : this.refuse(capability, argumentsOf(capability, target), checked.left, this.shown(capability, target))
    })
  }

  /** A target as the audit trail shows it. A value that was cut in two would not be found: it is taken out first. */
  shown(capability: Capability, target: string): string | undefined {
    const { audit } = this.engine
    return audit === undefined ? undefined : shownTarget(capability, this.upstream()?.hide(target) ?? target)
  }

  /**
   * Refuses an operation that no tool call stands for: the refusal is reported as a call with its result. `ends` is whether it may end the
   * job (§9.5), `target` what the audit trail shows.
   */
  refuse(
    tool: string,
    args: object,
    error: Denial,
    target: string | undefined,
    ends = true
  ): Effect.Effect<never, Denial> {
    const { engine, events, running } = this
    const operation = tool === "cost.budget" ? "reserve" : "use"
    auditDenied(engine, running, { operation, capability: tool, target }, error)
    // Nothing follows the terminal message.
    if (running.finished) return Effect.fail(error)
    const callId = events.newId("call")
    return events
      .event("tool_call", { tool, args, call_id: callId }, () => {
        running.openCall(callId)
        this.close(callId, { error })
        if (ends) engine.ending.refused(running, error)
      })
      .pipe(Effect.ignore, Effect.zipRight(Effect.fail(error)))
  }

  /** What the job's credentials have to do with a failure; undefined where it has none. */
  upstream(): Upstream | undefined {
    return secretsOf(this.engine, this.running)
  }

  /**
   * An upstream that refuses says so in its own words: the agent gets the protocol's error (§9.6, §13.7). `then` is called with it; by
   * default it may end the job.
   */
  translated<A, E, R>(
    effect: Effect.Effect<A, E, R>,
    then: (denial: Denial) => void = (denial) => this.engine.ending.refused(this.running, denial)
  ): Effect.Effect<A, E | Denial, R> {
    return Effect.mapError(effect, (error) => {
      if (isArcpError(error) || deniedCause(error) !== undefined) return error
      const denial = this.upstream()?.translate(error)
      if (denial === undefined) return error
      const act = { operation: "upstream_call", capability: "model.use", target: undefined } as const
      auditDenied(this.engine, this.running, act, denial, "upstream")
      then(denial)
      return denial
    })
  }

  /** A call with its two events; `check` decides in the step after `tool_call`. */
  call<A, E, R>(
    tool: string,
    args: unknown,
    check: () => Either.Either<unknown, Denial>,
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Denial | InvalidRequest, R> {
    const { engine, events, running } = this
    return Effect.uninterruptibleMask((restore) => {
      const callId = events.newId("call")
      const announced = events.event("tool_call", { tool, args: args ?? {}, call_id: callId }, () =>
        running.openCall(callId)
      )
      let denial: Denial | undefined
      const run = Effect.suspend((): Effect.Effect<A, E | Denial, R> => {
        const checked = check()
        if (Either.isRight(checked)) {
          return this.translated(effect, (upstream) => {
            denial = upstream
          })
        }
        denial = checked.left
        const act = { operation: "tool_call", capability: "tool.call", target: this.shown("tool.call", tool) } as const
        auditDenied(engine, running, act, denial)
        return Effect.fail(denial)
      })
      return restore(Effect.zipRight(announced, run)).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) return this.close(callId, { result: exit.value })
            this.close(callId, { error: denial ?? this.reasonOf(exit.cause) })
            if (denial !== undefined) engine.ending.refused(running, denial)
          })
        ),
        Effect.withSpan("arcp.tool_call", {
          attributes: { "arcp.tool": tool, "arcp.call_id": callId, "arcp.job_id": running.live.jobId },
          captureStackTrace: false
        })
      )
    })
  }

  /** Reports the end of a call that is open; of a result that does not fit an event its size is reported, of an error the message. */
  private close(callId: string, outcome: Parameters<typeof toolResultBody>[1]): void {
    if (!this.running.closeCall(callId)) return
    const queued = this.events.queue("tool_result", toolResultBody(callId, outcome))
    if (queued instanceof InvalidRequest) {
      const omitted = { omitted: queued.message }
      this.events.queue(
        "tool_result",
        "error" in outcome
          ? { call_id: callId, error: { ...toWire(outcome.error), details: omitted } }
          : toolResultBody(callId, { result: omitted })
      )
    }
  }

  /** Why a call has no result: what the whole job is stopped for, where that is what interrupted it. */
  private reasonOf(cause: Cause.Cause<unknown>): ArcpError {
    const { stop } = this.running
    return stop !== undefined && Cause.isInterruptedOnly(cause) ? stop.error : causeToArcpError(cause, this.upstream())
  }
}
