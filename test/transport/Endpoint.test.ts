import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Scheduler } from "effect"
import { Endpoint } from "../../src/transport/internal/Endpoint.js"

/** A driver whose room comes or whose end comes in the very microtask in which a sender has looked for room. */
const scripted = (after: "flush" | "end") => {
  let full = true
  const written: Array<unknown> = []
  const endpoint: Endpoint = new Endpoint(
    {
      write: (frames) => written.push(...frames) > 0,
      waiting: () => {
        if (!full) return 0
        queueMicrotask(() => {
          full = false
          if (after === "flush") endpoint.flushed()
          else endpoint.end(1006, "gone")
        })
        return 10
      },
      hold: () => {},
      release: () => {},
      shut: () => {}
    },
    { transport: "memory", secure: true, highWater: 1, inboundBound: 10 }
  )
  return { endpoint, written }
}

/** Gives way once, before the operation of this number. */
const givingWayAt = (operation: number): Scheduler.Scheduler => {
  let seen = 0
  return Scheduler.make(
    (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber),
    () => (++seen === operation ? 0 : false)
  )
}

it.live("a send whose fiber gives way between its look and its wait misses neither room nor the end", () =>
  Effect.gen(function* () {
    for (const after of ["flush", "end"] as const) {
      for (let operation = 1; operation <= 12; operation++) {
        const { endpoint, written } = scripted(after)
        // @effect-diagnostics-next-line runEffectInsideEffect:off
        const sending = Effect.runFork(Effect.either(endpoint.send(["a"])), { scheduler: givingWayAt(operation) })
        // All that can happen happens in microtasks, of which these turns of the event loop see the end.
        const turns = Effect.promise(
          () => new Promise<"stalled">((resolve) => setImmediate(() => setImmediate(() => resolve("stalled"))))
        )
        const outcome = yield* Effect.raceFirst(Fiber.join(sending), turns)
        expect(outcome === "stalled" ? `stalled at ${operation}` : outcome._tag).toBe(
          after === "flush" ? "Right" : "Left"
        )
        expect(written).toEqual(after === "flush" ? ["a"] : [])
      }
    }
  })
)
