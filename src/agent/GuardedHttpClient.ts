/**
 * An `HttpClient` that is bounded by a job's lease (ARCP 1.1 §9.1–§9.3, 1.0 §14), so that ordinary code is held to it.
 *
 * Order of a request: the URL as the platform composes it, its canonical form, the gate (`net.fetch`), then it is sent to exactly
 * the canonical URL. The underlying client is kept from following redirects; they are followed here, by the rules
 * of Fetch, with a check at every hop: 303 becomes a GET without a body, so do 301 and 302 of a POST, the others repeat the
 * request; headers that hold credentials, by their names, do not cross to another origin (`internal/crossing`), unless the agent
 * keeps them: {@link keepHeaders}.
 *
 * What the client was built with (`mapRequest` and the like) is applied before the check, and once: what it adds is not added
 * again for the target of a redirect. A client that was itself built to follow redirects (`HttpClient.followRedirects`,
 * a dispatcher with an interceptor) cannot be held back; its answer is refused, but its request has been made.
 *
 * A wildcard in a lease's host reaches public addresses only: before every request the host is resolved and each of its addresses
 * checked (`internal/destination`). A client that pins connects to the addresses that were checked; any other one resolves again.
 *
 * Nothing rides along with a checked request: `host` and the headers of the connection are removed, upgrades are refused, and
 * the length of a body is the one that it has, for a longer one would begin a second request on the same connection.
 *
 * Responses are read up to a limit, counted after decoding, and within the room that there is for all responses of the job and of
 * the runtime (`ResponseRoom`). `content-length` is looked at first. A response that is larger, or finds no room,
 * fails as it is read, with a `ResponseError`, and its connection is dropped.
 *
 * Spans of the client have no queries of URLs and no headers that hold credentials (`internal/queryless`).
 *
 * A denial is a `RequestError` with the ARCP error as its `cause` and the reason `InvalidUrl`, which is not retried.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpMethod from "@effect/platform/HttpMethod"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Address from "../authority/Address.js"
import * as Canonical from "../authority/Canonical.js"
import { check as checkOptions } from "../protocol/Options.js"
import { requestDenied } from "./Denied.js"
import type { Denial, Gate } from "./Gate.js"
import * as BoundedResponse from "./internal/boundedResponse.js"
import { crossing, keptHeaders } from "./internal/crossing.js"
import { Destination, destinationOf, type DestinationShape } from "./internal/destination.js"
import { withoutQueriesInSpans } from "./internal/queryless.js"
import type { ResolverShape } from "./Resolver.js"
import { defaultBytes } from "./ResponseRoom.js"
import { Room } from "./ResponseRooms.js"

/**
 * How a guarded client is set up.
 *
 * @since 0.1.0
 * @category options
 */
export interface GuardedHttpClientOptions {
  /** Redirects that are followed for one request. With 0 the redirect itself is the response. Default 10. */
  readonly maxRedirects?: number | undefined
  /** Bytes of a response's body, after decoding. Default 64 MiB. */
  readonly maxResponseBytes?: number | undefined
  /**
   * Bytes of the bodies of all responses that are being read at a time, after decoding, where the gate has no room of its own
   * (`Gate.responses`, which a runtime's has). One that finds no room fails with a `ResponseError` whose `cause` is a
   * `ResponseRoomFull`. Default 128 MiB.
   */
  readonly maxBytesInFlight?: number | undefined
  /** Resolves hosts, so that their addresses can be checked. Without one, names are judged by their spelling. */
  readonly resolver?: ResolverShape | undefined
  /** Time for a host to be resolved. Default 10 seconds. */
  readonly resolveTimeout?: Duration.DurationInput | undefined
  /**
   * What `fetch` is called with besides, where the underlying client is `FetchHttpClient`; `redirect` is always `manual`. A
   * `FetchHttpClient.RequestInit` that the client's own layer was given is not seen any more; give it here.
   */
  readonly requestInit?: RequestInit | undefined
}

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

// Undici's options can add to the query and ask for an upgrade, after the check.
const UndiciOptions = Context.GenericTag<"UndiciOptions", object>("@effect/platform-node/NodeHttpClient/undiciOptions")

// Each is about one connection, and the connection is the client's.
const connectionHeaders = [
  "host",
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding"
]
const bodyHeaders = ["content-encoding", "content-language", "content-length", "content-location", "content-type"]

/** Options of `fetch` that a job may set. Others (`dispatcher`, `proxy`, `unix`) lead past the URL that is checked. */
const initKeys = ["cache", "credentials", "integrity", "keepalive", "mode", "priority", "referrer", "referrerPolicy"]

