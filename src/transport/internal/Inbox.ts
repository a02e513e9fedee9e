/**
 * A queue between a driver's callbacks and one reading fiber: filled synchronously, emptied whole.
 *
 * It never refuses: whoever fills it looks at `size` and holds its source back, and is told by `onTaken` when all has
 * been taken. What was pushed before the end is delivered before the end.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { setPull } from "./pulls.js"

export class Inbox<A> {
  private items: Array<A> = []
  private finished = false
  private readonly takers: Array<() => void> = []
  private readonly onTaken: () => void
  private readonly onEnd: () => void
  /** The sum of the sizes of what waits. */
  size = 0

  /** `onTaken`: all has just been taken. `onEnd`: the reader has just seen the end. */
  constructor(onTaken: () => void = noop, onEnd: () => void = noop) {
    this.onTaken = onTaken
    this.onEnd = onEnd
  }

  /** How many items wait. */
  get length(): number {
    return this.items.length
  }

  get ended(): boolean {
    return this.finished
  }

  /** Adds an item; after the end it is dropped. */
  push(item: A, size = 1): void {
    if (this.finished) return
    this.items.push(item)
    this.size += size
    if (this.takers.length > 0) this.wake()
  }

  /** Nothing more comes. */
  end(): void {
    if (this.finished) return
    this.finished = true
    this.wake()
  }

  private wake(): void {
    for (const taker of this.takers.splice(0)) taker()
  }

  /** Everything that waits; undefined at the end. */
  readonly pull: Effect.Effect<ReadonlyArray<A> | undefined> = Effect.suspend(() => {
    if (this.items.length > 0) {
      const taken = this.items
      this.items = []
      this.size = 0
      this.onTaken()
      return Effect.succeed(taken)
    }
    if (this.finished) {
      this.onEnd()
      return nothing
    }
    return Effect.zipRight(this.filled, this.pull)
  })

  private readonly filled: Effect.Effect<void> = Effect.async((resume) => {
    if (this.items.length > 0 || this.finished) return resume(Effect.void)
    const taker = (): void => resume(Effect.void)
    this.takers.push(taker)
    return Effect.sync(() => {
      const index = this.takers.indexOf(taker)
      if (index >= 0) this.takers.splice(index, 1)
    })
  })

  /** What arrives, each pull in one chunk of all that waits. */
  readonly stream: Stream.Stream<A> = setPull(
    // Made when it is run: most are read by their pull, and would hold it for nothing.
    Stream.suspend(() =>
      Stream.repeatEffectChunkOption(
        Effect.flatMap(this.pull, (items) =>
          items === undefined ? Effect.fail(Option.none()) : Effect.succeed(Chunk.unsafeFromArray(items))
        )
      )
    ),
    this.pull
  )
}

const noop = (): void => {}

const nothing: Effect.Effect<undefined> = Effect.sync(() => undefined)
