/**
 * Laws: what an implementation of this package's interfaces must do, as plain data that any test runner can run.
 *
 * Each law builds the implementation anew, needs no other law, and ends within its time limit, which counts real time under `TestClock`
 * too. The laws use no test library.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/**
 * An implementation does not keep a law.
 *
 * @since 0.1.0
 * @category errors
 */
export class LawBroken extends Schema.TaggedError<LawBroken>()("LawBroken", {
  /** The law's name. */
  law: Schema.String,
  /** What should have been, in words. */
  expected: Schema.String,
  /** What was instead, in words. */
  actual: Schema.String
}) {
  /** One line with the law, what was expected and what was seen. */
  override get message(): string {
    return `${this.law}: expected ${this.expected}; actual: ${this.actual}`
  }
}

/**
 * One rule, and whether an implementation keeps it.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { MemoryStore } from "effect-arcp/store"
 * import { storeLaws } from "effect-arcp/testing"
 *
 * for (const law of storeLaws(MemoryStore.layer)) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Law {
  /** What holds, in one line; where it is a rule of the protocol, with its section. */
  readonly name: string
  /** Succeeds where the law is kept. Whatever else happens (a failure, a defect, a hang) is a {@link LawBroken}. */
  readonly check: Effect.Effect<void, LawBroken, Scope.Scope>
}

/**
 * The options of every list of laws.
 *
 * @since 0.1.0
 * @category options
 */
export interface LawOptions {
  /** How long one law may take. Default: 30 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}
