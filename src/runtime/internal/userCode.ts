/**
 * What a program gives to the runtime (an authenticator, a provisioner, loggers), made total: what they return is copied into plain
 * data before anything else reads it, and what they fail with or throw costs the call that asked.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Tracer from "effect/Tracer"
import type { AuthenticatorService, AuthRequest } from "../../auth/Authenticator.js"
import type { Principal } from "../../auth/Principal.js"
import { type ArcpError, InternalError, isArcpError, plain } from "../../protocol/Errors.js"
import * as Text from "../../protocol/Text.js"
import { type CredentialProvisioner, type Issued, ProvisionError, RevokeError } from "../CredentialProvisioner.js"
import { maxIssued } from "./issued.js"

/** Principals' ids are at most this long, in UTF-16 code units. */
const maxPrincipalId = 1_024

const copyOf = (principal: unknown): Principal | undefined => {
  const id = Text.property(principal, "id")
  if (typeof id !== "string" || id === "" || id.length > maxPrincipalId) return undefined
  const claims = Text.snapshot(Text.property(principal, "claims"))
  return {
    id,
    anonymous: Text.property(principal, "anonymous") === true,
    claims:
      typeof claims === "object" && claims !== null && !Array.isArray(claims) ? (claims as Principal["claims"]) : {}
  }
}

const notAvailable = new InternalError({ message: "auth: authentication is not available; try again" })

/** Who a client is, as plain data: the id and the claims as JSON has them. Claims that are no JSON are dropped. */
export const authenticating =
  (authenticator: AuthenticatorService) =>
  (request: AuthRequest): Effect.Effect<Principal, ArcpError> =>
    Effect.suspend(() => authenticator.authenticate(request)).pipe(
      Effect.mapError((error): ArcpError => (isArcpError(error) ? plain(error) : notAvailable)),
      Effect.flatMap((principal) => {
        const copy = copyOf(principal)
        if (copy !== undefined) return Effect.succeed(copy)
        return Effect.zipRight(
          Effect.logError(
            `the authenticator returned no principal: its id must be a text of 1 to ${maxPrincipalId} characters`
          ),
          Effect.fail(notAvailable)
        )
      }),
      Effect.catchAllDefect((defect) =>
        Effect.zipRight(
          Effect.logError(`the authenticator failed unexpectedly: ${Text.ofUnknown(defect, 256)}`),
          Effect.fail(notAvailable)
        )
      )
    )

const optional = <K extends string>(value: unknown, key: K): { readonly [P in K]?: string } => {
  const found = Text.property(value, key)
  // A field of another type is refused with the text of its type, which no check lets through.
  return (found === undefined ? {} : { [key]: typeof found === "string" ? found : `\u0000${typeof found}` }) as {
    readonly [P in K]?: string
  }
}

const issuedCopy = (value: unknown): Issued | undefined => {
  const secret = Text.property(value, "value")
  const handle = Text.property(value, "handle")
  const endpoint = Text.property(value, "endpoint")
  if (typeof handle !== "string" || typeof endpoint !== "string") return undefined
  const text: unknown = Text.attempt(() => Redacted.value(secret as Redacted.Redacted), undefined)
  if (typeof text !== "string") return undefined
  const given = Text.property(value, "constraints")
  const constraints = Text.snapshot(given)
  return {
    handle,
    endpoint,
    value: Redacted.make(text),
    ...optional(value, "scheme"),
    ...optional(value, "profile"),
    ...(given === undefined ? {} : { constraints: (constraints ?? null) as NonNullable<Issued["constraints"]> })
  }
}

/** The keys of an answer as plain data. One that cannot be read may be a key all the same: it is looked for by its reference. */
const copies = (answer: unknown): Effect.Effect<ReadonlyArray<Issued>, ProvisionError> => {
  const list: ReadonlyArray<unknown> | undefined = Text.attempt(
    () => (Array.isArray(answer) ? Array.from<unknown>(answer.slice(0, maxIssued + 1)) : undefined),
    undefined
  )
  const issued = list?.map(issuedCopy)
  return issued === undefined || issued.includes(undefined)
    ? Effect.fail(new ProvisionError({ message: "the provisioner returned no list of credentials", uncertain: true }))
    : Effect.succeed(issued as ReadonlyArray<Issued>)
}

const provisionError = (error: unknown): ProvisionError => {
  if (!Text.isInstance(error, ProvisionError)) {
    return new ProvisionError({ message: "the provisioner failed with an unknown error", uncertain: true })
  }
  const explanation = Text.textProperty(error, "explanation")
  return new ProvisionError({
    message: Text.textProperty(error, "message") ?? "the provisioner failed",
    uncertain: Text.property(error, "uncertain") !== false,
    retryable: Text.property(error, "retryable") !== false,
    ...(explanation === undefined ? {} : { explanation })
  })
}

