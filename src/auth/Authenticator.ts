/**
 * Deciding who a client is from what its hello presents (ARCP 1.1 §6.1).
 *
 * Secrets: tokens are kept as digests and compared in constant time, over the whole table; no error and no rendering of
 * a service prints one.
 */
import { Buffer } from "node:buffer"
import { createHash, timingSafeEqual } from "node:crypto"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Configured from "../protocol/Configured.js"
import { Unauthenticated } from "../protocol/Errors.js"
import { Ids, PrincipalId } from "../protocol/Ids.js"
import * as Text from "../protocol/Text.js"
import type { Principal } from "./Principal.js"
import * as PrincipalIds from "./PrincipalIds.js"
import { entriesOf, tableOf } from "./Tokens.js"
import * as Verdict from "./Verdict.js"
import type { AuthenticationUnavailable } from "./Verdict.js"

/**
 * What a hello presents.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthRequest {
  /** `auth.scheme`, such as `bearer`; undefined where there is none. */
  readonly scheme: string | undefined
  /** `auth.token`; undefined where there is none. */
  readonly token: Redacted.Redacted<string> | undefined
  /**
   * What the connection shows of its peer: the transport's name, whether it is safe from eavesdroppers, and its network
   * address.
   */
  readonly peer: { readonly transport: string; readonly secure: boolean; readonly remoteAddress?: string | undefined }
}

/**
 * One way to authenticate. `authenticate` is all that one of your own needs.
 *
 * @since 0.1.0
 * @category services
 */
export interface AuthenticatorService {
  /**
   * The principal behind a hello. Fails with `UNAUTHENTICATED` where the credential itself was judged, saying what is wrong without a
   * secret: a client gives up then. Fails with {@link AuthenticationUnavailable} where it could not be judged: a client tries again.
   */
  readonly authenticate: (request: AuthRequest) => Effect.Effect<Principal, Unauthenticated | AuthenticationUnavailable>
  /**
   * Whether a request is of this way's kind at all: where it is not, {@link firstOf} counts the way as `NotMine`, without asking it.
   * Default: always.
   */
  readonly accepts?: ((request: AuthRequest) => boolean) | undefined
  /**
   * What this way says among several ({@link firstOf}). Default: `authenticate`, whose success is `Accepted` and whose
   * `UNAUTHENTICATED` is `Refused`.
   */
  readonly judge?: ((request: AuthRequest) => Effect.Effect<Verdict.Verdict, AuthenticationUnavailable>) | undefined
  /**
   * Whether it may admit principals that are `anonymous`. A runtime without a policy for them then warns at its start; where this is
   * absent, it warns when it sees the first one.
   */
  readonly admitsAnonymous?: boolean | undefined
  /**
   * Whether every principal that it admits is `anonymous`: a runtime then reserves no room for others (`Limits.anonymousShare`). Absent: it
   * does.
   *
   * @since 0.2.0
   */
  readonly onlyAnonymous?: boolean | undefined
  /**
   * The authorities whose ids this way uses for principals, such as the issuers of its JWTs; `"any"`: the authority that each credential
   * names. Where the ways of {@link firstOf} have more than one authority, a principal's id is `<authority>|<id>`, because two authorities
   * may give the same id to different principals; `judge` names the authority in its `Accepted`. Absent: the ids are the program's own.
   *
   * @since 0.2.0
   */
  readonly authorities?: ReadonlyArray<string> | "any" | undefined
}

const digest = (token: string): Buffer => createHash("sha256").update(token, "utf8").digest()

const named = (principal: string | Principal): Principal =>
  typeof principal === "string" ? { id: PrincipalId(principal), anonymous: false, claims: {} } : principal

const hasToken = ({ scheme, token }: AuthRequest): boolean =>
  token !== undefined && Redacted.value(token) !== "" && (scheme === undefined || scheme.toLowerCase() === "bearer")

/**
 * Bearer tokens: token to principal, or to a principal's id.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenTable = Readonly<Record<string, string | Principal>> | ReadonlyMap<string, string | Principal>

const required = new Unauthenticated({ message: "auth.token: a bearer token is required" })
const invalid = new Unauthenticated({ message: "auth.token: is not valid" })

const bearerToken = (request: AuthRequest): Redacted.Redacted<string> | undefined =>
  hasToken(request) ? request.token : undefined

/** A way that is `judge`, by itself too. */
const judging = (judge: NonNullable<AuthenticatorService["judge"]>): AuthenticatorService => ({
  accepts: hasToken,
  judge,
  authenticate: (request) =>
    Effect.flatMap(judge(request), (verdict) => Verdict.answer(verdict, hasToken(request) ? invalid : required))
})