const checkable = (init: RequestInit | undefined): RequestInit =>
  Object.fromEntries(Object.entries(init ?? {}).filter(([key]) => initKeys.includes(key)))

/** Where a request goes: a URL that has been authorized, and its checked addresses. */
interface Target {
  readonly url: Canonical.CanonicalUrl
  readonly destination: DestinationShape
}

/** A request but for its URL. */
interface Sending {
  readonly method: HttpMethod.HttpMethod
  readonly headers: Headers.Headers
  readonly body: HttpBody.HttpBody
}

const requestOf = ({ body, headers, method }: Sending, url: Canonical.CanonicalUrl): Request =>
  // The body brings its own headers, which those of the request then replace.
  HttpClientRequest.setHeaders(HttpClientRequest.make(method as "POST")(url, { body }), headers)

const without = (headers: Headers.Headers, names: ReadonlyArray<string>): Headers.Headers =>
  names.reduce<Headers.Headers>((kept, name) => Headers.remove(kept, name), headers)

const typeOf = ({ contentType }: HttpBody.HttpBody) => (contentType === undefined ? {} : { contentType })

/** What a redirect makes of a request, as Fetch says. */
const redirected = (sending: Sending, status: number): Sending => {
  const { headers, method } = sending
  const becomesGet = status === 303 ? method !== "GET" && method !== "HEAD" : status <= 302 && method === "POST"
  return becomesGet ? { method: "GET", headers: without(headers, bodyHeaders), body: HttpBody.empty } : sending
}

const redirects = new Set([301, 302, 303, 307, 308])

/** The two halves of a platform client: what it does to a request, and how it sends one. */
const halves = (
  client: HttpClient.HttpClient
): {
  readonly preprocess: HttpClient.HttpClient.Preprocess<HttpClientError.HttpClientError, never>
  readonly send: (request: Request) => Effect.Effect<Response, HttpClientError.HttpClientError>
} => {
  if (Predicate.hasProperty(client, "preprocess") && Predicate.hasProperty(client, "postprocess")) {
    const { postprocess, preprocess } = client as unknown as {
      readonly preprocess: HttpClient.HttpClient.Preprocess<HttpClientError.HttpClientError, never>
      readonly postprocess: HttpClient.HttpClient.Postprocess<HttpClientError.HttpClientError>
    }
    return { preprocess, send: (request) => postprocess(Effect.succeed(request)) }
  }
  // A client that does not come from the platform's constructors has one half only.
  return { preprocess: Effect.succeed, send: (request) => client.execute(request) }
}

