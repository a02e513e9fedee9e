/** Decisions that a deployment may change: who sees whose jobs (ARCP 1.1 §6.6, §7.6, §14), and what jobs may be granted (§9). */
import type { PrincipalId } from "../../protocol/Ids.js"
import * as Context from "effect/Context"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { compile, type Lease } from "../../authority/Lease.js"
import type { Principal } from "../../auth/Principal.js"

/**
 * What a principal may know of a job: observe it, know that it exists, or neither.
 *
 * @since 0.1.0
 * @category models
 */
export type Visibility = "observe" | "know" | "nothing"

/**
 * Decides on observation.
 *
 * @since 0.1.0
 * @category services
 */
export interface ObservationPolicyShape {
  /** What `principal` may know of a job that `owner` (a principal's id) submitted. Owners may always observe. */
  readonly visibility: (principal: Principal, owner: PrincipalId) => Visibility
  /** The owners whose jobs a listing for `principal` shows; `"all"` for everybody's. */
  readonly listed: (principal: Principal) => ReadonlyArray<PrincipalId> | "all"
}

/**
 * Who may observe whose jobs. Without a layer: only the same principal (§14).
 *
 * @example
 * ```ts
 * import { ObservationPolicy } from "effect-arcp/runtime"
 *
 * const EveryoneMayWatch = ObservationPolicy.layer({ visibility: () => "observe", listed: () => "all" })
 * ```
 *
 * @since 0.1.0
 * @category references
 */
export class ObservationPolicy extends Context.Reference<ObservationPolicy>()("effect-arcp/runtime/ObservationPolicy", {
  defaultValue: (): ObservationPolicyShape => ({
    visibility: (principal, owner) => (principal.id === owner ? "observe" : "nothing"),
    listed: (principal) => [principal.id]
  })
}) {
  /** Puts a policy in the place of the default one. */
  static readonly layer = (policy: ObservationPolicyShape): Layer.Layer<never> =>
    Layer.succeed(ObservationPolicy, policy) as Layer.Layer<never>
}

/**
 * Decides on authority, beyond what a client asks for (ARCP 1.1 §9).
 *
 * @since 0.1.0
 * @category services
 */
export interface LeasePolicyShape {
  /**
   * The most that a principal's jobs may be granted; undefined for no limit. A requested lease is narrowed to it and never
   * widened: what is wider than it, or in part outside, is left out of the effective lease, which `job.accepted` carries.
   *
   * `/proc`, `/sys` and `/dev` are open only where a pattern of this lease has the folder's name as its first segment: `/proc/cpuinfo`,
   * `/dev/shm/**`. The request must name it too, or be narrowed to it. The runtime's own process is never open.
   *
   * Default: no limit for principals that an authenticator vouches for, `tool.call` only for anonymous ones.
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

const toolsOnly: Lease = Either.getOrThrow(compile({ "tool.call": ["**"] }))

const defaults: LeasePolicyShape = {
  allowed: (principal) => (principal.anonymous ? toolsOnly : undefined),
  requireModelUse: true,
  exhaustion: "tool_result"
}

/** @internal whether the program sets no limit of its own for anonymous principals. */
export const grantsAnonymousToolsOnly = (policy: LeasePolicyShape): boolean => policy.allowed === defaults.allowed

/**
 * What jobs may be granted. Without a layer: what was asked for, but no system folder, and to anonymous principals `tool.call` only;
 * models only as named; a spent budget is not fatal. A runtime that admits anonymous principals without a policy's `allowed` logs a
 * warning at its start.
 *
 * @example
 * ```ts
 * import { Either } from "effect"
 * import { Lease } from "effect-arcp/authority"
 * import { LeasePolicy } from "effect-arcp/runtime"
 *
 * const most = Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"], "cost.budget": ["USD:5.00"] }))
 * const PolicyLive = LeasePolicy.layer({ allowed: (principal) => (principal.claims.admin === true ? undefined : most) })
 * ```
 *
 * @since 0.1.0
 * @category references
 */
export class LeasePolicy extends Context.Reference<LeasePolicy>()("effect-arcp/runtime/LeasePolicy", {
  defaultValue: () => defaults
}) {
  /** The defaults with some of them changed. Anonymous principals stay at `tool.call` unless `allowed` is given. */
  static readonly layer = (changes: Partial<LeasePolicyShape>): Layer.Layer<never> =>
    Layer.succeed(LeasePolicy, { ...defaults, ...changes }) as Layer.Layer<never>
}
