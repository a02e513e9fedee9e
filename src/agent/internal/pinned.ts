/**
 * Undici agents whose sockets go only to addresses that were handed over for a request (`Destination`).
 *
 * Two agents: sockets to hosts that a lease names literally are never reused for requests that may reach public addresses only,
 * so a kept connection cannot carry a job to where its own lease does not. Within an agent, connections are kept by origin.
 *
 * Addresses are registered by name while a request of that name is in flight, and only then can a socket be opened for it. Of
 * two requests at once the newer addresses count for both; they were checked for the same agent.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Agent } from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import { isIPv6, type LookupFunction } from "node:net"
import { timerMillis } from "../../protocol/Options.js"
import type { PinnedHttpClientOptions } from "../PinnedHttpClientOptions.js"
import { type ResolveError, type ResolverShape } from "../Resolver.js"
import { Destination, type DestinationShape, hostnameOf, resolveWithin } from "./destination.js"

type Response = HttpClientResponse.HttpClientResponse

/** The addresses of names that requests are in flight for. */
class Routes {
  private readonly byName = new Map<string, { addresses: ReadonlyArray<string>; requests: number }>()

  add(hostname: string, addresses: ReadonlyArray<string>): void {
    this.byName.set(hostname, { addresses, requests: (this.byName.get(hostname)?.requests ?? 0) + 1 })
  }

  remove(hostname: string): void {
    const route = this.byName.get(hostname)
    if (route === undefined) return
    route.requests--
    if (route.requests === 0) this.byName.delete(hostname)
  }

  of(hostname: string): ReadonlyArray<string> {
    return this.byName.get(hostname)?.addresses ?? []
  }
}

/** What `net.connect` asks in place of the system; `dial` says where an address is dialled. */
const lookupIn =
  (routes: Routes, dial: (address: string) => string): LookupFunction =>
  (hostname, { all, family }, callback) => {
    const wanted = family === 4 || family === "IPv4" ? 4 : family === 6 || family === "IPv6" ? 6 : 0
    const found = routes
      .of(hostname)
      .map(dial)
      .map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
      .filter((one) => wanted === 0 || one.family === wanted)
    const [first] = found
    // edge: a socket's listeners are attached after it was told to connect
    queueMicrotask(() => {
      if (first === undefined) {
        callback(Object.assign(new Error(`no checked address for ${hostname}`), { code: "ENOTFOUND" }), "")
      } else if (all === true) callback(null, found)
      else callback(null, first.address, first.family)
    })
  }

interface Sender {
  readonly routes: Routes
  readonly client: HttpClient.HttpClient
}

const makeSender = (
  options: PinnedHttpClientOptions | undefined,
  dial: (address: string) => string
): Effect.Effect<Sender, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const routes = new Routes()
        const { ca, cert, key } = options?.tls ?? {}
        const agent = new Agent({
          connect: {
            lookup: lookupIn(routes, dial),
            timeout: timerMillis(options?.connectTimeout ?? "10 seconds"),
            ...(ca === undefined ? {} : { ca: ca as string }),
            ...(cert === undefined ? {} : { cert: cert as string }),
            ...(key === undefined ? {} : { key: key as string })
          }
        })
        return { routes, agent }
      }),
      ({ agent }) => Effect.promise(() => agent.destroy())
    ),
    ({ agent, routes }) => ({ routes, client: NodeHttpClient.makeUndici(agent) })
  )

/** The client. `dial` is for tests: it maps a checked address to the one that the socket goes to. */
export const make = (
  resolver: ResolverShape,
  options?: PinnedHttpClientOptions,
  dial: (address: string) => string = (address) => address
): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const open = yield* makeSender(options, dial)
    const named = yield* makeSender(options, dial)

    const unresolved = (request: HttpClientRequest.HttpClientRequest) => (cause: ResolveError) =>
      new HttpClientError.RequestError({ request, reason: "Transport", description: cause.message, cause })

    const send = (
      request: HttpClientRequest.HttpClientRequest
    ): Effect.Effect<Response, HttpClientError.HttpClientError> =>
      Effect.gen(function* () {
        const url = UrlParams.makeUrl(request.url, request.urlParams, request.hash)
        if (Either.isLeft(url)) {
          return yield* new HttpClientError.RequestError({ request, reason: "InvalidUrl", cause: url.left })
        }
        const hostname = hostnameOf(url.right.href)
        const guarded = yield* Effect.serviceOption(Destination)
        const destination: DestinationShape =
          // Without a guard there is no lease: it is a client like any other.
          guarded._tag === "Some" ? guarded.value : { hostname, named: true, addresses: undefined }
        if (destination.hostname !== hostname) {
          const description = "the request leads to another host than the one that was checked"
          return yield* new HttpClientError.RequestError({ request, reason: "InvalidUrl", description })
        }
        const { client, routes } = destination.named ? named : open
        const addresses = yield* Effect.mapError(
          destination.addresses ?? resolveWithin(resolver, hostname, options?.resolveTimeout ?? "10 seconds"),
          unresolved(request)
        )
        return yield* Effect.acquireUseRelease(
          Effect.sync(() => routes.add(hostname, addresses)),
          () => client.execute(request),
          () => Effect.sync(() => routes.remove(hostname))
        )
      })

    return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
      Effect.flatMap(send),
      Effect.succeed
    )
  })
