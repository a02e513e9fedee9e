/**
 * Signed JWTs as bearer tokens, verified by `jose`.
 *
 * The algorithms are named by the program, never by the token; `none` is not among them, and a key of one family is not
 * used for another, so that a public key cannot be taken for a secret. Times are judged by `Clock`.
 */
import { readFile } from "node:fs/promises"
import * as ConfigError from "effect/ConfigError"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import * as Configured from "../protocol/Configured.js"
import { Unauthenticated } from "../protocol/Errors.js"
import { PrincipalId } from "../protocol/Ids.js"
import { check as checkOptions } from "../protocol/Options.js"
import { Authenticator, type AuthenticatorService, type AuthRequest } from "./Authenticator.js"
import type { Principal } from "./Principal.js"
import * as Text from "../protocol/Text.js"
import * as Verdict from "./Verdict.js"

/**
 * The algorithms that can be asked for.
 *
 * @since 0.1.0
 * @category constants
 */
export const algorithms = [
  "HS256",
  "HS384",
  "HS512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA"
] as const

/**
 * One of {@link algorithms}.
 *
 * @since 0.1.0
 * @category models
 */
export type Algorithm = (typeof algorithms)[number]

/**
 * Where the keys are.
 *
 * @since 0.1.0
 * @category models
 */
export type KeySource =
  /** A shared secret, for the HS algorithms: at least as many bytes as the hash has. */
  | { readonly secret: Redacted.Redacted<string> }
  /** A public key in PEM (SPKI). */
  | { readonly publicKey: string }
  /** A JSON Web Key Set. */
  | { readonly jwks: jose.JSONWebKeySet }
  /** A file that holds a JSON Web Key Set; read when the layer is built. */
  | { readonly jwksFile: string }
  /** Where a JSON Web Key Set is served; fetched when needed and cached, so that keys may rotate. */
  | { readonly jwksUrl: string | URL }

/**
 * What is asked of a token.
 *
 * @since 0.1.0
 * @category options
 */
export interface JwtOptions {
  /** Where the keys are that verify a token. */
  readonly keys: KeySource
  /** The algorithms that are accepted; all others are refused, whatever the token says. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /** `iss` must be (one of) this. */
  readonly issuer?: string | ReadonlyArray<string> | undefined
  /** `aud` must contain (one of) this. */
  readonly audience?: string | ReadonlyArray<string> | undefined
  /** Claims that must be there. Default `sub` and `exp`. */
  readonly required?: ReadonlyArray<string> | undefined
  /** By how much `exp` and `nbf` may be off. Default 30 seconds. */
  readonly clockTolerance?: Duration.DurationInput | undefined
  /** The principal behind a token; undefined refuses it. Default: `sub`, with all claims. */
  readonly principal?: ((claims: Readonly<Record<string, unknown>>) => Principal | undefined) | undefined
}

/**
 * The keys could not be read: the layer is not built.
 *
 * @since 0.1.0
 * @category errors
 */
export class JwtKeyError extends Schema.TaggedError<JwtKeyError>()("JwtKeyError", { message: Schema.String }) {}

/** Longer tokens are refused unread. */
const maxTokenLength = 16_384

/** RFC 7515 §7.1: base64url without padding. The decoder would pass over white space and read other alphabets. */
const compact = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

const keyError = (message: string) => () => new JwtKeyError({ message })

// edge: jose's own type of a key lookup
type GetKey = (header: jose.JWSHeaderParameters, token: jose.FlattenedJWSInput) => Promise<jose.CryptoKey | Uint8Array>

/** The key could not be looked up, which says nothing of the token. */
class NoKeys extends Error {}

/**
 * A look-up in a key set, whose failures say nothing of the token. That the set has no key for it does, unless the set is one that may not
 * be fetched again yet: the key may be a new one.
 */
const lookUp =
  (keys: GetKey, coolingDown: () => boolean): GetKey =>
  (header, token) => {
    const cooling = coolingDown()
    // edge: jose takes a function that answers a Promise
    return keys(header, token).catch((error: unknown) => {
      const unknownKey = error instanceof jose.errors.JWKSNoMatchingKey
      // edge: jose passes on what a look-up rejects with
      if (error instanceof jose.errors.JWKSMultipleMatchingKeys || (unknownKey && !cooling)) throw error
      // edge: jose passes on what a look-up rejects with
      throw new NoKeys(
        unknownKey ? "the key set may not be fetched again yet, and lacks the key" : Text.ofUnknown(error, 256)
      )
    })
  }

