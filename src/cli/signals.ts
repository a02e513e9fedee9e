/** What signals, and pipes whose reader has gone, mean to the command that runs. */
import * as Context from "effect/Context"

/** Shared by the program and the process that it runs in. */
export interface SignalsService {
  /** The exit code of the signal that has come; undefined: none has. */
  readonly received: () => number | undefined
  /** Whether a signal is how the command is meant to end: it then exits with 0. */
  stopsCleanly: boolean
}

/** One for each process. By default none comes. */
export class Signals extends Context.Reference<Signals>()("effect-arcp/cli/Signals", {
  defaultValue: (): SignalsService => ({ received: () => undefined, stopsCleanly: false })
}) {}