/** The entries of a table, its tokens as digests only. Throws where an id is none. */
const entriesFrom = (tokens: TokenTable) =>
  Array.from(tokens instanceof Map ? tokens : Object.entries(tokens)).map(([token, principal], i) => {
    const entry = { digest: digest(token), principal: named(principal) }
    const id = Text.property(entry.principal, "id")
    const problem = typeof id === "string" ? PrincipalIds.problemOf(id, entry.principal.anonymous) : "is no text"
    // edge: a table with such a principal is a mistake of its program, not a failure of the running one
    if (problem !== undefined) throw new RangeError(`bearer: the principal's id of entry ${i + 1} ${problem}`)
    return entry
  })

/**
 * Bearer tokens from a table. Among several ways an unknown token is `NotMine`: it may be another's. Throws a `RangeError` where the id of
 * a principal is none (blank, with control or invisible characters, longer than 1,024 UTF-16 code units, with white space around it, or
 * `anonymous:` and not anonymous).
 *
 * @since 0.1.0
 * @category constructors
 */
export const bearer = (tokens: TokenTable): AuthenticatorService => {
  const entries = entriesFrom(tokens)
  return {
    ...judging((request) =>
      Effect.sync(() => {
        const token = bearerToken(request)
        const presented = digest(token === undefined ? "" : Redacted.value(token))
        let found: Principal | undefined
        // Every entry is compared, so that the time says nothing about which one fits.
        for (const entry of entries) if (timingSafeEqual(entry.digest, presented)) found = entry.principal
        return found === undefined || token === undefined ? Verdict.notMine : Verdict.accepted(found)
      })
    ),
    admitsAnonymous: entries.some(({ principal }) => principal.anonymous)
  }
}

/**
 * Bearer tokens that a function of yours verifies. undefined: the token is not one of its own (`NotMine` among several ways). What it
 * fails with becomes `UNAUTHENTICATED`, and its text is not sent; but with {@link AuthenticationUnavailable} or a `TimeoutException`
 * nothing was judged, and a client tries again.
 *
 * @example
 * ```ts
 * import { Effect, Redacted } from "effect"
 * import { bearerWith } from "effect-arcp/auth"
 *
 * declare const userOf: (token: string) => Effect.Effect<string | undefined>
 * const ofDirectory = bearerWith((token) => userOf(Redacted.value(token)))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const bearerWith = <E>(
  verify: (token: Redacted.Redacted<string>) => Effect.Effect<Principal | string | undefined, E>
): AuthenticatorService =>
  judging((request) => {
    const token = bearerToken(request)
    if (token === undefined) return Effect.succeed(Verdict.notMine)
    return Effect.matchEffect(
      Effect.suspend(() => verify(token)),
      {
        onFailure: (error) => Verdict.ofOutcome(Effect.fail(Verdict.ofError(error))),
        onSuccess: (principal) =>
          Effect.succeed(principal === undefined ? Verdict.notMine : Verdict.accepted(named(principal)))
      }
    )
  })

/**
 * Nobody has to say who they are: each session is a principal of its own, whatever the client claims.
 *
 * @since 0.1.0
 * @category constructors
 */
export const anonymous: Effect.Effect<AuthenticatorService, never, Ids> = Effect.map(Ids, (ids) => ({
  admitsAnonymous: true,
  onlyAnonymous: true,
  accepts: ({ token }: AuthRequest) => token === undefined || Redacted.value(token) === "",
  authenticate: () =>
    Effect.map(ids.ulid, (id) => ({
      id: PrincipalId(`${PrincipalIds.anonymousPrefix}${id}`),
      anonymous: true,
      claims: {}
    }))
}))

const judgeOf =
  (request: AuthRequest) =>
  (way: AuthenticatorService): Effect.Effect<Verdict.Verdict, AuthenticationUnavailable> =>
    Effect.suspend(() =>
      way.accepts?.(request) === false
        ? Effect.succeed(Verdict.notMine)
        : (way.judge?.(request) ?? Verdict.ofOutcome(way.authenticate(request)))
    )

/** The authorities of several ways together. Throws where they cannot be told apart. */
const authoritiesOf = (ways: ReadonlyArray<AuthenticatorService>): AuthenticatorService["authorities"] => {
  const each = ways.flatMap(({ authorities }) => (authorities === undefined ? [] : [authorities]))
  if (each.length === 0) return undefined
  if (each.length === 1) return each[0]
  const clash = each.includes("any")
    ? "one way takes tokens of any issuer, so that those of the other ways' issuers would have to fit it too: name its issuer"
    : Verdict.clashOf(each.flat())
  // edge: ways that refuse each other's tokens are a mistake of their program, not a failure of the running one
  if (clash !== undefined) throw new RangeError(`firstOf: ${clash}`)
  return each.flat()
}

