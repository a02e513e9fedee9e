/** The fiber refs of handlers: those that the program's layers have set, of which a fork may make something new for each job. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, FiberRef, Layer } from "effect"
import { Agent } from "../../src/agent/index.js"
import { hello, submit } from "./peer.js"
import { world } from "./world.js"

const region = FiberRef.unsafeMake("nowhere")
/** Each fiber has a list of its own. */
const notes = FiberRef.unsafeMake<Array<string>>([], { fork: () => [] })
/** Each fiber is one deeper. */
const depth = FiberRef.unsafeMake(0, { fork: (before) => before + 1 })

const agents = Agent.untyped("look", (input) =>
  Effect.gen(function* () {
    const own = yield* FiberRef.get(notes)
    own.push(String(input))
    const before = yield* FiberRef.get(region)
    yield* FiberRef.set(region, `of ${String(input)}`)
    const child = yield* Effect.fork(Effect.all([FiberRef.get(depth), FiberRef.get(region)]))
    return {
      notes: [...own],
      depth: yield* FiberRef.get(depth),
      before,
      child: yield* child.await.pipe(Effect.flatten)
    }
  })
)

describe("a handler's fiber", () => {
  it.scopedLive("begins with the refs of the program, forked for it alone, whatever another job has set", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const seen: Array<{ readonly depth: number; readonly [key: string]: unknown }> = []
      for (const input of ["a", "b", "c"]) {
        const accepted = yield* submit(peer, "look", input)
        seen.push((yield* peer.terminal(accepted.job_id!)).payload.result)
      }
      const { depth: first } = seen[0]!
      expect(seen).toEqual(
        ["a", "b", "c"].map((input) => ({
          notes: [input],
          depth: first,
          before: "here",
          child: [first + 1, `of ${input}`]
        }))
      )
      expect(first).toBeGreaterThan(100)
    }).pipe(
      Effect.provide(
        world({ agents }).pipe(
          Layer.locally(region, "here"),
          Layer.locally(notes, ["left over"]),
          Layer.locally(depth, 100)
        )
      )
    )
  )
})
