/** How this package reads connections: in chunks, and without a fiber while nothing comes. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Connection, Inbound } from "./Connection.js"
import { type Resting, sourceOf } from "./internal/pulls.js"

export type { Resting }

/**
 * Reads what the peer sends, chunk by chunk, until the connection has ended: as `Stream.runForEachChunk` of
 * {@link Connection.inbound}, at a fraction of its time and memory where the connection is one of this package's. There `rests` is asked
 * before each pull, and may let a reader without a fiber rest: then this ends. Returns whether it has ended so.
 */
export const readChunks = <E, R>(
  connection: Connection,
  onChunk: (frames: ReadonlyArray<Inbound>) => Effect.Effect<void, E, R>,
  rests?: (rest: (reader: Resting<Inbound>) => boolean) => boolean
): Effect.Effect<boolean, E, R> => {
  const source = sourceOf(connection.inbound)
  if (source === undefined) {
    const read = Stream.runForEachChunk(connection.inbound, (chunk) => onChunk(Chunk.toReadonlyArray(chunk)))
    return Effect.as(read, false)
  }
  const rest = (reader: Resting<Inbound>): boolean => source.rest(reader)
  const pulled: Effect.Effect<boolean, E, R> = Effect.flatMap(source.pull, (frames) =>
    frames === undefined ? Effect.succeed(false) : Effect.zipRight(onChunk(frames), next)
  )
  const next = rests === undefined ? pulled : Effect.suspend(() => (rests(rest) ? Effect.succeed(true) : pulled))
  return next
}

/** The reader of a connection rests no more; it is not woken. */
export const rouse = (connection: Connection): void => sourceOf(connection.inbound)?.rouse()
