/** What a runtime says of itself in its welcome (ARCP 1.1 §6.2). */
import * as Context from "effect/Context"
import type { AgentEntry } from "../../agent/AgentRegistry.js"
import type { Feature } from "../../protocol/Features.js"

/** The runtime's own facts. */
export class RuntimeInfo extends Context.Tag("effect-arcp/runtime/RuntimeInfo")<
  RuntimeInfo,
  {
    readonly name: string
    readonly version: string
    /** Features that it offers. */
    readonly features: ReadonlyArray<Feature>
    /** Milliseconds between messages, in each direction (§6.4). */
    readonly heartbeatInterval: number
    /** Milliseconds for which a session can be resumed after the last message (§6.3). */
    readonly resumeWindow: number
    /** Whether clients of other SDKs are known by the shape of their hello. */
    readonly peers: "auto" | "strict"
    readonly agents: () => ReadonlyArray<AgentEntry>
  }
>() {}
