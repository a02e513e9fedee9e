/** How a job ended, from the frame that says so (ARCP 1.1 §7.3). */
import type * as Envelope from "../../protocol/Envelope.js"
import { Cancelled, fromJobError, type InvalidRequest, oneLine, Timeout } from "../../protocol/Errors.js"
import type { JobError, Result } from "../../protocol/Job.js"
import type * as Message from "../../protocol/Message.js"
import { jobStatuses } from "../../protocol/Session.js"
import { ResultInvalid } from "../ClientError.js"
import type { End } from "./job.js"

/** A job's end that breaks its schema: the job has ended, and it cannot be told how. */
interface UnreadableEnd {
  readonly type: "unreadable"
  readonly envelope: Envelope.RawEnvelope
  readonly error: InvalidRequest
}

export type Terminal = (Message.RuntimeMessage & { readonly type: "job.result" | "job.error" }) | UnreadableEnd

/** The end that a frame stands for. */
export const endOf = (jobId: string, message: Terminal): End => {
  const invalid = (why: string): End => ({
    _tag: "lost",
    error: new ResultInvalid({ jobId, message: oneLine(why) })
  })
  if (message.type === "unreadable") return invalid(`the end of the job cannot be read: ${message.error.message}`)
  if (message.type === "job.error") {
    const payload = message.payload as JobError
    return { _tag: "error", payload, error: fromJobError(payload) }
  }
  const payload = message.payload as Result
  const { final_status: status, summary } = payload
  if (status === "cancelled" || status === "timed_out") {
    // Some runtimes say it so; a result that comes with it is none (§7.3).
    const told = oneLine(summary ?? (status === "cancelled" ? "the job was cancelled" : "the job exceeded its time"))
    const error = status === "cancelled" ? new Cancelled({ message: told }) : new Timeout({ message: told })
    return {
      _tag: "error",
      payload: { final_status: status, code: error.code, message: told, completed_at: payload.completed_at },
      error
    }
  }
  return status !== undefined && status !== "success" && (jobStatuses as ReadonlyArray<string>).includes(status)
    ? invalid(`the job has a result and ended as ${status}: one of them is wrong`)
    : { _tag: "result", payload }
}
