/**
 * Signed JWTs as bearer tokens, verified by `jose`.
 *
 * The algorithms are named by the program, never by the token; `none` is not among them, and a key of one family is not
 * used for another, so that a public key cannot be taken for a secret. Times are judged by `Clock`.
 */
import * as ConfigError from "effect/ConfigError"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as jose from "jose"
import * as Configured from "../protocol/Configured.js"
import { Unauthenticated } from "../protocol/Errors.js"
import { PrincipalId } from "../protocol/Ids.js"
import { check as checkOptions } from "../protocol/Options.js"
import { Authenticator, type AuthenticatorService, type AuthRequest } from "./Authenticator.js"
import { type Algorithm, algorithms, JwtKeyError, type Keys, type KeySource, keysOf, NoKeys } from "./JwtKeys.js"
import type { Principal } from "./Principal.js"
import * as Text from "../protocol/Text.js"
import * as Verdict from "./Verdict.js"

export { type Algorithm, algorithms, JwtKeyError, type KeySource } from "./JwtKeys.js"

/**
 * An issuer, and the keys that sign for it and for no other.
 *
 * @since 0.2.0
 * @category options
 */
export interface JwtIssuer {
  /** What `iss` must be, exactly. */
  readonly issuer: string
  /** Where its keys are. */
  readonly keys: KeySource
  /** The algorithms that are accepted from it. Default: those of all issuers. */
  readonly algorithms?: ReadonlyArray<Algorithm> | undefined
  /** `aud` must contain (one of) this. Default: that of all issuers. */
  readonly audience?: string | ReadonlyArray<string> | undefined
}

/**
 * The checks for every token, whatever its issuer.
 *
 * @since 0.2.0
 * @category options
 */
export interface JwtCommonOptions {
  /** `aud` must contain (one of) this. */
  readonly audience?: string | ReadonlyArray<string> | undefined
  /**
   * Claims that must be there. Default `sub` and `exp`. Where `exp` is not among them, a token without one is accepted, and its session has
   * no end: `Principal.expiresAt` is absent.
   */
  readonly required?: ReadonlyArray<string> | undefined
  /** By how much `exp` and `nbf` may be off. Default 30 seconds. */
  readonly clockTolerance?: Duration.DurationInput | undefined
  /**
   * The principal behind a token; undefined refuses it. Its id counts as it is, also among several issuers: make it of `iss` and `sub`
   * there. Default: `sub`, with all claims, and `<iss>|<sub>` where there are several issuers.
   */
  readonly principal?: ((claims: Readonly<Record<string, unknown>>) => Principal | undefined) | undefined
}

/**
 * Tokens of one issuer, or of any that one set of keys signs for.
 *
 * @since 0.2.0
 * @category options
 */
export interface JwtOneIssuer extends JwtCommonOptions {
  /** Where the keys are that verify a token. */
  readonly keys: KeySource
  /** The algorithms that are accepted; all others are refused, whatever the token says. */
  readonly algorithms: ReadonlyArray<Algorithm>
  /** `iss` must be this. Several are refused when the layer is built, since each could sign for the others: give `issuers`. */
  readonly issuer?: string | ReadonlyArray<string> | undefined
  /** Not beside `keys`. */
  readonly issuers?: undefined
}

/**
 * Tokens of several issuers, each with its own keys.
 *
 * @since 0.2.0
 * @category options
 */
export interface JwtManyIssuers extends JwtCommonOptions {
  /** The issuers; at least one, each once. */
  readonly issuers: ReadonlyArray<JwtIssuer>
  /** The algorithms that are accepted from issuers that name none. */
  readonly algorithms?: ReadonlyArray<Algorithm> | undefined
  /** Not beside `issuers`. */
  readonly issuer?: undefined
  /** Not beside `issuers`. */
  readonly keys?: undefined
}

/**
 * What is asked of a token.
 *
 * @since 0.1.0
 * @category options
 */
export type JwtOptions = JwtOneIssuer | JwtManyIssuers

/** Longer tokens are refused unread. */
const maxTokenLength = 16_384

