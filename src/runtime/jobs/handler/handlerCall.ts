/**
 * One run of a job's handler: what the handler has, its span, and its fiber (ARCP 1.1 §9.3, §11).
 *
 * Responsibility: the handler's context has its agent's own services, bounded by the job's gate with what Node offers for it, and what its
 * fiber inherits; what all jobs of an agent have in common is put together once, and what only this run has is made when it is first asked
 * for. The fiber runs with the program's loggers, on the scheduler for agents, and without the runtime's services. Whatever ends it, one of
 * two callbacks is called. It is put together by hand, in what Effect would do with a scope, a service, a span and two references around the
 * handler, for a fraction of the time.
 *
 * Order: the span, then the handler up to where it first waits; at its end the scope closes, then the span ends. What is asked for after that
 * (by a fiber that the handler left behind) gets a scope that is closed already.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { AgentRegistration } from "../../../agent/AgentRegistry.js"
import { type Call, contextOf, type Shared } from "../../../agent/CallContext.js"
import type { Gate } from "../../../agent/Gate.js"
import { ambient, guardedBy } from "../../../agent/Guard.js"
import type { Job, JobService } from "../../../agent/Job.js"
import * as NodeResolver from "../../../agent/NodeResolver.js"
import type { Amounts } from "../../../authority/Amount.js"
import { forHandlers, isOver } from "../../kernel/Turn.js"
import { forUserCode, isTraced, readable } from "../../kernel/UserCode.js"
import { toText } from "../Accounts.js"
import type { Engine } from "../internal/engine.js"
import { nameOf, type Running } from "../Running.js"
import type { HandlerGuards, HandlerRun, HandlerStarter } from "./handlerRun.js"
import { makeGate } from "./jobAuthority.js"
import * as JobLogs from "./jobLogs.js"
import { HandlerService } from "./jobService.js"
import { secretsOf } from "./secrets.js"

// The span: a child of the caller's, where the submit brought one.

const spanName = "arcp.job"
const budgetAttribute = "arcp.budget.remaining"
const noLinks: ReadonlyArray<Tracer.SpanLink> = []

const parentOf = ({ live }: Running): Tracer.ExternalSpan => {
  const { traceContext: trace } = live.values
  return Tracer.externalSpan({
    traceId: live.traceId,
    spanId: trace?.parentSpanId ?? live.traceId.slice(16),
    sampled: trace?.sampled ?? true
  })
}

const attributesOf = ({ agent, lease, live }: Running): Readonly<Record<string, unknown>> => ({
  "arcp.job_id": live.jobId,
  "arcp.session_id": live.ownerSessionId,
  "arcp.agent": nameOf(agent),
  "arcp.lease.capabilities": Object.keys(lease.wire).join(","),
  "arcp.lease.expires_at": lease.constraints?.expires_at
})

/** Makes the span by the program's tracer. */
const traced = (running: Running): Effect.Effect<Tracer.Span> =>
  Effect.makeSpan(spanName, {
    parent: parentOf(running),
    attributes: attributesOf(running),
    captureStackTrace: false
  })

/** Ends a span, which has then what is left of the budget. */
const ended = (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>, counters: () => Amounts): Effect.Effect<void> =>
  Effect.zipWith(Effect.clock, FiberRef.get(FiberRef.currentTracerTimingEnabled), (clock, isTimed) => {
    const left = toText(counters())
    if (left !== undefined) span.attribute(budgetAttribute, left)
    if (span.status._tag !== "Ended") span.end(isTimed ? clock.unsafeCurrentTimeNanos() : 0n, exit)
  })

/**
 * The span of a job where no tracer looks at it, for what the handler and the spans below it may ask: each part is made when it is
 * asked for.
 */
class UntracedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name = spanName
  readonly kind = "internal"
  readonly context: Context.Context<never> = Context.empty()
  readonly sampled = true
  readonly traceId: string
  private readonly running: Running
  private readonly startedAt: number
  private readonly newId: () => string
  private id: string | undefined = undefined
  private up: Option.Option<Tracer.AnySpan> | undefined = undefined
  private known: Map<string, unknown> | undefined = undefined
  private linked: ReadonlyArray<Tracer.SpanLink> = noLinks
  private over: { readonly endTime: bigint; readonly exit: Exit.Exit<unknown, unknown> } | undefined = undefined

  /** `startedAt` in milliseconds since the epoch; `newId` answers 16 hex digits. */
  constructor(running: Running, startedAt: number, newId: () => string) {
    this.running = running
    this.traceId = running.live.traceId
    this.startedAt = startedAt
    this.newId = newId
  }

  get spanId(): string {
    return (this.id ??= this.newId())
  }

  get parent(): Option.Option<Tracer.AnySpan> {
    return (this.up ??= Option.some(parentOf(this.running)))
  }

  get attributes(): Map<string, unknown> {
    return (this.known ??= new Map(Object.entries(attributesOf(this.running))))
  }

  get links(): ReadonlyArray<Tracer.SpanLink> {
    return this.linked
  }

  get status(): Tracer.SpanStatus {
    const startTime = BigInt(Math.round(this.startedAt)) * 1_000_000n
    return this.over === undefined ? { _tag: "Started", startTime } : { _tag: "Ended", startTime, ...this.over }
  }

  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
  }

  /** Nobody reads it: a span has no way to be asked for its events. */
  event(): void {}

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    this.linked = [...this.linked, ...links]
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    this.over = { endTime, exit }
  }

  /** Ends the span. The remaining budget is added only where the attributes have been read. */
  finish(now: number, exit: Exit.Exit<unknown, unknown>, counters: () => Amounts): void {
    const left = this.known === undefined ? undefined : toText(counters())
    if (left !== undefined) this.attribute(budgetAttribute, left)
    if (this.over === undefined) this.end(BigInt(Math.round(now)) * 1_000_000n, exit)
  }
}

