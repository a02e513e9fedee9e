/**
 * An `HttpClient` for Node that connects to exactly the addresses that a lease's guard has checked (ARCP 1.1 §9.3, 1.0 §14).
 *
 * Provide it to agents in place of `NodeHttpClient.layerUndici`. The guard resolves a host once, checks every address, and hands them
 * to this client, whose sockets go to those and nowhere else; each redirect is resolved and checked anew. A name that
 * resolves to another address the next time (DNS rebinding) gains nothing by it. Kept connections are shared by requests of the same origin,
 * but never between hosts that a lease names literally and those that a wildcard covers.
 *
 * Used outside of a job, or handed over as `unguarded`, it is an ordinary client.
 *
 * Requires the optional peer `@effect/platform-node`. It has no proxy: environment variables are not read.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { check as checkOptions } from "../protocol/Options.js"
import * as Pinned from "./internal/pinned.js"
import * as NodeResolver from "./NodeResolver.js"
import type { PinnedHttpClientOptions } from "./PinnedHttpClientOptions.js"

export type { PinnedHttpClientOptions } from "./PinnedHttpClientOptions.js"

/**
 * The client, whose connections end with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options?: PinnedHttpClientOptions): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> => {
  checkOptions("PinnedHttpClient", options ?? {}, { connectTimeout: "interval", resolveTimeout: "interval" })
  return Pinned.make(NodeResolver.resolver, options)
}

/**
 * As a service.
 *
 * @example
 * ```ts
 * import { HttpClient } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 * import { Agent } from "effect-arcp/agent"
 * import { PinnedHttpClient } from "effect-arcp/agent/node"
 *
 * const FetchLive = Agent.untyped("fetch", (url) =>
 *   Effect.flatMap(HttpClient.get(String(url)), (response) => response.text)
 * ).pipe(Layer.provide(PinnedHttpClient.layer()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: PinnedHttpClientOptions): Layer.Layer<HttpClient.HttpClient> =>
  Layer.scoped(HttpClient.HttpClient, make(options))