/** RFC 7515 §7.1: base64url without padding. The decoder would pass over white space and read other alphabets. */
const compact = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/** An issuer with its keys; one without a name stands for every issuer. */
interface Bound {
  readonly issuer: string | undefined
  readonly keys: Keys
  readonly algorithms: ReadonlyArray<Algorithm>
  readonly audience: string | ReadonlyArray<string> | undefined
}

/** jose takes an empty text for no condition, and an empty list for one that nothing meets. */
const isEmpty = (asked: string | ReadonlyArray<string> | undefined): boolean =>
  asked !== undefined && (asked.length === 0 || [asked].flat().includes(""))

const shared =
  "one set of keys for several issuers would let each sign for the others: give issuers: [{ issuer, keys }], each with its own keys"

/** Why the options bind no keys to an issuer; undefined where they do. */
const bindingProblem = (options: JwtOptions): string | undefined => {
  if (options.issuers === undefined) {
    if (isEmpty(options.issuer)) return "issuer must not be empty; leave it out to accept any"
    return new Set([options.issuer ?? []].flat()).size > 1 ? shared : undefined
  }
  if (options.keys !== undefined || options.issuer !== undefined) {
    return "give either issuers, or keys and issuer"
  }
  const names = options.issuers.map(({ issuer }) => issuer)
  if (names.length === 0 || names.some((name) => name === ""))
    return "issuers must have at least one, and none without a name"
  return Verdict.clashOf(names)
}