const revokeError = (error: unknown): RevokeError =>
  new RevokeError({
    message: Text.textProperty(error, "message") ?? "the provisioner failed to revoke",
    permanent: Text.property(error, "permanent") === true
  })

/** The provisioner, with answers and errors as plain data. */
export const provisioning = (
  provisioner: Context.Tag.Service<CredentialProvisioner>
): Context.Tag.Service<CredentialProvisioner> => {
  const { reclaim, rotate } = provisioner
  return {
    issue: (request) =>
      Effect.flatMap(
        Effect.mapError(
          Effect.suspend(() => provisioner.issue(request)),
          provisionError
        ),
        copies
      ),
    revoke: (handle) =>
      Effect.mapError(
        Effect.suspend(() => provisioner.revoke(handle)),
        revokeError
      ),
    ...(rotate === undefined
      ? {}
      : {
          rotate: (handle, request) =>
            Effect.suspend(() => rotate(handle, request)).pipe(
              Effect.mapError(provisionError),
              Effect.flatMap((one) => copies([one])),
              Effect.map((all) => all[0]!)
            )
        }),
    ...(reclaim === undefined
      ? {}
      : {
          reclaim: (reference) =>
            Effect.mapError(
              Effect.suspend(() => reclaim(reference)),
              revokeError
            )
        })
  }
}

type AnyLogger = Logger.Logger<unknown, unknown>

const originals = new WeakMap<AnyLogger, AnyLogger>()

/** A logger that cannot throw: what cannot be printed is logged once more, as text. */
const total = (logger: AnyLogger): AnyLogger => {
  const made: AnyLogger = Logger.make((options) => {
    try {
      return logger.log(options)
    } catch {
      const cause = options.cause._tag === "Empty" ? "" : `: ${Text.ofCause(options.cause)}`
      const message = Array.isArray(options.message)
        ? options.message.map((part) => Text.ofUnknown(part)).join(" ")
        : Text.ofUnknown(options.message)
      return Text.attempt(
        () => logger.log({ ...options, message: [`${message}${cause}`], cause: Cause.empty }),
        undefined
      )
    }
  })
  originals.set(made, logger)
  return made
}

/** What Effect can look into: it asks thrown values for a property of its own, which throws for a revoked proxy. */
const readable = (thrown: unknown): unknown => {
  try {
    Predicate.hasProperty(thrown, "_tag")
    return thrown
  } catch {
    return new Error(Text.ofUnknown(thrown))
  }
}

const totals = new WeakMap<Tracer.Tracer, Tracer.Tracer>()

/**
 * The tracer, with every step of a fiber guarded: what it throws reaches Effect as a value that Effect can look into. Else the
 * exception would leave the fiber without an end, and take what else the scheduler runs with it.
 */
const guarding = (tracer: Tracer.Tracer): Tracer.Tracer => {
  const known = totals.get(tracer)
  if (known !== undefined) return known
  // Effect's own does no more than run the step, and this is on the path of every event.
  const plainly = tracer === Context.get(DefaultServices.liveServices, Tracer.Tracer)
  const made = Tracer.make({
    span: (...args) => tracer.span(...args),
    context: (run, fiber) => {
      try {
        return plainly ? run() : tracer.context(run, fiber)
      } catch (thrown) {
        // edge: what user code has thrown goes on to Effect, which makes a defect of it
        throw readable(thrown)
      }
    }
  })
  totals.set(tracer, made)
  return made
}

/**
 * Builds a layer, and runs what it starts, so that user code cannot take a fiber down: loggers cannot throw into the fiber that logs, and
 * what any step throws is a value that Effect can look into.
 */
export const withTotalUserCode = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  layer.pipe(
    Layer.locallyWith(FiberRef.currentLoggers, HashSet.map(total)),
    Layer.locallyWith(DefaultServices.currentServices, (services) =>
      Context.add(services, Tracer.Tracer, guarding(Context.get(services, Tracer.Tracer)))
    )
  )

/**
 * Runs a handler with the loggers of the program, which it can take out or replace by identity. How it ends is not logged by its
 * fiber: the runtime logs it.
 */
export const asUserCode = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.locallyWith(
      FiberRef.currentLoggers,
      HashSet.map((logger) => originals.get(logger) ?? logger)
    ),
    Effect.withUnhandledErrorLogLevel(Option.none())
  )
