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
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { AgentRegistry } from "../agent/AgentRegistry.js"
import type { Authenticator } from "../auth/Authenticator.js"
import type { Feature } from "../protocol/Features.js"
import { Ids } from "../protocol/Ids.js"
import { Store } from "../store/Store.js"
import { Server } from "../transport/Connection.js"
import { Deadlines } from "./Deadlines.js"
import { Heartbeats } from "./Heartbeats.js"
import { JobRunner } from "./JobRunner.js"
import { JobScheduler } from "./JobScheduler.js"
import { Journal } from "./Journal.js"
import { Leases } from "./Leases.js"
import * as Retention from "./Retention.js"
import { RuntimeInfo } from "./RuntimeInfo.js"
import { Serving } from "./Serving.js"
import { Sessions } from "./Sessions.js"
import { Subscriptions } from "./Subscriptions.js"

/** What a runtime says of itself and how long it waits. */
export interface RuntimeOptions {
  /** Its name in the welcome (§6.2). Default `effect-arcp`. */
  readonly name?: string | undefined
  /** Its version in the welcome. Default this package's protocol version, `1.1.0`. */
  readonly version?: string | undefined
  /** Features that it offers; default all that it can keep. */
  readonly features?: ReadonlyArray<Feature> | undefined
  /** The heartbeat interval (§6.4). Default 30 seconds. */
  readonly heartbeatInterval?: Duration.DurationInput | undefined
  /** How long a session can be resumed after its last message (§6.3). Default 10 minutes. */
  readonly resumeWindow?: Duration.DurationInput | undefined
}

const defaultFeatures: ReadonlyArray<Feature> = [
  "heartbeat",
  "ack",
  "list_jobs",
  "subscribe",
  "lease_expires_at",
  "cost.budget",
  "model.use",
  "progress",
  "result_chunk",
  "agent_versions"
]

const infoLayer = (options: RuntimeOptions): Layer.Layer<RuntimeInfo, never, AgentRegistry> =>
  Layer.effect(
    RuntimeInfo,
    Effect.map(AgentRegistry, (registry) => ({
      name: options.name ?? "effect-arcp",
      version: options.version ?? "1.1.0",
      features: options.features ?? defaultFeatures,
      heartbeatInterval: Duration.toMillis(options.heartbeatInterval ?? "30 seconds"),
      resumeWindow: Duration.toMillis(options.resumeWindow ?? "10 minutes"),
      agents: registry.inventory
    }))
  )

/** Takes up what an earlier process left, then accepts connections until the scope closes. */
const accepting: Layer.Layer<never, never, Server | Serving | Sessions | Store> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const server = yield* Server
    const serving = yield* Serving
    const sessions = yield* Sessions
    const store = yield* Store
    const recovered = yield* Effect.orDie(store.recover)
    yield* sessions.recover(recovered)
    const scope = yield* Effect.scope
    yield* Effect.addFinalizer(() => Effect.zipRight(server.stopAccepting, sessions.shutdown))
    yield* server.connections.pipe(
      Stream.runForEach((connection) => Effect.forkIn(serving.serve(connection), scope)),
      Effect.forkScoped
    )
  })
)

/** What the runtime's concerns are; each is a service that a test can take out and replace. */
export type Concerns =
  | Deadlines
  | Heartbeats
  | JobRunner
  | JobScheduler
  | Journal
  | Leases
  | RuntimeInfo
  | Serving
  | Sessions
  | Subscriptions

/** Every concern, without the loop that accepts connections, over the given ids. */
export const layerConcerns = (
  options: RuntimeOptions = {}
): Layer.Layer<Concerns, never, Ids | Store | Authenticator> =>
  Serving.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Heartbeats.layer, Subscriptions.layer, Sessions.layer)),
    Layer.provideMerge(JobScheduler.layer),
    Layer.provideMerge(JobRunner.layer),
    Layer.provideMerge(Layer.mergeAll(Journal.layer, Leases.layer, infoLayer(options))),
    Layer.provideMerge(Deadlines.layer),
    Layer.provide(AgentRegistry.layer)
  )

/**
 * A runtime on a server, a store and an authenticator, hosting the agents whose layers are provided to it.
 *
 * At its start it takes up the sessions and jobs that the store holds; at its end it stops accepting, tells clients to
 * come back later, ends the jobs and writes what is queued. Fails to start (defect) when the store cannot be read.
 */
export const layer = (options: RuntimeOptions = {}): Layer.Layer<never, never, Server | Store | Authenticator> =>
  Layer.provide(layerNoIds(options), Ids.layer)

/** As {@link layer}, with the ids given: a seeded layer makes every id of a test the same in every run. */
export const layerNoIds = (
  options: RuntimeOptions = {}
): Layer.Layer<never, never, Ids | Server | Store | Authenticator> =>
  Layer.merge(accepting, Retention.layer).pipe(Layer.provide(layerConcerns(options)))
