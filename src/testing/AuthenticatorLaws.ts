/** What every `Authenticator` must do (ARCP 1.1 §6.1), as {@link Law}s. */
import { inspect } from "node:util"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Authenticator, type AuthenticatorService, firstOf } from "../auth/Authenticator.js"
import type { Principal } from "../auth/Principal.js"
import * as PrincipalIds from "../auth/PrincipalIds.js"
import { Unauthenticated } from "../protocol/Errors.js"
import * as Text from "../protocol/Text.js"
import { Broken, ensure, failing, laws, type Rule, rule, same, show } from "./internal/check.js"
import type { Law, LawOptions } from "./Law.js"

/**
 * What a hello presents.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credential {
  /** `auth.token`; absent: the hello has none. */
  readonly token?: string | undefined
  /** `auth.scheme`; absent: the hello has none. */
  readonly scheme?: string | undefined
}

/**
 * A valid credential, and its principal.
 *
 * @since 0.1.0
 * @category models
 */
export interface AcceptedCredential extends Credential {
  /** The principal's id. Absent: any. */
  readonly principal?: string | undefined
}

/**
 * The credentials that the laws try.
 *
 * @since 0.1.0
 * @category options
 */
export interface AuthenticatorLawOptions extends LawOptions {
  /** At least one. */
  readonly accepted: readonly [AcceptedCredential, ...ReadonlyArray<AcceptedCredential>]
  /** Credentials that were judged wrong: unknown, expired, of another issuer. Laws add some of their own. */
  readonly refused?: ReadonlyArray<Credential> | undefined
  /** Whether the way admits every hello, as an anonymous principal, so that nothing is refused. Default: false. */
  readonly everyone?: boolean | undefined
}

const peer = { transport: "memory", secure: true }

const ask = (way: AuthenticatorService, { scheme, token }: Credential) =>
  Effect.suspend(() =>
    way.authenticate({ scheme, token: token === undefined ? undefined : Redacted.make(token), peer })
  )

/** A credential in a message: its beginning is enough to find it. */
const named = ({ scheme, token }: Credential): string =>
  `${token === undefined ? "no token" : token === "" ? "an empty token" : `token ${JSON.stringify(token.slice(0, 12))}…`}${scheme === undefined ? "" : ` with the scheme ${JSON.stringify(scheme.slice(0, 12))}`}`

const admitted = (way: AuthenticatorService, credential: Credential): Effect.Effect<Principal, Broken> =>
  Effect.mapError(
    ask(way, credential),
    (error) => new Broken({ expected: `${named(credential)} to be accepted`, actual: `it failed with ${show(error)}` })
  )

const refusal = Effect.fnUntraced(function* (way: AuthenticatorService, credential: Credential) {
  const what = named(credential)
  const error = yield* failing(what, ask(way, credential))
  yield* same(`the code for ${what}`, Text.property(error, "code"), "UNAUTHENTICATED")
  yield* same(`retryable for ${what}`, Text.property(error, "retryable"), false)
  return error
})

const isAnonymous = (way: AuthenticatorService, credential: Credential): Effect.Effect<void, Broken> =>
  Effect.flatMap(admitted(way, credential), ({ anonymous, id }) =>
    ensure(anonymous, `an anonymous principal for ${named(credential)}`, id)
  )

/** Tokens that no authenticator may accept. */
const strange: ReadonlyArray<string> = [
  "a wrong token",
  " ",
  "a.b.c",
  "..",
  "\0",
  "\ud800",
  "__proto__",
  "constructor",
  "é€😀",
  "x".repeat(100_000),
  `${"a".repeat(20_000)}.${"b".repeat(20_000)}.c`
]

const withToken = (of: AuthenticatorLawOptions) =>
  of.accepted.flatMap((credential) =>
    credential.token === undefined ? [] : [{ ...credential, token: credential.token }]
  )

/** Wrong credentials: the caller's, those that are next to a valid one, and strange ones. */
const wrongOf = (options: AuthenticatorLawOptions): ReadonlyArray<Credential> => {
  const known = new Set(withToken(options).map(({ token }) => token))
  const near = withToken(options).flatMap(({ token }) => [
    `${token}x`,
    `x${token}`,
    token.slice(1),
    ` ${token}`,
    `${token}\0`
  ])
  return [
    ...(options.refused ?? []),
    ...[...near, ...strange].filter((token) => token !== "" && !known.has(token)).map((token) => ({ token }))
  ]
}

const accepts = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 a valid credential names its principal",
    Effect.gen(function* () {
      const way = yield* Authenticator
      for (const credential of options.accepted) {
        const principal = yield* admitted(way, credential)
        const what = named(credential)
        const { anonymous, id } = principal
        const problem = typeof id === "string" ? PrincipalIds.problemOf(id, anonymous) : "is no text"
        yield* ensure(
          problem === undefined,
          `an id that the runtime accepts for ${what}`,
          `${show(id)}, which ${problem}`
        )
        if (credential.principal !== undefined) {
          yield* same(`the principal of ${what}`, principal.id, credential.principal)
        }
        yield* ensure(
          principal.expiresAt === undefined || Number.isFinite(principal.expiresAt),
          `an expiry in milliseconds for ${what}, or none`,
          principal.expiresAt
        )
      }
    })
  )