// Its context.

/** Makes the contexts of handlers. */
class HandlerServices {
  private readonly guards: HandlerGuards
  private readonly inherited: ReadonlyMap<string, unknown>
  /** By registration, and by what it says it was built with. */
  private readonly shared = new WeakMap<AgentRegistration, WeakMap<Context.Context<never>, Shared>>()

  /** `inherited` is what every handler's fiber begins with. */
  constructor(guards: HandlerGuards, inherited: Context.Context<never>) {
    this.guards = guards
    this.inherited = inherited.unsafeMap
  }

  /** The context of a call of this agent, which was built with `services`. */
  of(agent: AgentRegistration, services: Context.Context<never>, call: Call): Context.Context<never> {
    let known = this.shared.get(agent)
    if (known === undefined) this.shared.set(agent, (known = new WeakMap()))
    let shared = known.get(services)
    if (shared === undefined) known.set(services, (shared = this.sharedBy(agent, services)))
    return contextOf(shared, call)
  }

  /** The context of a call whose agent has not asked for its services. */
  bare(call: Call): Context.Context<never> {
    return contextOf(this.inherited, call)
  }

  /** What an agent was built with wins over what the fiber inherits. */
  private sharedBy({ unguarded }: AgentRegistration, services: Context.Context<never>): Shared {
    const { drivers, fileBytes, withhold } = this.guards
    return new Map([
      ...this.inherited,
      ...guardedBy(services, {
        unguarded,
        withhold,
        drivers,
        fileSystem: { fileBytes },
        http: { resolver: NodeResolver.resolver }
      })
    ])
  }
}

// The run.

/** The end of a handler's shell, at which everything that the handler had is closed. */
type End = Effect.Effect<unknown, unknown>

/** One run. */
export class HandlerCall implements HandlerRun {
  readonly running: Running
  private readonly engine: Engine
  private made: HandlerService | undefined = undefined
  private bound: Gate | undefined = undefined
  private opened: Scope.CloseableScope | undefined = undefined
  private exit: Exit.Exit<unknown, unknown> | undefined = undefined
  private lines: JobLogs.JobLines | "none" | undefined = undefined
  private own: Tracer.Span | undefined = undefined

  constructor(running: Running, engine: Engine) {
    this.running = running
    this.engine = engine
  }

  private get services(): HandlerService {
    return (this.made ??= new HandlerService(this.running, this.engine))
  }

  get job(): JobService {
    return this.services.service
  }

  get gate(): Gate {
    return (this.bound ??= makeGate(this.services.calls))
  }

  get scope(): Scope.CloseableScope {
    if (this.opened === undefined) {
      this.opened = Effect.runSync(Scope.make())
      // The handler has ended: what is added ends at once.
      if (this.exit !== undefined) Effect.runSync(Scope.close(this.opened, this.exit))
    }
    return this.opened
  }

  get span(): Tracer.Span | undefined {
    return this.own
  }

  within(span: Tracer.Span): void {
    this.own = span
  }

  /** The lines that the handler logs; undefined where its agent keeps them to the program's loggers. */
  get logs(): JobLogs.JobLines | undefined {
    this.lines ??= JobLogs.make(this.running, () => this.services.calls) ?? "none"
    return this.lines === "none" ? undefined : this.lines
  }

  get hide(): ((text: string) => string) | undefined {
    return secretsOf(this.engine, this.running)?.hide
  }

  handler(
    contextFor: (services: Context.Context<never>) => Context.Context<never>
  ): Effect.Effect<unknown, unknown, Job | Scope.Scope> {
    const { agent, input } = this.running
    let handler: Effect.Effect<unknown, unknown, Job | Scope.Scope>
    try {
      handler = agent.run(input, contextFor)
    } catch (thrown) {
      // A registration may be the program's own.
      handler = Effect.die(readable(thrown))
    }
    return Effect.matchCauseEffect(Effect.interruptible(handler), {
      onSuccess: (value) => this.closed(Exit.succeed(value)),
      onFailure: (cause) => this.closed(Exit.failCause(cause))
    })
  }

