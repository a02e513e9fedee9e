/**
 * Denials inside the errors of `@effect/platform`: how a guarded service says no in the words of the service that it stands
 * for, and how the denial is found again (ARCP 1.1 §9.3, §12).
 */
import * as PlatformError from "@effect/platform/Error"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { BudgetExhausted, LeaseExpired, PermissionDenied } from "../protocol/Errors.js"
import * as Text from "../protocol/Text.js"
import type { Denial } from "./Gate.js"

const maxDepth = 16

const isDenial = (u: unknown): u is Denial =>
  Text.isInstance(u, PermissionDenied) || Text.isInstance(u, LeaseExpired) || Text.isInstance(u, BudgetExhausted)

/**
 * The denial that an error stands for: itself, or the first one along its `cause`s, at most 16 deep. Undefined where there is
 * none, or where reading them throws. With it a job whose agent did not handle a denial ends with the right code.
 */
export const deniedCause = (error: unknown): Denial | undefined => {
  let at = error
  for (let depth = 0; depth <= maxDepth; depth++) {
    if (isDenial(at)) return at
    const cause = Text.property(at, "cause")
    if (cause === undefined) return undefined
    at = cause
  }
  return undefined
}

// The marks of the platform's errors, and not their classes: a client that has an agent's definition loads no HTTP client.
const isPlatforms = (error: object): boolean => {
  const tag = Text.property(error, "_tag")
  return (
    (tag === "SystemError" && Symbol.for("@effect/platform/Error") in error) ||
    (tag === "RequestError" && Symbol.for("@effect/platform/HttpClientError") in error)
  )
}

/** @internal Whether a guarded service failed with this error on a denial; false for an agent's own error that wraps one. */
export const isDenied = (error: unknown): boolean =>
  Text.attempt(() => Text.isInstance(error, Error) && isPlatforms(error), false) && deniedCause(error) !== undefined

/** @internal a denial as a platform service fails with it. */
export const platformDenied = (
  module: "FileSystem" | "Command",
  method: string,
  path: string,
  denial: Denial
): PlatformError.SystemError =>
  new PlatformError.SystemError({
    reason: "PermissionDenied",
    module,
    method,
    pathOrDescriptor: path,
    description: denial.message,
    cause: denial
  })

/**
 * @internal a denial as an HTTP client fails with it. The reason is not `Transport`, which combinators retry. The URL is shown
 * without its user information and query, which may hold secrets.
 */
export const requestDenied = (
  request: HttpClientRequest.HttpClientRequest,
  denial: Denial
): HttpClientError.RequestError =>
  new HttpClientError.RequestError({
    request: HttpClientRequest.updateUrl(request, (url) =>
      url.replace(/[?#].*$/s, "").replace(/^([^/]*\/\/)?[^/]*@/, "$1")
    ),
    reason: "InvalidUrl",
    description: denial.message,
    cause: denial
  })
