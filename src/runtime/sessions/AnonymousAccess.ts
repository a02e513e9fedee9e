/** Anonymous access (ARCP 1.1 §14): warns where no policy limits it, and reserves nothing where there is no other. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Authenticator } from "../../auth/Authenticator.js"
import { Server } from "../../transport/Connection.js"
import { anonymousShare } from "../kernel/AnonymousShare.js"
import { Limits } from "../kernel/Limits.js"
import { grantsAnonymousToolsOnly, LeasePolicy } from "../kernel/Policies.js"

const advice =
  "anonymous clients are admitted and no LeasePolicy says what their jobs may do: they are granted tool.call only. " +
  "Provide LeasePolicy.layer({ allowed }) to decide"

/**
 * The authenticator. Where anonymous clients are granted what the default policy says, a warning is logged once: at the start if
 * the authenticator declares anonymous access, else when it first admits an anonymous principal.
 */
export const warnedAuthenticator = (): Layer.Layer<Authenticator, never, Authenticator> =>
  Layer.effect(
    Authenticator,
    Effect.gen(function* () {
      const authenticator = yield* Authenticator
      const policy = yield* LeasePolicy
      if (!grantsAnonymousToolsOnly(policy)) return authenticator
      if (authenticator.admitsAnonymous === true) {
        yield* Effect.logWarning(advice)
        return authenticator
      }
      let warned = false
      return {
        ...authenticator,
        authenticate: (request) =>
          Effect.tap(authenticator.authenticate(request), (principal) => {
            if (warned || !principal.anonymous) return Effect.void
            warned = true
            return Effect.logWarning(advice)
          })
      }
    })
  )

/**
 * The limits. Where every principal is anonymous, there is none to reserve room for; else anonymous ones have a part of what the transport
 * accepts too.
 */
export const unreserved: Layer.Layer<never, never, Authenticator> = Layer.effect(
  Limits,
  Effect.gen(function* () {
    const limits = yield* Limits
    const { onlyAnonymous } = yield* Authenticator
    if (onlyAnonymous === true) {
      return { ...limits, anonymousShare: 100, anonymousConnections: Number.POSITIVE_INFINITY }
    }
    const server = yield* Effect.serviceOption(Server)
    const most = Option.getOrUndefined(server)?.maxConnections ?? Number.POSITIVE_INFINITY
    return { ...limits, anonymousConnections: Math.min(limits.anonymousConnections, anonymousShare(limits, most)) }
  })
) as Layer.Layer<never, never, Authenticator>
