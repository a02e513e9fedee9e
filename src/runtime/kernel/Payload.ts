/** Payloads of events as JSON text. */
import type { Priority } from "../../protocol/Envelope.js"
import { type ArcpError, toWire } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import type { LimitsShape } from "./Limits.js"
import { bodyRoom, fits } from "./FrameSize.js"

/** The payload of a `job.event`; `kind` is JSON text. */
export const eventPayload = (kind: string, millis: number, body: string): string =>
  `{"kind":${kind},"ts":"${formatTimestamp(millis)}","body":${body}}`

/** As {@link eventPayload}, of an event whose envelope has a priority. It is kept in front, so that {@link isPrioritized} is cheap. */
export const prioritizedPayload = (priority: Priority, kind: string, millis: number, body: string): string =>
  `{"priority":"${priority}",${eventPayload(kind, millis, body).slice(1)}`

/** Whether a payload is one of {@link prioritizedPayload}: the first key of every other one is `kind` or `final_status`. */
export const isPrioritized = (payload: string): boolean => payload.charCodeAt(2) === 112

/** Whether a payload is a `tool_call` or a `tool_result`, with a priority or without. */
export const isToolEvent = (payload: string): boolean =>
  payload.startsWith('"kind":"tool_', isPrioritized(payload) ? payload.indexOf(",") + 1 : 1)

/** The end of a frame with a prioritized payload: `"priority":"high","payload":{…}}`. */
export const prioritizedEnd = (payload: string): string => {
  const comma = payload.indexOf(",")
  return `${payload.slice(1, comma)},"payload":{${payload.slice(comma + 1)}}`
}

/** The payload of a `job.result` whose result goes inline (§7.3); `result` is JSON text. */
export const inlinePayload = (result: string, summary: string | undefined, completedAt: string): string =>
  `{"final_status":"success","result":${result},${
    summary === undefined ? "" : `"summary":${JSON.stringify(summary)},`
  }"completed_at":"${completedAt}"}`

// JSON leaves such a field out, and a tool_result has one of `result` and `error`.
const hasNoJson = (value: unknown): boolean =>
  value === undefined || typeof value === "function" || typeof value === "symbol"

/** The body of the `tool_result` of a failure as JSON text that fits an event: details that do not are left out. */
export const failedResultBody = (callId: string, error: ArcpError, limits: LimitsShape): string => {
  const text = JSON.stringify(toolResultBody(callId, { error }))
  if (fits(text, bodyRoom(limits))) return text
  const { details: _, ...rest } = toWire(error)
  return JSON.stringify({ call_id: callId, error: { ...rest, details: { omitted: "the details are too long" } } })
}

/** The body of a `tool_result`. */
export const toolResultBody = (
  callId: string,
  outcome: { readonly result: unknown } | { readonly error: ArcpError }
): object =>
  "error" in outcome
    ? { call_id: callId, error: toWire(outcome.error) }
    : { call_id: callId, result: hasNoJson(outcome.result) ? null : outcome.result }
