/** Runs the program in a process: signals, and how the process ends. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { main } from "./program.js"

/** Runs the program on these arguments (as `process.argv`) and ends the process with its exit code. */
export const run = (argv: ReadonlyArray<string>): void => {
  // The first signal stops the program gracefully (below), a second one at once: said here, since as PID 1 of a container a
  // process has no default for signals.
  let signals = 0
  const onSignal = (code: number) => () => {
    if (++signals > 1) process.exit(code)
  }
  process.on("SIGINT", onSignal(130))
  process.on("SIGTERM", onSignal(143))

  NodeRuntime.runMain(
    Effect.suspend(() => main(argv)),
    {
      disableErrorReporting: true,
      // It writes to stdout, beside the program's own logger; with --stdio that is the protocol's.
      disablePrettyLogger: true,
      // SIGINT and SIGTERM interrupt the program; it has stopped cleanly when this runs.
      teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? Number(exit.value) : Exit.isInterrupted(exit) ? 0 : 1)
    }
  )
}
