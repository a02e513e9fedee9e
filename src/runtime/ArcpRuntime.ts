/**
 * The runtime: every concern's Layer, wired.
 */
import * as Layer from "effect/Layer"
import type { Authenticator } from "../auth/Authenticator.js"
import { Ids } from "../protocol/Ids.js"
import type { Store } from "../store/Store.js"
import type { Server } from "../transport/Connection.js"
import type { Artifacts } from "./artifacts/Artifacts.js"
import type { Credentials } from "./credentials/Credentials.js"
import { running } from "./internal/wiring.js"
import type { Budgets } from "./jobs/Budgets.js"
import type { JobScheduler } from "./jobs/JobScheduler.js"
import type { Leases } from "./jobs/Leases.js"
import type { ReplaceContext, ReplaceError, Replacements, ReplacingOptions } from "./RuntimeOptions.js"
import type { Sessions } from "./sessions/Sessions.js"
import type { Subscriptions } from "./sessions/Subscriptions.js"

export type {
  ReplaceContext,
  ReplacedContext,
  ReplaceError,
  Replacements,
  ReplacingOptions,
  RuntimeOptions
} from "./RuntimeOptions.js"

/**
 * The runtime's concerns, as a program may use them beside it.
 *
 * @since 0.1.0
 * @category types
 */
export type Concerns = Artifacts | Budgets | Credentials | JobScheduler | Leases | Sessions | Subscriptions

/**
 * The layer of a runtime with what its replacements add: what they fail with, and what they need.
 *
 * @since 0.1.0
 * @category types
 */
export type RuntimeLayer<Out, In, P extends Replacements> = Layer.Layer<Out, ReplaceError<P>, In | ReplaceContext<P>>

/**
 * A runtime on a server, a store and an authenticator, hosting the agents whose layers are provided to it.
 *
 * At its start it takes up the sessions and jobs that the store holds; at its end it stops accepting, gives jobs their
 * `drainTime`, ends or leaves the others, tells clients to come back later, and writes what is queued. Fails to start (defect) when
 * the store cannot be read, when two layers host one version of an agent, and when another runtime of the program has its store
 * or its server: several runtimes in one program share nothing but what is given to each of them. Every concern is built anew each time
 * that the layer is built.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { Authenticator } from "effect-arcp/auth"
 * import { ArcpRuntime } from "effect-arcp/runtime"
 * import { SqliteStore } from "effect-arcp/store/sqlite"
 * import { WebSocketServer } from "effect-arcp/transport/ws"
 *
 * const EchoLive = Agent.untyped("echo", (input) => Effect.succeed(input))
 *
 * const Main = ArcpRuntime.layer({ name: "demo" }).pipe(
 *   Layer.provide(EchoLive),
 *   Layer.provide(WebSocketServer.layer({ port: 7777 })),
 *   Layer.provide(Authenticator.layerBearer({ secret: "alice" })),
 *   Layer.provide(SqliteStore.layer({ filename: "arcp.db" }))
 * )
 *
 * const program = Layer.launch(Main)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const P extends Replacements = {}>(
  options: ReplacingOptions<P> = {}
): RuntimeLayer<never, Server | Store | Authenticator, P> => Layer.provide(layerNoIds(options), Ids.layer)

/**
 * As {@link layer}, and hands out the runtime's concerns: `Credentials`, with which operators see and retry what an upstream
 * refused to revoke and rotate what is live, `Artifacts`, `JobScheduler` with its counts, and the others, or what replaces them.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ArcpRuntime, JobScheduler } from "effect-arcp/runtime"
 *
 * const counts = Effect.map(JobScheduler, (scheduler) => scheduler.counts()).pipe(
 *   Effect.provide(ArcpRuntime.layerWithConcerns({ name: "demo" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithConcerns = <const P extends Replacements = {}>(
  options: ReplacingOptions<P> = {}
): RuntimeLayer<Concerns, Server | Store | Authenticator, P> =>
  Layer.provide(running(options) as RuntimeLayer<Concerns, Ids | Server | Store | Authenticator, P>, Ids.layer)

/**
 * As {@link layer}, with the ids given: a seeded layer makes every id of a test the same in every run.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerNoIds = <const P extends Replacements = {}>(
  options: ReplacingOptions<P> = {}
): RuntimeLayer<never, Ids | Server | Store | Authenticator, P> =>
  Layer.provide(Layer.empty, running(options) as RuntimeLayer<Concerns, Ids | Server | Store | Authenticator, P>)
