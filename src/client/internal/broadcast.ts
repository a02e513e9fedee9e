/**
 * Values for any number of consumers: each stream has a queue of its own, from the moment it opens.
 *
 * Order: each consumer gets the values in the order in which they were published; those that wait when the end comes are still
 * handed out. Races: a value between a look at the queue and the wait is not lost (see `Signal`); after the end a stream that
 * opens is handed only what it begins with.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Signal } from "./signal.js"

/** What waits for one consumer. */
interface Queue<A> {
  readonly values: Array<A>
  readonly changed: Signal
}

/** A source of values that are published synchronously. */
export class Broadcast<A> {
  private readonly queues = new Set<Queue<A>>()
  private readonly most: number
  private ended = false

  /** `most` is how many values are kept for a slow consumer; beyond them its oldest are dropped. */
  constructor(most: number) {
    this.most = most
  }

  publish(value: A): void {
    for (const { changed, values } of this.queues) {
      if (values.length >= this.most) values.shift()
      values.push(value)
      changed.signal()
    }
  }

  /** Ends every stream. */
  end(): void {
    this.ended = true
    for (const { changed } of this.queues) changed.signal()
  }

  /** The values from now on, after those that `first` returns. */
  stream(first: () => Array<A>): Stream.Stream<A> {
    const open = Effect.sync((): Queue<A> => {
      const queue = { values: first(), changed: new Signal() }
      this.queues.add(queue)
      return queue
    })
    const close = (queue: Queue<A>) => Effect.sync(() => this.queues.delete(queue))
    return Stream.unwrapScoped(
      Effect.map(Effect.acquireRelease(open, close), (queue) => Stream.repeatEffectChunkOption(this.pull(queue)))
    )
  }

  private pull(queue: Queue<A>): Effect.Effect<Chunk.Chunk<A>, Option.Option<never>> {
    return Effect.suspend(() => {
      if (queue.values.length > 0) return Effect.succeed(Chunk.unsafeFromArray(queue.values.splice(0)))
      if (this.ended) return Effect.fail(Option.none())
      return Effect.zipRight(queue.changed.wait, this.pull(queue))
    })
  }
}
