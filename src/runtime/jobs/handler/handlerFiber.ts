/**
 * Starting a handler's fiber. It runs with the program's loggers, on the scheduler for agents, and without the runtime's services.
 * Whatever ends it, one of two callbacks is called.
 */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import { ambient } from "../../../agent/Guard.js"
import { forHandlers, isOver } from "../../kernel/Turn.js"
import { forUserCode } from "../../kernel/UserCode.js"

/** What is called when a handler has ended. */
export interface HandlerEnd {
  /** Before anything of the handler runs. */
  readonly started: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  readonly exited: (exit: Exit.Exit<unknown, unknown>) => void
  /** The fiber could not be started, or `exited` has thrown. */
  readonly lost: (defect: unknown) => void
}

/** Starts a handler. */
export type HandlerStarter = (handler: Effect.Effect<unknown, unknown>, end: HandlerEnd) => void

/** Starts handlers' fibers in a runtime; none of `withhold` can be found from inside. */
export const makeStarter = (runtime: Runtime.Runtime<never>, withhold: ReadonlyArray<object>): HandlerStarter => {
  // A handler's fiber begins without the runtime's services, so that nothing in it can ask for them.
  const runFork = Runtime.runFork(Runtime.updateContext(forUserCode(runtime), (context) => ambient(context, withhold)))
  const scheduler = forHandlers(runtime)
  return (handler, { exited, lost, started }) => {
    try {
      // It runs at once, up to where it first waits, or where this turn of the event loop is over in the next.
      const fiber = runFork(handler, { scheduler, immediate: scheduler === undefined || !isOver() })
      started(fiber)
      fiber.addObserver((exit) => {
        try {
          exited(exit)
        } catch (defect) {
          // What an observer throws would be lost, and the job would never end.
          lost(defect)
        }
      })
    } catch (defect) {
      lost(defect)
    }
  }
}
