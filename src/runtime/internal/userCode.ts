/**
 * What a program gives to the runtime (an authenticator, a provisioner, loggers), made total: what they return is copied into plain
 * data before anything else reads it, and what they fail with or throw costs the call that asked.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import type { AuthenticatorService, AuthRequest } from "../../auth/Authenticator.js"
import type { Principal } from "../../auth/Principal.js"
import { type ArcpError, InternalError, isArcpError, plain, Unauthenticated } from "../../protocol/Errors.js"
import * as Text from "../../protocol/Text.js"
import { type CredentialProvisioner, type Issued, ProvisionError, RevokeError } from "../CredentialProvisioner.js"

/** Principals' ids are at most this long, in UTF-16 code units. */
const maxPrincipalId = 1_024

const copyOf = (principal: unknown): Principal | undefined => {
  const id = Text.property(principal, "id")
  if (typeof id !== "string" || id === "" || id.length > maxPrincipalId) return undefined
  const claims = Text.snapshot(Text.property(principal, "claims"))
  const expiresAt = Text.property(principal, "expiresAt")
  return {
    id,
    anonymous: Text.property(principal, "anonymous") === true,
    claims:
      typeof claims === "object" && claims !== null && !Array.isArray(claims) ? (claims as Principal["claims"]) : {},
    ...(typeof expiresAt === "number" && Number.isFinite(expiresAt) ? { expiresAt } : {})
  }
}

const notAvailable = new InternalError({ message: "auth: authentication is not available; try again" })

/** A principal whose credential has not run out. */
const stillValid = (principal: Principal): Effect.Effect<Principal, ArcpError> =>
  principal.expiresAt === undefined
    ? Effect.succeed(principal)
    : Effect.flatMap(Clock.currentTimeMillis, (now) =>
        principal.expiresAt !== undefined && principal.expiresAt <= now
          ? new Unauthenticated({ message: "auth: the credential has expired" })
          : Effect.succeed(principal)
      )

/**
 * Who a client is, as plain data: the id and the claims as JSON has them. Claims that are no JSON are dropped. What is not a judgement of
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
        if (copy !== undefined) return stillValid(copy)
        return Effect.zipRight(
          Effect.logError(
            `the authenticator returned no principal: its id must be a text of 1 to ${maxPrincipalId} characters`
          ),
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

const optional = <K extends string>(value: unknown, key: K): { readonly [P in K]?: string } => {
  const found = Text.property(value, key)
  // A field of another type is refused with the text of its type, which no check lets through.
  return (found === undefined ? {} : { [key]: typeof found === "string" ? found : `\u0000${typeof found}` }) as {
    readonly [P in K]?: string
  }
}

/** A key whose parts cannot be read: no check lets it through, and without a handle it is looked for by its reference. */
const unreadable = ""

const issuedCopy = (value: unknown): Issued => {
  const text = (found: unknown): string => (typeof found === "string" ? found : unreadable)
  const constraints = Text.property(value, "constraints")
  return {
    handle: text(Text.property(value, "handle")),
    endpoint: text(Text.property(value, "endpoint")),
    value: Redacted.make(
      text(
        Text.attempt<unknown, undefined>(
          () => Redacted.value(Text.property(value, "value") as Redacted.Redacted),
          undefined
        )
      )
    ),
    ...optional(value, "scheme"),
    ...optional(value, "profile"),
    ...(constraints === undefined
      ? {}
      : { constraints: Text.snapshot(constraints) as NonNullable<Issued["constraints"]> })
  }
}

/**
 * The keys of an answer as plain data, one of those without a handle first: it has the reference of the call, by which all of them
 * are found. Fails where the answer is no list.
 */
const copies = (answer: unknown): Effect.Effect<ReadonlyArray<Issued>, ProvisionError> => {
  const list: ReadonlyArray<unknown> | undefined = Text.attempt(
    () =>
      Array.isArray(answer) && answer.length <= 4_096
        ? Array.from({ length: answer.length }, (_, i): unknown => answer[i])
        : undefined,
    undefined
  )
  if (list === undefined) {
    return Effect.fail(
      new ProvisionError({ message: "the provisioner returned no list of credentials", uncertain: true })
    )
  }
  const issued = list.map(issuedCopy)
  const lost = issued.find(({ handle }) => handle === unreadable)
  const found = issued.filter(({ handle }) => handle !== unreadable)
  return Effect.succeed(lost === undefined ? found : [lost, ...found])
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
  // Called as methods: a provisioner may be an instance of a class.
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
    ...(provisioner.rotate === undefined
      ? {}
      : {
          rotate: (handle, request) =>
            Effect.suspend(() => provisioner.rotate!(handle, request)).pipe(
              Effect.mapError(provisionError),
              Effect.flatMap((one) => copies([one])),
              Effect.map((all) => all[0]!)
            )
        }),
    ...(provisioner.reclaim === undefined
      ? {}
      : {
          reclaim: (reference) =>
            Effect.mapError(
              Effect.suspend(() => provisioner.reclaim!(reference)),
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
  const made = Tracer.make({
    span: (...args) => tracer.span(...args),
    context:
      tracer === Context.get(DefaultServices.liveServices, Tracer.Tracer)
        ? // Effect's own does no more than run the step, and this is on the path of every event.
          (run) => {
            try {
              return run()
            } catch (thrown) {
              // edge: what user code has thrown goes on to Effect, which makes a defect of it
              throw readable(thrown)
            }
          }
        : (run, fiber) => {
            try {
              return tracer.context(run, fiber)
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
 * The runtime for handlers' fibers: with the loggers of the program, which a handler can take out or replace by identity. How it ends is
 * not logged by its fiber: the runtime logs it.
 */
export const forUserCode = (runtime: Runtime.Runtime<never>): Runtime.Runtime<never> => {
  const loggers = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentLoggers)
  return runtime.pipe(
    Runtime.setFiberRef(
      FiberRef.currentLoggers,
      HashSet.map(loggers, (logger) => originals.get(logger) ?? logger)
    ),
    Runtime.setFiberRef(FiberRef.unhandledErrorLogLevel, Option.none())
  )
}
