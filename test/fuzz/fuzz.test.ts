/**
 * Hostile input: mutated real messages and rubbish, against the decoders and against whole runtimes.
 *
 * `ARCP_FUZZ_RUNS=100 npx vitest run test/fuzz` runs a hundred times as many (`test/support/properties`).
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, FastCheck as fc, Layer } from "effect"
import { connect } from "node:net"
import * as Amount from "../../src/authority/Amount.js"
import * as Canonical from "../../src/authority/Canonical.js"
import * as Lease from "../../src/authority/Lease.js"
import { AgentName, Envelope, Message, Trace } from "../../src/protocol/index.js"
import { Server } from "../../src/transport/Connection.js"
import { MemoryStore } from "../../src/store/index.js"
import { backends, webSocket } from "../runtime/backends.js"
import { dial, eventsOf, hello, run, submit } from "../runtime/peer.js"
import { world } from "../runtime/world.js"
import { mutation, oddValue } from "./mutations.js"
import { runs } from "../support/properties.js"

/** What a real session sends. */
const real: ReadonlyArray<Record<string, unknown>> = [
  {
    type: "session.hello",
    payload: {
      client: { name: "c", version: "1" },
      auth: { scheme: "bearer", token: "alice-token" },
      capabilities: { encodings: ["json"], features: ["ack", "subscribe"] }
    }
  },
  {
    type: "session.resume",
    payload: { session_id: "sess_1", resume_token: "rt_1", last_event_seq: 3, auth: { scheme: "bearer", token: "t" } }
  },
  { type: "session.ping", payload: { nonce: "n", sent_at: "2026-01-01T00:00:00Z" } },
  { type: "session.ack", payload: { last_processed_seq: 1 } },
  { type: "session.list_jobs", payload: { limit: 2, filter: { status: ["running"], agent: "echo" } } },
  {
    type: "job.submit",
    trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
    payload: {
      agent: "echo",
      input: { a: [1, "x", null] },
      lease_request: { "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] },
      lease_constraints: { expires_at: "2099-01-01T00:00:00Z" },
      max_runtime_sec: 5,
      idempotency_key: "k"
    }
  },
  { type: "job.cancel", payload: { job_id: "job_01M8BMGX24CEBWWVQ00VY60JGP", reason: "enough" } },
  { type: "job.subscribe", payload: { job_id: "job_01M8BMGX24CEBWWVQ00VY60JGP", history: true, from_event_seq: 0 } },
  { type: "job.unsubscribe", payload: { job_id: "job_01M8BMGX24CEBWWVQ00VY60JGP" } },
  { type: "artifact.put", payload: { content_type: "text/plain", data: "aGk=", retain_seconds: 5 } },
  { type: "artifact.fetch", payload: { artifact_id: "art_1" } }
].map((frame, i) => ({ arcp: "1.1", id: `real-${i}`, ...frame }))

/** A real message, spoilt. */
const mutated: fc.Arbitrary<string> = fc
  .tuple(fc.constantFrom(...real), mutation)
  .map(([base, mutate]) => mutate(JSON.stringify(base)))

const rubbish = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.json({ maxDepth: 4 }),
  fc.integer({ min: 1, max: 5_000 }).map((depth) => "[".repeat(depth) + "]".repeat(depth)),
  fc
    .integer({ min: 1, max: 5_000 })
    .map(
      (depth) => `{"arcp":"1.1","id":"d","type":"job.submit","payload":${'{"a":'.repeat(depth)}1${"}".repeat(depth)}}`
    )
)

const frames = fc.oneof({ weight: 4, arbitrary: mutated }, { weight: 1, arbitrary: rubbish })

const told = (error: { readonly message: string }): void => {
  expect(error.message).not.toMatch(/[\n\r]/)
  expect(error.message.length).toBeLessThanOrEqual(1_000)
  expect(error.message).not.toContain("alice-token")
}

