/**
 * Where a URL that the lease covers may lead: the one decision on addresses, before each request and each redirect (§9.3).
 *
 * Order: a host that the lease names literally may be anywhere. An address must be public. A name is resolved once; every address of it
 * must be public, and the client is handed exactly these. Without a resolver names are judged by their spelling.
 *
 * A client that pins (`PinnedHttpClient`) finds the `Destination` in its context and connects to nothing else. Other clients
 * resolve again by themselves, which leaves the time between the two for a name whose addresses change.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Address from "../../authority/Address.js"
import type { CanonicalUrl } from "../../authority/Canonical.js"
import { ResolveError, type ResolverShape } from "../Resolver.js"

/** Where one request may connect to. */
export interface DestinationShape {
  /** The host without brackets; a request to any other is not the one that was checked. */
  readonly hostname: string
  /** The lease names the host literally: it need not be public. */
  readonly named: boolean
  /** The addresses of a name, checked unless it is `named`; of an address, itself. Undefined where the client has to resolve the name. */
  readonly addresses: Effect.Effect<ReadonlyArray<string>, ResolveError> | undefined
}

/** Set by the guard for every request that it sends. No handler can set it. */
export class Destination extends Context.Tag("effect-arcp/agent/Destination")<Destination, DestinationShape>() {}

/** A URL's host as sockets know it. */
export const hostnameOf = (url: string): string => new URL(url).hostname.replace(/^\[(.*)\]$/, "$1")

/** Resolves within a time. */
export const resolveWithin = (
  resolver: ResolverShape,
  hostname: string,
  timeout: Duration.DurationInput
): Effect.Effect<ReadonlyArray<string>, ResolveError> =>
  // Disconnected: a resolver that cannot be interrupted is not waited for.
  Effect.disconnect(resolver.resolve(hostname)).pipe(
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () =>
        new ResolveError({ hostname, message: `not resolved within ${Duration.format(Duration.decode(timeout))}` })
    }),
    Effect.filterOrFail(
      (addresses) => addresses.length > 0,
      () => new ResolveError({ hostname, message: "no address" })
    )
  )

/** The destination of a URL, or `"not public"` where it is refused. */
export const destinationOf = (
  url: CanonicalUrl,
  named: boolean,
  resolver: ResolverShape | undefined,
  timeout: Duration.DurationInput
): Effect.Effect<DestinationShape | "not public", ResolveError> =>
  Effect.suspend((): Effect.Effect<DestinationShape | "not public", ResolveError> => {
    const hostname = hostnameOf(url)
    const isAddress = Address.parse(hostname) !== undefined
    if (isAddress) {
      return Effect.succeed(
        named || Address.isPublic(hostname) ? { hostname, named, addresses: Effect.succeed([hostname]) } : "not public"
      )
    }
    if (named) {
      // Resolved when a client asks: one that does not pin has no use for it.
      const addresses = resolver === undefined ? undefined : resolveWithin(resolver, hostname, timeout)
      return Effect.succeed({ hostname, named, addresses })
    }
    if (resolver === undefined) {
      return Effect.succeed(Address.isLocalName(hostname) ? "not public" : { hostname, named, addresses: undefined })
    }
    if (Address.isLoopbackName(hostname)) return Effect.succeed("not public")
    return Effect.map(resolveWithin(resolver, hostname, timeout), (addresses) =>
      addresses.every(Address.isPublic) ? { hostname, named, addresses: Effect.succeed(addresses) } : "not public"
    )
  })