const keysOf = (source: KeySource, algs: ReadonlyArray<Algorithm>): Effect.Effect<GetKey, JwtKeyError> => {
  const symmetric = algs.filter((alg) => alg.startsWith("HS"))
  if (algs.length === 0) return Effect.fail(new JwtKeyError({ message: "jwt: name at least one algorithm" }))
  if ("secret" in source) {
    if (symmetric.length !== algs.length) {
      return Effect.fail(new JwtKeyError({ message: "jwt: a shared secret goes with HS algorithms only" }))
    }
    const secret = new TextEncoder().encode(Redacted.value(source.secret))
    const bits = Math.max(...algs.map((alg) => Number(alg.slice(2))))
    if (secret.length * 8 < bits) {
      return Effect.fail(
        new JwtKeyError({ message: `jwt: the secret must have at least ${bits / 8} bytes for these algorithms` })
      )
    }
    // edge: jose takes a function that answers a Promise
    return Effect.succeed(() => Promise.resolve(secret))
  }
  if (symmetric.length > 0) {
    return Effect.fail(new JwtKeyError({ message: "jwt: HS algorithms go with a shared secret only" }))
  }
  if ("publicKey" in source) {
    return Effect.map(
      Effect.forEach(algs, (alg) =>
        Effect.map(
          Effect.option(Effect.tryPromise(() => jose.importSPKI(source.publicKey, alg))),
          (key) => [alg as string, key._tag === "Some" ? key.value : undefined] as const
        )
      ),
      (keys) => new Map(keys)
    ).pipe(
      Effect.filterOrFail(
        (keys) => [...keys.values()].some((key) => key !== undefined),
        keyError("jwt: the public key is not PEM (SPKI) for any of the algorithms")
      ),
      Effect.map(
        (keys): GetKey =>
          (header) => {
            const key = keys.get(header.alg ?? "")
            // edge: jose takes a function that answers a Promise
            return key === undefined ? Promise.reject(new jose.errors.JOSEAlgNotAllowed("alg")) : Promise.resolve(key)
          }
      )
    )
  }
  if ("jwksUrl" in source) {
    const { jwksUrl } = source
    return Effect.map(
      Effect.try({
        try: () => jose.createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 5_000, cooldownDuration: 5_000 }),
        catch: keyError("jwt: jwksUrl is not a URL")
      }),
      (remote) => lookUp(remote as GetKey, () => remote.coolingDown)
    )
  }
  const set =
    "jwks" in source
      ? Effect.succeed(source.jwks as unknown)
      : Effect.tryPromise({
          try: () => readFile(source.jwksFile, "utf8"),
          catch: keyError(`jwt: ${"jwksFile" in source ? source.jwksFile : ""} cannot be read`)
        }).pipe(
          Effect.flatMap((text) =>
            Effect.try({ try: () => JSON.parse(text) as unknown, catch: keyError("jwt: the key set is not JSON") })
          )
        )
  return Effect.flatMap(set, (jwks) =>
    Effect.try({
      try: () => lookUp(jose.createLocalJWKSet(jwks as jose.JSONWebKeySet) as GetKey, () => false),
      catch: keyError("jwt: this is no JSON Web Key Set")
    })
  )
}

/** What is wrong with a token, without any of it. */
const reason = (error: unknown): string =>
  error instanceof jose.errors.JWTExpired
    ? "has expired"
    : error instanceof jose.errors.JWTClaimValidationFailed
      ? `has no ${error.claim} that is accepted`
      : error instanceof jose.errors.JOSEAlgNotAllowed || error instanceof jose.errors.JOSENotSupported
        ? "has an algorithm that is not accepted"
        : error instanceof jose.errors.JWKSNoMatchingKey || error instanceof jose.errors.JWKSMultipleMatchingKeys
          ? "has no key here"
          : error instanceof jose.errors.JWSSignatureVerificationFailed
            ? "has a signature that does not fit"
            : "is no valid JWT"