/** The URL that answered, as far as the client knows it. */
const answeredFrom = (response: Response): { readonly url: string | undefined; readonly followed: boolean } => {
  let at: unknown = response
  for (let depth = 0; depth < 8 && Predicate.hasProperty(at, "original"); depth++) at = at.original
  const source = Predicate.hasProperty(at, "source") ? at.source : undefined
  const url = Predicate.hasProperty(source, "url") && Predicate.isString(source.url) ? source.url : ""
  const context = Predicate.hasProperty(source, "context") ? source.context : undefined
  const history = Predicate.hasProperty(context, "history") ? context.history : undefined
  return {
    // Node's is empty, and so is that of a response that no network brought.
    url: /^https?:/i.test(url) ? url.replace(/#.*$/, "") : undefined,
    followed:
      (Predicate.hasProperty(source, "redirected") && source.redirected === true) ||
      (Array.isArray(history) && history.length > 1)
  }
}

/** The length that a body has, where it is known before it is sent. */
const lengthOf = (body: HttpBody.HttpBody): number | undefined => {
  if (body._tag === "Stream") return body.contentLength
  if (body._tag !== "Raw" && body._tag !== "Uint8Array") return undefined
  if (Predicate.isString(body.body)) return new TextEncoder().encode(body.body).length
  return body.body instanceof Uint8Array ? body.body.length : undefined
}

/** The body, so that it cannot be of another length. */
const ofLength = (body: HttpBody.HttpBody, length: number): HttpBody.HttpBody => {
  switch (body._tag) {
    case "Stream":
      return HttpBody.stream(BoundedResponse.exactly(body.stream, length), body.contentType, length)
    case "Raw":
      return HttpBody.raw(body.body, { ...typeOf(body), contentLength: length })
    default:
      return body
  }
}

/**
 * The client `client` as far as the gate lets through. Its combinators (`retry`, `filterStatusOk`, `followRedirects`…) work on top.
 *
 * @example
 * ```ts
 * import { HttpClient } from "@effect/platform"
 * import { Effect } from "effect"
 * import { type Gate, GuardedHttpClient } from "effect-arcp/agent"
 *
 * const guarded = (gate: Gate) => Effect.map(HttpClient.HttpClient, (client) => GuardedHttpClient.make(client, gate))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: HttpClient.HttpClient,
  gate: Gate,
  options?: GuardedHttpClientOptions
): HttpClient.HttpClient => {
  checkOptions("GuardedHttpClient", options ?? {}, {
    maxBytesInFlight: "size",
    maxRedirects: "countOrZero",
    maxResponseBytes: "size",
    resolveTimeout: "duration"
  })
  const maxRedirects = options?.maxRedirects ?? 10
  const bounds: BoundedResponse.Bounds = {
    maxBytes: options?.maxResponseBytes ?? 64 * 1024 * 1024,
    room: gate.responses ?? new Room("client", options?.maxBytesInFlight ?? defaultBytes)
  }
  const { preprocess, send } = halves(client)

  const denied = (request: Request) => Effect.mapError((denial: Denial) => requestDenied(request, denial))

  const refuse = (
    request: Request,
    problem: Canonical.CanonicalError | string,
    at?: { readonly target: Canonical.CanonicalUrl; readonly reason: string }
  ) =>
    gate
      .refuse(
        "net.fetch",
        Predicate.isString(problem)
          ? new Canonical.CanonicalError({ resource: "url", message: `url refused: ${problem}` })
          : problem,
        at
      )
      .pipe(denied(request))

  /** The canonical URL of a request that comes from the agent. */
  const urlOf = (request: Request): Effect.Effect<Canonical.CanonicalUrl, HttpClientError.RequestError> =>
    Effect.gen(function* () {
      // The text itself: the platform would repair some of it silently.
      const text = Canonical.url(request.url)
      if (Either.isLeft(text)) return yield* refuse(request, text.left)
      const composed = UrlParams.makeUrl(request.url, request.urlParams, request.hash)
      if (Either.isLeft(composed)) return yield* refuse(request, "it is not valid")
      const canonical = Canonical.url(composed.right.href)
      return Either.isLeft(canonical) ? yield* refuse(request, canonical.left) : canonical.right
    })

  /** Headers and body as they may be sent. */
  const prepare = (request: Request): Effect.Effect<Sending, HttpClientError.RequestError> =>
    Effect.gen(function* () {
      const { body, method } = request
      if (!HttpMethod.all.has(method)) return yield* refuse(request, "its method is not one that has a response only")
      const connection = request.headers["connection"]
      if (request.headers["upgrade"] !== undefined || (connection !== undefined && /\bupgrade\b/i.test(connection))) {
        return yield* refuse(request, "an upgrade leads to another protocol")
      }
      const headers = without(request.headers, connectionHeaders)
      if (body._tag === "Empty") return { method, headers, body }
      const length = lengthOf(body)
      if (length === undefined) {
        // Node sends such a body without saying where it ends.
        if (!HttpMethod.hasBody(method) || method === "DELETE") {
          const description = `the body of a ${method} needs a known length`
          return yield* Effect.fail(new HttpClientError.RequestError({ request, reason: "Encode", description }))
        }
        return { method, headers, body: body._tag === "Raw" ? HttpBody.raw(body.body, typeOf(body)) : body }
      }
      return { method, headers: Headers.set(headers, "content-length", String(length)), body: ofLength(body, length) }
    })

  /** What the client finds in its context: nothing that could change the request after it was checked. */
  const bounded =
    (destination: DestinationShape) =>
    (context: Context.Context<never>): Context.Context<never> =>
      context.pipe(
        Context.add(Destination, destination),
        Context.add(FetchHttpClient.RequestInit, {
          ...options?.requestInit,
          ...checkable(Option.getOrUndefined(Context.getOption(context, FetchHttpClient.RequestInit))),
          headers: {},
          redirect: "manual"
        }),
        Context.add(UndiciOptions, {})
      )

  /** Sends to a URL that has been authorized, and to no other. */
  const sendOnce = (
    request: Request,
    { destination, url }: Target
  ): Effect.Effect<Response, HttpClientError.HttpClientError> =>
    Effect.gen(function* () {
      const response = yield* withoutQueriesInSpans(Effect.mapInputContext(send(request), bounded(destination)))
      const from = answeredFrom(response)
      if (from.followed || (from.url !== undefined && from.url !== url) || response.request.url !== url) {
        yield* BoundedResponse.discard(response)
        return yield* refuse(request, "the client followed a redirect by itself")
      }
      if (response.status < 200) {
        yield* BoundedResponse.discard(response)
        return yield* refuse(request, "the answer is not a response that can be checked")
      }
      return response
    })

  const run = (initial: Request): Effect.Effect<Response, HttpClientError.HttpClientError> =>
    Effect.gen(function* () {
      let at = yield* target(initial, yield* urlOf(initial))
      let sending = yield* prepare(initial)
      for (let hops = 0; ; hops++) {
        const request = requestOf(sending, at.url)
        const response = yield* sendOnce(request, at)
        const location = redirects.has(response.status) ? response.headers["location"] : undefined
        if (location === undefined || maxRedirects === 0) return yield* BoundedResponse.make(response, bounds)
        yield* BoundedResponse.discard(response)
        if (hops >= maxRedirects) {
          const description = `more than ${maxRedirects} redirects`
          return yield* Effect.fail(
            new HttpClientError.ResponseError({ request, response, reason: "StatusCode", description })
          )
        }
        const next = Canonical.redirect(at.url, location)
        if (Either.isLeft(next)) return yield* refuse(request, next.left)
        const to = yield* target(request, next.right)
        sending = redirected(sending, response.status)
        if (new URL(at.url).origin !== new URL(to.url).origin) {
          const marked = yield* FiberRef.get(Headers.currentRedactedNames)
          sending = { ...sending, headers: crossing(sending.headers, yield* FiberRef.get(keptHeaders), marked) }
        }
        at = to
      }
    })

  const authorize = (request: Request, url: Canonical.CanonicalUrl) =>
    gate.authorize("net.fetch", url).pipe(
      // What the gate answers for `net.fetch` is a URL.
      Effect.map((canonical) => canonical as Canonical.CanonicalUrl),
      denied(request)
    )

  /** Whether the lease covers a URL, and where it leads. */
  const target = (
    request: Request,
    text: Canonical.CanonicalUrl
  ): Effect.Effect<Target, HttpClientError.RequestError> =>
    Effect.gen(function* () {
      // Before the host is resolved: a name that is not covered is not looked up.
      const url = yield* authorize(request, text)
      const named = gate.namesHost?.(url) ?? true
      const destination = yield* Effect.mapError(
        destinationOf(url, named, options?.resolver, options?.resolveTimeout ?? "10 seconds"),
        (cause) =>
          new HttpClientError.RequestError({
            request,
            reason: "Transport",
            description: "its host could not be resolved",
            cause
          })
      )
      if (destination === "not public") {
        return yield* refuse(request, Address.notPublic, { target: url, reason: "address" })
      }
      // The lease may have ended while the host was being resolved.
      return { url: named ? url : yield* authorize(request, url), destination }
    })

  return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap(run),
    (request) =>
      Effect.zipWith(preprocess(request), Effect.serviceOption(FetchHttpClient.RequestInit), (request, context) => {
        // Headers for `fetch` are headers of the request: they are checked and dropped as these are.
        const headers = Option.getOrUndefined(context)?.headers ?? options?.requestInit?.headers
        return headers === undefined
          ? request
          : HttpClientRequest.setHeaders(
              request,
              Headers.merge(Headers.fromInput(new globalThis.Headers(headers)), request.headers)
            )
      })
  )
}

