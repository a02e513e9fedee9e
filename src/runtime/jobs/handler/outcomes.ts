/** What a handler's exit means for its job (ARCP 1.1 §7.3, §8.4). */
import { Buffer } from "node:buffer"
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import { Streamed } from "../../../agent/Job.js"
import { Cancelled, InternalError, permanentError } from "../../../protocol/Errors.js"
import { formatTimestamp } from "../../../protocol/Fields.js"
import * as Text from "../../../protocol/Text.js"
import type { LimitsShape } from "../../kernel/Limits.js"
import type { MeterShape } from "../../kernel/Metrics.js"
import * as FrameSize from "../../kernel/FrameSize.js"
import { inlinePayload } from "../../kernel/Payload.js"
import type { Upstream } from "../../credentials/UpstreamErrors.js"
import { diedOfDenial, toArcpError } from "./failures.js"
import type { Outcome, Running, Stop } from "../Running.js"

/** Why a delegated job is stopped when its parent is not there any more (§10). */
export const parentEnded: Stop = {
  status: "cancelled",
  error: new Cancelled({ message: "the job that delegated this one has ended or was stopped" })
}

/** Why a job ends that ran when an earlier process of the runtime ended. */
export const restarted = new InternalError({
  message: "the runtime was restarted while the job ran",
  details: { reason: "runtime_restarted" }
})

/** The end of a job that the runtime stopped. */
export const stopped = (reason: Stop): Outcome => ({ _tag: "error", status: reason.status, error: reason.error })

/** The end of a job whose agent failed unexpectedly; the message does not say how. */
export const internal = (message: string): Outcome => ({
  _tag: "error",
  status: "error",
  error: new InternalError({ message })
})

/** The end of a job that would end so whenever it is repeated. */
const permanently = (message: string): Outcome => ({ _tag: "error", status: "error", error: permanentError(message) })

/** The outcome, and what to log where the handler failed unexpectedly. A reason to stop wins over everything. */
export const outcomeOf = (
  running: Running,
  exit: Exit.Exit<unknown, unknown>,
  limits: LimitsShape,
  now: number,
  upstream: Upstream | undefined,
  meter: MeterShape
): { readonly outcome: Outcome; readonly defect?: Cause.Cause<unknown> } => {
  if (running.stop !== undefined) return { outcome: stopped(running.stop) }
  if (exit._tag === "Success") return { outcome: resultOf(running, exit.value, limits, now, meter) }
  const failure = Cause.failureOption(exit.cause)
  if (failure._tag === "Some" && Cause.defects(exit.cause).length === 0) {
    // Half of a frame: a session that takes no codes of agents is sent them in an error around the error.
    const room = Math.floor(FrameSize.bodyRoom(limits) / 2)
    return { outcome: { _tag: "error", status: "error", error: toArcpError(failure.value, upstream, room) } }
  }
  if (Cause.isInterruptedOnly(exit.cause)) return { outcome: internal("the agent's fiber was interrupted from within") }
  const denied = diedOfDenial(exit.cause)
  return {
    outcome:
      denied === undefined
        ? internal("the agent failed unexpectedly")
        : { _tag: "error", status: "error", error: denied },
    defect: exit.cause
  }
}

const resultOf = (running: Running, value: unknown, limits: LimitsShape, now: number, meter: MeterShape): Outcome => {
  const completed_at = formatTimestamp(now)
  const { stream } = running
  const room = FrameSize.resultRoom(limits, stream?.summary === undefined ? 0 : FrameSize.summaryBytes)
  const tooLong = (text: string, what: string): Outcome =>
    meter.reaching(
      "inlineResult",
      permanently(`the result has ${Buffer.byteLength(text)} bytes as JSON, at most ${room} go inline: ${what}`)
    )
  if (stream !== undefined) {
    const same = Text.isInstance(value, Streamed) && Text.property(value, "resultId") === stream.resultId
    if (!same || !stream.complete) {
      return permanently(
        "the agent streamed a result and returned another: a handler returns what streamResult returned"
      )
    }
    const summary = stream.summary === undefined ? {} : { summary: stream.summary }
    const inline = running.inlineStream ? JSON.stringify(stream.inline) : undefined
    if (inline !== undefined && !FrameSize.fits(inline, room)) {
      return tooLong(inline, "the client must negotiate result_chunk")
    }
    return {
      _tag: "result",
      payload:
        inline === undefined
          ? JSON.stringify({
              final_status: "success",
              result_id: stream.resultId,
              result_size: stream.size,
              ...summary,
              completed_at
            })
          : inlinePayload(inline, stream.summary, completed_at),
      value:
        stream.inline === undefined
          ? {
              _tag: "lost",
              error: permanentError(
                `the streamed result is ${stream.size} bytes long, at most ${room} are handed to a parent`
              )
            }
          : { _tag: "value", value: stream.inline }
    }
  }
  // The text of a string's JSON is longer than the string: it is not made where that is enough.
  if (typeof value === "string" && value.length > room) return tooLong(value, "stream it")
  const json = Text.toJson(value)
  if (json._tag === "NotJson") return permanently(`the agent's result is not JSON: ${json.why}`)
  const result = json._tag === "Json" ? json.text : "null"
  if (!FrameSize.fits(result, room)) return tooLong(result, "stream it")
  return {
    _tag: "result",
    payload: inlinePayload(result, undefined, completed_at),
    // A copy: what user code returned may throw, or be another value, when it is read again.
    value: { _tag: "value", value: running.parent === undefined ? undefined : (JSON.parse(result) as unknown) }
  }
}
