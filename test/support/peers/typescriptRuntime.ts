/** The TypeScript SDK's runtime: a refused submit is a `job.error` of a job that never was, told by its trace alone. */
import { goRuntime } from "./goRuntime.js"
import { errorOf, type Traits } from "./sdkRuntime.js"

export const typescriptRuntime: Traits = {
  ...goRuntime,
  name: "arcp-typescript",
  frameBytes: 104_857_600,
  id: (n) => `msg_01JB${String(n).padStart(22, "0")}`,
  order: (frames) => frames.map(({ frame }) => frame),
  refuse: (runtime, link, request, code, jobId) => {
    if (request.type === "job.subscribe") return runtime.say(link, "session.error", errorOf(code))
    runtime.say(
      link,
      "job.error",
      { final_status: "error", ...errorOf(code) },
      { job_id: jobId ?? `job_never_${runtime.next()}`, trace_id: request.trace_id }
    )
  },
  refuseResume: (runtime, link) => {
    runtime.say(link, "session.error", errorOf("RESUME_WINDOW_EXPIRED"))
    link.closes = [1008, ""]
  },
  cancelled: (runtime, link, _request, job) => {
    runtime.say(link, "job.cancelled", { job_id: job.id }, { job_id: job.id })
    runtime.end(job, "cancelled", "job.error", { final_status: "cancelled", code: "CANCELLED", message: "cancelled" })
  },
  timedOut: { type: "job.error", payload: { final_status: "timed_out", code: "TIMEOUT", message: "too long" } },
  repeat: "replay",
  subscribeEnded: "replay",
  tellsTrace: true,
  result: "result",
  listsEnded: true,
  close: "unknown"
}
