/** A run of a job's handler as the other parts of the engine see it; `handlerCall` makes it and starts its fiber. */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type { Call } from "../../../agent/CallContext.js"
import type { GuardDrivers } from "../../../agent/Guard.js"
import type { Job } from "../../../agent/Job.js"
import type { Secretive } from "../../kernel/Hidden.js"
import type { Running } from "../Running.js"

/** How the handlers of a runtime are guarded. */
export interface HandlerGuards {
  /** Services that no handler gets under any key. */
  readonly withhold: ReadonlyArray<object>
  readonly drivers: GuardDrivers
  /** Bytes that one read of a whole file takes. */
  readonly fileBytes: number
}

/** What makes events of lines. */
export interface Lines {
  readonly add: (line: Logger.Logger.Options<unknown>) => void
}

/** What has lines, which are made when it logs, and secrets. */
export interface Logging extends Secretive {
  readonly logs: Lines | undefined
}

/** One run. */
export interface HandlerRun extends Call, Logging {
  readonly running: Running
  /** The handler runs in this span. */
  readonly within: (span: Tracer.Span) => void
  /**
   * The handler, and what comes behind it. To be run uninterruptibly in the context that `contextFor` has answered first, or where it was
   * not asked, in any with the call's `Job` and scope.
   */
  readonly handler: (
    contextFor: (services: Context.Context<never>) => Context.Context<never>
  ) => Effect.Effect<unknown, unknown, Job | Scope.Scope>
}

/** What is called when a handler has been started and when it has ended; the same for all, since one for each would be held while it waits. */
export interface HandlerEnd<R extends HandlerRun> {
  /** The fiber is there, and has run up to where it first waits. */
  readonly started: (run: R, fiber: Fiber.RuntimeFiber<unknown, unknown>) => void
  readonly exited: (run: R, exit: Exit.Exit<unknown, unknown>) => void
  /** The fiber could not be started, or `exited` has thrown. */
  readonly lost: (run: R, defect: unknown) => void
}

/** Starts a handler. */
export type HandlerStarter = <R extends HandlerRun>(run: R, end: HandlerEnd<R>) => void
