/**
 * The fibers beside a connection's reader: the writer, the heartbeat, the acknowledgements, and the time-outs.
 *
 * Responsibility: each is one loop that runs as long as its connection (see `fibers`). None of them reads a frame, and none
 * decides what the end of a connection means: they close it, with the reason.
 *
 * Order: the writer takes the whole queue at once; the time of a request counts from the end of the write. Races: a frame that is queued
 * while the writer writes: the signal is not lost, and the writer looks at the queue before it waits.
 */
import * as Effect from "effect/Effect"
import { formatTimestamp } from "../../protocol/Fields.js"
import { closeCodes, type Connection, type ConnectionClosed } from "../../transport/Connection.js"
import type { Link } from "./link.js"
import type { Shared } from "./shared.js"

/** Milliseconds to wait for a welcome after a first frame that cannot be read. */
const afterGarbage = 1_000

/** Sends what is queued. */
export const writer = (
  { core, inFlight, options, toSend }: Shared,
  connection: Connection,
  link: Link
): Effect.Effect<void, ConnectionClosed> =>
  Effect.suspend(function next(): Effect.Effect<void, ConnectionClosed> {
    if (core.outgoing.size === 0) return Effect.zipRight(toSend.wait, Effect.suspend(next))
    link.writes(options.times.mono())
    const frames = core.outgoing.take()
    const requests = core.outgoing.takeUnwritten()
    return Effect.flatMap(connection.send(frames), () => {
      link.written()
      inFlight.written(requests)
      return next()
    })
  })

/** Pings a silent connection, and closes one that stays silent (ARCP 1.1 §6.4). */
export const heartbeats = (
  { core, lag, options, toSend }: Shared,
  connection: Connection,
  link: Link
): Effect.Effect<void> =>
  // The interval is known with the welcome; until then the handshake's time counts.
  Effect.zipRight(
    link.welcome.wait,
    Effect.suspend(function tick(): Effect.Effect<void> {
      const interval = core.terms.heartbeatMillis
      return Effect.zipRight(
        Effect.sleep(interval / 2),
        Effect.suspend(() => {
          if (!core.welcomed || !core.features.has("heartbeat")) return Effect.suspend(tick)
          const silent = options.times.mono() - core.lastIn
          if (silent >= 2 * interval && !lag.isPaused) return connection.close(closeCodes.policy, "HEARTBEAT_LOST")
          if (silent >= interval || options.times.mono() - link.lastOut >= interval) {
            core.post("session.ping", {
              nonce: `hb_${options.newId()}`,
              sent_at: formatTimestamp(options.times.wall())
            })
            toSend.signal()
          }
          return Effect.suspend(tick)
        })
      )
    })
  )

/** Fails requests that have waited too long. Closes the connection where a write takes twice `requestTimeout`. */
export const timeouts = (
  { inFlight, lag, notices, options }: Shared,
  connection: Connection,
  link: Link
): Effect.Effect<void> =>
  Effect.suspend(function look(): Effect.Effect<void> {
    const next = inFlight.expire(link.attempt.remark)
    // A job that was lost with its request must stop holding up the reader.
    lag.lookAgain()
    const since = link.writingSince
    if (since !== undefined && options.times.mono() - since >= 2 * options.requestTimeout) {
      return connection.close(closeCodes.policy, "the runtime reads nothing")
    }
    return notices.publish.pipe(Effect.zipRight(Effect.sleep(next)), Effect.zipRight(Effect.suspend(look)))
  })

/** Acknowledges processed events, `ackInterval` after the first of them (ARCP 1.1 §6.5). */
export const acknowledgements = ({ core, options, toAcknowledge, toSend }: Shared): Effect.Effect<never> =>
  Effect.forever(
    Effect.zipRight(
      toAcknowledge.wait,
      Effect.zipRight(
        Effect.sleep(options.ackInterval),
        Effect.sync(() => {
          core.acknowledge()
          if (core.outgoing.size > 0) toSend.signal()
        })
      )
    )
  )

/** Closes a connection on which no welcome comes; soon where the first frame is of another protocol. */
export const handshake = ({ core, options }: Shared, connection: Connection, link: Link): Effect.Effect<void> =>
  Effect.sleep(options.handshakeTimeout).pipe(
    Effect.raceFirst(Effect.zipRight(link.garbage.wait, Effect.sleep(afterGarbage))),
    Effect.zipRight(
      Effect.suspend(() => {
        if (core.welcomed) return Effect.void
        link.attempt.givesUp()
        return connection.close(closeCodes.policy, "no welcome came in time")
      })
    )
  )
