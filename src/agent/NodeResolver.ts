/** Resolves names as Node's own clients do: by the system, its hosts file included (`dns.lookup`). */
import { lookup } from "node:dns"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ResolveError, Resolver, type ResolverShape } from "./Resolver.js"

/**
 * Node's resolver. A look-up cannot be ended: interruption leaves it to the system, which gives up on its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const resolver: ResolverShape = {
  resolve: (hostname) =>
    Effect.async((resume) => {
      lookup(hostname, { all: true }, (error, addresses) =>
        resume(
          error === null
            ? Effect.succeed(addresses.map(({ address }) => address))
            : Effect.fail(new ResolveError({ hostname, message: error.message }))
        )
      )
    })
}

/**
 * Node's resolver as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Resolver> = Layer.succeed(Resolver, resolver)
