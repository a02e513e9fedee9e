/** Streams that can be read without a stream's machinery: each with its pull. */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

// Keyed by the stream, so that whoever puts another stream in its place (a test's faults, a trace) is not passed by.
const pulls = new WeakMap<object, Effect.Effect<unknown>>()

/** Tells a stream's pull: everything that waits, or undefined at the end. */
export const setPull = <A>(
  stream: Stream.Stream<A>,
  pull: Effect.Effect<ReadonlyArray<A> | undefined>
): Stream.Stream<A> => {
  pulls.set(stream, pull)
  return stream
}

/** The pull of a stream, where it has one. */
export const pullOf = <A>(stream: Stream.Stream<A>): Effect.Effect<ReadonlyArray<A> | undefined> | undefined =>
  pulls.get(stream) as Effect.Effect<ReadonlyArray<A> | undefined> | undefined
