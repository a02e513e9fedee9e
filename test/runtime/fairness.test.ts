/** One job never starves the others: what is counted is turns of the event loop and items of work, never time. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { webSocket } from "./backends.js"
import { barrier, hello, submit, withoutAck } from "./peer.js"
import { world } from "./world.js"

const items = 60

/** Longer than a turn of the event loop may last. */
const burn = Effect.sync(() => {
  for (const end = performance.now() + 6; performance.now() < end; );
})

/** How many items there were when the loop turned, turn by turn. */
const turnsOf = (count: () => number): { readonly most: () => number; readonly stop: () => void } => {
  let most = 0
  let before = count()
  let handle = setImmediate(function look() {
    most = Math.max(most, count() - before)
    before = count()
    handle = setImmediate(look)
  })
  return { most: () => Math.max(most, count() - before), stop: () => clearImmediate(handle) }
}

let done = 0
const busy = (name: string, item: Effect.Effect<unknown, unknown, Job>) =>
  Agent.untyped(name, () =>
    Effect.gen(function* () {
      for (let n = 0; n < items; n++) {
        yield* item
        done++
      }
      return items
    }).pipe(Effect.orDie)
  )

const agents = Layer.mergeAll(
  busy(
    "emitting",
    Effect.zipRight(
      burn,
      Effect.flatMap(Job, (job) => job.progress({ current: done }))
    )
  ),
  busy("yielding", Effect.zipRight(burn, Effect.yieldNow())),
  busy("computing", burn)
)

it.scopedLive.each([
  ["emitting", 2],
  ["yielding", 2],
  // It says nowhere that it may be stopped: some operations pass before the clock is looked at.
  ["computing", 32]
] as const)("an agent that is %s lets the event loop turn within %i items", ([agent, bound]) =>
  Effect.gen(function* () {
    const peer = yield* hello({ features: withoutAck })
    done = 0
    const turns = turnsOf(() => done)
    const accepted = yield* submit(peer, agent)
    yield* peer.terminal(accepted.job_id!)
    turns.stop()
    expect(done).toBe(items)
    expect(turns.most()).toBeLessThanOrEqual(bound)
  }).pipe(Effect.provide(world({ agents, transport: webSocket })))
)

it.scopedLive("a ping over another socket is answered before four busy agents have emitted their next few items", () =>
  Effect.gen(function* () {
    const peer = yield* hello({ features: withoutAck })
    const other = yield* hello()
    done = 0
    const jobs = yield* Effect.all(Array.from({ length: 4 }, () => submit(peer, "emitting")))
    const waits: Array<number> = []
    while (done < 4 * items - 20) {
      const before = done
      yield* barrier(other)
      waits.push(done - before)
    }
    for (const job of jobs) yield* peer.terminal(job.job_id!)
    // Both ends of the socket are in this process, and each has its turns to wait for.
    expect(waits.length).toBeGreaterThan(5)
    expect(Math.max(...waits)).toBeLessThanOrEqual(16)
  }).pipe(Effect.provide(world({ agents, transport: webSocket })))
)
