/** Turns of the event loop between the steps of what takes long. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Continues in a later turn of the event loop, after waiting I/O has been seen to. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => {
  // edge: the event loop itself; Effect's own yield runs in microtasks, which starve I/O for as long as they last
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** How long pieces follow each other in one turn of the event loop, in nanoseconds; and how many, whatever the clock says. */
const turnNanos = 4_000_000n
const piecesPerTurn = 32

/**
 * Runs a piece of work again and again, until it returns that there is no more to do. The event loop has a turn after some milliseconds of
 * them. So a piece should take a millisecond or two.
 */
export const inPieces = <E, R>(piece: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (;;) {
      const began = yield* Clock.currentTimeNanos
      for (let i = 0; i < piecesPerTurn; i++) {
        if (!(yield* piece)) return
        if ((yield* Clock.currentTimeNanos) - began >= turnNanos) break
      }
      yield* nextTurn
    }
  })
