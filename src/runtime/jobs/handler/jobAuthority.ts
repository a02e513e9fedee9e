/**
 * The part of the `Job` service that needs authority: the gate, tool and model calls, delegation, credentials
 * (ARCP 1.1 §9.3, §9.6, §9.7).
 *
 * Order: what a lease allows is checked in the step before the operation. How a call and a refusal are reported is in `jobCalls`.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Denial, Gate } from "../../../agent/Gate.js"
import { Job, type JobService } from "../../../agent/Job.js"
import * as Amount from "../../../authority/Amount.js"
import * as Lease from "../../../authority/Lease.js"
import { type ArcpError, InvalidRequest, PermissionDenied } from "../../../protocol/Errors.js"
import { check, checkState } from "../internal/authority.js"
import { toArcpError } from "./failures.js"
import { argumentsOf, type JobCalls } from "./jobCalls.js"

/** The gate that the job's other services are guarded by. */
export const makeGate = (calls: JobCalls): Gate => {
  const { engine, running } = calls
  return {
    authorize: (capability, target) => calls.authorize(capability, target),
    live: () => Either.getOrUndefined(Either.flip(checkState(engine, running))),
    namesHost: (url) => Lease.namesHost(running.lease, url),
    get responses() {
      return engine.responses.of(running)
    },
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
              }),
          at === undefined ? undefined : calls.shown(capability, at.target)
        )
      })
  }
}

/** Calls a tool, where the lease names it. */
export const tool = <A, E, R>(
  calls: JobCalls,
  name: string,
  args: unknown,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Denial | InvalidRequest, R> =>
  calls.call(name, args, () => check(calls.engine, calls.running, "tool.call", name), effect)

/** A tool that is hosted here, as it is found when the call runs. */
const hosted = (
  { engine: { guards, tools } }: JobCalls,
  job: JobService,
  name: string,
  input: unknown
): Effect.Effect<unknown, unknown> =>
  Effect.suspend((): Effect.Effect<unknown, unknown> => {
    const found = tools.find(name)
    return found === undefined
      ? Effect.fail(new InvalidRequest({ message: `tool: no tool ${JSON.stringify(name)} is hosted here` }))
      : Effect.provideService(found.run(input, guards.withhold), Job, job)
  })

/** Calls a tool that is hosted here; `job` is the job's own service, for the tool. */
export const callTool = (
  calls: JobCalls,
  job: JobService,
  name: string,
  input: unknown
): Effect.Effect<unknown, ArcpError> =>
  Effect.mapError(
    tool(calls, name, input, hosted(calls, job, name, input)),
    (error): ArcpError => toArcpError(error, calls.upstream())
  )

/** Runs a call of a language model. */
export const model = <A, E, R>(
  calls: JobCalls,
  id: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Denial | InvalidRequest, R> =>
  Effect.zipRight(calls.authorize("model.use", id), calls.translated(effect))

/** What is left of each budgeted currency. */
export const remaining = ({ engine, running }: JobCalls): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Array.from(
      engine.budgets.available(running.live.jobId),
      ([currency, value]) => [currency, Amount.format(value)] as const
    )
  )
