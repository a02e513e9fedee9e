/**
 * The one gate of a job: what every authority-bearing operation passes before it is dispatched (ARCP 1.1 §9.3).
 *
 * Order of a check: expiry (§9.5), every budget counter (§9.6), canonical form, pattern (§9.2). What has passed must act on
 * the canonical target that the gate answers, never on the text that it came from.
 */
import type * as Effect from "effect/Effect"
import type { Canonical, CanonicalError, CanonicalUrl } from "../authority/Canonical.js"
import type { Capability } from "../authority/Capability.js"
import type { BudgetExhausted, LeaseExpired, PermissionDenied } from "../protocol/Errors.js"
import type { ResponseRoom } from "./ResponseRoom.js"

/**
 * Why an operation was refused.
 *
 * @since 0.1.0
 * @category models
 */
export type Denial = PermissionDenied | LeaseExpired | BudgetExhausted

/**
 * Guards the operations of one job.
 *
 * @since 0.1.0
 * @category services
 */
export interface Gate {
  /**
   * Checks an operation and answers the canonical target, which is what must be used. A refusal is told to the job's
   * observers as a `tool_call` and a `tool_result` that carries the error, and fails with it; the agent may handle it.
   */
  readonly authorize: (capability: Capability, target: string) => Effect.Effect<Canonical, Denial>
  /**
   * As {@link authorize}, for a target that has no canonical form or is refused for a reason outside the lease. `at` is the target
   * where there is one to show, and the reason that the error's details give; by default `canonical`.
   */
  readonly refuse: (
    capability: Capability,
    problem: CanonicalError,
    at?: { readonly target: Canonical; readonly reason: string }
  ) => Effect.Effect<never, Denial>
  /**
   * Whether the lease names this URL's host without a wildcard. Only then may it lead to an address that is not public. Absent: the gate
   * decides on hosts alone, and every URL that it lets through counts as named.
   */
  readonly namesHost?: ((url: CanonicalUrl) => boolean) | undefined
  /**
   * Why the job may do nothing any more; undefined while it may. Called before each operation on an open handle, and between the
   * pieces of a long one. Cheap, and reports nothing to observers. Absent: an open handle stays usable.
   */
  readonly live?: (() => Denial | undefined) | undefined
  /** Where the bytes of the job's HTTP responses are counted while they are read (§14). Absent: each client has a room of its own. */
  readonly responses?: ResponseRoom | undefined
}
