/** Values for any number of consumers, each with a queue of its own. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Stream } from "effect"
import { Broadcast } from "../../src/client/internal/broadcast.js"

/** Runs a stream in a fiber of its own, and returns once its queue is open. */
const reading = <A>(source: Broadcast<A>, first: ReadonlyArray<A>, each: (value: A) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    let isOpen = false
    const stream = source.stream(() => {
      isOpen = true
      return [...first]
    })
    const fiber = yield* Effect.fork(Stream.runCollect(Stream.tap(stream, each)))
    yield* Effect.repeat(Effect.yieldNow(), { until: () => isOpen })
    return fiber
  }).pipe(Effect.map((fiber) => Effect.map(Fiber.join(fiber), Chunk.toReadonlyArray)))

const nothing = () => Effect.void

describe("a broadcast", () => {
  it.effect("hands each consumer what is published from its opening on, after what it begins with", () =>
    Effect.gen(function* () {
      const source = new Broadcast<number>(8)
      source.publish(1)
      const early = yield* reading(source, [0], nothing)
      source.publish(2)
      const late = yield* reading(source, [], nothing)
      source.publish(3)
      source.end()
      expect(yield* early).toEqual([0, 2, 3])
      expect(yield* late).toEqual([3])
    })
  )

  it.effect("keeps its newest values for a consumer that is slow, and the others have all", () =>
    Effect.gen(function* () {
      const source = new Broadcast<number>(3)
      let release = (): void => {}
      let held = 0
      const holding = Effect.async<void>((resume) => {
        held++
        release = () => resume(Effect.void)
      })
      let seen = 0
      const slow = yield* reading(source, [0], () => (held === 0 ? holding : Effect.void))
      const quick = yield* reading(source, [], () => Effect.sync(() => void seen++))
      yield* Effect.repeat(Effect.yieldNow(), { until: () => held === 1 })
      for (const value of [1, 2, 3, 4, 5]) {
        source.publish(value)
        yield* Effect.repeat(Effect.yieldNow(), { until: () => seen === value })
      }
      release()
      source.end()
      expect(yield* quick).toEqual([1, 2, 3, 4, 5])
      expect(yield* slow).toEqual([0, 3, 4, 5])
    })
  )

  it.effect("after its end a stream has what it begins with, and nothing more", () =>
    Effect.gen(function* () {
      const source = new Broadcast<number>(3)
      source.end()
      expect(yield* Stream.runCollect(source.stream(() => [7]))).toEqual(Chunk.of(7))
      expect(yield* Stream.runCollect(source.stream(() => []))).toEqual(Chunk.empty())
    })
  )

  it.effect("fills no queue of a consumer that has stopped", () =>
    Effect.gen(function* () {
      const source = new Broadcast<number>(3)
      const queue = [1]
      expect(
        yield* Stream.runCollect(
          Stream.take(
            source.stream(() => queue),
            1
          )
        )
      ).toEqual(Chunk.of(1))
      source.publish(9)
      expect(queue).toEqual([])
    })
  )
})