/** What jose fails with: a judgement of the token where it is one of jose's errors about it; anything else is about the keys. */
const failure = (error: unknown): Unauthenticated | Verdict.AuthenticationUnavailable =>
  error instanceof jose.errors.JOSEError
    ? new Unauthenticated({ message: `auth.token: ${reason(error)}` })
    : new Verdict.AuthenticationUnavailable({
        message: `jwt: the keys are not available: ${error instanceof NoKeys ? error.message : Text.ofUnknown(error, 256)}`
      })

/** The `iss` that a token claims, without any proof; undefined where its middle part is not the JSON of an object. */
const claimedIssuer = (token: string): unknown => {
  const claims = Text.attempt<unknown, undefined>(() => jose.decodeJwt(token), undefined)
  return claims === undefined ? undefined : Text.property(claims, "iss")
}

/** The schemes (§6.1) under which a signed token may come. */
const isScheme = (scheme: string | undefined): boolean =>
  scheme === undefined || ["bearer", "jwt"].includes(scheme.toLowerCase())

const fromSubject = (claims: Readonly<Record<string, unknown>>): Principal | undefined =>
  typeof claims.sub === "string" && claims.sub !== ""
    ? { id: PrincipalId(claims.sub), anonymous: false, claims }
    : undefined

/**
 * Verifies JWTs. Fails where the keys cannot be read, or do not go with the algorithms. Where a key set cannot be fetched or read, a token
 * is not judged: that is `AuthenticationUnavailable`. Among several ways a token of three base64url parts that claims a known issuer is its
 * own (any issuer, where none is asked for); every other one is `NotMine`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const jwt = (options: JwtOptions): Effect.Effect<AuthenticatorService, JwtKeyError> =>
  Effect.map(keysOf(options.keys, options.algorithms), (keys) => {
    checkOptions("Jwt", options, { clockTolerance: "duration" })
    const tolerance = Duration.toSeconds(options.clockTolerance ?? "30 seconds")
    const principalOf = options.principal ?? fromSubject
    const issuers = options.issuer === undefined ? undefined : [options.issuer].flat()
    const accepts = ({ scheme, token }: AuthRequest): boolean => {
      if (token === undefined) return false
      return isScheme(scheme) && (scheme?.toLowerCase() === "jwt" || Redacted.value(token).split(".", 4).length === 3)
    }
    const isMine = (request: AuthRequest): boolean => {
      if (request.token === undefined || !accepts(request)) return false
      const token = Redacted.value(request.token)
      if (token.length > maxTokenLength || !compact.test(token)) return false
      return issuers === undefined || issuers.some((issuer) => issuer === claimedIssuer(token))
    }
    const authenticate: AuthenticatorService["authenticate"] = (request) =>
      Effect.gen(function* () {
        const token = request.token === undefined ? "" : Redacted.value(request.token)
        if (token === "") return yield* new Unauthenticated({ message: "auth.token: a signed JWT is required" })
        if (!isScheme(request.scheme)) {
          return yield* new Unauthenticated({ message: "auth.scheme: must be bearer or jwt" })
        }
        if (token.length > maxTokenLength) {
          return yield* new Unauthenticated({ message: `auth.token: is longer than ${maxTokenLength} characters` })
        }
        if (!compact.test(token)) return yield* new Unauthenticated({ message: "auth.token: is no valid JWT" })
        // edge: jose takes the time as a Date; it comes from Clock
        const currentDate = DateTime.toDate(yield* DateTime.now)
        const verified = yield* Effect.tryPromise({
          try: () =>
            jose.jwtVerify(token, keys as jose.JWTVerifyGetKey, {
              algorithms: [...options.algorithms],
              currentDate,
              clockTolerance: tolerance,
              requiredClaims: [...(options.required ?? ["sub", "exp"])],
              ...(options.issuer === undefined ? {} : { issuer: options.issuer as string | Array<string> }),
              ...(options.audience === undefined ? {} : { audience: options.audience as string | Array<string> })
            }),
          catch: failure
        })
        const principal = principalOf(verified.payload)
        if (principal === undefined) {
          return yield* new Unauthenticated({ message: "auth.token: names no principal that is accepted" })
        }
        const { exp } = verified.payload
        if (exp === undefined || principal.expiresAt !== undefined) return principal
        const { anonymous, claims, id } = principal
        // For as long as it is accepted at a hello.
        return { id, anonymous, claims, expiresAt: (exp + tolerance) * 1_000 }
      })
    return {
      accepts,
      authenticate,
      judge: (request) => (isMine(request) ? Verdict.ofOutcome(authenticate(request)) : Effect.succeed(Verdict.notMine))
    }
  })

/**
 * {@link jwt} as a layer.
 *
 * @example
 * ```ts
 * import { Jwt } from "effect-arcp/auth/jwt"
 *
 * const AuthLive = Jwt.layer({
 *   keys: { jwksUrl: "https://login.example/.well-known/jwks.json" },
 *   algorithms: ["ES256"],
 *   issuer: "https://login.example",
 *   audience: "arcp"
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: JwtOptions): Layer.Layer<Authenticator, JwtKeyError> =>
  Layer.effect(Authenticator, jwt(options))

const configured = Configured.all({
  secret: Configured.secret("ARCP_JWT_SECRET"),
  publicKey: Configured.text("ARCP_JWT_PUBLIC_KEY"),
  jwksFile: Configured.text("ARCP_JWT_JWKS_FILE"),
  jwksUrl: Configured.matching(
    "ARCP_JWT_JWKS_URL",
    "an http:// or https:// URL",
    (text): text is string => /^https?:\/\//i.test(text) && URL.canParse(text)
  ),
  algorithms: Configured.listOf("ARCP_JWT_ALGORITHMS", algorithms),
  issuer: Configured.list("ARCP_JWT_ISSUER"),
  audience: Configured.list("ARCP_JWT_AUDIENCE"),
  required: Configured.list("ARCP_JWT_REQUIRED"),
  clockTolerance: Configured.duration("ARCP_JWT_CLOCK_TOLERANCE", "duration")
})

const oneSource =
  "name one source of keys: ARCP_JWT_SECRET, ARCP_JWT_PUBLIC_KEY, ARCP_JWT_JWKS_FILE or ARCP_JWT_JWKS_URL"

const optionsOf = (given: Partial<JwtOptions>): Effect.Effect<JwtOptions, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const { jwksFile, jwksUrl, publicKey, secret, ...rest } = yield* configured
    const sources: ReadonlyArray<KeySource> = [
      ...(secret === undefined ? [] : [{ secret }]),
      ...(publicKey === undefined ? [] : [{ publicKey }]),
      ...(jwksFile === undefined ? [] : [{ jwksFile }]),
      ...(jwksUrl === undefined ? [] : [{ jwksUrl }])
    ]
    if (sources.length > 1) return yield* Effect.fail(ConfigError.InvalidData(["ARCP_JWT_SECRET"], oneSource))
    const keys = sources[0] ?? given.keys
    if (keys === undefined) return yield* Effect.fail(ConfigError.MissingData(["ARCP_JWT_SECRET"], oneSource))
    const algorithms = yield* Configured.required("ARCP_JWT_ALGORITHMS", rest.algorithms, given.algorithms)
    return { ...given, ...rest, keys, algorithms }
  })

/**
 * {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the key
 * where a value is not valid, and with a `JwtKeyError` where the keys cannot be read.
 *
 * | key | default |
 * |---|---|
 * | `ARCP_JWT_SECRET` (secret), `ARCP_JWT_PUBLIC_KEY` (PEM), `ARCP_JWT_JWKS_FILE` or `ARCP_JWT_JWKS_URL` | required: one of them |
 * | `ARCP_JWT_ALGORITHMS`, such as `RS256,ES256` | required |
 * | `ARCP_JWT_ISSUER`, one or more | any |
 * | `ARCP_JWT_AUDIENCE`, one or more | any |
 * | `ARCP_JWT_REQUIRED`, claims | `sub,exp` |
 * | `ARCP_JWT_CLOCK_TOLERANCE` | `30 seconds` |
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Partial<JwtOptions> = {}
): Layer.Layer<Authenticator, ConfigError.ConfigError | JwtKeyError> =>
  Layer.unwrapEffect(Effect.map(optionsOf(options), layer))
