/** Loggers and tracers of the program, made total: what they and any step of user code throw cannot take a fiber of the runtime down. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import * as Text from "../../protocol/Text.js"
import { spanOf } from "./Hidden.js"

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
export const readable = (thrown: unknown): unknown => {
  try {
    Predicate.hasProperty(thrown, "_tag")
    return thrown
  } catch {
    return new Error(Text.ofUnknown(thrown))
  }
}

const native = Context.get(DefaultServices.liveServices, Tracer.Tracer)

const totals = new WeakMap<Tracer.Tracer, Tracer.Tracer>()

/**
 * The tracer, with every span of a job without its secrets, and every step of a fiber guarded: what it throws reaches Effect as a value that Effect can look into. Else the
 * exception would leave the fiber without an end, and take what else the scheduler runs with it.
 */
const guarding = (tracer: Tracer.Tracer): Tracer.Tracer => {
  const known = totals.get(tracer)
  if (known !== undefined) return known
  const made = Tracer.make({
    span: (name, ...rest) => spanOf(name, (shown) => tracer.span(shown, ...rest)),
    context:
      tracer === native
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
 * Whether the spans of a runtime's fibers can be observed: its tracer is not Effect's own (which keeps no spans), tracing is disabled, or
 * annotations or links are to be added to every span.
 */
export const isTraced = ({ fiberRefs }: Runtime.Runtime<never>): boolean => {
  const tracer = Context.get(FiberRefs.getOrDefault(fiberRefs, DefaultServices.currentServices), Tracer.Tracer)
  return (
    (tracer !== native && tracer !== totals.get(native)) ||
    !FiberRefs.getOrDefault(fiberRefs, FiberRef.currentTracerEnabled) ||
    HashMap.size(FiberRefs.getOrDefault(fiberRefs, FiberRef.currentTracerSpanAnnotations)) > 0 ||
    Chunk.size(FiberRefs.getOrDefault(fiberRefs, FiberRef.currentTracerSpanLinks)) > 0
  )
}

/**
 * Builds a layer, and runs what it starts, so that user code cannot take a fiber down: loggers cannot throw into the fiber that logs, and
 * what any step throws is a value that Effect can look into.
 *
 * Effect logs whatever an unobserved fiber fails with, as it is, at the level Debug: an error of a provisioner, an authenticator or an agent may
 * quote a secret. So that is off; what operators have to know, the runtime logs itself.
 */
export const withTotalUserCode = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  layer.pipe(
    Layer.locallyWith(FiberRef.currentLoggers, HashSet.map(total)),
    Layer.locally(FiberRef.unhandledErrorLogLevel, Option.none()),
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
