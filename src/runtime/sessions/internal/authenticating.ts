/**
 * The program's authenticator, made total: who a client is becomes plain data, and what is no judgement of the credential is a failure
 * that a client may try again (ARCP 1.1 §6.1).
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { AuthenticatorService, AuthRequest } from "../../../auth/Authenticator.js"
import type { Principal } from "../../../auth/Principal.js"
import * as PrincipalIds from "../../../auth/PrincipalIds.js"
import { principalRefusal } from "../../../auth/Verdict.js"
import { type ArcpError, InternalError, isArcpError, plain, Unauthenticated } from "../../../protocol/Errors.js"
import { PrincipalId } from "../../../protocol/Ids.js"
import * as Text from "../../../protocol/Text.js"
import { noted, noteOf } from "../../kernel/Noted.js"
import type { Failure } from "./audited.js"

const copyOf = (principal: unknown): Principal | undefined => {
  const id = Text.property(principal, "id")
  if (typeof id !== "string") return undefined
  const claims = Text.snapshot(Text.property(principal, "claims"))
  const expiresAt = Text.property(principal, "expiresAt")
  return {
    id: PrincipalId(id),
    anonymous: Text.property(principal, "anonymous") === true,
    claims:
      typeof claims === "object" && claims !== null && !Array.isArray(claims) ? (claims as Principal["claims"]) : {},
    ...(typeof expiresAt === "number" && Number.isFinite(expiresAt) ? { expiresAt } : {})
  }
}

const hasExpired = new Unauthenticated({ message: "auth: the credential has expired" })

/** Why an authentication failed, for the audit trail. `shown`: whether the client has shown a token. */
export const failureOf = (error: ArcpError, shown: boolean): Failure =>
  !(error instanceof Unauthenticated) || error.retryable
    ? "unavailable"
    : /\bhas expired\b/.test(error.message)
      ? "expired"
      : noteOf(error) === "principal"
        ? "principal"
        : shown
          ? "refused"
          : "missing"

const notAvailable = new InternalError({ message: "auth: authentication is not available; try again" })

/** It under an id that is no other principal's, where it is anonymous. */
const qualified = (principal: Principal): Principal => ({
  ...principal,
  id: PrincipalId(PrincipalIds.qualified(principal.id, principal.anonymous))
})

/** A principal whose id is one, and whose credential has not run out. */
const checked = (named: Principal): Effect.Effect<Principal, ArcpError> => {
  const principal = qualified(named)
  const refusal = principalRefusal(named) ?? principalRefusal(principal)
  if (refusal !== undefined) return Effect.fail(noted(refusal, "principal"))
  return principal.expiresAt === undefined
    ? Effect.succeed(principal)
    : Effect.flatMap(Clock.currentTimeMillis, (now) =>
        principal.expiresAt !== undefined && principal.expiresAt <= now
          ? Effect.fail(hasExpired)
          : Effect.succeed(principal)
      )
}

/**
 * Who a client is, as plain data: the id and the claims as JSON has them. The id of an anonymous principal begins with `anonymous:`, which
 * is put before one of the authenticator's own: it is never another principal's. Claims that are no JSON are dropped. An id that no principal can
 * have is `UNAUTHENTICATED`: the credential stands for nobody. What is not a judgement of
 * the credential (any other error, a defect, an interruption from within) is `INTERNAL_ERROR`, which a client may try again.
 */
export const authenticating =
  (authenticator: AuthenticatorService) =>
  (request: AuthRequest): Effect.Effect<Principal, ArcpError> =>
    Effect.suspend(() => authenticator.authenticate(request)).pipe(
      Effect.catchAll((error): Effect.Effect<never, ArcpError> => {
        if (isArcpError(error)) return Effect.fail(plain(error))
        return Effect.zipRight(
          Effect.logWarning(`authentication is not available: ${Text.ofUnknown(error, 256)}`),
          Effect.fail(notAvailable)
        )
      }),
      Effect.flatMap((principal) => {
        const copy = copyOf(principal)
        if (copy !== undefined) return checked(copy)
        return Effect.zipRight(
          Effect.logError("the authenticator returned no principal: its id must be a text"),
          Effect.fail(notAvailable)
        )
      }),
      Effect.catchAllCause((cause) =>
        cause._tag === "Fail"
          ? Effect.fail(cause.error)
          : Effect.zipRight(
              Effect.logError(`the authenticator failed unexpectedly: ${Text.ofCause(cause, 256)}`),
              Effect.fail(notAvailable)
            )
      )
    )
