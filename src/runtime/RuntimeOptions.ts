/** What a runtime is told when it is made. */
import type * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import type { Feature } from "../protocol/Features.js"
import type { CredentialsOptions } from "./credentials/Credentials.js"
import type { Budgets } from "./jobs/Budgets.js"
import type { JobScheduler } from "./jobs/JobScheduler.js"
import type { Leases } from "./jobs/Leases.js"
import type { Sessions } from "./sessions/Sessions.js"
import type { Subscriptions } from "./sessions/Subscriptions.js"

/**
 * What a runtime says of itself and how long it waits.
 *
 * @since 0.1.0
 * @category options
 */
export interface RuntimeOptions {
  /** Its name in the welcome (§6.2), and the tag `runtime` of its metrics. Default `effect-arcp`. */
  readonly name?: string | undefined
  /** Its version in the welcome. Default: the version of this package. */
  readonly version?: string | undefined
  /** Features that it offers; default all that it can keep. */
  readonly features?: ReadonlyArray<Feature> | undefined
  /** The heartbeat interval (§6.4). Default 30 seconds. */
  readonly heartbeatInterval?: Duration.DurationInput | undefined
  /** How long a session can be resumed after its last message (§6.3). Default 10 minutes. */
  readonly resumeWindow?: Duration.DurationInput | undefined
  /**
   * How long jobs that run may go on when the runtime stops, while their clients stay connected. Default 10 seconds. Then a job
   * whose agent is declared `onRestart: "rerun"` is left to the next process, where the store is durable, and every other job
   * ends in `INTERNAL_ERROR` with `details.reason: "runtime_shutdown"`. A runtime without running jobs stops at once.
   */
  readonly drainTime?: Duration.DurationInput | undefined
  /**
   * Whether clients of other SDKs are known by the shape of their hello and sent what they need beside the specification's fields:
   * `output` beside `result` to Go, a `job.error` behind the refusal of a request to Java. Default `"auto"`; `"strict"`: every client is
   * sent the same.
   */
  readonly peers?: "auto" | "strict" | undefined
  /** How long issuing and revoking provisioned credentials may take (§9.8). */
  readonly credentials?: CredentialsOptions | undefined
}

/**
 * The concerns that a program may replace, in the order in which they are built: each is built over those before it. A replacement may
 * need its own tag, which then is the runtime's own, the concerns before it, and services that the program provides; it may fail.
 *
 * @since 0.1.0
 * @category options
 */
export interface Replacements {
  /** What jobs may still spend (§9.6). */
  readonly budgets?: Layer.Layer<Budgets, unknown, unknown> | undefined
  /** What jobs may do (§9). */
  readonly leases?: Layer.Layer<Leases, unknown, unknown> | undefined
  /** Whether a submit becomes a job (§7). */
  readonly jobScheduler?: Layer.Layer<JobScheduler, unknown, unknown> | undefined
  /** Who observes what (§6.6, §7.6). */
  readonly subscriptions?: Layer.Layer<Subscriptions, unknown, unknown> | undefined
  /** Who has a session, by which id and token, for how long (§6). */
  readonly sessions?: Layer.Layer<Sessions, unknown, unknown> | undefined
}

/**
 * What a replacement finds in its context.
 *
 * @since 0.1.0
 * @category types
 */
export interface ReplacedContext {
  /** Beneath a replacement of `budgets`. */
  readonly budgets: Budgets
  /** Beneath a replacement of `leases`. */
  readonly leases: Budgets | Leases
  /** Beneath a replacement of `jobScheduler`. */
  readonly jobScheduler: Budgets | Leases | JobScheduler
  /** Beneath a replacement of `subscriptions`. */
  readonly subscriptions: Budgets | Leases | JobScheduler | Subscriptions
  /** Beneath a replacement of `sessions`. */
  readonly sessions: Budgets | Leases | JobScheduler | Subscriptions | Sessions
}

/**
 * What the layers of a `replace` may fail with.
 *
 * @since 0.1.0
 * @category types
 */
export type ReplaceError<P extends Replacements> = {
  readonly [K in keyof P]-?: NonNullable<P[K]> extends Layer.Layer<infer _Out, infer E, infer _In> ? E : never
}[keyof P]

/**
 * What the layers of a `replace` need beyond the concerns of the runtime.
 *
 * @since 0.1.0
 * @category types
 */
export type ReplaceContext<P extends Replacements> = {
  readonly [K in keyof P]-?: NonNullable<P[K]> extends Layer.Layer<infer _Out, infer _E, infer In>
    ? Exclude<In, K extends keyof ReplacedContext ? ReplacedContext[K] : never>
    : never
}[keyof P]

/**
 * The options of a runtime with layers in the place of its own concerns.
 *
 * @since 0.1.0
 * @category options
 */
export interface ReplacingOptions<P extends Replacements> extends RuntimeOptions {
  /**
   * Layers in the place of the runtime's own concerns. Each finds the one that it replaces under its own tag, so that a decorator or a
   * spy is as short as a whole implementation, which ignores it.
   *
   * @example
   * ```ts
   * import { Effect, Either, Layer } from "effect"
   * import { BudgetExhausted } from "effect-arcp/protocol"
   * import { ArcpRuntime, Budgets } from "effect-arcp/runtime"
   *
   * declare const isOverQuota: (jobId: string) => boolean
   *
   * const Quota = Layer.effect(
   *   Budgets,
   *   Effect.map(Budgets, (own) => ({
   *     ...own,
   *     hold: (jobId, amount) =>
   *       isOverQuota(jobId) ? Either.left(new BudgetExhausted({ message: "quota" })) : own.hold(jobId, amount)
   *   }))
   * )
   * const Main = ArcpRuntime.layer({ replace: { budgets: Quota } })
   * ```
   */
  readonly replace?: P | undefined
}
