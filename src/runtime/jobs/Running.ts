/** A job whose agent runs: what the runner, the authority and the agent's `Job` service share of it. */
import type * as BigDecimal from "effect/BigDecimal"
import type * as Fiber from "effect/Fiber"
import type { AgentRegistration } from "../../agent/AgentRegistry.js"
import type { Lease } from "../../authority/Lease.js"
import type { ArcpError } from "../../protocol/Errors.js"
import type { JobStatus } from "../../protocol/Session.js"
import type { Deadline } from "../kernel/Deadlines.js"
import type { LiveJob } from "../log/Model.js"

/** Why the runtime stops a job. The first reason counts. */
export interface Stop {
  readonly status: "error" | "cancelled" | "timed_out"
  readonly error: ArcpError
}

/** What a job ends with. */
export type Outcome =
  | {
      readonly _tag: "result"
      readonly payload: string
      /** The encoded result for the job's parent; the error says why it cannot be handed over. */
      readonly value: { readonly _tag: "value"; readonly value: unknown } | { readonly _tag: "lost"; error: ArcpError }
    }
  | {
      readonly _tag: "error"
      readonly status: Exclude<JobStatus, "pending" | "running" | "success">
      readonly error: ArcpError
    }

/** The result as it streams. */
export interface ResultStream {
  readonly resultId: string
  complete: boolean
  /** Decoded bytes of the whole, once it is complete. */
  size: number
  summary: string | undefined
  /** The whole, where it is wanted inline or by the job's parent. */
  inline: string | undefined
}

/** A job that waits for a slot or runs. */
export class Running {
  readonly live: LiveJob
  /** The agent whose handler runs; another one after a handoff. */
  agent: AgentRegistration
  input: unknown
  readonly lease: Lease
  /** The owner's connection did not negotiate `result_chunk`: a streamed result goes inline (§6.2). */
  inlineStream: boolean
  /** Whether credentials are issued for it and its children: the session that submitted it negotiated them (§9.8). */
  provisioned: boolean
  /** Whether its handler has been started. */
  begun = false
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  stop: Stop | undefined = undefined
  /** Whether its record is in the journal's queue; before that it ends without a trace. */
  queued = false
  /** What the handler ended with, while its children are still ending. */
  outcome: Outcome | undefined = undefined
  finished = false
  /** Whether its credentials were issued anew after a restart: the owner is told when it starts. */
  reissued = false
  /** The agent whose slot it has: it counts against the limits on running jobs. */
  slot: AgentRegistration | undefined = undefined
  readonly openCalls = new Set<string>()
  /** The result stream, once it has begun. */
  stream: ResultStream | undefined = undefined
  readonly deadlines: Array<Deadline> = []
  /** What is left of each budgeted currency (§9.6). Kept by `Budgets`, changed by nobody else. */
  readonly budget: Map<string, BigDecimal.BigDecimal>
  /** What reservations hold of it. */
  readonly held = new Map<string, BigDecimal.BigDecimal>()
  /** The job that delegated this one (§10). */
  readonly parent: Running | undefined
  readonly depth: number
  /** Delegated jobs that have not ended. */
  readonly children = new Set<Running>()
  /** How many it has delegated in all. */
  delegated = 0
  handoffs = 0
  /** The agent that takes over once the handler has unwound. */
  next: { readonly agent: AgentRegistration; readonly input: unknown } | undefined = undefined
  /** The end, once it is durable, and who waits for it. */
  told: Outcome | undefined = undefined
  readonly ended: Array<(outcome: Outcome) => void> = []

  constructor(options: {
    readonly live: LiveJob
    readonly agent: AgentRegistration
    readonly input: unknown
    readonly lease: Lease
    readonly budget: ReadonlyMap<string, BigDecimal.BigDecimal>
    readonly inlineStream: boolean
    readonly provisioned: boolean
    readonly parent: Running | undefined
  }) {
    this.live = options.live
    this.agent = options.agent
    this.input = options.input
    this.lease = options.lease
    this.budget = new Map(options.budget)
    this.inlineStream = options.inlineStream
    this.provisioned = options.provisioned
    this.parent = options.parent
    this.depth = options.parent === undefined ? 0 : options.parent.depth + 1
  }
}
