/**
 * A queue between a driver's callbacks and one reader: filled synchronously, emptied whole. The reader is a fiber that pulls, or while
 * it has nothing to do, two callbacks.
 *
 * It never refuses: whoever fills it looks at `size` and holds its source back, and is told by `onTaken` when all has
 * been taken. What was pushed before the end is delivered before the end.
 *
 * Order: a resting reader takes an item at once only where nothing is queued. What is pushed while it takes one is queued behind it.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Resting, setSource, type Source } from "./pulls.js"

export class Inbox<A> implements Source<A> {
  private items: Array<A> = []
  private finished = false
  private resting: Resting<A> | undefined = undefined
  private taking = false
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
    const { resting } = this
    if (resting !== undefined && !this.taking && this.offer(resting, item)) return
    this.items.push(item)
    this.size += size
    if (!this.taking) this.wake()
  }

  /** Whether the resting reader has taken an item. */
  private offer(resting: Resting<A>, item: A): boolean {
    this.taking = true
    const taken = resting.take(item)
    this.taking = false
    if (taken && (this.items.length > 0 || this.finished)) this.wake()
    return taken
  }

  /** Nothing more comes. */
  end(): void {
    if (this.finished) return
    this.finished = true
    if (!this.taking) this.wake()
  }

  private wake(): void {
    const { resting } = this
    this.resting = undefined
    resting?.wake()
    if (this.takers.length > 0) for (const taker of this.takers.splice(0)) taker()
  }

  rest(reader: Resting<A>): boolean {
    if (this.items.length > 0 || this.finished) return false
    this.resting = reader
    return true
  }

  rouse(): void {
    this.resting = undefined
  }

  /** Everything that waits; undefined at the end. */
  get pull(): Effect.Effect<ReadonlyArray<A> | undefined> {
    // Made when it is read, as what waits: most are idle, and would hold it for nothing.
    return Effect.suspend(() => this.taken())
  }

  private taken(): Effect.Effect<ReadonlyArray<A> | undefined> {
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
    return Effect.zipRight(this.filled(), this.pull)
  }

  private filled(): Effect.Effect<void> {
    return Effect.async((resume) => {
      if (this.items.length > 0 || this.finished) return resume(Effect.void)
      const taker = (): void => resume(Effect.void)
      this.takers.push(taker)
      return Effect.sync(() => {
        const index = this.takers.indexOf(taker)
        if (index >= 0) this.takers.splice(index, 1)
      })
    })
  }

  /** What arrives, each pull in one chunk of all that waits. */
  readonly stream: Stream.Stream<A> = setSource(
    // Made when it is run: most are read by their pull, and would hold it for nothing.
    Stream.suspend(() =>
      Stream.repeatEffectChunkOption(
        Effect.flatMap(this.pull, (items) =>
          items === undefined ? Effect.fail(Option.none()) : Effect.succeed(Chunk.unsafeFromArray(items))
        )
      )
    ),
    this
  )
}

const noop = (): void => {}

const nothing: Effect.Effect<undefined> = Effect.sync(() => undefined)