const sameTwice = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 a credential stands for the same principal each time, and an anonymous one never for another's",
    Effect.gen(function* () {
      const way = yield* Authenticator
      for (const credential of options.accepted) {
        const [one, two] = yield* Effect.all([admitted(way, credential), admitted(way, credential)], { concurrency: 2 })
        const what = named(credential)
        yield* same(`anonymous of ${what}, the second time`, two.anonymous, one.anonymous)
        if (!one.anonymous) yield* same(`the principal of ${what}, the second time`, two.id, one.id)
        else {
          yield* ensure(one.id !== two.id, `two anonymous sessions with ${what} to be two principals`, one.id)
          yield* ensure(
            way.admitsAnonymous !== false,
            "admitsAnonymous of a way that admits anonymous principals",
            "it says false"
          )
        }
      }
    })
  )

const refuses = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 any other credential is UNAUTHENTICATED, is not anonymous, and no refusal has a part of it",
    Effect.gen(function* () {
      const way = yield* Authenticator
      for (const credential of wrongOf(options)) {
        if (options.everyone === true) {
          yield* isAnonymous(way, credential)
          continue
        }
        const error = yield* refusal(way, credential)
        const token = credential.token ?? ""
        const text = `${Text.ofUnknown(error)} ${show(Text.property(error, "details") ?? "")}`
        yield* ensure(
          token.length < 8 || !text.includes(token.slice(0, 64)),
          `a refusal without the credential (${named(credential)})`,
          "its text has it"
        )
      }
    })
  )

const refusesOtherSchemes = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 a valid token under another scheme is refused, and so is a hello without a token where one is required",
    Effect.gen(function* () {
      const way = yield* Authenticator
      for (const { token } of withToken(options)) {
        if (token !== "") yield* refusal(way, { token, scheme: "basic" })
      }
      if (options.everyone === true || options.accepted.some(({ token }) => token === undefined || token === "")) return
      yield* refusal(way, {})
      yield* refusal(way, { token: "" })
      yield* refusal(way, { scheme: "bearer" })
    })
  )

const keepsSecrets = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§14 the service shows no token, however it is printed",
    Effect.gen(function* () {
      const way = yield* Authenticator
      const json = Text.toJson(way)
      const shown = [
        Text.attempt(() => inspect(way, { depth: 12, showHidden: true }), ""),
        json._tag === "Json" ? json.text : "",
        Text.attempt(() => String(way), "")
      ]
      for (const credential of withToken(options)) {
        if (credential.token.length < 4) continue
        yield* ensure(
          !shown.some((text) => text.includes(credential.token)),
          `a service that does not show ${named(credential)}`,
          "printed, it has it"
        )
      }
    })
  )

const judgesAlike = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 what a way says among several is what it says alone",
    Effect.gen(function* () {
      const way = yield* Authenticator
      const refusing: AuthenticatorService = {
        authenticate: () => Effect.fail(new Unauthenticated({ message: "auth: no" }))
      }
      for (const credential of options.accepted) {
        const alone = yield* admitted(way, credential)
        const among = yield* admitted(firstOf([way]), credential)
        const what = named(credential)
        yield* same(`anonymous of ${what}, among several`, among.anonymous, alone.anonymous)
        if (!alone.anonymous) yield* same(`the principal of ${what}, among several`, among.id, alone.id)
        yield* refusal(firstOf([way, refusing]), credential)
      }
      const messages = new Set<string>()
      for (const credential of wrongOf(options)) {
        messages.add(Text.ofUnknown(yield* refusal(firstOf([way]), credential)))
      }
      yield* ensure(messages.size <= 1, "one text for all refusals among several", [...messages])
    })
  )

const apart = (options: AuthenticatorLawOptions): Rule<Authenticator> =>
  rule(
    "§6.1 many hellos at once get each its own answer",
    Effect.gen(function* () {
      const way = yield* Authenticator
      const many = Array.from({ length: 10 }, () => [...options.accepted, { token: "a wrong token" }]).flat()
      const alone = yield* Effect.forEach(options.accepted, (credential) => admitted(way, credential))
      const answers = yield* Effect.forEach(many, (credential) => Effect.either(ask(way, credential)), {
        concurrency: "unbounded"
      })
      for (const [i, answer] of answers.entries()) {
        const at = i % (options.accepted.length + 1)
        const expected = alone[at]
        const what = `the answer to ${named(many[i]!)}, among ${many.length} at once`
        if (expected === undefined) {
          yield* ensure(
            Either.isLeft(answer) || options.everyone === true,
            `${what} to be a refusal`,
            "it was accepted"
          )
        } else if (Either.isLeft(answer)) yield* ensure(false, `${what} to be a principal`, answer.left)
        else if (!expected.anonymous) yield* same(what, answer.right.id, expected.id)
      }
    })
  )

/**
 * The laws of an authenticator, tried with the given credentials.
 *
 * @example
 * ```ts
 * import { it } from "@effect/vitest"
 * import { Authenticator } from "effect-arcp/auth"
 * import { authenticatorLaws } from "effect-arcp/testing"
 *
 * const Mine = Authenticator.layerBearer({ "t-1": "alice" })
 * const laws = authenticatorLaws(Mine, { accepted: [{ token: "t-1", principal: "alice" }] })
 * for (const law of laws) it.scopedLive(law.name, () => law.check)
 * ```
 *
 * @since 0.1.0
 * @category laws
 */
export const authenticatorLaws = <E>(
  layer: Layer.Layer<Authenticator, E>,
  options: AuthenticatorLawOptions
): ReadonlyArray<Law> =>
  laws(layer, options, [
    accepts(options),
    sameTwice(options),
    refuses(options),
    refusesOtherSchemes(options),
    keepsSecrets(options),
    judgesAlike(options),
    apart(options)
  ])
