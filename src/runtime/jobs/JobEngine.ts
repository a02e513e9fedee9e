/**
 * The job engine: jobs, their ends, delegation, and the services of their handlers, made in one place.
 *
 * Responsibility: puts the parts together. Each of them takes the whole record (`internal/engine`), which is complete before any of them
 * is called, so that no part has to register with another one later.
 *
 * Order: recovery is called by the runtime's start, behind the log, the sessions and the credentials; a runtime that ends without having
 * been drained drains with no time.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { AgentRegistry } from "../../agent/AgentRegistry.js"
import { ToolRegistry } from "../../agent/ToolRegistry.js"
import { Ids } from "../../protocol/Ids.js"
import * as Rows from "../../store/Rows.js"
import { Store } from "../../store/Store.js"
import { Artifacts } from "../artifacts/Artifacts.js"
import { Credentials } from "../credentials/Credentials.js"
import { Auditing } from "../kernel/Auditing.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { Limits } from "../kernel/Limits.js"
import { Meter } from "../kernel/Metrics.js"
import { LeasePolicy } from "../kernel/Policies.js"
import { BackPressure, type Emitting } from "../log/BackPressure.js"
import { EventLog } from "../log/EventLog.js"
import { Budgets } from "./Budgets.js"
import { Delegation } from "./Delegation.js"
import { Drain } from "./Drain.js"
import { Ending } from "./Ending.js"
import { makeStarter } from "./handler/handlerCall.js"
import { JobResponses } from "./handler/jobResponses.js"
import { nodeDrivers } from "./handler/nodeDrivers.js"
import { ended } from "./internal/authority.js"
import type { Delegates, Drains, Ends, Engine, Recovers, Runs, Services } from "./internal/engine.js"
import { Jobs } from "./Running.js"
import { Money } from "./internal/money.js"
import { Leases } from "./Leases.js"
import { Recovery } from "./Recovery.js"
import { Run } from "./Run.js"

type Requirements =
  | Emitting
  | Deadlines
  | Ids
  | Leases
  | Budgets
  | Credentials
  | AgentRegistry
  | ToolRegistry
  | Artifacts
  | Store

const makeServices: Effect.Effect<Services, never, Requirements | Scope.Scope> = Effect.gen(function* () {
  const store = Rows.decoded(yield* Store)
  const limits = yield* Limits
  const runtime = yield* Effect.runtime<never>()
  const guards = { withhold: store.over ?? [], drivers: yield* nodeDrivers, fileBytes: limits.fileBytes }
  const fork = Runtime.runFork(runtime)
  const deadlines = yield* Deadlines
  const ids = yield* Ids
  const meter = yield* Meter
  return {
    store,
    eventLog: yield* EventLog,
    backPressure: yield* BackPressure,
    deadlines,
    ids,
    limits,
    meter,
    audit: yield* Auditing,
    leasePolicy: yield* LeasePolicy,
    leases: yield* Leases,
    budgets: yield* Budgets,
    credentials: yield* Credentials,
    artifacts: yield* Artifacts,
    agents: yield* AgentRegistry,
    tools: yield* ToolRegistry,
    guards,
    startHandler: makeStarter(runtime, guards, {
      now: deadlines.wall,
      spanId: () => ids.unsafeTraceId().slice(16)
    }),
    responses: new JobResponses(limits, meter, ended),
    scope: yield* Effect.scope,
    fork: (effect) => void fork(effect)
  }
})

/** The whole. Fields one by one: an object of this size that is spread into another becomes a dictionary, which is slow to read. */
class Whole implements Engine {
  readonly store: Services["store"]
  readonly eventLog: Services["eventLog"]
  readonly backPressure: Services["backPressure"]
  readonly deadlines: Services["deadlines"]
  readonly ids: Services["ids"]
  readonly limits: Services["limits"]
  readonly meter: Services["meter"]
  readonly audit: Services["audit"]
  readonly leasePolicy: Services["leasePolicy"]
  readonly leases: Services["leases"]
  readonly budgets: Services["budgets"]
  readonly credentials: Services["credentials"]
  readonly artifacts: Services["artifacts"]
  readonly agents: Services["agents"]
  readonly tools: Services["tools"]
  readonly guards: Services["guards"]
  readonly startHandler: Services["startHandler"]
  readonly responses: Services["responses"]
  readonly scope: Services["scope"]
  readonly fork: Services["fork"]
  readonly jobs: Jobs
  readonly money: Money
  readonly run: Runs
  readonly ending: Ends
  readonly drain: Drains
  readonly delegation: Delegates
  readonly recovery: Recovers

  constructor(services: Services) {
    this.store = services.store
    this.eventLog = services.eventLog
    this.backPressure = services.backPressure
    this.deadlines = services.deadlines
    this.ids = services.ids
    this.limits = services.limits
    this.meter = services.meter
    this.audit = services.audit
    this.leasePolicy = services.leasePolicy
    this.leases = services.leases
    this.budgets = services.budgets
    this.credentials = services.credentials
    this.artifacts = services.artifacts
    this.agents = services.agents
    this.tools = services.tools
    this.guards = services.guards
    this.startHandler = services.startHandler
    this.responses = services.responses
    this.scope = services.scope
    this.fork = services.fork
    this.jobs = new Jobs(services.limits, services.meter)
    this.money = new Money(services)
    this.run = new Run(this)
    this.ending = new Ending(this)
    this.drain = new Drain(this)
    this.delegation = new Delegation(this)
    this.recovery = new Recovery(this)
  }
}

const make: Effect.Effect<Engine, never, Requirements | Scope.Scope> = Effect.gen(function* () {
  const engine = new Whole(yield* makeServices)
  // A program that has not drained it loses no more than the time to do so.
  yield* Effect.addFinalizer(() => engine.drain.drain(0))
  return engine
})

/** The engine: not for other rooms, which have `JobScheduler` and `JobRunner`. */
export class JobEngine extends Context.Tag("effect-arcp/runtime/JobEngine")<JobEngine, Engine>() {
  static readonly layer: Layer.Layer<JobEngine, never, Requirements> = Layer.scoped(JobEngine, make)
}
