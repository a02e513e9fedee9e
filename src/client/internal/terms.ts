/** What a runtime's welcome says of itself and of the session (ARCP 1.1 §6.2). */
import { intersect } from "../../protocol/Features.js"
import type { AgentInfo, Welcome } from "../../protocol/Session.js"

export interface Terms {
  /** The features that both sides have. */
  readonly features: ReadonlySet<string>
  readonly agents: ReadonlyArray<AgentInfo>
  readonly runtime: { readonly name?: string | undefined; readonly version?: string | undefined }
  readonly heartbeatMillis: number
  readonly resumeWindowMillis: number
  /** Whether the runtime is known to name every request that it answers. */
  readonly namesRequests: boolean
}

/** Before the first welcome. */
export const noTerms: Terms = {
  features: new Set(),
  agents: [],
  runtime: {},
  heartbeatMillis: 30_000,
  resumeWindowMillis: 600_000,
  namesRequests: false
}

/** Reads a welcome; times that it does not name stay as they were. `wanted`: the features that were offered to the runtime. */
export const termsOf = (payload: Welcome, wanted: ReadonlyArray<string>, previous: Terms): Terms => {
  const offered = payload.capabilities?.features ?? []
  const { heartbeat_interval_sec: heartbeat, resume_window_sec: resumeWindow } = payload
  return {
    features: new Set(intersect(wanted, offered)),
    agents: (payload.capabilities?.agents ?? []).map((agent) => (typeof agent === "string" ? { name: agent } : agent)),
    runtime: payload.runtime ?? {},
    heartbeatMillis: heartbeat !== undefined && heartbeat > 0 ? heartbeat * 1000 : previous.heartbeatMillis,
    resumeWindowMillis: resumeWindow === undefined ? previous.resumeWindowMillis : resumeWindow * 1000,
    // Runtimes of this package name every request.
    namesRequests: offered.some((f) => f === "artifacts" || f.startsWith("x-vendor.effect-arcp."))
  }
}
