/**
 * The job engine as its parts see it: one record of the services that they use, the jobs, and the parts themselves.
 *
 * `JobEngine` makes it; the parts (`Run`, `Ending`, `Drain`, `Delegation`, `Recovery`, and the services of each handler) take it whole. They are
 * recursive (a job that ends lets another one start, a handler starts jobs), so that they know each other by these interfaces alone.
 * It is complete before any of them is called.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AgentRegistry } from "../../../agent/AgentRegistry.js"
import type { ChildJob, DelegateOptions } from "../../../agent/Job.js"
import type { ToolRegistry } from "../../../agent/ToolRegistry.js"
import type { ArcpError } from "../../../protocol/Errors.js"
import type { IdsService } from "../../../protocol/Ids.js"
import type { DecodedStore } from "../../../store/Rows.js"
import type { StoreError } from "../../../store/Store.js"
import type { ArtifactsService } from "../../artifacts/Artifacts.js"
import type { Credentials } from "../../credentials/Credentials.js"
import type { Deadlines } from "../../kernel/Deadlines.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import type { Auditor } from "../../kernel/Auditing.js"
import type { LeasePolicy } from "../../kernel/Policies.js"
import type { BackPressure } from "../../log/BackPressure.js"
import type { Change, EventLog } from "../../log/EventLog.js"
import type { RecoveredJobLog } from "../../log/Recovery.js"
import type { BudgetsService } from "../Budgets.js"
import type { HandlerGuards, HandlerStarter } from "../handler/handlerRun.js"
import type { JobResponses } from "../handler/jobResponses.js"
import type { LeasesService } from "../Leases.js"
import type { Jobs, Outcome, Running, Stop, Successor } from "../Running.js"
import type { Money } from "./money.js"

/** What the parts use of the runtime. */
export interface Services {
  readonly store: DecodedStore
  readonly eventLog: Context.Tag.Service<EventLog>
  readonly backPressure: Context.Tag.Service<BackPressure>
  readonly deadlines: Context.Tag.Service<Deadlines>
  readonly ids: IdsService
  readonly limits: LimitsShape
  readonly meter: MeterShape
  /** Undefined where nothing is recorded. */
  readonly audit: Auditor | undefined
  readonly leasePolicy: Context.Tag.Service<LeasePolicy>
  readonly leases: LeasesService
  readonly budgets: BudgetsService
  readonly credentials: Context.Tag.Service<Credentials>
  readonly artifacts: ArtifactsService
  readonly agents: Context.Tag.Service<AgentRegistry>
  readonly tools: Context.Tag.Service<ToolRegistry>
  readonly guards: HandlerGuards
  readonly startHandler: HandlerStarter
  readonly responses: JobResponses
  /** The engine's own: what runs in it ends with the runtime. */
  readonly scope: Scope.Scope
  /** Runs an effect beside everything, such as a line for the log. */
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** Starting jobs, and handing them over. */
export interface Runs {
  /**
   * Takes a job in and queues its beginning: `change`, where it is announced, and its start, where it has a slot. The handler starts when
   * that is durable. A change that the store refuses takes the job back. A job without a slot waits, and starts by itself.
   */
  readonly launch: (running: Running, change?: Change) => void
  /** Starts the jobs that wait and have a slot now, in the order of submission. */
  readonly launchWaiting: () => void
  /** Unwinds the handler and lets another agent go on. */
  readonly handOver: (running: Running, next: Successor) => void
}

/** Stopping and ending jobs. */
export interface Ends {
  /** Stops a job; the first reason counts. Within the grace the job has its terminal message. */
  readonly stop: (running: Running, reason: Stop) => void
  /** The handler has ended with this: the job ends once its children have, within the grace (§10). */
  readonly conclude: (running: Running, outcome: Outcome) => void
  /** Ends a job and its children without waiting for anything. */
  readonly endNow: (running: Running, outcome: Outcome) => void
  /** What a refused operation means for the job beyond its failure: an expired lease ends it (§9.5). */
  readonly refused: (running: Running, error: ArcpError) => void
  /** Reports the end of every open tool call. */
  readonly closeCalls: (running: Running, error: ArcpError) => void
  /** Releases a job that was not stored, and all that it holds; no client has heard of it. */
  readonly abandon: (running: Running) => void
  /** Takes a job out of those that have not ended: its slot is free. */
  readonly remove: (running: Running) => void
}

/** Ending all jobs when the runtime stops. */
export interface Drains {
  /** Whether it has begun: no job starts any more but children of those that run. */
  readonly draining: boolean
  /** Starts no more jobs, gives those that run this many milliseconds, ends or leaves the rest, and returns when no job is left. */
  readonly drain: (millis: number) => Effect.Effect<void>
  /** A job has been removed. */
  readonly removed: () => void
  /** The handler or the children of a job have ended; returns whether the job is left to the next process, and must not end here. */
  readonly gone: (running: Running) => boolean
  /** Whether a job is being left to the next process: nothing is to be asked of it here. */
  readonly isLeft: (running: Running) => boolean
}

/** Delegated jobs. */
export interface Delegates {
  /** Starts a child of a running job; a refusal has been reported on the parent when this fails. */
  readonly startChild: (
    parent: Running,
    agent: string,
    input: unknown,
    options: DelegateOptions | undefined
  ) => Effect.Effect<ChildJob<unknown>, ArcpError>
  /** Lets another agent take a running job over; does not return where that succeeds. */
  readonly handoff: (running: Running, agent: string, input: unknown) => Effect.Effect<never, ArcpError>
}

/** Jobs that an earlier process left unfinished. */
export interface Recovers {
  /** Recovers jobs, which have their sessions; then ends each or starts it again. */
  readonly recover: (jobs: ReadonlyArray<RecoveredJobLog>) => Effect.Effect<void, StoreError>
}

/** The whole. */
export interface Engine extends Services {
  readonly jobs: Jobs
  readonly money: Money
  readonly run: Runs
  readonly ending: Ends
  readonly drain: Drains
  readonly delegation: Delegates
  readonly recovery: Recovers
}
