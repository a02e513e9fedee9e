/**
 * What one of several ways to authenticate says of a hello, and what all of them say together (ARCP 1.1 §6.1).
 *
 * The order of the ways counts in one case only: where several accept, the first of them names the principal. Every way is asked in every
 * case, at the same time, and all refusals have one text, so that neither text nor the number of ways that were asked says which way
 * refused, or whether one knew the credential.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { Unauthenticated } from "../protocol/Errors.js"
import { PrincipalId } from "../protocol/Ids.js"
import * as Text from "../protocol/Text.js"
import type { Principal } from "./Principal.js"
import * as PrincipalIds from "./PrincipalIds.js"

/**
 * The credential could not be judged: what judges it is not there, or takes too long. A client is told `INTERNAL_ERROR` with
 * `retryable: true`, and its connection is closed with 1013; the message is logged, and not sent.
 *
 * @since 0.1.0
 * @category errors
 */
export class AuthenticationUnavailable extends Schema.TaggedError<AuthenticationUnavailable>()(
  "AuthenticationUnavailable",
  { message: Schema.String, cause: Schema.optional(Schema.Defect) }
) {
  /** The code that a client is told (§12). */
  readonly code = "INTERNAL_ERROR"
}

/**
 * What a way says: it vouches for a principal, it refuses its own credential, or the credential is not one of its kind.
 *
 * `authority` is whose name for the principal its id is, such as the issuer of a JWT; it is one of the way's `authorities`. Among several
 * authorities the principal is `<authority>|<id>`. Absent: the id is the program's own, and counts as it is.
 *
 * @since 0.1.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Accepted"; readonly principal: Principal; readonly authority?: string | undefined }
  | { readonly _tag: "Refused"; readonly error: Unauthenticated }
  | { readonly _tag: "NotMine" }

/** Why a principal is not accepted; undefined where it is. One without an id is none, which the runtime says by itself. */
export const principalRefusal = (principal: Principal): Unauthenticated | undefined => {
  const id = Text.property(principal, "id")
  if (typeof id !== "string") return undefined
  const problem = PrincipalIds.problemOf(id, Text.property(principal, "anonymous") === true)
  return problem === undefined
    ? undefined
    : new Unauthenticated({ message: `auth: names a principal that is not accepted: its id ${problem}` })
}

/** A way vouches for a principal; but one whose id no principal can have is refused. */
export const accepted = (principal: Principal, authority?: string): Verdict => {
  const refusal = principalRefusal(principal)
  if (refusal !== undefined) return refused(refusal)
  return authority === undefined ? { _tag: "Accepted", principal } : { _tag: "Accepted", principal, authority }
}
export const refused = (error: Unauthenticated): Verdict => ({ _tag: "Refused", error })
export const notMine: Verdict = { _tag: "NotMine" }

/** The one refusal of a composition: the same for a wrong credential, an unknown one and none. */
const notAccepted = new Unauthenticated({ message: "auth: what was presented is not accepted by this runtime" })

/** Whether an error says that nothing was judged, and not that the credential is wrong. */
const isUnavailable = (error: unknown): boolean =>
  Text.isInstance(error, AuthenticationUnavailable) ||
  Text.isInstance(error, Cause.TimeoutException) ||
  (Text.isInstance(error, Unauthenticated) && Text.property(error, "retryable") === true)

/** What an error of a verifier becomes: unavailable where nothing was judged, else a refusal, whose text says nothing of the error. */
export const ofError = (error: unknown): Unauthenticated | AuthenticationUnavailable =>
  Text.isInstance(error, AuthenticationUnavailable)
    ? error
    : isUnavailable(error)
      ? new AuthenticationUnavailable({ message: Text.ofUnknown(error, 256) })
      : new Unauthenticated({ message: "auth.token: is not valid" })

