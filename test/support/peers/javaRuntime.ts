/** The Java SDK's runtime: every refusal is a `job.error` under the request's id, and frames overtake others by thousands. */
import { goRuntime } from "./goRuntime.js"
import { errorOf, type Traits } from "./sdkRuntime.js"

export const javaRuntime: Traits = {
  ...goRuntime,
  name: "arcp-java",
  frameBytes: 65_536,
  retained: 1_024,
  // Ids of one millisecond are not in order.
  id: (n) => `01HZ${String(n).padStart(22, "0").split("").reverse().join("")}`,
  order: (frames) => {
    const jobs = [...new Set(frames.map(({ job }) => job))].reverse()
    return jobs.flatMap((job) => frames.filter((one) => one.job === job).map(({ frame }) => frame))
  },
  refuse: (_runtime, link, request, code, jobId) => {
    const ofJob = request.type === "job.submit" ? {} : { job_id: jobId }
    const payload = { final_status: "error", ...errorOf(code) }
    link.out.push({ arcp: "1.1", id: request.id, type: "job.error", session_id: link.session?.id, ...ofJob, payload })
  },
  refuseResume: (runtime, link) => {
    runtime.say(link, "job.error", { final_status: "error", ...errorOf("RESUME_WINDOW_EXPIRED") })
    link.closes = [1000, ""]
  },
  cancelled: (runtime, link, _request, job) => {
    runtime.say(link, "job.cancelled", { job_id: job.id }, { job_id: job.id, event_seq: runtime.number(link) })
    runtime.end(job, "cancelled", "job.error", { final_status: "cancelled", code: "CANCELLED", message: "cancelled" })
  },
  subscribeEnded: "silence",
  liveBeforeHistory: true,
  needsInput: true,
  result: "result",
  closeEndsJobs: true
}
