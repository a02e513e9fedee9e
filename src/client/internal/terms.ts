/** What the client reads from a welcome about the runtime and the session (ARCP 1.1 §6.2). */
import { intersect } from "../../protocol/Features.js"
import type { AgentInfo, Peer, Welcome } from "../../protocol/Session.js"

export interface Terms {
  /** What the runtime calls itself. */
  readonly runtime: Peer
  /** The features that both sides have. */
  readonly features: ReadonlySet<string>
  readonly agents: ReadonlyArray<AgentInfo>
  readonly heartbeatMillis: number
  /** Whether the runtime is known to name every request that it answers. */
  readonly namesRequests: boolean
}

/** Before the first welcome. */
export const noTerms: Terms = {
  runtime: {},
  features: new Set(),
  agents: [],
  heartbeatMillis: 30_000,
  namesRequests: false
}

/** Reads a welcome. Without an interval in it, the previous one stays. `wanted`: the features that the client offered. */
export const termsOf = (payload: Welcome, wanted: ReadonlyArray<string>, previous: Terms): Terms => {
  const offered = payload.capabilities?.features ?? []
  const { heartbeat_interval_sec: heartbeat } = payload
  return {
    runtime: payload.runtime ?? {},
    features: new Set(intersect(wanted, offered)),
    agents: (payload.capabilities?.agents ?? []).map((agent) => (typeof agent === "string" ? { name: agent } : agent)),
    heartbeatMillis: heartbeat !== undefined && heartbeat > 0 ? heartbeat * 1000 : previous.heartbeatMillis,
    // Runtimes of this package name every request.
    namesRequests: offered.some((f) => f === "artifacts" || f.startsWith("x-vendor.effect-arcp."))
  }
}
