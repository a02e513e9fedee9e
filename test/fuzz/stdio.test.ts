/** A runtime on pipes whose other end sends any bytes, cut anywhere. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Layer } from "effect"
import { PassThrough } from "node:stream"
import { Connector, Server } from "../../src/transport/Connection.js"
import { StdioTransport } from "../../src/transport/node.js"
import { dial } from "../runtime/peer.js"
import { world } from "../runtime/world.js"
import { runs } from "../support/properties.js"

const piece = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 80 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 60 }).map((text) => new TextEncoder().encode(text)),
  fc
    .constantFrom(
      "\n",
      "\r\n",
      "\u0000",
      "{}\n",
      "null\n",
      '{"arcp":"1.1"}\n',
      '{"arcp":"1.1","id":"x","type":"job.cancel","payload":{}}\n',
      "😀"
    )
    .map((text) => new TextEncoder().encode(text)),
  fc.constantFrom([0xc3], [0xf0, 0x9f], [0xff, 0xfe], [0xed, 0xa0, 0x80]).map((bytes) => new Uint8Array(bytes))
)

describe("stdio", () => {
  it.scopedLive(
    "§4 any bytes between whole lines, cut anywhere, are refused line by line and the session goes on",
    () =>
      Effect.gen(function* () {
        const up = new PassThrough()
        const down = new PassThrough()
        const transport = Layer.merge(
          StdioTransport.layerServer({ input: up, output: down }),
          Layer.succeed(Connector, {
            connect: StdioTransport.fromStreams({ input: down, output: up }),
            address: "pipes"
          })
        ) satisfies Layer.Layer<Server | Connector>
        yield* Effect.gen(function* () {
          const peer = yield* dial
          const write = (bytes: Uint8Array) =>
            Effect.async<void>((resume) => void up.write(bytes, () => resume(Effect.void)))
          yield* peer.send("session.hello", { auth: { scheme: "bearer", token: "alice-token" } })
          yield* peer.next("session.welcome")
          const rounds = fc.sample(fc.tuple(fc.array(piece, { minLength: 1, maxLength: 8 }), fc.nat()), {
            numRuns: runs(60),
            seed: 9
          })
          const refused = () => peer.seen.filter((frame) => frame.type === "session.error").length
          for (const [i, [pieces, at]] of rounds.entries()) {
            for (const bytes of pieces) yield* write(bytes)
            yield* write(new Uint8Array([10]))
            // A good line, torn in two; its answer comes after those of all that was before it.
            const ping = new TextEncoder().encode(
              `${JSON.stringify({ arcp: "1.1", id: `p${i}`, type: "session.ping", payload: { nonce: `né${i}` } })}\n`
            )
            yield* write(ping.subarray(0, at % ping.length))
            yield* write(ping.subarray(at % ping.length))
            const pong = yield* peer.next("session.pong")
            expect(pong.payload.ping_nonce).toBe(`né${i}`)
          }
          expect(refused()).toBeGreaterThan(rounds.length / 2)
          for (const frame of peer.seen) {
            if (frame.type === "session.error") expect(frame.payload).toMatchObject({ code: "INVALID_REQUEST" })
          }
        }).pipe(Effect.provide(world({ transport, limits: { badFramesInARow: 1_000_000 } })))
      })
  )
})
