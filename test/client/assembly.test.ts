/**
 * Assembly of streamed results (ARCP 1.1 §8.4). Each case is right but for one thing, so that each rule has a test of its own: a
 * stream that is short and of another size shows nothing about either.
 */
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"

const client = ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provideMerge(Ids.layerSeeded(9))
)

interface Piece {
  readonly n: number
  readonly data: string
  readonly more?: false
  readonly encoding?: "base64"
  readonly id?: string
}

const head = { session_id: "s" }

/** A job whose result came as these pieces and this end. */
const streamed = (pieces: ReadonlyArray<Piece>, end: object) =>
  Effect.gen(function* () {
    const arcp = yield* ArcpClient
    const accepting = yield* Stream.toPull(ScriptedPeer.accept)
    const submitting = yield* Effect.fork(arcp.submit("a"))
    const peer = Chunk.unsafeHead(yield* Effect.orDie(accepting))
    yield* peer.expect("session.hello")
    const capabilities = { features: ["result_chunk"], agents: ["a"] }
    yield* peer.send("session.welcome", { resume_token: "rt", capabilities }, head)
    const submit = yield* peer.expect("job.submit")
    const ofJob = { ...head, job_id: "j" }
    yield* peer.send("job.accepted", { request_id: submit.id, job_id: "j", agent: "a@1" }, ofJob)
    const job = yield* Fiber.join(submitting)
    let event_seq = 0
    for (const { data, encoding = "utf8", id = "r", more = true, n } of pieces) {
      const body = { result_id: id, chunk_seq: n, data, encoding, more }
      yield* peer.send("job.event", { kind: "result_chunk", ts: "t", body }, { ...ofJob, event_seq: ++event_seq })
    }
    yield* peer.send("job.result", { final_status: "success", ...end }, { ...ofJob, event_seq: ++event_seq })
    return job
  })

const bytes = (...values: ReadonlyArray<number>) => Uint8Array.from(values)
const ref = (size?: number, id = "r") => ({
  result_id: id,
  ...(size === undefined ? {} : { result_size: size })
})

describe("§8.4 a streamed result", () => {
  it.scoped.each<readonly [string, ReadonlyArray<Piece>, object, string | Uint8Array]>([
    ["of one chunk", [{ n: 0, data: "a", more: false }], ref(1), "a"],
    [
      "of three chunks, joined in chunk_seq order",
      [
        { n: 0, data: "a" },
        { n: 1, data: "b" },
        { n: 2, data: "c", more: false }
      ],
      ref(3),
      "abc"
    ],
    ["without result_size", [{ n: 0, data: "abc", more: false }], ref(), "abc"],
    ["whose size counts encoded bytes", [{ n: 0, data: "é€😀", more: false }], ref(9), "é€😀"],
    ["of no bytes", [{ n: 0, data: "", more: false }], ref(0), ""],
    [
      "of base64",
      [
        { n: 0, data: "AAE=", encoding: "base64" },
        { n: 1, data: "/w==", encoding: "base64", more: false }
      ],
      ref(3),
      bytes(0, 1, 255)
    ],
    [
      "of both encodings is bytes",
      [
        { n: 0, data: "é" },
        { n: 1, data: "/w==", encoding: "base64", more: false }
      ],
      ref(3),
      bytes(0xc3, 0xa9, 255)
    ]
  ])("%s is assembled", ([, pieces, end, right]) =>
    Effect.gen(function* () {
      const job = yield* streamed(pieces, end)
      expect(yield* job.result).toEqual(right)
    }).pipe(Effect.provide(client))
  )

  it.scoped.each<readonly [string, ReadonlyArray<Piece>, object]>([
    [
      "whose chunk_seq leaves one out",
      [
        { n: 0, data: "a" },
        { n: 2, data: "c", more: false }
      ],
      ref(2)
    ],
    ["whose first chunk_seq is 1", [{ n: 1, data: "b", more: false }], ref(1)],
    [
      "whose chunks come in another order",
      [
        { n: 0, data: "a" },
        { n: 2, data: "c" },
        { n: 1, data: "b", more: false }
      ],
      ref(3)
    ],
    [
      "whose chunk comes twice under one chunk_seq",
      [
        { n: 0, data: "a" },
        { n: 1, data: "b" },
        { n: 1, data: "b", more: false }
      ],
      ref(3)
    ],
    [
      "with a chunk after the last",
      [
        { n: 0, data: "a", more: false },
        { n: 1, data: "b", more: false }
      ],
      ref(2)
    ],
    [
      "with a chunk of another result_id between",
      [
        { n: 0, data: "a" },
        { n: 1, data: "b", id: "other" },
        { n: 2, data: "c", more: false }
      ],
      ref(3)
    ],
    ["whose job.result names another result_id", [{ n: 0, data: "a", more: false }], ref(1, "other")],
    ["whose result_size is one more", [{ n: 0, data: "ab", more: false }], ref(3)],
    ["whose result_size is one less", [{ n: 0, data: "ab", more: false }], ref(1)],
    ["whose result_size counts characters", [{ n: 0, data: "é", more: false }], ref(1)],
    ["of base64 whose result_size is one more", [{ n: 0, data: "/w==", encoding: "base64", more: false }], ref(2)],
    ["of base64 whose result_size is one less", [{ n: 0, data: "AAE=", encoding: "base64", more: false }], ref(1)],
    ["whose last chunk says that more follow", [{ n: 0, data: "a" }], ref(1)],
    ["of which no chunk came", [], ref(0)]
  ])("%s fails with ResultInvalid", ([, pieces, end]) =>
    Effect.gen(function* () {
      const job = yield* streamed(pieces, end)
      expect(yield* Effect.flip(job.result)).toMatchObject({ _tag: "ResultInvalid", jobId: "j" })
    }).pipe(Effect.provide(client))
  )

  it.scoped.each<readonly [string, ReadonlyArray<Piece>]>([
    [
      "whose chunk_seq leaves one out",
      [
        { n: 0, data: "a" },
        { n: 2, data: "c", more: false }
      ]
    ],
    ["whose last chunk says that more follow", [{ n: 0, data: "a" }]]
  ])("%s fails its chunks, which never end as if they were whole", ([, pieces]) =>
    Effect.gen(function* () {
      const job = yield* streamed(pieces, ref())
      expect(yield* Effect.flip(Stream.runDrain(job.chunks))).toMatchObject({ _tag: "ResultInvalid" })
    }).pipe(Effect.provide(client))
  )
})
