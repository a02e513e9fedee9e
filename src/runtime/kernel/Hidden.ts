/**
 * Whose secrets the texts of a fiber must not show (ARCP 1.1 §14): a handler's fiber, and those that it forks, belong to a job.
 *
 * Spans that such fibers make are exported without the values of the job's credentials, whoever makes them.
 */
import * as Cause from "effect/Cause"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as List from "effect/List"
import * as Logger from "effect/Logger"
import * as LogSpan from "effect/LogSpan"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { type Hide, hiddenCause, hiddenSpan, hiddenValue, type Hiding, withoutQueries } from "../../agent/HiddenSpan.js"

/** What a fiber belongs to. */
export interface Secretive {
  /** Takes its secrets out of a text; undefined where it has none. */
  readonly hide: Hide | undefined
}

/** What the fiber belongs to. */
export const secretive: FiberRef.FiberRef<Secretive | undefined> = FiberRef.unsafeMake<Secretive | undefined>(undefined)

const same: Hide = (text) => text

const hidingOf = ({ hide }: Secretive): Hiding =>
  hide === undefined
    ? { text: same, failure: withoutQueries }
    : { text: hide, failure: (text) => withoutQueries(hide(text)) }

/** A span as a fiber of a job may export it; others as they are. */
export const spanOf = (
  name: string,
  make: (name: string) => Tracer.Span,
  of: Secretive | undefined = Option.getOrUndefined(Fiber.getCurrentFiber())?.getFiberRef(secretive)
): Tracer.Span => (of === undefined ? make(name) : hiddenSpan(make(of.hide?.(name) ?? name), () => hidingOf(of)))

const hiddenLine = (line: Logger.Logger.Options<unknown>, hiding: Hiding): Logger.Logger.Options<unknown> => {
  const { text } = hiding
  const { message } = line
  return {
    ...line,
    message: Array.isArray(message) ? message.map((part) => hiddenValue(part, text)) : hiddenValue(message, text),
    cause: Cause.isEmptyType(line.cause) ? line.cause : hiddenCause(line.cause, hiding.failure),
    annotations: HashMap.fromIterable(
      Array.from(line.annotations, ([key, value]) => [text(key), hiddenValue(value, text)] as const)
    ),
    spans: List.map(line.spans, ({ label, startTime }) => LogSpan.make(text(label), startTime))
  }
}

/**
 * A logger of the program that shows no values of a job's provisioned credentials in what the job's handler, and fibers that it forked,
 * log themselves (ARCP 1.1 §14): messages, annotations, spans and causes, in the forms that `docs/security.md` lists. Objects that hold one become
 * texts. Lines that belong to no job, or to one without credentials, are passed on as they are.
 *
 * The runtime's own lines and spans, and a job's `log` events, need no such logger.
 *
 * @example
 * ```ts
 * import { Logger } from "effect"
 * import { withoutCredentials } from "effect-arcp/runtime"
 *
 * const LoggerLive = Logger.replace(Logger.defaultLogger, withoutCredentials(Logger.jsonLogger))
 * ```
 *
 * @since 0.2.0
 * @category combinators
 */
export const withoutCredentials = <A>(logger: Logger.Logger<unknown, A>): Logger.Logger<unknown, A> =>
  Logger.make((line) => {
    const of = FiberRefs.getOrDefault(line.context, secretive)
    return logger.log(of?.hide === undefined ? line : hiddenLine(line, hidingOf(of)))
  })
