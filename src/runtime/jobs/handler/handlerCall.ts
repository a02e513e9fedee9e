/**
 * One run of a job's handler: what the handler has beyond its agent's own services, each made when it is first asked for.
 *
 * Order: the scope closes when the handler has ended, then the span ends. What is asked for after that (by a fiber that the handler left
 * behind) gets a scope that is closed already.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import type { Gate } from "../../../agent/Gate.js"
import type { Job, JobService } from "../../../agent/Job.js"
import { readable } from "../../kernel/UserCode.js"
import type { Engine } from "../internal/engine.js"
import type { Running } from "../Running.js"
import type { HandlerRun } from "./handlerRun.js"
import { makeGate } from "./jobAuthority.js"
import * as JobLogs from "./jobLogs.js"
import { HandlerService } from "./jobService.js"
import { ended, UntracedSpan } from "./jobSpan.js"
import { secretsOf } from "./secrets.js"

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
    contextOf: (services: Context.Context<never>) => Context.Context<never>
  ): Effect.Effect<unknown, unknown, Job | Scope.Scope> {
    const { agent, input } = this.running
    let handler: Effect.Effect<unknown, unknown, Job | Scope.Scope>
    try {
      handler = agent.run(input, contextOf)
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
