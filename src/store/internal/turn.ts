/** Turns of the event loop between the steps of what takes long. */
import * as Effect from "effect/Effect"

/** Continues in a later turn of the event loop, after waiting I/O has been seen to. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => {
  // edge: the event loop itself; Effect's own yield runs in microtasks, which starve I/O for as long as they last
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})
