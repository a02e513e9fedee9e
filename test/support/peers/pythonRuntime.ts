/**
 * The Python SDK's runtime: errors name nothing, a subscription has numbers of its own and its history comes first, and nothing
 * live reaches a resumed session.
 */
import { goRuntime } from "./goRuntime.js"
import { errorOf, type Traits } from "./sdkRuntime.js"

export const pythonRuntime: Traits = {
  ...goRuntime,
  name: "arcp-python",
  id: (n) => `01JB${String(n).padStart(22, "0")}`,
  order: (frames) => frames.map(({ frame }) => frame),
  refuse: (runtime, link, _request, code) => runtime.say(link, "session.error", { ...errorOf(code), details: null }),
  refuseResume: (runtime, link) => {
    runtime.say(link, "session.error", { ...errorOf("PERMISSION_DENIED"), details: null })
    link.closes = [1008, ""]
  },
  cancelled: (runtime, _link, _request, job) =>
    runtime.end(job, "cancelled", "job.result", { final_status: "cancelled", result: null }),
  timedOut: { type: "job.result", payload: { final_status: "timed_out", result: null } },
  subscribeEnded: "silence",
  numbersSubscriptions: true,
  liveAfterResume: false,
  needsReason: true,
  budget: (list) => list[0],
  createdAt: "submitted_at",
  result: "result",
  listsEnded: true,
  close: "unknown"
}