/**
 * The guarded client, whose requests keep these headers when a redirect leads to another origin: the agent vouches for every origin that
 * its lease covers. Other headers that hold credentials are removed there: `authorization`, `proxy-authorization`, `cookie`, `apikey`, `token`,
 * `secret`, `password`, those that end in `-token`, `-key`, `-apikey`, `-secret`, `-password`, `-authorization`, `-auth`, `-credential` or
 * `-credentials`, and those that `Headers.currentRedactedNames` has. Case does not count.
 *
 * @example
 * ```ts
 * import { HttpClient } from "@effect/platform"
 * import { Effect } from "effect"
 * import { GuardedHttpClient } from "effect-arcp/agent"
 *
 * const post = Effect.flatMap(HttpClient.HttpClient, (client) =>
 *   GuardedHttpClient.keepHeaders(client, ["idempotency-key"]).post("https://api.example/orders", {
 *     headers: { "idempotency-key": "order-1" }
 *   })
 * )
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const keepHeaders: {
  (names: ReadonlyArray<string>): <E, R>(client: HttpClient.HttpClient.With<E, R>) => HttpClient.HttpClient.With<E, R>
  <E, R>(client: HttpClient.HttpClient.With<E, R>, names: ReadonlyArray<string>): HttpClient.HttpClient.With<E, R>
} = dual(
  2,
  <E, R>(client: HttpClient.HttpClient.With<E, R>, names: ReadonlyArray<string>): HttpClient.HttpClient.With<E, R> =>
    HttpClient.transformResponse(
      client,
      Effect.locallyWith(keptHeaders, (kept) => new Set([...kept, ...names.map((name) => name.toLowerCase())]))
    )
)
