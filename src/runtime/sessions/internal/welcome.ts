/** The first frame of a connection that has a session (ARCP 1.1 §6.2). */
import type * as Context from "effect/Context"
import type { RawEnvelope } from "../../../protocol/Envelope.js"
import { formatTimestamp } from "../../../protocol/Fields.js"
import * as Message from "../../../protocol/Message.js"
import type { RuntimeInfo } from "../../kernel/RuntimeInfo.js"
import { inventory } from "./inventory.js"
import type { SessionLog } from "../../log/SessionLog.js"

/** Makes it, with as many agents as fit a frame; `now` is in milliseconds since the epoch. Payload and envelope name the session: some clients read only one of them. */
export const welcome = (
  info: Context.Tag.Service<RuntimeInfo>,
  session: SessionLog,
  token: string,
  id: string,
  now: number,
  resumeWindow: number,
  maxFrameBytes: number
): RawEnvelope =>
  Message.runtime(
    "session.welcome",
    { id, session_id: session.sessionId },
    {
      runtime: { name: info.name, version: info.version },
      session_id: session.sessionId,
      accepted_at: formatTimestamp(now),
      resume_token: token,
      resume_window_sec: Math.max(1, Math.floor(resumeWindow / 1000)),
      heartbeat_interval_sec: Math.max(1, Math.round(info.heartbeatInterval / 1000)),
      capabilities: {
        encodings: ["json"],
        features: [...session.features],
        ...inventory(info.agents(), session.features.has("agent_versions"), maxFrameBytes)
      }
    }
  )
