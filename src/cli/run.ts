/**
 * Runs the program in a process: signals, pipes whose reader has gone, and how the process ends.
 *
 * A first signal stops the program gracefully, a second one ends it at once. A reader of stdout that has gone (`arcp … | head -1`) has
 * what it wanted: the program ends quietly with 0. A stderr that cannot be written changes nothing: what is told there is lost.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { main } from "./program.js"
import { Signals, type SignalsService } from "./signals.js"

const exitCodeOf = { SIGINT: 130, SIGTERM: 143 } as const

/** Runs the program on these arguments (as `process.argv`) and ends the process with its exit code. */
export const run = (argv: ReadonlyArray<string>): void => {
  let received: number | undefined
  const signals: SignalsService = { received: () => received, stopsCleanly: false }
  // Said here, since as PID 1 of a container a process has no default for signals.
  const onSignal = (code: number) => () => {
    if (received !== undefined) process.exit(code)
    received = code
  }
  process.on("SIGINT", onSignal(exitCodeOf.SIGINT))
  process.on("SIGTERM", onSignal(exitCodeOf.SIGTERM))

  const stdout = process.stdout
  const outputFailed = Deferred.unsafeMake<number>(FiberId.none)
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    const quiet = error.code === "EPIPE"
    if (!quiet) process.stderr.write(`arcp: stdout cannot be written: ${error.message}\n`)
    Deferred.unsafeDone(outputFailed, Effect.succeed(quiet ? 0 : 1))
  })
  process.stderr.on("error", () => {})

  NodeRuntime.runMain(
    Effect.suspend(() => main(argv)).pipe(
      Effect.raceFirst(Deferred.await(outputFailed)),
      Effect.provideService(Signals, signals)
    ),
    {
      disableErrorReporting: true,
      // It writes to stdout, beside the program's own logger; with --stdio that is the protocol's.
      disablePrettyLogger: true,
      // SIGINT and SIGTERM interrupt the program; it has stopped cleanly when this runs.
      teardown: (exit) => {
        const code = Exit.isSuccess(exit)
          ? Number(exit.value)
          : !Exit.isInterrupted(exit)
            ? 1
            : signals.stopsCleanly
              ? 0
              : (received ?? 1)
        // What an agents' module has left running (a timer, a socket) must not keep the process; what was written leaves first.
        process.exitCode = code
        stdout.write("", () => process.exit(code))
      }
    }
  )
}
