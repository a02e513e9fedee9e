/**
 * The reader of a connection: frames into the session's state, chunk by chunk.
 *
 * Responsibility: the order in which frames are taken, when consumers are notified, and when the reader yields or waits for them.
 *
 * Order: every frame of a chunk is one synchronous step; consumers are notified once after all of them, then acknowledgements and
 * replies are queued, then notices are published. Nothing is read after a frame that has settled the connection's outcome.
 *
 * Races: a fiber that has just received a job opens its stream some steps later: before many further frames the reader yields,
 * so that the job's chunks find their reader.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { BadFrame, closeCodes, type CloseInfo, type Connection, type Inbound } from "../../transport/Connection.js"
import { readChunks } from "../../transport/Reading.js"
import { broken } from "./attempt.js"
import * as FirstFrame from "./firstFrame.js"
import type { Link } from "./link.js"
import type { Reaction } from "./reaction.js"
import type { Shared } from "./shared.js"

/** At most this many frames are read without yielding to a fiber that has just received a new job. */
const few = 16
/** Gives such a fiber the steps that it needs to open its stream. */
const turns = Effect.replicateEffect(Effect.yieldNow(), 4, { discard: true })

/** After the frames of one chunk: acknowledges, sends, publishes, and waits for consumers that are behind. */
const settled = (
  { core, lag, notices, options, toAcknowledge, toSend }: Shared,
  connection: Connection,
  link: Link
): Effect.Effect<void> => {
  core.registry.changed.decide()
  const due =
    core.unackedBytes >= options.ackBytes ||
    // The first comparison is cheap, and the second cannot hold without it.
    (core.lastSeq - core.ackedSeq >= options.ackEvery && core.processedSeq - core.ackedSeq >= options.ackEvery)
  if (due) core.acknowledge()
  else if (core.lastSeq > core.ackedSeq) toAcknowledge.signal()
  if (core.outgoing.size > 0) toSend.signal()
  return link.outcome !== undefined
    ? Effect.zipRight(notices.publish, connection.close(closeCodes.normal, ""))
    : lag.isOver()
      ? Effect.zipRight(notices.publish, lag.wait)
      : notices.publish
}

/** Reads until the connection has ended. `react` carries out what a frame asks for. */
export const reader = (
  shared: Shared,
  connection: Connection,
  link: Link,
  react: (reaction: Reaction) => void
): Effect.Effect<CloseInfo> => {
  const { core } = shared
  const { attempt, garbage } = link

  /** After the frames of one chunk: notifies consumers, then {@link settled}. */
  const reacted = (): Effect.Effect<void> => {
    core.registry.flush()
    return core.registry.changed.hasUndecided
      ? Effect.zipRight(
          turns,
          Effect.suspend(() => settled(shared, connection, link))
        )
      : settled(shared, connection, link)
  }

  const take = (frames: ReadonlyArray<Inbound>): Effect.Effect<void> => {
    let at = 0
    return Effect.suspend(function next(): Effect.Effect<void> {
      while (at < frames.length && link.outcome === undefined) {
        const frame = frames[at++]!
        if (!attempt.heard) {
          attempt.hears(FirstFrame.undecodable(frame))
          if (attempt.garbage !== undefined) garbage.signal()
        }
        if (!(frame instanceof BadFrame)) react(core.read(frame))
        // Lets a fiber that has just received a job open its stream before many events of the job are read.
        if (frames.length - at > few && core.registry.takeAdopted()) return Effect.zipRight(turns, Effect.suspend(next))
      }
      return reacted()
    })
  }

  return Effect.zipRight(
    readChunks(connection, (frames) =>
      Effect.catchAllDefect(
        Effect.suspend(() => take(frames)),
        (defect) => {
          link.settle(broken(Cause.die(defect)))
          return Effect.die(defect)
        }
      )
    ),
    connection.closed
  )
}
