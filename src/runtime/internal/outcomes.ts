/** What a handler's exit means for its job (ARCP 1.1 §7.3, §8.4). */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import { Streamed } from "../../agent/Job.js"
import { Cancelled, InternalError, Timeout } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import * as Text from "../../protocol/Text.js"
import type { LimitsShape } from "../Limits.js"
import type { MeterShape } from "../Metrics.js"
import { diedOfDenial, toArcpError, type Upstream } from "./failures.js"
import type { LiveJob } from "./model.js"
import type { Outcome, Running, Stop } from "./running.js"

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

/** When a job has had its `max_runtime_sec`, which counts from its first start (§7.3). */
export const runtimeEnd = ({ record, startedAt }: LiveJob, now: number): number | undefined =>
  record.maxRuntimeSec === undefined ? undefined : (startedAt ?? now) + record.maxRuntimeSec * 1000

/** Why it is stopped then. */
export const tooLong = ({ record }: LiveJob): Stop => ({
  status: "timed_out",
  error: new Timeout({ message: `the job ran longer than its max_runtime_sec of ${record.maxRuntimeSec}` })
})

/** The end of a job whose agent failed unexpectedly; the message does not say how. */
export const internal = (message: string, retryable = true): Outcome => ({
  _tag: "error",
  status: "error",
  error: new InternalError({ message, retryable })
})

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
    return { outcome: { _tag: "error", status: "error", error: toArcpError(failure.value, upstream) } }
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
  if (stream !== undefined) {
    const same = Text.isInstance(value, Streamed) && Text.property(value, "resultId") === stream.resultId
    if (!same || !stream.complete) {
      return internal(
        "the agent streamed a result and answered another: a handler returns what streamResult answered",
        false
      )
    }
    const summary = stream.summary === undefined ? {} : { summary: stream.summary }
    return {
      _tag: "result",
      payload: JSON.stringify(
        running.inlineStream
          ? { final_status: "success", result: stream.inline, ...summary, completed_at }
          : { final_status: "success", result_id: stream.resultId, result_size: stream.size, ...summary, completed_at }
      ),
      value:
        stream.inline === undefined
          ? {
              _tag: "lost",
              error: new InternalError({
                message: `the streamed result is ${stream.size} bytes long, at most ${limits.inlineResult} are handed to a parent`,
                retryable: false
              })
            }
          : { _tag: "value", value: stream.inline }
    }
  }
  const tooLong = (length: number): Outcome => {
    meter.reached("inlineResult")
    return internal(
      `the result is ${length} characters long, at most ${limits.inlineResult} go inline: stream it`,
      false
    )
  }
  if (typeof value === "string" && value.length > limits.inlineResult) return tooLong(value.length)
  const json = Text.toJson(value)
  if (json._tag === "NotJson") return internal(`the agent's result is not JSON: ${json.why}`, false)
  const result = json._tag === "Json" ? json.text : "null"
  if (result.length > limits.inlineResult) return tooLong(result.length)
  return {
    _tag: "result",
    payload: `{"final_status":"success","result":${result},"completed_at":"${completed_at}"}`,
    // A copy: what user code returned may throw, or be another value, when it is read again.
    value: { _tag: "value", value: running.parent === undefined ? undefined : (JSON.parse(result) as unknown) }
  }
}
