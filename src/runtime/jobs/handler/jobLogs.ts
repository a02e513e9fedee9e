/**
 * What a handler logs by `Effect.log*`: annotated for the program's loggers, and a `log` event of the job (ARCP 1.1 §8.2).
 *
 * Responsibility: a line becomes an event here, bounded, without what must not be shown: the cause, which is for operators; values of
 * the job's credentials; what is `Redacted`.
 *
 * Order: a line is queued in the step in which it is logged, so that it has its place among the job's other events.
 *
 * A logger cannot wait, so that a job that logs faster than its events are written, or than its owner reads them, is not slowed but cut:
 * where `Job.log` would wait, lines are left out, and the next line that has room is preceded by one that says how many. Nothing is
 * kept of them. A logger that is called by what it shows (a `toJSON` that logs) shows nothing: there is no recursion.
 *
 * A handler that logs nothing pays for two fields of its fiber.
 */
import type * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as List from "effect/List"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { InvalidRequest } from "../../../protocol/Errors.js"
import type { LogLevel as WireLevel } from "../../../protocol/Event.js"
import * as Text from "../../../protocol/Text.js"
import { secretive } from "../../kernel/Hidden.js"
import type { Running } from "../Running.js"
import type { Logging } from "./handlerRun.js"
import type { JobCalls } from "./jobCalls.js"

/** Bytes of a line's message, and of its annotations and its spans, as JSON. */
const maxMessage = 8_192
const maxFields = 4_096

/** What every line of a handler is annotated with; its clients know it. */
const ownAnnotations: ReadonlySet<string> = new Set(["job_id", "agent", "attempt"])

const wireLevel = (level: LogLevel.LogLevel): WireLevel =>
  LogLevel.greaterThanEqual(level, LogLevel.Error)
    ? "error"
    : LogLevel.greaterThanEqual(level, LogLevel.Warning)
      ? "warn"
      : LogLevel.greaterThanEqual(level, LogLevel.Info)
        ? "info"
        : "debug"

type Line = Logger.Logger.Options<unknown>
type Shown = (text: string) => string

const plainOf = (value: unknown, bytes: number, text: Shown): unknown =>
  Text.bounded(value, { bytes, depth: 8, instances: "shown", text })

const shownPart = (part: unknown, text: Shown): string => {
  if (typeof part === "string") return text(part)
  const copy = plainOf(part, maxMessage, text)
  return typeof copy === "string" ? copy : (JSON.stringify(copy) ?? Text.ofUnknown(part, 64))
}

/** The parts of a message, texts as they are and the others as JSON, in one text; no part is looked at behind its end. */
const messageOf = (message: unknown, text: Shown): string => {
  const parts: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
  let shown = ""
  for (let i = 0; i < parts.length && shown.length <= maxMessage; i++) {
    // More than fits is not copied: a part may be a text of 100 MB.
    shown += (i === 0 ? "" : " ") + shownPart(parts[i], text).slice(0, maxMessage + 1)
  }
  return Text.fitting(shown, maxMessage)
}

const fieldsOf = (entries: Iterable<readonly [string, unknown]>, text: Shown): object | undefined => {
  const kept = Array.from(entries).filter(([name]) => !ownAnnotations.has(name))
  return kept.length === 0 ? undefined : (plainOf(Object.fromEntries(kept), maxFields, text) as object | undefined)
}

const bodyOf = ({ annotations, cause, date, logLevel, message, spans }: Line, text: Shown): object => ({
  level: wireLevel(logLevel),
  message: messageOf(message, text) || (cause._tag === "Empty" ? "" : "a failure was logged"),
  annotations: fieldsOf(annotations, text),
  spans: fieldsOf(
    List.toArray(spans).map(({ label, startTime }) => [label, date.getTime() - startTime]),
    text
  )
})

/** The lines of one job. */
export class JobLines {
  private readonly calls: () => JobCalls
  private readonly least: LogLevel.LogLevel
  private left = 0
  private busy = false

  constructor(calls: () => JobCalls, least: LogLevel.LogLevel) {
    this.calls = calls
    this.least = least
  }

  /** Makes an event of a line. Total: nothing of it can throw into the fiber that logs. */
  add(line: Line): void {
    if (this.busy) return
    this.busy = true
    try {
      if (LogLevel.greaterThanEqual(line.logLevel, this.least)) this.queue(line)
    } catch {
      this.left++
    } finally {
      this.busy = false
    }
  }

  /** Reports the lines that have been left out. */
  report(): void {
    if (this.left === 0) return
    const message = `${this.left} lines of the agent's log were left out: it logs faster than they are written or read`
    this.left = 0
    this.calls().events.queue("log", { level: "warn", message })
  }

  private queue(line: Line): void {
    const calls = this.calls()
    const { events } = calls
    if (!events.hasRoom()) {
      this.left++
      return
    }
    this.report()
    const hide = calls.upstream()?.hide
    const body = bodyOf(line, hide ?? ((text) => text))
    // Where events are small, a part of the message is what fits.
    if (!(events.queue("log", body) instanceof InvalidRequest)) return
    const message = Text.fitting(Text.ofUnknown(Text.property(body, "message")), 256)
    if (events.queue("log", { level: wireLevel(line.logLevel), message }) instanceof InvalidRequest) this.left++
  }
}

/** The lines of a run of an agent's handler, from the agent's level on; undefined where it keeps them to the program's loggers. */
export const make = ({ agent }: Running, calls: () => JobCalls): JobLines | undefined => {
  const level = agent.logEvents ?? "Info"
  return level === "None" ? undefined : new JobLines(calls, LogLevel.fromLiteral(level))
}

/** The run that a fiber belongs to: the handler's own, and those that it forks. */
export const logging = secretive as FiberRef.FiberRef<Logging | undefined>

/** Makes events of what the handlers of a runtime log: for their fibers, beside the program's loggers. */
export const jobLogger: Logger.Logger<unknown, void> = Logger.make((line) => {
  FiberRefs.getOrDefault(line.context, logging)?.logs?.add(line)
})