/** A verdict whose failure is a refusal, unless nothing was judged. */
export const orRefused = (
  verdict: Effect.Effect<Verdict, Unauthenticated | AuthenticationUnavailable>
): Effect.Effect<Verdict, AuthenticationUnavailable> =>
  Effect.catchAll(verdict, (error) => {
    if (!isUnavailable(error) && Text.isInstance(error, Unauthenticated)) return Effect.succeed(refused(error))
    return Effect.fail(
      Text.isInstance(error, AuthenticationUnavailable)
        ? error
        : new AuthenticationUnavailable({ message: Text.ofUnknown(error, 256) })
    )
  })

/** The verdict of a way that knows acceptance and failure only. */
export const ofOutcome = (
  outcome: Effect.Effect<Principal, Unauthenticated | AuthenticationUnavailable>
): Effect.Effect<Verdict, AuthenticationUnavailable> =>
  orRefused(Effect.map(outcome, (principal) => accepted(principal)))

/**
 * The verdict of several ways: any `Refused` refuses; else the first `Accepted` counts; else it is not available where one of them was
 * not; else it is none of theirs. A way that dies was not available.
 */
export const all = (
  asked: ReadonlyArray<Effect.Effect<Verdict, AuthenticationUnavailable>>
): Effect.Effect<Verdict, AuthenticationUnavailable> =>
  Effect.map(
    Effect.forEach(asked, (way) => Effect.exit(way), { concurrency: "unbounded" }),
    (exits): Effect.Effect<Verdict, AuthenticationUnavailable> => {
      const verdicts = exits.flatMap((exit) => (Exit.isSuccess(exit) ? [exit.value] : []))
      const found = verdicts.find(({ _tag }) => _tag === "Refused") ?? verdicts.find(({ _tag }) => _tag === "Accepted")
      if (found?._tag === "Refused") return Effect.succeed(refused(notAccepted))
      if (found !== undefined) return Effect.succeed(found)
      const failed = exits.find(Exit.isFailure)
      if (failed === undefined) return Effect.succeed(notMine)
      const error = Cause.failureOption(failed.cause)
      return Effect.fail(
        error._tag === "Some"
          ? error.value
          : new AuthenticationUnavailable({
              message: `a way to authenticate failed unexpectedly: ${Text.ofCause(failed.cause, 256)}`
            })
      )
    }
  ).pipe(Effect.flatten)

/** What separates an authority from its name for a principal; no authority among several has it in its own. */
export const separator = "|"

/** Why authorities cannot be told apart, as a sentence that says what to do; undefined where they can. */
export const clashOf = (all: ReadonlyArray<string>): string | undefined => {
  const twice = all.find((authority, i) => all.indexOf(authority) !== i)
  if (twice !== undefined) {
    return `the issuer ${twice} is named twice, so that its tokens would have to fit both: name it once, with a key set that has all its keys`
  }
  const unclear = all.length > 1 ? all.find((authority) => authority.includes(separator)) : undefined
  return unclear === undefined
    ? undefined
    : `the issuer ${unclear} has a "${separator}", which separates issuer and subject in the ids of principals where there are several issuers: let it be the only one of its runtime`
}

/**
 * A verdict as the answer to a hello. `otherwise`: what is said of a credential that is nobody's, and of a principal whose whole id is
 * none. `several`: whether there are several authorities, whose names for principals must not be taken for each other's.
 */
export const answer = (
  verdict: Verdict,
  otherwise: Unauthenticated = notAccepted,
  several = false
): Effect.Effect<Principal, Unauthenticated> => {
  if (verdict._tag !== "Accepted") return Effect.fail(verdict._tag === "Refused" ? verdict.error : otherwise)
  const { authority, principal } = verdict
  const id: unknown = Text.property(principal, "id")
  const named =
    several && authority !== undefined && typeof id === "string"
      ? { ...principal, id: PrincipalId(`${authority}${separator}${id}`) }
      : principal
  return principalRefusal(named) === undefined ? Effect.succeed(named) : Effect.fail(otherwise)
}
