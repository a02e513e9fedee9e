/**
 * The keys that verify signed JWTs (ARCP 1.1 §6.1): where they come from, and which of them a token may be verified with.
 *
 * A token that names a key (`kid`) is verified by the key of that name only. A failure to read or fetch keys says nothing of a token, so
 * it is told apart from a set that has been read and lacks the key.
 */
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as jose from "jose"
import * as Text from "../protocol/Text.js"

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
 * Where the keys are. A single key may have a name, `kid`: then a token that names another key is refused. A single key without a name
 * verifies tokens of any `kid`. In a key set a token with a `kid` is verified by the key of that `kid` only.
 *
 * @since 0.1.0
 * @category models
 */
export type KeySource =
  /** A shared secret, for the HS algorithms: at least as many bytes as the hash has. */
  | { readonly secret: Redacted.Redacted<string>; readonly kid?: string | undefined }
  /** A public key in PEM (SPKI). */
  | { readonly publicKey: string; readonly kid?: string | undefined }
  /** A JSON Web Key Set. */
  | { readonly jwks: jose.JSONWebKeySet }
  /** A file that holds a JSON Web Key Set; read when the layer is built. */
  | { readonly jwksFile: string }
  /** Where a JSON Web Key Set is served; fetched when needed and cached, so that keys may rotate. */
  | { readonly jwksUrl: string | URL }

/**
 * The keys could not be read, do not go with the algorithms, or are not bound to one issuer: the layer is not built.
 *
 * @since 0.1.0
 * @category errors
 */
export class JwtKeyError extends Schema.TaggedError<JwtKeyError>()("JwtKeyError", { message: Schema.String }) {}

const fail = (message: string): Effect.Effect<never, JwtKeyError> => Effect.fail(new JwtKeyError({ message }))
const keyError = (message: string) => () => new JwtKeyError({ message })

/** Finds the key for a token's header. */
// edge: jose's own type of a key lookup
export type Keys = (header: jose.JWSHeaderParameters, token: jose.FlattenedJWSInput) => Promise<Key>
type Key = jose.CryptoKey | Uint8Array

/** The key could not be looked up, which says nothing of the token. */
export class NoKeys extends Error {}

/**
 * A look-up in a key set, whose failures say nothing of the token. That the set has no key for it does, unless the set is one that may not
 * be fetched again yet: the key may be a new one.
 */
const lookUp =
  (keys: Keys, coolingDown: () => boolean): Keys =>
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

/** Refuses a `kid` that is no text, which a look-up would take for none, and one that is not the key's. */
const named =
  (keys: Keys, kid: string | undefined): Keys =>
  (header, token) => {
    const asked: unknown = header.kid
    // edge: jose takes a function that answers a Promise
    if (asked !== undefined && typeof asked !== "string") return Promise.reject(new jose.errors.JWSInvalid("kid"))
    if (kid === undefined || asked === undefined || asked === kid) return keys(header, token)
    // edge: jose takes a function that answers a Promise
    return Promise.reject(new jose.errors.JWKSNoMatchingKey())
  }

const ofSecret = (secret: Redacted.Redacted<string>, algs: ReadonlyArray<Algorithm>) => {
  if (!algs.every((alg) => alg.startsWith("HS"))) return fail("jwt: a shared secret goes with HS algorithms only")
  const bytes = new TextEncoder().encode(Redacted.value(secret))
  const bits = Math.max(...algs.map((alg) => Number(alg.slice(2))))
  if (bytes.length * 8 < bits) return fail(`jwt: the secret must have at least ${bits / 8} bytes for these algorithms`)
  // edge: jose takes a function that answers a Promise
  const keys: Keys = () => Promise.resolve(bytes)
  return Effect.succeed(keys)
}

const ofPublicKey = (pem: string, algs: ReadonlyArray<Algorithm>) =>
  Effect.map(
    Effect.forEach(algs, (alg) =>
      Effect.map(
        Effect.option(Effect.tryPromise(() => jose.importSPKI(pem, alg))),
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
      (keys): Keys =>
        (header) => {
          const key = keys.get(header.alg ?? "")
          // edge: jose takes a function that answers a Promise
          return key === undefined ? Promise.reject(new jose.errors.JOSEAlgNotAllowed("alg")) : Promise.resolve(key)
        }
    )
  )

const ofUrl = (url: string | URL) =>
  Effect.map(
    Effect.try({
      try: () => jose.createRemoteJWKSet(new URL(url), { timeoutDuration: 5_000, cooldownDuration: 5_000 }),
      catch: keyError("jwt: jwksUrl is not a URL")
    }),
    (remote) => lookUp(remote as Keys, () => remote.coolingDown)
  )

const ofSet = (set: unknown) =>
  Effect.try({
    try: () => lookUp(jose.createLocalJWKSet(set as jose.JSONWebKeySet) as Keys, () => false),
    catch: keyError("jwt: this is no JSON Web Key Set")
  })

const ofFile = (path: string) =>
  Effect.tryPromise({ try: () => readFile(path, "utf8"), catch: keyError(`jwt: ${path} cannot be read`) }).pipe(
    Effect.flatMap((text) =>
      Effect.try({ try: () => JSON.parse(text) as unknown, catch: keyError("jwt: the key set is not JSON") })
    ),
    Effect.flatMap(ofSet)
  )

/** The keys of a source, for these algorithms. Fails where they cannot be read or do not go with the algorithms. */
export const keysOf = (source: KeySource, algs: ReadonlyArray<Algorithm>): Effect.Effect<Keys, JwtKeyError> => {
  if (algs.length === 0) return fail("jwt: name at least one algorithm")
  const kid = "kid" in source ? source.kid : undefined
  if (kid === "") return fail("jwt: kid must not be an empty text; leave it out for a key without a name")
  if (!("secret" in source) && algs.some((alg) => alg.startsWith("HS"))) {
    return fail("jwt: HS algorithms go with a shared secret only")
  }
  const keys: Effect.Effect<Keys, JwtKeyError> =
    "secret" in source
      ? ofSecret(source.secret, algs)
      : "publicKey" in source
        ? ofPublicKey(source.publicKey, algs)
        : "jwksUrl" in source
          ? ofUrl(source.jwksUrl)
          : "jwksFile" in source
            ? ofFile(source.jwksFile)
            : ofSet(source.jwks)
  return Effect.map(keys, (found) => named(found, kid))
}
