/** An agent that does what its input says, so that a test of authority reads as what it tests. */
import { Deferred, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import type { DelegateOptions } from "../../src/agent/Job.js"
import type { Capability } from "../../src/authority/index.js"
import { VendorError } from "../../src/protocol/index.js"
import { eventsOf, type Frame, type Peer } from "./peer.js"
import { gate } from "./world.js"

/** What the agent does. A step answers a value, or `{ code }` where it was refused or failed. */
export type Step =
  | { readonly do: "spend"; readonly amount: string; readonly name?: string }
  | {
      readonly do: "metric"
      readonly name: string
      readonly value: number | "NaN" | "Infinity"
      readonly unit?: string
    }
  /** A tool of the agent's own, which runs the steps. */
  | { readonly do: "tool"; readonly name: string; readonly steps?: ReadonlyArray<Step> }
  | { readonly do: "call"; readonly name: string; readonly input?: unknown }
  | { readonly do: "authorize"; readonly capability: Capability.Capability; readonly target: string }
  | { readonly do: "model"; readonly name: string }
  | {
      readonly do: "reserve"
      readonly amount: string
      /** What it really cost; `"die"` for a defect. */
      readonly actual?: string
      readonly steps?: ReadonlyArray<Step>
    }
  | {
      readonly do: "delegate" | "start"
      readonly agent?: string
      readonly input?: unknown
      readonly options?: DelegateOptions
    }
  /** Starts a child and gives up waiting for it after that many milliseconds. */
  | { readonly do: "patience"; readonly millis: number; readonly input: unknown; readonly options?: DelegateOptions }
  /** Interrupts the steps after so many turns of the scheduler. */
  | { readonly do: "hasty"; readonly turns: number; readonly steps: ReadonlyArray<Step> }
  /** Lets others come between. */
  | { readonly do: "yield"; readonly turns: number }
  | { readonly do: "handoff"; readonly agent: string; readonly input?: unknown }
  | { readonly do: "all"; readonly steps: ReadonlyArray<Step> }
  /** As it stands in the handler: what fails ends it. */
  | { readonly do: "must"; readonly steps: ReadonlyArray<Step> }
  | { readonly do: "attempt"; readonly first: ReadonlyArray<Step>; readonly again: ReadonlyArray<Step> }
  | { readonly do: "finally"; readonly steps: ReadonlyArray<Step> }
  | { readonly do: "deaf"; readonly steps: ReadonlyArray<Step> }
  | { readonly do: "wait"; readonly gate: string }
  | { readonly do: "open"; readonly gate: string }
  | { readonly do: "log"; readonly message: string }
  | { readonly do: "status"; readonly phase: string }
  | { readonly do: "fail"; readonly code: string }
  | { readonly do: "remaining" | "facts" | "die" | "never" }

const failure = (error: unknown) => {
  const { code, details, message } = error as { code: string; message: string; details?: unknown }
  return { code, message, ...(details === undefined ? {} : { details }) }
}

const strict = (
  steps: ReadonlyArray<Step> | undefined
): Effect.Effect<ReadonlyArray<unknown>, unknown, Job | Scope.Scope> => Effect.forEach(steps ?? [], step)

const lenient = (steps: ReadonlyArray<Step>): Effect.Effect<ReadonlyArray<unknown>, unknown, Job | Scope.Scope> =>
  Effect.forEach(steps, (one) =>
    one.do === "must" || one.do === "fail"
      ? step(one)
      : Effect.catchAll(step(one), (error) => Effect.succeed(failure(error)))
  )

const step = (one: Step): Effect.Effect<unknown, unknown, Job | Scope.Scope> =>
  Effect.gen(function* () {
    const job = yield* Job
    switch (one.do) {
      case "spend":
        return yield* Effect.as(Job.spend(one.name ?? "cost.x", one.amount), "ok")
      case "metric":
        return yield* Effect.as(Job.metric({ name: one.name, value: Number(one.value), unit: one.unit }), "ok")
      case "tool":
        return yield* Job.tool(one.name, {}, strict(one.steps))
      case "call":
        return yield* Job.callTool(one.name, one.input)
      case "authorize":
        return yield* Job.authorize(one.capability, one.target)
      case "model":
        return yield* Job.model(one.name, Effect.succeed("used"))
      case "reserve": {
        const reserved = Job.reserve(one.amount, strict(one.steps), {
          actual:
            one.actual === undefined
              ? undefined
              : () => {
                  if (one.actual === "die") throw new Error("no idea what it cost")
                  return one.actual!
                }
        })
        return yield* Effect.as(reserved, "ok")
      }
      case "delegate":
        return yield* Job.delegate(one.agent ?? "script", one.input, one.options)
      case "start":
        return yield* Effect.map(Job.startChild(one.agent ?? "script", one.input, one.options), (child) => ({
          jobId: child.jobId,
          delegateId: child.delegateId,
          agent: child.agent,
          lease: child.lease
        }))
      case "patience":
        return yield* Effect.timeoutTo(Job.delegate("script", one.input, one.options), {
          duration: one.millis,
          onSuccess: (value) => value,
          onTimeout: () => "gave up"
        })
      case "hasty":
        return yield* Effect.raceFirst(
          strict(one.steps),
          Effect.as(Effect.repeatN(Effect.yieldNow(), one.turns), "interrupted")
        )
      case "yield":
        return yield* Effect.repeatN(Effect.yieldNow(), one.turns)
      case "handoff":
        return yield* Job.handoff(one.agent, one.input)
      case "all":
        return yield* Effect.forEach(
          one.steps,
          (inner) => Effect.catchAll(step(inner), (error) => Effect.succeed(failure(error))),
          { concurrency: "unbounded" }
        )
      case "must":
        return yield* strict(one.steps)
      case "attempt":
        return yield* strict(job.attempt === 1 ? one.first : one.again)
      case "finally":
        return yield* Effect.as(
          Effect.addFinalizer(() => Effect.orDie(strict(one.steps))),
          "ok"
        )
      case "deaf":
        return yield* Effect.uninterruptible(strict(one.steps))
      case "wait":
        return yield* Effect.as(Deferred.await(gate(one.gate)), "waited")
      case "open":
        return yield* Effect.as(Deferred.succeed(gate(one.gate), undefined), "opened")
      case "log":
        return yield* Effect.as(Job.log(one.message), "ok")
      case "status":
        return yield* Effect.as(Job.status(one.phase), "ok")
      case "fail":
        return yield* new VendorError({ code: one.code, message: `failed with ${one.code}` })
      case "remaining":
        return yield* Job.remaining
      case "facts": {
        const span = yield* Effect.currentSpan
        return {
          jobId: job.jobId,
          agent: job.agent.name,
          traceId: job.traceId,
          span: { traceId: span.traceId, spanId: span.spanId },
          lease: job.lease,
          constraints: job.leaseConstraints,
          attempt: job.attempt
        }
      }
      case "die":
        return yield* Effect.dieMessage("a defect")
      case "never":
        return yield* Effect.never
    }
  })

/** Runs steps in the place of a handler. */
export const perform = (input: unknown) => lenient((input as { steps: ReadonlyArray<Step> }).steps)

class Double extends Tool.make("math.double", { input: Schema.Number, output: Schema.Number }) {}
class Typed extends Agent.make("typed", {
  version: "2.0.0",
  input: Schema.Struct({ n: Schema.NumberFromString }),
  output: Schema.Struct({ at: Schema.Date })
}) {}

/** The agents: `script`, others to delegate to, and a tool that costs a cent. */
export const scripted = Layer.mergeAll(
  Agent.untyped("script", perform),
  Agent.untyped("lasting", perform, { onRestart: "rerun" }),
  Agent.untyped("other", (input) => Effect.map(perform(input), (done) => ({ other: done }))),
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("stream", (input) => Job.streamResult(Stream.make("x".repeat(input as number)))),
  Agent.untyped("bytes", (input) => Job.streamResult(Stream.make(new Uint8Array(input as number).fill(7)))),
  Typed.toLayer(({ n }) => Effect.succeed({ at: new Date(n) })),
  // Delegates by definition: typed input and output.
  Agent.untyped("by-definition", () =>
    Effect.map(Job.delegate(Typed, { n: 86_400_000 }), ({ at }) => at instanceof Date && at.toISOString())
  ),
  Double.toLayer((n) => Effect.as(Effect.orDie(Job.spend("cost.math", "0.01 USD")), n * 2))
)

/** An event in a few words. */
export const word = ({ payload: { body, kind }, type }: Frame): string =>
  type !== "job.event"
    ? type
    : kind === "metric"
      ? `${body.name} ${body.value} ${body.unit}`
      : kind === "tool_call"
        ? `call ${body.tool}`
        : kind === "tool_result"
          ? `result ${body.error?.code ?? "ok"}`
          : `${kind} ${body.phase ?? body.message}`
/** The events of a job, each in a few words. */
export const words = (peer: Peer, jobId: string) => eventsOf(peer, jobId).map(word)

/** A job as the peer's listing shows it. */
export const listed = (peer: Peer, jobId: string) =>
  Effect.map(Effect.flatMap(peer.send("session.list_jobs"), peer.reply), ({ payload }) =>
    payload.jobs.find((job: { job_id: string }) => job.job_id === jobId)
  )
