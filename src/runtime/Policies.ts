/** Decisions that a deployment may change: who sees whose jobs (ARCP 1.1 §6.6, §7.6, §14). */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
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
