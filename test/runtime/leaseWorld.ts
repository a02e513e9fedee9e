/** An agent that does what its input says, one step after the other, and tools for it: for the tests of leases. */
import { Deferred, Effect, Layer, Schema } from "effect"
import { Agent, Job, Tool } from "../../src/agent/index.js"
import type { Capability } from "../../src/authority/Capability.js"
import { type ArcpError, isArcpError, VendorError } from "../../src/protocol/Errors.js"
import { eventsOf, type Frame, type Peer } from "./peer.js"
import { gate } from "./world.js"

/** One step: exactly one of these. */
export interface Step {
  readonly authorize?: readonly [string, string]
  /** `Job.tool`: its name, and what the effect does. */
  readonly tool?: readonly [string, Doing?]
  /** `Job.callTool`: its name and encoded input. */
  readonly call?: readonly [string, unknown]
  readonly model?: string
  /** Waits until the test opens the gate. */
  readonly wait?: string
  readonly log?: string
}

type Doing = keyof typeof doings

const cyclic: Record<string, unknown> = {}
cyclic["self"] = cyclic

const doings = {
  nothing: Effect.succeed("done"),
  fail: Effect.fail(new VendorError({ code: "TOOL_BROKE", message: "broke", retryable: true })),
  die: Effect.dieMessage("a secret inside"),
  interrupt: Effect.interrupt,
  never: Effect.never,
  huge: Effect.succeed("x".repeat(2_000_000)),
  cyclic: Effect.succeed(cyclic),
  bigint: Effect.succeed(1n),
  function: Effect.succeed(() => 1),
  undefined: Effect.void,
  badDetails: Effect.fail(new VendorError({ code: "TOOL_BROKE", message: "broke", details: cyclic })),
  denied: Effect.flatMap(Job, (job) => job.authorize("fs.read", "/elsewhere"))
} as const

/** The tools' bodies that ran, in order. */
export const ran: Array<string> = []

export class Search extends Tool.make("mcp:github/search", {
  input: Schema.Struct({ query: Schema.String, since: Schema.optional(Schema.Date) }),
  output: Schema.Array(Schema.Date)
}) {}

class Broken extends Tool.make("broken", {
  input: Schema.Unknown,
  output: Schema.Unknown
}) {}

/** A tool whose author promised more than it keeps. */
class Liar extends Tool.make("liar", { input: Schema.Unknown, output: Schema.Number }) {}

export const tools = Layer.mergeAll(
  Search.toLayer(({ query, since }) =>
    Effect.sync(() => {
      ran.push(`search ${query}`)
      return since === undefined ? [] : [since]
    })
  ),
  Broken.toLayer((how) =>
    how === "die"
      ? Effect.dieMessage("a secret inside")
      : Effect.fail(
          how === "own" ? new VendorError({ code: "RATE_LIMITED", message: "slow down", retryable: true }) : "just text"
        )
  ),
  // @ts-expect-error the output is no number
  Liar.toLayer(() => Effect.succeed("a string"))
)

const perform = (step: Step): Effect.Effect<unknown, unknown, Job> => {
  if (step.authorize !== undefined) return Job.authorize(step.authorize[0] as Capability, step.authorize[1])
  if (step.tool !== undefined) {
    const [name, doing = "nothing"] = step.tool
    const body = Effect.suspend((): Effect.Effect<unknown, unknown, Job> => {
      ran.push(name)
      return doings[doing]
    })
    return Job.tool(name, { how: doing }, body).pipe(
      Effect.map((value) => (typeof value === "string" ? value.length : typeof value))
    )
  }
  if (step.call !== undefined) return Job.callTool(...step.call)
  if (step.model !== undefined) {
    const id = step.model
    return Job.model(
      id,
      Effect.sync(() => {
        ran.push(id)
        return "said"
      })
    )
  }
  if (step.wait !== undefined) return Deferred.await(gate(step.wait))
  return Job.log(step.log ?? "")
}

/** How a step ended, as the agent saw it. */
export type Seen =
  | { readonly ok: unknown }
  | { readonly error: string; readonly message?: string; readonly reason?: unknown }

const seenError = (error: unknown): Seen =>
  isArcpError(error)
    ? { error: error.code, message: error.message, reason: (error as ArcpError).details?.["reason"] }
    : { error: String(error) }

/** Goes on after every refusal, and answers how its steps ended. */
const script = Agent.untyped("script", (input) =>
  Effect.forEach((input as { steps: ReadonlyArray<Step> }).steps, (step) =>
    Effect.matchCause(perform(step), {
      onSuccess: (ok): Seen => ({ ok: ok ?? null }),
      onFailure: (cause): Seen =>
        cause._tag === "Fail"
          ? seenError(cause.error)
          : { error: cause._tag === "Interrupt" ? "interrupted" : "defect" }
    })
  )
)

/** Handles nothing. */
const careless = Agent.untyped("careless", (input) =>
  Effect.forEach((input as { steps: ReadonlyArray<Step> }).steps, perform, { discard: true }).pipe(
    (input as { die?: boolean }).die === true ? Effect.orDie : (self) => self
  )
)

/** What an agent's own error may look like. */
const strange = Agent.untyped("strange", (input) =>
  Effect.fail(
    new VendorError({
      code: "STRANGE",
      message: "strange",
      details: input === "cyclic" ? cyclic : { text: "x".repeat(100_000) }
    })
  )
)

const queued = Agent.untyped("queued", () => Effect.never, { maxRunning: 1 })
const idle = Agent.untyped("idle", () => Effect.never)
const stubborn = Agent.untyped("stubborn", () => Effect.uninterruptible(Effect.never))

export const leaseAgents = Layer.mergeAll(script, careless, strange, queued, idle, stubborn).pipe(
  Layer.provideMerge(tools)
)

/** The kinds and bodies of a job's events after `status {phase: "running"}`. */
export const bodies = (peer: Peer, jobId: string): ReadonlyArray<{ readonly kind: string; readonly body: any }> =>
  eventsOf(peer, jobId)
    .filter((frame) => frame.type === "job.event" && frame.payload["body"].phase !== "running")
    .map((frame) => ({ kind: frame.payload["kind"] as string, body: frame.payload["body"] }))

/** Every `tool_call` with its one `tool_result`, in order; fails where a call has none or more. */
export const calls = (peer: Peer, jobId: string) => {
  const all = bodies(peer, jobId)
  return all
    .filter(({ kind }) => kind === "tool_call")
    .map(({ body }) => {
      const results = all.filter((other) => other.kind === "tool_result" && other.body.call_id === body.call_id)
      if (results.length !== 1) throw new Error(`${results.length} results for ${JSON.stringify(body)}`)
      return {
        tool: body.tool as string,
        args: body.args,
        result: results[0]!.body.result,
        error: results[0]!.body.error
      }
    })
}

/** What the script saw. */
export const seen = (end: Frame): ReadonlyArray<any> => {
  if (end.payload["final_status"] !== "success") throw new Error(JSON.stringify(end.payload))
  return end.payload["result"]
}
