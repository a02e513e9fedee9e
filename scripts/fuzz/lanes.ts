/** The lanes of the fuzzer by name, and what share of a run each has. */
import type { Desk, Lane } from "./lane.js"
import { listenInMemory, listenOnSocket } from "./accepts.js"
import { clientLane } from "./clientLane.js"
import { runtimeLane } from "./runtimeLane.js"

interface Described {
  readonly make: (desk: Desk) => Promise<Lane>
  /** Of the time of a run of all lanes. */
  readonly share: number
}

export const lanes = {
  /** A runtime in memory: most of the frames. */
  memory: { make: runtimeLane({ transport: "memory", store: "memory" }), share: 0.5 },
  /** As the bounds are by default: bad frames in a row end their connection. */
  bounded: { make: runtimeLane({ transport: "memory", store: "memory", badFramesInARow: 5 }), share: 0.05 },
  /** Whose rows go to a file and come from it. */
  sqlite: { make: runtimeLane({ transport: "memory", store: "sqlite" }), share: 0.1 },
  /** Over sockets, which carry bytes that are no text too. */
  socket: { make: runtimeLane({ transport: "socket", store: "memory" }), share: 0.1 },
  /** A client whose runtime keeps to no rule, in memory. */
  client: { make: clientLane(listenInMemory, false), share: 0.2 },
  /** The same over sockets. */
  "client-socket": { make: clientLane(listenOnSocket, true), share: 0.05 }
} as const satisfies Readonly<Record<string, Described>>

export type LaneName = keyof typeof lanes

export const laneNames = Object.keys(lanes) as ReadonlyArray<LaneName>
