/**
 * The runtime: every concern's Layer, wired.
 *
 * @example
 * const Main = ArcpRuntime.layer({ name: "demo" }).pipe(
 *   Layer.provide(SummarizeLive),
 *   Layer.provide(WebSocketServer.layer({ port: 7777 })),
 *   Layer.provide(Authenticator.layerBearer({ "secret": "alice" })),
 *   Layer.provide(Store.layerSqlite({ filename: "arcp.db" }))
 * )
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AgentRegistry } from "../agent/AgentRegistry.js"
import { ToolRegistry } from "../agent/ToolRegistry.js"
import type { Authenticator } from "../auth/Authenticator.js"
import { agentErrors, type Feature } from "../protocol/Features.js"
import { Ids } from "../protocol/Ids.js"
import { check as checkOptions } from "../protocol/Options.js"
import { packageName, packageVersion } from "../protocol/Package.js"
import * as Rows from "../store/Rows.js"
import { Store } from "../store/Store.js"
import { Server } from "../transport/Connection.js"
import { BackPressure } from "./log/BackPressure.js"
import { Artifacts } from "./artifacts/Artifacts.js"
import { Budgets } from "./jobs/Budgets.js"
import { Credentials, type CredentialsOptions } from "./credentials/Credentials.js"
import { Deadlines } from "./kernel/Deadlines.js"
import { Heartbeats } from "./sessions/Heartbeats.js"
import { JobEngine } from "./jobs/JobEngine.js"
import { JobRunner } from "./jobs/JobRunner.js"
import { JobScheduler } from "./jobs/JobScheduler.js"
import * as Rotations from "./jobs/Rotations.js"
import { EventLog } from "./log/EventLog.js"
import { Leases } from "./jobs/Leases.js"
import { warnedAuthenticator } from "./sessions/AnonymousAccess.js"
import { atEnd } from "./kernel/AtEnd.js"
import { claim } from "./kernel/Claims.js"
import { patientStore } from "./kernel/Patience.js"
import { scheduled } from "./kernel/Turn.js"
import { withTotalUserCode } from "./kernel/UserCode.js"
import { Meter } from "./kernel/Metrics.js"
import { recoverLogs } from "./log/Recovery.js"
import * as Retention from "./log/Retention.js"
import { RuntimeInfo } from "./kernel/RuntimeInfo.js"
import { Serving } from "./sessions/Serving.js"
import { Sessions } from "./sessions/Sessions.js"
import { Subscriptions } from "./sessions/Subscriptions.js"

/** What a runtime says of itself and how long it waits. */
export interface RuntimeOptions {
  /** Its name in the welcome (§6.2), and the tag `runtime` of its metrics. Default `effect-arcp`. */
  readonly name?: string | undefined
  /** Its version in the welcome. Default: the version of this package. */
  readonly version?: string | undefined
  /** Features that it offers; default all that it can keep. */
  readonly features?: ReadonlyArray<Feature> | undefined
  /** The heartbeat interval (§6.4). Default 30 seconds. */
  readonly heartbeatInterval?: Duration.DurationInput | undefined
  /** How long a session can be resumed after its last message (§6.3). Default 10 minutes. */
  readonly resumeWindow?: Duration.DurationInput | undefined
  /**
   * How long jobs that run may go on when the runtime stops, while their clients stay connected. Default 10 seconds. Then a job
   * whose agent is declared `onRestart: "rerun"` is left to the next process, where the store is durable, and every other job
   * ends in `INTERNAL_ERROR` with `details.reason: "runtime_shutdown"`. A runtime without running jobs stops at once.
   */
  readonly drainTime?: Duration.DurationInput | undefined
  /**
   * Whether clients of other SDKs are known by the shape of their hello and sent what they need beside the specification's fields:
   * `output` beside `result` to Go, a `job.error` behind the refusal of a request to Java. Default `"auto"`; `"strict"`: every client is
   * sent the same.
   */
  readonly peers?: "auto" | "strict" | undefined
  /** How long issuing and revoking provisioned credentials may take (§9.8). */
  readonly credentials?: CredentialsOptions | undefined
}

const defaultFeatures: ReadonlyArray<Feature> = [
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "provisioned_credentials",
  "progress",
  "result_chunk",
  "agent_versions",
  "artifacts",
  agentErrors
]

/** Milliseconds that the welcome can tell: an endless time has no number in JSON. */
const millis = (duration: Duration.DurationInput): number =>
  Math.min(Duration.toMillis(duration), Number.MAX_SAFE_INTEGER)

const checked = (options: RuntimeOptions): RuntimeOptions => {
  checkOptions("ArcpRuntime", options, {
    heartbeatInterval: "interval",
    resumeWindow: "duration",
    drainTime: "duration"
  })
  return options
}

/** What is offered: never what the layers at hand cannot keep. */
const infoLayer = (options: RuntimeOptions): Layer.Layer<RuntimeInfo, never, AgentRegistry | Artifacts | Credentials> =>
  Layer.effect(
    RuntimeInfo,
    Effect.gen(function* () {
      const registry = yield* AgentRegistry
      const can: Partial<Record<Feature, boolean>> = {
        artifacts: (yield* Artifacts).available,
        provisioned_credentials: (yield* Credentials).available
      }
      return {
        name: options.name ?? packageName,
        version: options.version ?? packageVersion,
        features: (options.features ?? defaultFeatures).filter((feature) => can[feature] ?? true),
        heartbeatInterval: millis(options.heartbeatInterval ?? "30 seconds"),
        resumeWindow: millis(options.resumeWindow ?? "10 minutes"),
        peers: options.peers ?? "auto",
        agents: registry.inventory
      }
    })
  )

