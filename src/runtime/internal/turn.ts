/** Giving the event loop a turn, so that sockets are read and timers fire while agents are busy. */
import * as Effect from "effect/Effect"

/** Runs something in a later turn of the event loop. */
// edge: the event loop itself; Effect's own yield runs in microtasks, which starve I/O for as long as they last
export const defer: (run: () => void) => void = setImmediate

/** Continues in a later turn of the event loop, after waiting I/O has been seen to. */
export const nextTurn: Effect.Effect<void> = Effect.async<void>((resume) => void defer(() => resume(Effect.void)))