/**
 * Several ways. Each is asked, and says `Accepted`, `Refused` or `NotMine`: any `Refused` refuses, also where another accepts; of
 * several that accept the first counts; where none does, and one is not available, authentication is not available. All refusals are the
 * same `UNAUTHENTICATED`. A wrong token never falls through to a weaker way, because {@link anonymous} is only for requests without a
 * token.
 *
 * Where the ways have more than one issuer of JWTs in all, compositions inside of this one included, a principal is `<issuer>|<sub>`.
 * Throws a `RangeError` where two ways name one issuer, or one of several has none.
 *
 * @since 0.1.0
 * @category combinators
 */
export const firstOf = (ways: ReadonlyArray<AuthenticatorService>): AuthenticatorService => {
  const judge = (request: AuthRequest) => Verdict.all(ways.map(judgeOf(request)))
  const authorities = authoritiesOf(ways)
  const several = Array.isArray(authorities) && authorities.length > 1
  return {
    admitsAnonymous: ways.some((way) => way.admitsAnonymous === true),
    onlyAnonymous: ways.length > 0 && ways.every((way) => way.onlyAnonymous === true),
    ...(authorities === undefined ? {} : { authorities }),
    judge,
    authenticate: (request) => Effect.flatMap(judge(request), (verdict) => Verdict.answer(verdict, undefined, several))
  }
}

/**
 * Whether two sessions belong to the same principal. Anonymous principals are only the same as themselves.
 *
 * @since 0.1.0
 * @category predicates
 */
export const samePrincipal = (a: Principal, b: Principal): boolean => a.id === b.id && a.anonymous === b.anonymous

/** The token table that a configuration key holds. */
const bearerTable = (name: string): Effect.Effect<TokenTable, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const text = yield* Configured.required(name, yield* Configured.secret(name), undefined)
    const table = tableOf(entriesOf(text, /[\r\n,]+/, (n) => `number ${n}`))
    if (Either.isLeft(table)) return yield* Effect.fail(ConfigError.InvalidData([name], table.left))
    return table.right.size === 0
      ? yield* Effect.fail(ConfigError.InvalidData([name], "holds no entry of the form TOKEN=PRINCIPAL"))
      : table.right
  })

/**
 * Who a client is.
 *
 * @since 0.1.0
 * @category services
 */
export class Authenticator extends Context.Tag("effect-arcp/auth/Authenticator")<
  Authenticator,
  AuthenticatorService
>() {
  /**
   * {@link bearer} as a layer; dies with its `RangeError`.
   *
   * @example
   * ```ts
   * import { Authenticator } from "effect-arcp/auth"
   *
   * const AuthLive = Authenticator.layerBearer({ "a-long-random-token": "alice" })
   * ```
   */
  static readonly layerBearer = (tokens: TokenTable): Layer.Layer<Authenticator> =>
    Layer.sync(Authenticator, () => bearer(tokens))
  /**
   * {@link bearer} as a layer, with its table from the configuration: `name` (default `ARCP_TOKENS`, required, secret) holds entries
   * `TOKEN=PRINCIPAL`, separated by commas or line ends; lines that begin with `#` are comments. Fails with a `ConfigError` that names
   * the key and the entry, without its token.
   */
  static readonly layerBearerConfig = (name = "ARCP_TOKENS"): Layer.Layer<Authenticator, ConfigError.ConfigError> =>
    Layer.effect(Authenticator, Effect.map(bearerTable(name), bearer))
  /** {@link bearerWith} as a layer. */
  static readonly layerBearerWith = <E>(
    verify: (token: Redacted.Redacted<string>) => Effect.Effect<Principal | string | undefined, E>
  ): Layer.Layer<Authenticator> => Layer.succeed(Authenticator, bearerWith(verify))
  /** {@link anonymous} as a layer: asks nobody anything, so ask for it knowingly. */
  static readonly layerAnonymous: Layer.Layer<Authenticator> = Layer.provide(
    Layer.effect(Authenticator, anonymous),
    Ids.layer
  )
  /**
   * {@link firstOf} as a layer.
   *
   * @example
   * ```ts
   * import { Redacted } from "effect"
   * import { Authenticator, bearer } from "effect-arcp/auth"
   * import { Jwt } from "effect-arcp/auth/jwt"
   *
   * declare const secret: Redacted.Redacted<string>
   * const AuthLive = Authenticator.layerFirstOf([
   *   bearer({ "a-long-random-token": "operator" }),
   *   Jwt.jwt({ keys: { secret }, algorithms: ["HS256"] })
   * ])
   * ```
   */
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