/** Takes up what an earlier process left, then accepts connections until the scope closes. */
const accepting = (
  options: RuntimeOptions
): Layer.Layer<never, never, Server | Serving | Sessions | Credentials | Deadlines | Store | JobRunner | EventLog> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const server = yield* Server
      yield* claim("server", server)
      const serving = yield* Serving
      const sessions = yield* Sessions
      const store = yield* Store
      const runner = yield* JobRunner
      const rows = yield* Effect.orDie(Rows.decoded(store).recover)
      // Each room its own, in this order, and before any connection is accepted.
      const logs = yield* Effect.orDie(recoverLogs(store, rows, (yield* Deadlines).now()))
      yield* sessions.adopt(logs.sessions)
      // Values of an earlier process are gone with it: they are revoked, and jobs that run again get new ones.
      yield* Effect.orDie((yield* Credentials).recover(rows.jobs.map(({ record }) => record.jobId)))
      yield* Effect.orDie(runner.recover(logs.jobs))
      // Made before the finalizer, so that it closes after it: connections end politely before their fibers are interrupted.
      const connected = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
      const eventLog = yield* EventLog
      const drainTime = Duration.toMillis(options.drainTime ?? "10 seconds")
      yield* server.restrict?.(serving.restrictions) ?? Effect.void
      // Before the finalizer, which then runs first: at the end new sessions are refused before anything is waited for.
      yield* server.connections.pipe(
        Stream.runForEach((connection) => Effect.forkIn(serving.serve(connection), connected)),
        Effect.forkScoped
      )
      yield* Effect.addFinalizer(() =>
        Effect.all(
          [
            server.stopAccepting,
            sessions.stopAdmitting,
            runner.drain(drainTime),
            // What cannot be written now is written, or reported, by the log's own end.
            Effect.ignore(atEnd(Effect.timeout(eventLog.flush, "5 seconds"))),
            sessions.shutdown
          ],
          { discard: true }
        )
      )
    })
  )

/** What the runtime's concerns are; each is a service that a test can take out and replace. */
export type Concerns =
  | Artifacts
  | BackPressure
  | Budgets
  | Credentials
  | Deadlines
  | Heartbeats
  | JobRunner
  | JobScheduler
  | EventLog
  | Leases
  | RuntimeInfo
  | Serving
  | Sessions
  | Subscriptions

/**
 * Every concern, without the loop that accepts connections, over the given ids. Built anew each time that it is provided: no
 * concern is shared between two runtimes.
 */
export const layerConcerns = (
  options: RuntimeOptions = {}
): Layer.Layer<Concerns, never, Ids | Store | Authenticator> => Layer.fresh(concerns(options))

const concerns = (options: RuntimeOptions): Layer.Layer<Concerns, never, Ids | Store | Authenticator> =>
  Serving.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Heartbeats.layer, Subscriptions.layer, Sessions.layer)),
    Layer.provideMerge(Rotations.layer),
    Layer.provideMerge(Layer.provide(Layer.mergeAll(JobScheduler.layer, JobRunner.layer), JobEngine.layer)),
    Layer.provideMerge(Layer.mergeAll(BackPressure.layer, Leases.layer, infoLayer(checked(options)))),
    Layer.provideMerge(Layer.mergeAll(Budgets.layer, Credentials.layer(options.credentials))),
    Layer.provideMerge(Layer.mergeAll(EventLog.layer, Artifacts.layer)),
    Layer.provideMerge(Deadlines.layer),
    Layer.provide(Layer.mergeAll(AgentRegistry.layer, ToolRegistry.layer, patientStore, warnedAuthenticator())),
    Layer.provide(Meter.layer(options.name ?? packageName)),
    withTotalUserCode,
    scheduled
  )

/** The runtime over the given ids, with its concerns. */
const running = (options: RuntimeOptions): Layer.Layer<Concerns, never, Ids | Server | Store | Authenticator> =>
  Layer.merge(accepting(options), Retention.layer).pipe(
    withTotalUserCode,
    scheduled,
    Layer.provideMerge(concerns(options)),
    Layer.fresh
  )

/**
 * A runtime on a server, a store and an authenticator, hosting the agents whose layers are provided to it.
 *
 * At its start it takes up the sessions and jobs that the store holds; at its end it stops accepting, gives jobs their
 * `drainTime`, ends or leaves the others, tells clients to come back later, and writes what is queued. Fails to start (defect) when
 * the store cannot be read, when two layers host one version of an agent, and when another runtime of the program has its store
 * or its server: several runtimes in one program share nothing but what is given to each of them.
 */
export const layer = (options: RuntimeOptions = {}): Layer.Layer<never, never, Server | Store | Authenticator> =>
  Layer.provide(layerNoIds(options), Ids.layer)

/**
 * As {@link layer}, and hands out the runtime's concerns: `Credentials`, with which operators see and retry what an upstream
 * refused to revoke and rotate what is live, `Artifacts`, `JobScheduler` with its counts, and the others.
 */
export const layerWithConcerns = (
  options: RuntimeOptions = {}
): Layer.Layer<Concerns, never, Server | Store | Authenticator> => Layer.provide(running(options), Ids.layer)

/** As {@link layer}, with the ids given: a seeded layer makes every id of a test the same in every run. */
export const layerNoIds = (
  options: RuntimeOptions = {}
): Layer.Layer<never, never, Ids | Server | Store | Authenticator> => Layer.provide(Layer.empty, running(options))
