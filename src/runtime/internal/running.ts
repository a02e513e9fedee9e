/** A job whose agent runs: what the scheduler and the agent's `Job` service share of it. */
import type * as Fiber from "effect/Fiber"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { WireLease, WireLeaseConstraints } from "../../protocol/Fields.js"
import type { Deadline } from "../Deadlines.js"
import type { LiveJob } from "./model.js"

/** Why the runtime stops a job. The first reason counts. */
export interface Stop {
  readonly status: "error" | "cancelled" | "timed_out"
  readonly error: ArcpError
}

/** A job that waits for a slot or runs. */
export class Running {
  readonly live: LiveJob
  readonly agent: AgentRegistration
  readonly input: unknown
  readonly lease: WireLease
  readonly leaseConstraints: WireLeaseConstraints | undefined
  /** The owner's connection did not negotiate `result_chunk`: a streamed result goes inline (§6.2). */
  readonly inlineStream: boolean
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  stop: Stop | undefined = undefined
  finished = false
  /** Whether it counts against the limits on running jobs. */
  slot = false
  readonly openCalls = new Set<string>()
  /** The result stream, once it has begun. */
  stream: { readonly resultId: string; complete: boolean; inline: string | undefined } | undefined = undefined
  readonly deadlines: Array<Deadline> = []

  constructor(options: {
    readonly live: LiveJob
    readonly agent: AgentRegistration
    readonly input: unknown
    readonly lease: WireLease
    readonly leaseConstraints: WireLeaseConstraints | undefined
    readonly inlineStream: boolean
  }) {
    this.live = options.live
    this.agent = options.agent
    this.input = options.input
    this.lease = options.lease
    this.leaseConstraints = options.leaseConstraints
    this.inlineStream = options.inlineStream
  }
}
