/**
 * Deciding who a client is from what its hello presents (ARCP 1.1 §6.1).
 *
 * Secrets: tokens are kept as digests and compared in constant time, over the whole table; no error and no rendering of
 * a service prints one.
 */
import { Buffer } from "node:buffer"
import { createHash, timingSafeEqual } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Unauthenticated } from "../protocol/Errors.js"
import { Ids } from "../protocol/Ids.js"
import type { Principal } from "./Principal.js"

/** What a hello presents. */
export interface AuthRequest {
  /** `auth.scheme`, such as `bearer`; undefined where there is none. */
  readonly scheme: string | undefined
  readonly token: Redacted.Redacted<string> | undefined
  readonly peer: { readonly transport: string; readonly secure: boolean; readonly remoteAddress?: string | undefined }
}

/** One way to authenticate. */
export interface AuthenticatorService {
  /** The principal behind a hello, or `UNAUTHENTICATED` saying what is wrong without a secret. */
  readonly authenticate: (request: AuthRequest) => Effect.Effect<Principal, Unauthenticated>
  /** Whether this way is for such a request at all; {@link firstOf} asks the first that is. Default: always. */
  readonly accepts?: ((request: AuthRequest) => boolean) | undefined
  /**
   * Whether it may admit principals that are `anonymous`. A runtime without a policy for them then warns at its start; where this is
   * absent, it warns when it sees the first one.
   */
  readonly admitsAnonymous?: boolean | undefined
}

const digest = (token: string): Buffer => createHash("sha256").update(token, "utf8").digest()

const named = (principal: string | Principal): Principal =>
  typeof principal === "string" ? { id: principal, anonymous: false, claims: {} } : principal

const hasToken = ({ scheme, token }: AuthRequest): boolean =>
  token !== undefined && Redacted.value(token) !== "" && (scheme === undefined || scheme.toLowerCase() === "bearer")

/** Bearer tokens: token to principal, or to a principal's id. */
export type TokenTable = Readonly<Record<string, string | Principal>> | ReadonlyMap<string, string | Principal>

/** Bearer tokens from a table. */
export const bearer = (tokens: TokenTable): AuthenticatorService => {
  const entries = Array.from(tokens instanceof Map ? tokens : Object.entries(tokens)).map(([token, principal]) => ({
    digest: digest(token),
    principal: named(principal)
  }))
  return {
    accepts: hasToken,
    admitsAnonymous: entries.some(({ principal }) => principal.anonymous),
    authenticate: (request) =>
      Effect.suspend(() => {
        if (!hasToken(request) || request.token === undefined) {
          return Effect.fail(new Unauthenticated({ message: "auth.token: a bearer token is required" }))
        }
        const presented = digest(Redacted.value(request.token))
        let found: Principal | undefined
        // Every entry is compared, so that the time says nothing about which one fits.
        for (const entry of entries) if (timingSafeEqual(entry.digest, presented)) found = entry.principal
        return found === undefined
          ? Effect.fail(new Unauthenticated({ message: "auth.token: is not valid" }))
          : Effect.succeed(found)
      })
  }
}

/** Bearer tokens that a function of yours verifies. What it fails with becomes `UNAUTHENTICATED`; its text is not sent. */
export const bearerWith = <E>(
  verify: (token: Redacted.Redacted<string>) => Effect.Effect<Principal | string, E>
): AuthenticatorService => ({
  accepts: hasToken,
  authenticate: (request) =>
    !hasToken(request) || request.token === undefined
      ? Effect.fail(new Unauthenticated({ message: "auth.token: a bearer token is required" }))
      : Effect.matchEffect(verify(request.token), {
          onFailure: () => Effect.fail(new Unauthenticated({ message: "auth.token: is not valid" })),
          onSuccess: (principal) => Effect.succeed(named(principal))
        })
})

/** Nobody has to say who they are: each session is a principal of its own, whatever the client claims. */
export const anonymous: Effect.Effect<AuthenticatorService, never, Ids> = Effect.map(Ids, (ids) => ({
  admitsAnonymous: true,
  accepts: ({ token }: AuthRequest) => token === undefined || Redacted.value(token) === "",
  authenticate: () => Effect.map(ids.ulid, (id) => ({ id: `anonymous:${id}`, anonymous: true, claims: {} }))
}))

/**
 * Several ways: the first that is for such a request decides. A wrong token never falls through to a weaker way, because
 * {@link anonymous} is only for requests without a token.
 */
export const firstOf = (ways: ReadonlyArray<AuthenticatorService>): AuthenticatorService => ({
  admitsAnonymous: ways.some((way) => way.admitsAnonymous === true),
  authenticate: (request) => {
    const way = ways.find((w) => w.accepts?.(request) ?? true)
    return way === undefined
      ? Effect.fail(new Unauthenticated({ message: "auth: no way to authenticate fits what was presented" }))
      : way.authenticate(request)
  }
})

/** Whether two sessions belong to the same principal. Anonymous principals are only the same as themselves. */
export const samePrincipal = (a: Principal, b: Principal): boolean => a.id === b.id && a.anonymous === b.anonymous

/** Who a client is. */
export class Authenticator extends Context.Tag("effect-arcp/auth/Authenticator")<
  Authenticator,
  AuthenticatorService
>() {
  /** {@link bearer} as a layer. */
  static readonly layerBearer = (tokens: TokenTable): Layer.Layer<Authenticator> =>
    Layer.sync(Authenticator, () => bearer(tokens))
  /** {@link bearerWith} as a layer. */
  static readonly layerBearerWith = <E>(
    verify: (token: Redacted.Redacted<string>) => Effect.Effect<Principal | string, E>
  ): Layer.Layer<Authenticator> => Layer.succeed(Authenticator, bearerWith(verify))
  /** {@link anonymous} as a layer: asks nobody anything, so ask for it knowingly. */
  static readonly layerAnonymous: Layer.Layer<Authenticator> = Layer.provide(
    Layer.effect(Authenticator, anonymous),
    Ids.layer
  )
  /** {@link firstOf} as a layer. */
  static readonly layerFirstOf = <E, R>(
    ways: ReadonlyArray<AuthenticatorService | Effect.Effect<AuthenticatorService, E, R>>
  ): Layer.Layer<Authenticator, E, R> =>
    Layer.effect(
      Authenticator,
      Effect.map(
        Effect.forEach(ways, (way) => (Effect.isEffect(way) ? way : Effect.succeed(way))),
        firstOf
      )
    )
}
