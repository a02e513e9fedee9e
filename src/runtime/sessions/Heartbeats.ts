/**
 * Heartbeats: keeping idle connections alive and noticing dead ones (ARCP 1.1 §6.4).
 *
 * Responsibility: one deadline per connection, none per message. When it is due, the times of the last message in each direction
 * decide whether to ping, to wait, or to end the connection. Jobs do not notice; the session stays for its window.
 *
 * Order: a connection is ended after two silent intervals, never before; a ping counts as its interval's message.
 *
 * Races: a session that another connection has taken over is watched by that one's deadline; the earlier one ends at its next look.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HeartbeatLost, toWire } from "../../protocol/Errors.js"
import { formatTimestamp } from "../../protocol/Fields.js"
import { Ids } from "../../protocol/Ids.js"
import * as Message from "../../protocol/Message.js"
import { closeCodes } from "../../transport/Connection.js"
import { Deadlines } from "../kernel/Deadlines.js"
import { heartbeatsLost, Meter } from "../kernel/Metrics.js"
import { RuntimeInfo } from "../kernel/RuntimeInfo.js"
import type { Attached } from "./Presence.js"

/** Watches connections. */
export class Heartbeats extends Context.Tag("effect-arcp/runtime/Heartbeats")<
  Heartbeats,
  {
    /** Watches a connection until its `heartbeat` deadline is cancelled. Does nothing where it was not negotiated. */
    readonly watch: (attached: Attached) => void
  }
>() {
  static readonly layer: Layer.Layer<Heartbeats, never, Deadlines | Ids | RuntimeInfo> = Layer.effect(
    Heartbeats,
    Effect.gen(function* () {
      const deadlines = yield* Deadlines
      const ids = yield* Ids
      const { heartbeatInterval } = yield* RuntimeInfo
      const { count } = yield* Meter

      const watch = ({ link, session }: Attached): void => {
        if (!session.features.has("heartbeat")) return
        const tick = (): void => {
          if (session.link !== link) return
          const now = deadlines.mono()
          const wall = deadlines.wall()
          const head = () => ({ id: ids.unsafeUlid(wall), session_id: session.sessionId })
          if (now - link.lastIn >= 2 * heartbeatInterval) {
            count(heartbeatsLost)
            link.post(
              Message.runtime(
                "session.error",
                head(),
                toWire(new HeartbeatLost({ message: `nothing came from the client for ${2 * heartbeatInterval} ms` }))
              )
            )
            link.end(closeCodes.policy, "HEARTBEAT_LOST")
            return
          }
          const idle = Math.min(link.lastOut, link.lastIn)
          if (now - idle >= heartbeatInterval) {
            // An unanswered ping is not repeated before its time: it counts as this interval's message.
            link.said(now)
            link.post(
              Message.runtime("session.ping", head(), {
                nonce: `p_${ids.unsafeUlid(wall)}`,
                sent_at: formatTimestamp(wall)
              })
            )
          }
          const next = Math.min(link.lastOut + heartbeatInterval, link.lastIn + 2 * heartbeatInterval)
          link.watch(deadlines.schedule(Math.max(next, now + 1), tick))
        }
        link.watch(deadlines.schedule(deadlines.mono() + heartbeatInterval, tick))
      }
      return { watch }
    })
  )
}
