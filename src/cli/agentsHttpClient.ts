/** The HTTP client of the hosted agents. */
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

/** The client, loaded for the first request: it is more than all the rest that `serve` would load of Node's own. */
const make = Effect.gen(function* () {
  const scope = yield* Effect.scope
  const load = Effect.flatMap(
    Effect.promise(() => import("../agent/PinnedHttpClient.js")),
    ({ make }) => Scope.extend(make(), scope)
  )
  // A first request that is interrupted must not be what all others find.
  const client = yield* Effect.cached(Effect.uninterruptible(load))
  return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
    Effect.flatMap((request) => Effect.flatMap(client, (pinned) => pinned.execute(request))),
    Effect.succeed
  )
})

/** Connects to exactly the addresses that a lease's guard has checked; its connections end with the program. */
export const agentsHttpClient: Layer.Layer<HttpClient.HttpClient> = Layer.scoped(HttpClient.HttpClient, make)