const boundOf = (options: JwtOptions): Effect.Effect<ReadonlyArray<Bound>, JwtKeyError> => {
  const issuers: ReadonlyArray<Omit<JwtIssuer, "issuer"> & { readonly issuer: string | undefined }> =
    options.issuers ?? [{ issuer: [options.issuer].flat()[0], keys: options.keys }]
  const problem =
    bindingProblem(options) ??
    (isEmpty(options.audience) || issuers.some(({ audience }) => isEmpty(audience))
      ? "audience must not be empty; leave it out to accept any"
      : undefined)
  if (problem !== undefined) return Effect.fail(new JwtKeyError({ message: `jwt: ${problem}` }))
  return Effect.forEach(issuers, ({ issuer, keys, ...own }) => {
    const algorithms = own.algorithms ?? options.algorithms ?? []
    const audience = own.audience ?? options.audience
    return Effect.map(keysOf(keys, algorithms), (found) => ({ issuer, keys: found, algorithms, audience }))
  })
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

const noPrincipal = new Unauthenticated({ message: "auth.token: names no principal that is accepted" })

/** The token of a hello, of a form that may be a JWT's. */
const tokenOf = ({ scheme, token }: AuthRequest): Either.Either<string, Unauthenticated> => {
  const text = token === undefined ? "" : Redacted.value(token)
  const problem =
    text === ""
      ? "auth.token: a signed JWT is required"
      : !isScheme(scheme)
        ? "auth.scheme: must be bearer or jwt"
        : text.length > maxTokenLength
          ? `auth.token: is longer than ${maxTokenLength} characters`
          : compact.test(text)
            ? undefined
            : "auth.token: is no valid JWT"
  return problem === undefined ? Either.right(text) : Either.left(new Unauthenticated({ message: problem }))
}

const accepts = ({ scheme, token }: AuthRequest): boolean =>
  token !== undefined &&
  isScheme(scheme) &&
  (scheme?.toLowerCase() === "jwt" || Redacted.value(token).split(".", 4).length === 3)

/** Verifies tokens of issuers whose keys have been read. */
class Verifier {
  private readonly options: JwtOptions
  private readonly bound: ReadonlyArray<Bound>
  /** In seconds. */
  private readonly tolerance: number

  constructor(options: JwtOptions, bound: ReadonlyArray<Bound>) {
    this.options = options
    this.bound = bound
    this.tolerance = Duration.toSeconds(options.clockTolerance ?? "30 seconds")
  }

  /** The issuer whose keys verify a token, by what it claims; undefined: it claims none of them. */
  issuerOf(token: string): Bound | undefined {
    const claimed = claimedIssuer(token)
    return this.bound.find(({ issuer }) => issuer === undefined || issuer === claimed)
  }

  /** What a token of an issuer says of its principal. */
  verify(token: string, { algorithms, audience, issuer, keys }: Bound) {
    const { tolerance } = this
    const { principal: own, required } = this.options
    return Effect.gen(function* () {
      // edge: jose takes the time as a Date; it comes from Clock
      const currentDate = DateTime.toDate(yield* DateTime.now)
      const { payload } = yield* Effect.tryPromise({
        try: () =>
          jose.jwtVerify(token, keys as jose.JWTVerifyGetKey, {
            algorithms: [...algorithms],
            currentDate,
            clockTolerance: tolerance,
            requiredClaims: [...(required ?? ["sub", "exp"])],
            ...(issuer === undefined ? {} : { issuer }),
            ...(audience === undefined ? {} : { audience: audience as string | Array<string> })
          }),
        catch: failure
      })
      const principal = (own ?? fromSubject)(payload)
      if (principal === undefined) return yield* noPrincipal
      const authority = own === undefined ? issuer : undefined
      const { exp } = payload
      if (exp === undefined || principal.expiresAt !== undefined) return Verdict.accepted(principal, authority)
      const { anonymous, claims, id } = principal
      // For as long as it is accepted at a hello.
      return Verdict.accepted({ id, anonymous, claims, expiresAt: (exp + tolerance) * 1_000 }, authority)
    })
  }
}

/**
 * Verifies JWTs. Fails where the keys cannot be read, do not go with the algorithms, or are not bound to one issuer each. A token is verified
 * with the keys of the issuer that it claims, and with the key that it names (`kid`) only. Where a key set cannot be fetched or read, a token
 * is not judged: that is `AuthenticationUnavailable`.
 *
 * With several issuers, here or over `Authenticator.firstOf`, a principal is `<iss>|<sub>`: two issuers may give one subject to two. Among several
 * ways a token of three base64url parts that claims a known issuer is its own (any issuer, where none is asked for); every other one is
 * `NotMine`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const jwt = (options: JwtOptions): Effect.Effect<AuthenticatorService, JwtKeyError> =>
  Effect.map(boundOf(options), (bound) => {
    checkOptions("Jwt", options, { clockTolerance: "duration" })
    const verifier = new Verifier(options, bound)
    const issuers = bound.flatMap(({ issuer }) => (issuer === undefined ? [] : [issuer]))
    const foreign = new Unauthenticated({ message: "auth.token: has no iss that is accepted" })
    return {
      accepts,
      authorities: issuers.length === 0 ? "any" : issuers,
      authenticate: (request) =>
        Effect.gen(function* () {
          const token = yield* tokenOf(request)
          // A single issuer's keys judge every token, so that a refusal says what is wrong with it first.
          const issuer = bound.length === 1 ? bound[0] : verifier.issuerOf(token)
          if (issuer === undefined) return yield* foreign
          const verdict = yield* verifier.verify(token, issuer)
          return yield* Verdict.answer(verdict, noPrincipal, issuers.length > 1)
        }),
      judge: (request) => {
        const token = accepts(request) ? Either.getOrUndefined(tokenOf(request)) : undefined
        const issuer = token === undefined ? undefined : verifier.issuerOf(token)
        return token === undefined || issuer === undefined
          ? Effect.succeed(Verdict.notMine)
          : Verdict.orRefused(verifier.verify(token, issuer))
      }
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

const isUrl = (text: string): boolean => /^https?:\/\//i.test(text) && URL.canParse(text)

const configured = Configured.all({
  secret: Configured.secret("ARCP_JWT_SECRET"),
  publicKey: Configured.text("ARCP_JWT_PUBLIC_KEY"),
  jwksFile: Configured.text("ARCP_JWT_JWKS_FILE"),
  jwksUrls: Configured.parsed(
    "ARCP_JWT_JWKS_URL",
    "an http:// or https:// URL, or one for each issuer, separated by commas",
    (text) => {
      // A URL may have commas of its own.
      const urls = text.split(/\s*,\s*(?=https?:\/\/)/i)
      return urls.every(isUrl) ? urls : undefined
    }
  ),
  algorithms: Configured.listOf("ARCP_JWT_ALGORITHMS", algorithms),
  issuer: Configured.list("ARCP_JWT_ISSUER"),
  audience: Configured.list("ARCP_JWT_AUDIENCE"),
  required: Configured.list("ARCP_JWT_REQUIRED"),
  clockTolerance: Configured.duration("ARCP_JWT_CLOCK_TOLERANCE", "duration")
})

const oneSource =
  "name one source of keys: ARCP_JWT_SECRET, ARCP_JWT_PUBLIC_KEY, ARCP_JWT_JWKS_FILE or ARCP_JWT_JWKS_URL"

/** Issuers and URLs in the same order; where they do not pair, what to do. */
const paired = (
  issuers: ReadonlyArray<string>,
  urls: ReadonlyArray<string>
): Either.Either<ReadonlyArray<JwtIssuer>, ConfigError.ConfigError> =>
  issuers.length === urls.length
    ? Either.right(issuers.map((issuer, i) => ({ issuer, keys: { jwksUrl: urls[i]! } })))
    : Either.left(
        ConfigError.InvalidData(
          ["ARCP_JWT_JWKS_URL"],
          `must name as many URLs as ARCP_JWT_ISSUER names issuers, in the same order: there are ${urls.length} and ${issuers.length}; keys that several issuers share would let each sign for the others`
        )
      )

const optionsOf = (given: Partial<JwtOptions>): Effect.Effect<JwtOptions, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const { issuer, jwksFile, jwksUrls = [], publicKey, secret, ...rest } = yield* configured
    const sources: ReadonlyArray<KeySource> = [
      ...(secret === undefined ? [] : [{ secret }]),
      ...(publicKey === undefined ? [] : [{ publicKey }]),
      ...(jwksFile === undefined ? [] : [{ jwksFile }]),
      ...jwksUrls.slice(0, 1).map((jwksUrl) => ({ jwksUrl }))
    ]
    if (sources.length > 1) return yield* Effect.fail(ConfigError.InvalidData(["ARCP_JWT_SECRET"], oneSource))
    const { issuer: givenIssuer, issuers: givenIssuers, keys: givenKeys, ...common } = given
    // What the configuration says of issuers or keys is in place of the program's `issuers`, not beside them.
    if (givenIssuers !== undefined && issuer === undefined && sources.length === 0) {
      return { ...common, ...rest, issuers: givenIssuers }
    }
    const issuers = issuer ?? [givenIssuer ?? []].flat()
    const several = new Set(issuers).size > 1 || jwksUrls.length > 1
    const algorithms = yield* Configured.required("ARCP_JWT_ALGORITHMS", rest.algorithms, given.algorithms)
    if (several) return { ...common, ...rest, algorithms, issuers: yield* paired(issuers, jwksUrls) }
    const keys = sources[0] ?? givenKeys
    if (keys === undefined) return yield* Effect.fail(ConfigError.MissingData(["ARCP_JWT_SECRET"], oneSource))
    return { ...common, ...rest, keys, algorithms, ...(issuers.length === 0 ? {} : { issuer: issuers }) }
  })

/**
 * {@link layer}, with the values that the configuration sets, and the rest from `options`. Fails with a `ConfigError` that names the key
 * where a value is not valid or several issuers have not each its own keys, and with a `JwtKeyError` where the keys cannot be read. Where
 * the configuration sets an issuer or a source of keys, it replaces `options.issuers` as a whole.
 *
 * | key | default |
 * |---|---|
 * | `ARCP_JWT_SECRET` (secret), `ARCP_JWT_PUBLIC_KEY` (PEM), `ARCP_JWT_JWKS_FILE` or `ARCP_JWT_JWKS_URL` | required: one of them |
 * | `ARCP_JWT_ALGORITHMS`, such as `RS256,ES256` | required |
 * | `ARCP_JWT_ISSUER`, one; or several, with as many `ARCP_JWT_JWKS_URL`s, in the same order, separated by commas | any |
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
