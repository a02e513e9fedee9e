/** Streams that can be read without a stream's machinery, and without a fiber while nothing comes. */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** A reader that has no fiber at the moment. */
export interface Resting<A> {
  /**
   * Takes an item in the step in which it comes; false: it is queued, and the reader is woken. Never throws. What it pushes itself is queued
   * behind the item.
   */
  readonly take: (item: A) => boolean
  /** Something is queued, or the end has come. The reader rests no more. */
  readonly wake: () => void
}

/** Where a stream's items come from. */
export interface Source<A> {
  /** Everything that waits, or undefined at the end. */
  readonly pull: Effect.Effect<ReadonlyArray<A> | undefined>
  /** Lets a reader rest until something comes; false: something is there, or the end. */
  readonly rest: (reader: Resting<A>) => boolean
  /** The reader rests no more; it is not woken. */
  readonly rouse: () => void
}

// Keyed by the stream: a decorator (a test's faults, a trace) has a stream of its own, which is not in here, so it is never bypassed.
const sources = new WeakMap<object, Source<unknown>>()

/** Tells where a stream's items come from. */
export const setSource = <A>(stream: Stream.Stream<A>, source: Source<A>): Stream.Stream<A> => {
  sources.set(stream, source as Source<unknown>)
  return stream
}

/** Where a stream's items come from, where that is known. */
export const sourceOf = <A>(stream: Stream.Stream<A>): Source<A> | undefined =>
  sources.get(stream) as Source<A> | undefined
