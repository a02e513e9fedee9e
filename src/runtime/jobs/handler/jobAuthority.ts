/**
 * The part of the `Job` service that needs authority: the gate, tool and model calls, delegation, credentials
 * (ARCP 1.1 §9.3, §9.6, §9.7).
 *
 * Order: what a lease allows is checked in the step before the operation. How a call and a refusal are reported is in `jobCalls`.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Gate } from "../../../agent/Gate.js"
import { Job, type JobService } from "../../../agent/Job.js"
import * as Amount from "../../../authority/Amount.js"
import * as Lease from "../../../authority/Lease.js"
import { type ArcpError, InvalidRequest, PermissionDenied } from "../../../protocol/Errors.js"
import { check, checkState } from "../internal/authority.js"
import { toArcpError } from "./failures.js"
import { argumentsOf, type JobCalls } from "./jobCalls.js"

/** The services of a job that need authority. */
export type AuthorityService = Pick<
  JobService,
  "authorize" | "tool" | "callTool" | "model" | "remaining" | "startChild" | "handoff" | "credentials"
>

/** The gate that the job's other services are guarded by. */
export const makeGate = (calls: JobCalls): Gate => {
  const { engine, running } = calls
  return {
    authorize: (capability, target) => calls.authorize(capability, target),
    live: () => Either.getOrUndefined(Either.flip(checkState(engine, running))),
    namesHost: (url) => Lease.namesHost(running.lease, url),
    refuse: (capability, problem, at) =>
      Effect.suspend(() => {
        // Expiry and budget come first, whatever is wrong with the target.
        const state = checkState(engine, running)
        return calls.refuse(
          capability,
          at === undefined ? {} : argumentsOf(capability, at.target),
          Either.isLeft(state)
            ? state.left
            : new PermissionDenied({
                message: `${capability}: ${problem.message}`,
                details: { capability, reason: at?.reason ?? "canonical" }
              })
        )
      })
  }
}

/** Makes them; `job` is the job's own service, for the tools that it calls. */
export const make = (calls: JobCalls, job: () => JobService): AuthorityService => {
  const { engine, running } = calls
  const { budgets, credentials, delegation, guards, tools } = engine
  const { jobId } = running.live

  const tool: JobService["tool"] = (name, args, effect) =>
    calls.call(name, args, () => check(engine, running, "tool.call", name), effect)

  /** A tool that is hosted here, as it is found when the call runs. */
  const hosted = (name: string, input: unknown): Effect.Effect<unknown, unknown> =>
    Effect.suspend((): Effect.Effect<unknown, unknown> => {
      const found = tools.find(name)
      return found === undefined
        ? Effect.fail(new InvalidRequest({ message: `tool: no tool ${JSON.stringify(name)} is hosted here` }))
        : Effect.provideService(found.run(input, guards.withhold), Job, job())
    })

  return {
    authorize: (capability, target) => calls.authorize(capability, target),
    tool,
    callTool: (name, input) =>
      Effect.mapError(
        tool(name, input, hosted(name, input)),
        (error): ArcpError => toArcpError(error, calls.upstream())
      ),
    model: (id, effect) => Effect.zipRight(calls.authorize("model.use", id), calls.translated(effect)),
    remaining: Effect.sync(() =>
      Object.fromEntries(
        Array.from(budgets.available(jobId), ([currency, value]) => [currency, Amount.format(value)] as const)
      )
    ),
    startChild: (agent, input, options) => delegation.startChild(running, agent, input, options),
    handoff: (agent, input) => delegation.handoff(running, agent, input),
    credentials: Effect.sync(() => credentials.of(jobId))
  }
}
