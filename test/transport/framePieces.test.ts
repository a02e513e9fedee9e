/** Frames in parts (ARCP 1.1 §8.4): every transport sends what it would send of their texts. */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Stream } from "effect"
import * as fc from "effect/FastCheck"
import type { Connection } from "../../src/transport/Connection.js"
import { FrameParts, plainFrame, type Sendable, sendFrames } from "../../src/transport/FrameParts.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { WebSocketClient, WebSocketServer } from "../../src/transport/node.js"
import { pieces } from "../../src/transport/internal/framePieces.js"
import { encode } from "../../src/transport/internal/textFrames.js"
import { pipes, webSocket } from "../runtime/backends.js"
import { runs } from "../support/properties.js"
import { pair } from "./suite.js"
import { to } from "./webSockets.js"

const parts = (payload: string, id = "i") => new FrameParts(`{"id":"${id}","payload":`, Buffer.from(payload))
const large = `{"data":"${"é€😀x".repeat(20_000)}"}`

const sent: ReadonlyArray<Sendable> = [
  '{"first":1}',
  parts("{}"),
  parts(large),
  { arcp: "1.1", id: "e", type: "x", payload: { n: 1 } },
  parts('{"data":"a"}'),
  '{"last":1}'
]

const textOf = (frame: Sendable): string => {
  const plain = plainFrame(frame)
  return typeof plain === "string" ? plain : JSON.stringify(plain)
}

describe("§4 frames in parts", () => {
  it("become the bytes that their texts become, at every boundary of the length field", () => {
    const frame = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.string(), fc.constantFrom(0, 1, 100, 101, 102, 103, 65_510, 65_511, 65_512, 65_513, 70_000))
        .map(([id, length]) => parts("x".repeat(length), id))
    )
    const sameBytes = (frames: ReadonlyArray<Sendable>) =>
      Buffer.concat(pieces(frames, false)).equals(encode(frames.map(textOf), false))
    expect(() =>
      fc.assert(fc.property(fc.array(frame, { minLength: 1, maxLength: 5 }), sameBytes), { numRuns: runs(300) })
    ).not.toThrow()
  })

  it("are not copied into a text, but where the frame is masked", () => {
    const frame = parts(large)
    expect(pieces([frame], false)).toContain(frame.payload)
    expect(pieces(["a", frame], true)).toHaveLength(1)
  })

  it.scopedLive.each([
    ["memory by reference", MemoryTransport.layer],
    ["memory encoded", MemoryTransport.layerEncoded],
    ["WebSocket", webSocket],
    [
      "WebSocket with compression",
      to(
        (url) => WebSocketClient.layer({ url, perMessageDeflate: true }),
        WebSocketServer.layer({ port: 0, perMessageDeflate: true })
      )
    ],
    ["lines", pipes]
  ] as const)("arrive whole and in order over %s, from either end", ([, layer]) =>
    Effect.gen(function* () {
      const { client, server } = yield* pair
      for (const [from, at] of [
        [server, client],
        [client, server]
      ] as const) {
        yield* sendFrames(from, sent)
        const came = yield* Stream.runCollect(Stream.take(at.inbound, sent.length))
        expect(Chunk.toReadonlyArray(came).map((frame) => textOf(frame as Sendable))).toEqual(sent.map(textOf))
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("are texts to a connection whose send was put in the place of another", () =>
    Effect.gen(function* () {
      const [client] = yield* MemoryTransport.makePair()
      const seen: Array<unknown> = []
      const traced: Connection = { ...client, send: (frames) => Effect.sync(() => void seen.push(...frames)) }
      yield* sendFrames(traced, [parts("{}"), "a"])
      expect(seen).toEqual(['{"id":"i","payload":{}}', "a"])
    })
  )

  it.effect("are texts to a connection of a class of the program's own", () =>
    Effect.gen(function* () {
      const [client] = yield* MemoryTransport.makePair()
      class Own {
        readonly seen: Array<unknown> = []
        send(frames: ReadonlyArray<unknown>) {
          return Effect.sync(() => void this.seen.push(...frames))
        }
      }
      const own = Object.assign(new Own(), { inbound: client.inbound, closed: client.closed, close: client.close })
      const { remoteAddress, secure, transport } = client
      yield* sendFrames(Object.assign(own, { remoteAddress, secure, transport }) as Connection, [parts("{}"), "a"])
      expect(own.seen).toEqual(['{"id":"i","payload":{}}', "a"])
    })
  )
})
