/** The Go SDK's runtime: refusals name their request, frames of several jobs leave out of order. */
import { errorOf, type Traits } from "./sdkRuntime.js"

/** Frames that overtake others, at most. */
const jumps = 45

export const goRuntime: Traits = {
  name: "arcp-go",
  frameBytes: 1_048_576,
  retained: 100_000,
  id: (n) => `01980000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`,
  order: (frames) => {
    const out: Array<object> = []
    for (let at = 0; at < frames.length; at += jumps) {
      const part = frames.slice(at, at + jumps)
      const jobs = [...new Set(part.map(({ job }) => job))]
      for (const job of jobs.reverse()) {
        out.push(...part.filter((one) => one.job === job).map(({ frame }) => frame))
      }
    }
    return out
  },
  refuse: (runtime, link, request, code) =>
    runtime.say(link, "session.error", { ...errorOf(code), request_id: request.id }),
  refuseResume: (runtime, link, hello) => {
    runtime.say(link, "session.error", { ...errorOf("RESUME_WINDOW_EXPIRED"), request_id: hello.id })
    link.closes = [1008, ""]
  },
  cancelled: (runtime, link, _request, job) => {
    runtime.say(link, "job.cancelled", { job_id: job.id }, { job_id: job.id, event_seq: runtime.number(link) })
    runtime.end(job, "cancelled", "job.error", { final_status: "cancelled", code: "CANCELLED" })
  },
  timedOut: { type: "job.error", payload: { final_status: "timed_out", code: "TIMEOUT" } },
  repeat: "silence",
  subscribeEnded: "refuse",
  numbersSubscriptions: false,
  liveBeforeHistory: false,
  liveAfterResume: true,
  needsInput: false,
  needsReason: false,
  tellsTrace: false,
  budget: (list) => Object.fromEntries(list.map((one) => [one.split(":")[0]!, Number(one.split(":")[1])])),
  createdAt: "created_at",
  result: "output",
  listsEnded: false,
  close: "closed",
  closeEndsJobs: false
}
