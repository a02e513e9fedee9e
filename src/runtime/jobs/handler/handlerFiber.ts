/**
 * Starting a handler's fiber. It runs with the program's loggers, on the scheduler for agents, in the context of its call, and without the
 * runtime's services. Whatever ends it, one of two callbacks is called.
 *
 * Order: the span, then the handler up to where it first waits; at its end the scope, then the span. The fiber is put together by hand, in
 * what Effect would do with a scope, a service, a span and two references around the handler, for a fraction of the time.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { ambient } from "../../../agent/Guard.js"
import { forHandlers, isOver } from "../../kernel/Turn.js"
import { forUserCode, isTraced } from "../../kernel/UserCode.js"
import type { HandlerRun, HandlerStarter } from "./handlerRun.js"
import { type HandlerGuards, HandlerServices } from "./handlerServices.js"
import { annotated, annotatedFor, type Annotations, jobLogger, logging } from "./jobLogs.js"
import { traced, UntracedSpan } from "./jobSpan.js"

/** What spans without a tracer need. */
export interface Untraced {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** 16 hex digits. */
  readonly spanId: () => string
}

/** The fibers of a runtime's handlers. */
class Handlers {
  private readonly runtime: Runtime.Runtime<never>
  private readonly services: HandlerServices
  private readonly untraced: Untraced | undefined
  private readonly scheduled: boolean
  private readonly annotations = new WeakMap<AgentRegistration, Annotations>()
  /** A handler can be interrupted; what closes its scope and its span cannot. */
  private readonly flags: RuntimeFlags.RuntimeFlags

  constructor(runtime: Runtime.Runtime<never>, guards: HandlerGuards, untraced: Untraced) {
    const scheduler = forHandlers(runtime)
    // A handler's fiber begins without the runtime's services, so that nothing in it can ask for them.
    const own = Runtime.updateContext(forUserCode(runtime), (context) => ambient(context, guards.withhold))
    const loggers = FiberRefs.getOrDefault(own.fiberRefs, FiberRef.currentLoggers)
    const logged = Runtime.setFiberRef(own, FiberRef.currentLoggers, HashSet.add(loggers, jobLogger))
    this.runtime = scheduler === undefined ? logged : Runtime.setFiberRef(logged, FiberRef.currentScheduler, scheduler)
    this.services = new HandlerServices(guards, own.context)
    this.untraced = isTraced(own) ? undefined : untraced
    this.scheduled = scheduler !== undefined
    this.flags = RuntimeFlags.disable(own.runtimeFlags, RuntimeFlags.Interruption)
  }

  private begin(call: HandlerRun): Fiber.RuntimeFiber<unknown, unknown> {
    const { running } = call
    const { agent } = running
    const { untraced } = this
    let context: Context.Context<never> | undefined
    let handler: Effect.Effect<unknown, unknown> | undefined
    if (untraced !== undefined) call.within(new UntracedSpan(running, untraced.now(), untraced.spanId))
    else {
      // Before the fiber: it looks for its span when it is made.
      const span = Runtime.runSyncExit(this.runtime)(Effect.locally(traced(running), logging, call))
      if (Exit.isFailure(span)) handler = Effect.failCause(span.cause)
      else call.within(span.value)
    }
    handler ??= call.handler((services) => {
      const made = this.services.of(agent, services, call)
      context ??= made
      return made
    }) as Effect.Effect<unknown, unknown>
    const { fiberRefs } = this.runtime
    return Runtime.runFork(
      Runtime.make({ context: context ?? this.services.bare(call), runtimeFlags: this.flags, fiberRefs }),
      handler,
      {
        // It runs at once, up to where it first waits, or where this turn of the event loop is over in the next.
        immediate: !this.scheduled || !isOver(),
        updateRefs: (refs, fiberId) => this.ofCall(refs, fiberId, call)
      }
    )
  }

  /** What the lines of all jobs of an agent have in common. */
  private annotationsOf(agent: AgentRegistration): Annotations {
    let known = this.annotations.get(agent)
    if (known === undefined) {
      known = annotatedFor(FiberRefs.getOrDefault(this.runtime.fiberRefs, FiberRef.currentLogAnnotations), agent)
      this.annotations.set(agent, known)
    }
    return known
  }

  /** What it logs is its job's. */
  private ofCall(refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime, call: HandlerRun): FiberRefs.FiberRefs {
    const { locals } = refs
    // They are the fiber's own, made for it a moment ago.
    const annotations = annotated(this.annotationsOf(call.running.agent), call.running)
    locals.set(FiberRef.currentLogAnnotations, [[fiberId, annotations]])
    locals.set(logging, [[fiberId, call]])
    return refs
  }

  readonly start: HandlerStarter = (call, end) => {
    try {
      const fiber = this.begin(call)
      end.started(call, fiber)
      fiber.addObserver((exit) => {
        try {
          end.exited(call, exit)
        } catch (defect) {
          // What an observer throws would be lost, and the job would never end.
          end.lost(call, defect)
        }
      })
    } catch (defect) {
      end.lost(call, defect)
    }
  }
}

/** Starts handlers' fibers in a runtime; none of what the guards withhold can be found from inside. */
export const makeStarter = (
  runtime: Runtime.Runtime<never>,
  guards: HandlerGuards,
  untraced: Untraced
): HandlerStarter => new Handlers(runtime, guards, untraced).start
