/**
 * How names of hosts become addresses, for the check that a request stays on the public network (ARCP 1.1 §9.3, 1.0 §14).
 *
 * The runtime brings Node's (`NodeResolver` of `effect-arcp/agent/node`). A `Resolver` among the services that an agent was built with
 * takes its place. No handler gets it: a job could look around in the network with it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * A name that could not be resolved.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResolveError extends Schema.TaggedError<ResolveError>()("ResolveError", {
  /** The name that was to be resolved. */
  hostname: Schema.String,
  message: Schema.String
}) {}

/**
 * Resolves names.
 *
 * @since 0.1.0
 * @category services
 */
export interface ResolverShape {
  /**
   * Every address of a name, IPv4 and IPv6 as text, in the order in which they are to be tried. Fails where there is none. The caller
   * bounds the time.
   */
  readonly resolve: (hostname: string) => Effect.Effect<ReadonlyArray<string>, ResolveError>
}

/**
 * Resolves the names of hosts.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Agent, Resolver } from "effect-arcp/agent"
 * import { PinnedHttpClient } from "effect-arcp/agent/node"
 *
 * const Fixed = Layer.succeed(Resolver, { resolve: () => Effect.succeed(["93.184.216.34"]) })
 * const AgentLive = Agent.untyped("fetch", (input) => Effect.succeed(input)).pipe(
 *   Layer.provide([PinnedHttpClient.layer(), Fixed])
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class Resolver extends Context.Tag("effect-arcp/agent/Resolver")<Resolver, ResolverShape>() {}