  private closed(exit: Exit.Exit<unknown, unknown>): End {
    this.exit = exit
    const { opened } = this
    return opened === undefined
      ? this.left(exit)
      : Effect.matchCauseEffect(Scope.close(opened, exit), {
          onSuccess: () => this.left(exit),
          onFailure: (cause) =>
            this.left(Exit.failCause(Exit.isSuccess(exit) ? cause : Cause.sequential(exit.cause, cause)))
        })
  }

  /** The handler and its scope are over. */
  private left(exit: Exit.Exit<unknown, unknown>): End {
    const { deadlines, budgets } = this.engine
    const counters = () => budgets.counters(this.running.live.jobId)
    const { own } = this
    if (own === undefined) return exit
    if (own instanceof UntracedSpan) {
      own.finish(deadlines.wall(), exit, counters)
      return exit
    }
    return Effect.zipRight(ended(own, exit, counters), exit)
  }

  /** The fiber has ended: reports the lines that were left out. */
  over(): void {
    if (this.lines !== undefined && this.lines !== "none") this.lines.report()
  }
}

// Its fiber.

/** What lines are annotated with. */
type Annotations = HashMap.HashMap<string, unknown>

/** What the lines of all jobs of an agent are annotated with, beside what is there: as those of a first attempt. */
export const annotatedFor = (annotations: Annotations, agent: AgentRegistration): Annotations =>
  HashMap.set(HashMap.set(annotations, "agent", nameOf(agent)), "attempt", 1)

/** What every line of a job is annotated with, beside what those of its agent are. */
export const annotated = (annotations: Annotations, { live }: Running): Annotations => {
  const own = HashMap.set(annotations, "job_id", live.jobId)
  return live.attempt === 1 ? own : HashMap.set(own, "attempt", live.attempt)
}

/** What spans without a tracer need. */
export interface Untraced {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** 16 hex digits. */
  readonly spanId: () => string
}

type Locals = FiberRefs.FiberRefs["locals"]

/** A fiber ref with its values, the newest first. */
type Local = Locals extends Map<infer Ref, infer Stack> ? readonly [Ref, Stack] : never

/** The fiber refs whose value a fork does not change, without the context, which every fiber gets by itself. */
const unforked = (refs: FiberRefs.FiberRefs): ReadonlyArray<Local> => {
  const { locals }: { readonly locals: Locals } = FiberRefs.forkAs(refs, FiberId.none)
  return [...refs.locals].filter(([ref, stack]) => ref !== FiberRef.currentContext && locals.get(ref) === stack)
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
  /** What is the same in every handler's fiber. */
  private readonly common: ReadonlyArray<Local>
  /** The fiber refs whose value a fork changes: forked for each fiber. */
  private readonly forked: FiberRefs.FiberRefs

  constructor(runtime: Runtime.Runtime<never>, guards: HandlerGuards, untraced: Untraced) {
    const scheduler = forHandlers(runtime)
    // A handler's fiber begins without the runtime's services, so that nothing in it can ask for them.
    const own = Runtime.updateContext(forUserCode(runtime), (context) => ambient(context, guards.withhold))
    const loggers = FiberRefs.getOrDefault(own.fiberRefs, FiberRef.currentLoggers)
    const logged = Runtime.setFiberRef(own, FiberRef.currentLoggers, HashSet.add(loggers, JobLogs.jobLogger))
    this.runtime = scheduler === undefined ? logged : Runtime.setFiberRef(logged, FiberRef.currentScheduler, scheduler)
    this.services = new HandlerServices(guards, own.context)
    this.untraced = isTraced(own) ? undefined : untraced
    this.scheduled = scheduler !== undefined
    this.flags = RuntimeFlags.disable(own.runtimeFlags, RuntimeFlags.Interruption)
    this.common = unforked(this.runtime.fiberRefs)
    this.forked = this.common.reduce(
      (refs, [ref]) => FiberRefs.delete(refs, ref),
      FiberRefs.delete(this.runtime.fiberRefs, FiberRef.currentContext)
    )
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
      const span = Runtime.runSyncExit(this.runtime)(Effect.locally(traced(running), JobLogs.logging, call))
      if (Exit.isFailure(span)) handler = Effect.failCause(span.cause)
      else call.within(span.value)
    }
    handler ??= call.handler((services) => {
      const made = this.services.of(agent, services, call)
      context ??= made
      return made
    }) as Effect.Effect<unknown, unknown>
    return Runtime.runFork(
      Runtime.make({
        context: context ?? this.services.bare(call),
        runtimeFlags: this.flags,
        // Copying and forking all fiber refs for each job would be a tenth of what a job allocates.
        fiberRefs: this.forked
      }),
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

  /** It has what all handlers have, and what it logs is its job's. */
  private ofCall(refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime, call: HandlerRun): FiberRefs.FiberRefs {
    const { locals } = refs
    // They are the fiber's own, made for it a moment ago.
    for (const [ref, stack] of this.common) locals.set(ref, stack)
    const annotations = annotated(this.annotationsOf(call.running.agent), call.running)
    locals.set(FiberRef.currentLogAnnotations, [[fiberId, annotations]])
    locals.set(JobLogs.logging, [[fiberId, call]])
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
