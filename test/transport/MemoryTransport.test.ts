import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Ref, Stream } from "effect"
import { Connector, MemoryTransport, Server, Servers } from "../../src/transport/index.js"
import { accept, pair, Reader, settled, suite } from "./suite.js"

suite({
  name: "memory by reference",
  layer: () => MemoryTransport.layerWith({ capacity: 64 }),
  testClock: true,
  codes: true,
  byReference: true
})

suite({
  name: "memory encoded",
  layer: () => MemoryTransport.layerWith({ encoded: true, capacity: 64 }),
  testClock: true,
  codes: true
})

describe("memory", () => {
  it.scoped("§4 holds `capacity` frames in each direction, no more", () =>
    Effect.gen(function* () {
      const [a, b] = yield* MemoryTransport.makePair({ capacity: 4 })
      const sent = yield* Ref.make(0)
      const send = Effect.zipRight(
        a.send(["1"]),
        Ref.update(sent, (n) => n + 1)
      )
      const fiber = yield* Effect.fork(Effect.repeatN(send, 9))
      expect(yield* settled(sent)).toBe(4)
      const reader = yield* Reader.make(b)
      expect(yield* reader.take(10)).toHaveLength(10)
      yield* Fiber.join(fiber)
    })
  )

  it.effect("§4 by reference hands over the very object, encoded its text; strings stay", () =>
    Effect.gen(function* () {
      const frame = { arcp: "1.1", id: "1", type: "x", payload: { at: undefined, n: 1 } }
      for (const encoded of [false, true]) {
        const [a, b] = yield* MemoryTransport.makePair({ encoded })
        yield* a.send([frame, " as it is "])
        yield* a.close(1000, "")
        const got = Array.from(yield* Stream.runCollect(b.inbound))
        expect(got[0]).toEqual(encoded ? '{"arcp":"1.1","id":"1","type":"x","payload":{"n":1}}' : frame)
        expect(got[0] === frame).toBe(!encoded)
        expect(got[1]).toBe(" as it is ")
      }
    })
  )

  it.effect("§4 a frame that cannot be encoded sends nothing of its batch", () =>
    Effect.gen(function* () {
      const [a, b] = yield* MemoryTransport.makePair({ encoded: true })
      const bad = { arcp: "1.1", id: "1", type: "x", payload: { big: 1n } }
      const exit = yield* Effect.exit(a.send(['"before"', bad]))
      expect(exit._tag).toBe("Failure")
      yield* a.send(['"after"'])
      yield* a.close(1000, "")
      expect(Array.from(yield* Stream.runCollect(b.inbound))).toEqual(['"after"'])
    })
  )
})

describe("Servers.mergeAll", () => {
  it.scoped("listens on several servers at once and stops them all", () =>
    Effect.gen(function* () {
      const one = yield* Layer.build(MemoryTransport.layerWith({}))
      const two = yield* Layer.build(MemoryTransport.layerWith({ encoded: true }))
      const merged = Servers.mergeAll(Layer.succeedContext(one), Layer.succeedContext(two))
      yield* Effect.gen(function* () {
        const server = yield* Server
        expect(server.address).toBe("memory:, memory:")
        const seen = yield* Effect.fork(
          Stream.runCollect(
            Stream.mapEffect(server.connections, (connection) =>
              Effect.flatMap(Reader.make(connection), (reader) => reader.take(1))
            )
          )
        )
        for (const [context, text] of [
          [one, '"one"'],
          [two, '"two"']
        ] as const) {
          const client = yield* Effect.provide(
            Effect.flatMap(Connector, (_) => _.connect),
            context
          )
          yield* client.send([text])
        }
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
        yield* server.stopAccepting
        const frames = Array.from(yield* Fiber.join(seen)).map(([frame]) => frame)
        expect(frames.sort()).toEqual(['"one"', '"two"'])
        for (const context of [one, two]) {
          const failure = yield* Effect.flip(
            Effect.provide(
              Effect.flatMap(Connector, (_) => _.connect),
              context
            )
          )
          expect(failure.message).toContain("stopped")
        }
      }).pipe(Effect.provide(merged))
    })
  )

  it.scoped("shares a part that is used elsewhere too", () =>
    Effect.gen(function* () {
      const { client } = yield* pair
      yield* client.send(["1"])
      const { server } = yield* Effect.gen(function* () {
        yield* (yield* Connector).connect
        return { server: yield* accept }
      })
      expect(server.transport).toBe("memory")
    }).pipe(Effect.provide(Servers.mergeAll(MemoryTransport.layer).pipe(Layer.merge(MemoryTransport.layer))))
  )
})
