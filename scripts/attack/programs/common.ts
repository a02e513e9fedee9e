/** What the attacked programs share: reports on stdout, and a runtime composed as the README shows it. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Authenticator } from "effect-arcp/auth"
import { ArcpRuntime } from "effect-arcp/runtime"
import { MemoryStore } from "effect-arcp/store"
import { Server } from "effect-arcp/transport"
import { WebSocketServer } from "effect-arcp/transport/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Reports to the attacker, on stdout. */
export const say = (kind: string, fields: object = {}): void => {
  process.stdout.write(`@ ${JSON.stringify({ kind, ...fields })}\n`)
}

/** The platform's services that agents are built with. */
export const platform: Layer.Layer<NodeContext.NodeContext | HttpClient.HttpClient> = Layer.merge(
  NodeContext.layer,
  FetchHttpClient.layer
)

/** What agents may ask for. */
export type Platform = FileSystem.FileSystem | HttpClient.HttpClient | Path.Path

/** Who may connect: `secret` is alice's token, `other` is bob's. */
export const tokens: Layer.Layer<Authenticator> = Authenticator.layerBearer({ secret: "alice", other: "bob" })

/** What a runtime is composed of; everything has a default but the agents. */
export interface Composition {
  readonly agents: Layer.Layer<never, unknown, Platform>
  readonly name?: string
  readonly auth?: Layer.Layer<Authenticator, unknown>
  readonly store?: Layer.Layer<Layer.Layer.Success<typeof MemoryStore.layer>, unknown>
  /** References and optional services, such as limits and policies. */
  readonly settings?: Layer.Layer<never, unknown>
  /** More options of its server. */
  readonly server?: object
  /** Milliseconds that running jobs get at the end. Default 500. */
  readonly drain?: number
}

/** The runtime, and its server beside it. */
export const compose = (parts: Composition): Layer.Layer<Server, unknown> =>
  ArcpRuntime.layer({ name: parts.name ?? "attacked", drainTime: parts.drain ?? 500 }).pipe(
    Layer.provide(Layer.provide(parts.agents, platform)),
    Layer.provide(parts.settings ?? Layer.empty),
    Layer.provideMerge(WebSocketServer.layer({ port: 0, ...parts.server })),
    Layer.provide(parts.auth ?? tokens),
    Layer.provide(parts.store ?? MemoryStore.layer)
  )

/** Runs the runtime until the program is told to stop; reports `ready` with its address. */
export const serve = (parts: Composition): void =>
  NodeRuntime.runMain(
    Effect.gen(function* () {
      const { address } = yield* Server
      say("ready", { address })
      return yield* Effect.never
    }).pipe(Effect.provide(compose(parts)))
  )

/** Takes the CPU for this many milliseconds, as a computation does. */
export const compute = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}