describe("decoders", () => {
  it("§5 of messages: never throw, answer in one line, echo no secret; what they accept they accept again", () => {
    let accepted = 0
    fc.assert(
      fc.property(frames, (text) => {
        const envelope = Envelope.fromText(text)
        if (Either.isLeft(envelope)) return told(envelope.left.error)
        const decoders: ReadonlyArray<
          (raw: Envelope.RawEnvelope) => Either.Either<unknown, { readonly message: string }>
        > = [Message.decodeClient, Message.decodeRuntime]
        for (const decode of decoders) {
          const decoded = decode(envelope.right)
          if (Either.isLeft(decoded)) told(decoded.left)
          else accepted++
        }
        const again = Envelope.fromText(JSON.stringify(envelope.right))
        expect(Either.isRight(again)).toBe(true)
      }),
      { numRuns: runs(3_000) }
    )
    // Not everything is refused: the fuzzer reaches what is behind the first check.
    expect(accepted).toBeGreaterThan(100)
  })

  it("§9 of leases, amounts, paths, URLs, names and traces: total, whatever comes", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.string({ maxLength: 60 }),
      fc.constantFrom(
        "/data/../etc",
        "USD:1e400",
        "USD:-0",
        "http://[::1",
        "https://a@b@c/%00",
        "a@@b",
        "00-0-0-0",
        "*".repeat(300)
      )
    )
    fc.assert(
      fc.property(texts, texts, oddValue, (a, b, value) => {
        for (const outcome of [
          Amount.parseSpend(a),
          Canonical.path(a),
          Canonical.url(a),
          AgentName.parse(a),
          Trace.parse(a),
          Lease.compile({ "fs.read": [a], "net.fetch": [b], "tool.call": [a, b] }, undefined),
          Lease.compile({ [a]: [b] } as never, value as never)
        ]) {
          expect(Either.isEither(outcome)).toBe(true)
        }
      }),
      { numRuns: runs(1_500) }
    )
  })
})

const limits = { badFramesInARow: 1_000_000_000 }

describe.each(backends)("whole sessions over %s", (_name, backend) => {
  it.scoped(
    "§5 a peer that sends anything at all is answered; its neighbour notices nothing, and nothing is left behind",
    () =>
      Effect.gen(function* () {
        const innocent = yield* hello()
        const job = yield* submit(innocent, "counter", { count: 2_000 })
        const hostile = yield* hello()
        const texts = fc.sample(frames, { numRuns: runs(400), seed: 42 })
        for (const text of texts) yield* hostile.raw(text)
        // It may have closed its session by a mutation of nothing at all; then it is closed, and not broken.
        const last = yield* dial
        yield* last.send("session.hello", { auth: { scheme: "bearer", token: "bob-token" } })
        yield* last.next("session.welcome")
        yield* innocent.terminal(job.job_id!)
        expect(eventsOf(innocent, job.job_id!).map((frame) => frame.event_seq)).toEqual(
          Array.from({ length: 2_002 }, (_, i) => i + 1)
        )
        for (const frame of hostile.seen) {
          if (frame.type !== "session.error") continue
          told(frame.payload as never)
          expect(frame.payload.message).not.toContain("unexpectedly")
        }
        expect(hostile.seen.length).toBeGreaterThan(100)
        expect((yield* run(yield* hello(), "echo", "still here")).payload.result).toBe("still here")
      }).pipe(Effect.provide(world({ ...backend(), limits })))
  )
})

describe("sockets", () => {
  it.scopedLive(
    "bytes that are no WebSocket, and frames that are none, cut at any place, end their own socket only",
    () =>
      Effect.gen(function* () {
        const { address } = yield* Server
        const { hostname, port } = new URL(address)
        const upgrade =
          `GET /arcp HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        const pieces = fc.sample(
          fc.record({
            upgraded: fc.boolean(),
            bytes: fc.uint8Array({ minLength: 1, maxLength: 120 }),
            cuts: fc.array(fc.nat({ max: 200 }), { maxLength: 4 })
          }),
          { numRuns: runs(60), seed: 7 }
        )
        const innocent = yield* hello()
        yield* Effect.forEach(
          pieces,
          ({ bytes, cuts, upgraded }) =>
            Effect.async<void>((resume) => {
              const socket = connect(Number(port), hostname)
              socket.on("error", () => undefined)
              socket.on("close", () => resume(Effect.void))
              socket.on("connect", () => {
                const all = Buffer.concat([Buffer.from(upgraded ? upgrade : ""), Buffer.from(bytes)])
                let at = 0
                for (const cut of [...cuts].sort((a, b) => a - b)) {
                  socket.write(all.subarray(at, Math.min(cut, all.length)))
                  at = Math.max(at, Math.min(cut, all.length))
                }
                socket.end(all.subarray(at))
              })
              socket.resume()
            }),
          { concurrency: 16, discard: true }
        )
        expect((yield* run(innocent, "echo", 1)).payload.result).toBe(1)
        expect((yield* run(yield* hello(), "echo", 2)).payload.result).toBe(2)
      }).pipe(Effect.provide(Layer.fresh(world({ transport: webSocket, store: MemoryStore.layer }))))
  )
})
