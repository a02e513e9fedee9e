/** The options of the parent's side of the stdio transport: the child that it starts. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { LineOptions } from "./LineOptions.js"

/**
 * How to start a child runtime.
 *
 * @since 0.1.0
 * @category options
 */
export interface SpawnOptions extends LineOptions {
  /** The program: a path, or a name that is looked up on `PATH`. No shell is involved. */
  readonly command: string
  /** The program's arguments. Default: none. */
  readonly args?: ReadonlyArray<string> | undefined
  /** Set on top of this process's environment. */
  readonly env?: { readonly [name: string]: string | Redacted.Redacted<string> } | undefined
  /** The child's working directory. Default: this process's. */
  readonly cwd?: string | undefined
  /**
   * The child's stderr: copied to ours, dropped, or handed over line by line. Default: `"inherit"`. Its end is quoted in the reason of a
   * close, where the child fails.
   */
  readonly stderr?: "inherit" | "ignore" | ((line: string) => Effect.Effect<void>) | undefined
  /** How long the child lets its running jobs go on when it is told to stop (`arcp serve --drain`). Default: 10 seconds. */
  readonly drainTime?: Duration.DurationInput | undefined
  /** After a close, how long the child may take to exit by itself before it gets SIGTERM. Default: `drainTime` and 5 seconds. */
  readonly exitTimeout?: Duration.DurationInput | undefined
  /** After SIGTERM, how long before it and all that it has started get SIGKILL. Default: `drainTime` and 5 seconds. */
  readonly killTimeout?: Duration.DurationInput | undefined
}
