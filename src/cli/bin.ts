#!/usr/bin/env node
/** The executable. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { main } from "./program.js"

NodeRuntime.runMain(
  Effect.suspend(() => main(process.argv)),
  {
    disableErrorReporting: true,
    // SIGINT and SIGTERM interrupt the program; it has stopped cleanly when this runs.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) ? Number(exit.value) : Exit.isInterrupted(exit) ? 0 : 1)
  }
)
