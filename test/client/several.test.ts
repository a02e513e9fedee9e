/** Several clients in one program: as values, and each under a tag of its own. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { world } from "../runtime/world.js"

const alice = { auth: { token: Redacted.make("alice-token") } }
const bob = { auth: { token: Redacted.make("bob-token") } }

class East extends ArcpClient.Tag("East")<East>() {}
class West extends ArcpClient.Tag("West")<West>() {}

describe("several clients in one program", () => {
  it.scopedLive("are values of ArcpClient.make, each with its own session, which its scope closes", () =>
    Effect.gen(function* () {
      const first = yield* ArcpClient.make(alice)
      const second = yield* ArcpClient.make(bob)
      const third = yield* Effect.scoped(
        Effect.gen(function* () {
          const client = yield* ArcpClient.make(alice)
          expect(yield* Effect.flatMap(client.submit("echo", 3), (job) => job.result)).toBe(3)
          return client
        })
      )
      expect(yield* Effect.flatMap(first.submit("echo", 1), (job) => job.result)).toBe(1)
      expect(yield* Effect.flatMap(second.submit("echo", 2), (job) => job.result)).toBe(2)
      expect((yield* first.session)?.sessionId).not.toBe((yield* second.session)?.sessionId)
      expect(yield* Effect.flip(third.ping)).toMatchObject({ _tag: "ClientClosed" })
    }).pipe(Effect.provide(world()))
  )

  it.scopedLive("live under tags of their own beside the global one, with a runtime for each", () =>
    Effect.gen(function* () {
      const [east, west, global] = [yield* East, yield* West, yield* ArcpClient]
      const job = yield* east.submit("echo", "east")
      expect(yield* job.result).toBe("east")
      expect(yield* Effect.flip(west.subscribe(job.jobId))).toMatchObject({ _tag: "JobNotFound" })
      expect(yield* Effect.flatMap(west.submit("echo", "west"), (other) => other.result)).toBe("west")
      const facts = yield* Effect.forEach([east, west, global], (client) =>
        Effect.zipRight(client.connected, client.session)
      )
      expect(new Set(facts.map((one) => one?.sessionId)).size).toBe(3)
      expect(new Set([East.key, West.key, ArcpClient.key]).size).toBe(3)
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          East.layer(alice).pipe(Layer.provide(Layer.fresh(world()))),
          West.layer(alice).pipe(Layer.provide(Layer.fresh(world()))),
          ArcpClient.layer(alice).pipe(Layer.provide(Layer.fresh(world())))
        )
      )
    )
  )

  it("a tag can be given a client that a test made", () => {
    const context = Context.make(East, { ping: Effect.void } as never)
    expect(Context.get(context, East)).toBeDefined()
  })
})
