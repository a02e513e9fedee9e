/** Decisions that a deployment may change: who sees whose jobs (ARCP 1.1 §6.6, §7.6, §14), and what jobs may be granted (§9). */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import type { Lease } from "../authority/Lease.js"
import type { Principal } from "../auth/Principal.js"

/** What a principal may know of a job: observe it, know that it exists, or neither. */
export type Visibility = "observe" | "know" | "nothing"

/** Decides on observation. */
export interface ObservationPolicyShape {
  /** What `principal` may know of a job that `owner` (a principal's id) submitted. Owners may always observe. */
  readonly visibility: (principal: Principal, owner: string) => Visibility
  /** The owners whose jobs a listing for `principal` shows; `"all"` for everybody's. */
  readonly listed: (principal: Principal) => ReadonlyArray<string> | "all"
}

/** Who may observe whose jobs. Without a layer: only the same principal (§14). */
export class ObservationPolicy extends Context.Reference<ObservationPolicy>()("effect-arcp/runtime/ObservationPolicy", {
  defaultValue: (): ObservationPolicyShape => ({
    visibility: (principal, owner) => (principal.id === owner ? "observe" : "nothing"),
    listed: (principal) => [principal.id]
  })
}) {
  static readonly layer = (policy: ObservationPolicyShape): Layer.Layer<never> =>
    Layer.succeed(ObservationPolicy, policy) as Layer.Layer<never>
}

/** Decides on authority, beyond what a client asks for (ARCP 1.1 §9). */
export interface LeasePolicyShape {
  /**
   * The most that a principal's jobs may be granted; undefined for no limit. A requested lease is narrowed to it and never
   * widened: what is wider than it, or in part outside, is left out of the effective lease, which `job.accepted` tells.
   */
  readonly allowed: (principal: Principal) => Lease | undefined
  /** Whether a model may be used only where the lease names it (§9.7). */
  readonly requireModelUse: boolean
  /**
   * What an operation on a spent budget does (§9.6): fail with `BUDGET_EXHAUSTED`, which the agent may handle
   * (`tool_result`), or end the job too (`fatal`).
   */
  readonly exhaustion: "tool_result" | "fatal"
}

/** What jobs may be granted. Without a layer: what was asked for, models only as named, a spent budget is not fatal. */
export class LeasePolicy extends Context.Reference<LeasePolicy>()("effect-arcp/runtime/LeasePolicy", {
  defaultValue: (): LeasePolicyShape => ({
    allowed: () => undefined,
    requireModelUse: true,
    exhaustion: "tool_result"
  })
}) {
  /** The defaults with some of them changed. */
  static readonly layer = (changes: Partial<LeasePolicyShape>): Layer.Layer<never> =>
    Layer.succeed(LeasePolicy, {
      allowed: () => undefined,
      requireModelUse: true,
      exhaustion: "tool_result",
      ...changes
    }) as Layer.Layer<never>
}
