/** Deadlines beside what else the event loop has to do. What is counted is turns and callbacks, never time. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Deadlines } from "../../src/runtime/kernel/Deadlines.js"
import { scheduled, turnMillis } from "../../src/runtime/kernel/Turn.js"

const burn = () => {
  for (const end = performance.now() + turnMillis + 1; performance.now() < end; );
}

const count = 40

it.live.each([
  ["the runtime's scheduler", scheduled(Deadlines.layer)],
  ["another scheduler", Deadlines.layer]
] as const)("callbacks that are due together leave the event loop its turns, on %s", ([, layer]) =>
  Effect.gen(function* () {
    const deadlines = yield* Deadlines
    const ran: Array<number> = []
    let most = 0
    let before = 0
    let handle = setImmediate(function look() {
      most = Math.max(most, ran.length - before)
      before = ran.length
      handle = setImmediate(look)
    })
    yield* Effect.async<void>((resume) => {
      const at = deadlines.mono()
      for (let n = 0; n < count; n++) {
        deadlines.schedule(at - count + n, () => {
          burn()
          ran.push(n)
          if (n === count - 1) resume(Effect.void)
        })
      }
    })
    clearImmediate(handle)
    // Each once, and the earliest first.
    expect(ran).toEqual(Array.from({ length: count }, (_, n) => n))
    expect(Math.max(most, ran.length - before)).toBeLessThanOrEqual(2)
  }).pipe(Effect.provide(Layer.fresh(layer)))
)

it.live("a deadline that is cancelled by one that is due with it does not run, also in a later turn", () =>
  Effect.gen(function* () {
    const deadlines = yield* Deadlines
    const ran: Array<string> = []
    yield* Effect.async<void>((resume) => {
      const at = deadlines.mono()
      deadlines.schedule(at - 3, () => {
        burn()
        ran.push("first")
        second.cancel()
        deadlines.schedule(at - 1, () => void ran.push("set meanwhile"))
      })
      const second = deadlines.schedule(at - 2, () => void ran.push("cancelled"))
      deadlines.schedule(at, () => {
        ran.push("last")
        resume(Effect.void)
      })
    })
    expect(ran).toEqual(["first", "set meanwhile", "last"])
  }).pipe(Effect.provide(Layer.fresh(scheduled(Deadlines.layer))))
)
