/** No frame that the runtime sends is larger than `Limits.maxFrameBytes`, encoded and with its envelope (§14). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Either, Layer, Stream } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Agent, Job } from "../../src/agent/index.js"
import { VendorError } from "../../src/protocol/index.js"
import { defaults, Limits } from "../../src/runtime/kernel/Limits.js"
import { MemoryStore } from "../../src/store/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { Store } from "../../src/store/Store.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { backends } from "./backends.js"
import { allFeatures, barrier, dial, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")
const without = (...names: ReadonlyArray<string>) => features.filter((feature) => !names.includes(feature))
const bytesOf = (frame: Frame): number => Buffer.byteLength(JSON.stringify(frame))
const largest = (peer: Peer): number => Math.max(...peer.seen.map(bytesOf))

/** Makes a text of `units` repeated to so many, so that inputs stay small. */
const text = ({ count, unit }: { readonly count: number; readonly unit: string }): string => unit.repeat(count)

interface Made {
  readonly unit: string
  readonly count: number
}

const failure = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.either(effect), (exit) =>
    Either.isLeft(exit) ? String((exit.left as { readonly code?: unknown }).code) : "passed"
  )

const agents = Layer.mergeAll(
  Agent.untyped("result", (input) => Effect.succeed(text(input as Made))),
  Agent.untyped("stream", (input) => {
    const { pieces, encoding, ...made } = input as Made & { pieces?: number; encoding?: "utf8" | "base64" }
    return Job.streamResult(Stream.range(1, pieces ?? 1).pipe(Stream.map(() => text(made))), { encoding })
  }),
  Agent.untyped("emit", (input) => {
    const { as, ...made } = input as Made & { readonly as: string }
    const long = text(made)
    return Effect.flatMap(Job, (job) => {
      switch (as) {
        case "log":
          return failure(job.log(long))
        case "thought":
          return failure(job.thought(long))
        case "status":
          return failure(job.status("working", long))
        case "progress":
          return failure(job.progress({ current: 1, message: long }))
        case "metric":
          return failure(job.metric({ name: "n", value: 1, dimensions: { long } }))
        case "vendor":
          return failure(job.event("x-vendor.test.long", { long }))
        case "artifact_ref":
          return failure(job.artifactRef({ uri: `arcp://artifact/${long}`, contentType: "text/plain", byteSize: 1 }))
        case "tool_call":
          return failure(job.toolCall("search", { long }))
        case "tool_result":
          return Effect.flatMap(job.toolCall("search", {}), (callId) =>
            failure(job.toolResult(callId, { result: long }))
          )
        case "tool":
          return failure(job.tool("search", { long }, Effect.void))
        case "delegate":
          return failure(Job.delegate("result", { unit: long, count: 0 }))
        case "handoff":
          return failure(job.handoff("nothing-of-that-name", { long }))
        default:
          return Effect.succeed("unknown")
      }
    })
  }),
  // A tool whose result, or the details of whose failure, do not fit an event.
  Agent.untyped("tool", (input) => {
    const { fails, ...made } = input as Made & { readonly fails: boolean }
    const long = text(made)
    return Effect.as(
      Effect.either(
        Job.tool(
          "lookup",
          {},
          fails
            ? Effect.fail(new VendorError({ code: "TOO_BAD", message: "too bad", details: { long } }))
            : Effect.succeed(long)
        )
      ),
      "done"
    )
  }),
  Agent.untyped("fails", (input) =>
    Effect.fail(new VendorError({ code: "TOO_BAD", message: "too bad", details: { long: text(input as Made) } }))
  ),
  Agent.untyped("open-call", (input) =>
    Effect.zipRight(
      Job.toolCall("search", {}),
      Effect.fail(new VendorError({ code: "TOO_BAD", message: "too bad", details: { long: text(input as Made) } }))
    )
  ),
  Agent.untyped("held", (input) =>
    Effect.gen(function* () {
      yield* Job.log(text(input as Made))
      yield* Deferred.await(gate("held"))
      return text(input as Made)
    })
  )
)

const over = (options: WorldOptions = {}) => world({ agents, ...options })
const calls = { lease_request: { "tool.call": ["**"], "agent.delegate": ["**"] } }

const units: ReadonlyArray<readonly [string, string, number]> = [
  ["ASCII", "x", 1],
  ["three bytes a unit", "€", 3],
  ["quotes", '"', 2],
  ["control characters", "\u0001", 6],
  ["surrogate pairs", "😀", 4]
]

for (const [name, options] of backends) {
  const main = over(options())

  describe(`frames of at most 1,000,000 bytes over ${name}`, () => {
    for (const [what, unit, width] of units) {
      it.scoped(`§14 an inline result of ${what}: at its bound it passes, beyond it is INTERNAL_ERROR for good`, () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const count = Math.floor((defaults.inlineResult - 2) / width)
          const passes = yield* run(peer, "result", { unit, count })
          expect(passes.payload.result).toBe(unit.repeat(count))
          const fails = yield* run(peer, "result", { unit, count: count + 1 })
          expect(fails).toMatchObject({
            type: "job.error",
            payload: { final_status: "error", code: "INTERNAL_ERROR", retryable: true, details: { permanent: true } }
          })
          expect(fails.payload.message).toContain("stream it")
          expect(bytesOf(passes)).toBeGreaterThan(998_000)
          expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
        }).pipe(Effect.provide(main))
      )
    }

    it.scoped("§8.4 chunks are cut by encoded bytes, never inside a character, and are whole together", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: without("ack") })
        for (const [, unit] of units) {
          for (const encoding of ["utf8", "base64"] as const) {
            const end = yield* run(peer, "stream", { unit, count: 700_001, encoding })
            const chunks = eventsOf(peer, end.job_id!)
              .filter((frame) => frame.payload.kind === "result_chunk")
              .map((frame) => frame.payload.body.data as string)
            const whole =
              encoding === "utf8"
                ? chunks.join("")
                : Buffer.concat(chunks.map((data) => Buffer.from(data, "base64"))).toString("utf8")
            expect(whole === unit.repeat(700_001), `${unit} ${encoding}`).toBe(true)
            expect(end.payload.result_size).toBe(Buffer.byteLength(unit) * 700_001)
            if (encoding === "utf8") for (const chunk of chunks) expect(/^[\udc00-\udfff]/.test(chunk)).toBe(false)
          }
        }
        expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.2 an event of any kind that is too large fails the agent's call, and the job goes on", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (const as of [
          "log",
          "thought",
          "status",
          "progress",
          "metric",
          "vendor",
          "artifact_ref",
          "tool_call",
          "tool_result",
          "tool",
          "delegate"
        ]) {
          // 340,000 units of three bytes: a bound in units would let it pass.
          const end = yield* run(peer, "emit", { as, unit: "€", count: 340_000 }, calls)
          expect(end.payload.result, as).toBe("INVALID_REQUEST")
          const small = yield* run(peer, "emit", { as, unit: "€", count: 10 }, calls)
          expect(small.payload.result, as).toBe("passed")
        }
        const handoff = yield* run(peer, "emit", { as: "handoff", unit: "€", count: 340_000 }, calls)
        expect(handoff.payload.result).toBe("AGENT_NOT_AVAILABLE")
        expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.2 a tool_result that is too large says so; that of a failure stays a failure", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const resultOf = (end: Frame) =>
          eventsOf(peer, end.job_id!).find((frame) => frame.payload.kind === "tool_result")!.payload.body
        const passed = yield* run(peer, "tool", { fails: false, unit: "€", count: 340_000 }, calls)
        expect(resultOf(passed).result.omitted).toContain("bytes")
        const failed = yield* run(peer, "tool", { fails: true, unit: "€", count: 340_000 }, calls)
        expect(resultOf(failed)).toMatchObject({ error: { code: "TOO_BAD" } })
        expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§6.2 a client without result_chunk gets a streamed result inline, or an error where it does not fit",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features: without("result_chunk") })
          const fits = yield* run(peer, "stream", { unit: "€", count: 1_000, pieces: 3 })
          expect(fits.payload.result).toBe("€".repeat(3_000))
          // Few bytes that grow when they are escaped, and many bytes.
          for (const made of [
            { unit: "\u0001", count: 200_000 },
            { unit: "x", count: 500_000, pieces: 2 },
            { unit: "x", count: 800_000, encoding: "base64" }
          ]) {
            const end = yield* run(peer, "stream", made)
            expect(end.payload).toMatchObject({
              code: "INTERNAL_ERROR",
              retryable: true,
              details: { permanent: true }
            })
          }
          expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
        }).pipe(Effect.provide(main))
    )

    it.scoped("§6.2 an observer without result_chunk gets the result of a job that streamed inline, or why not", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: without("ack") })
        const observer = yield* hello({ features: without("ack", "result_chunk") })
        const see = (jobId: string) =>
          Effect.gen(function* () {
            yield* Effect.flatMap(observer.send("job.subscribe", { job_id: jobId, history: true }), observer.reply)
            const end = yield* observer.terminal(jobId)
            expect(eventsOf(observer, jobId).some((frame) => frame.payload.kind === "result_chunk")).toBe(false)
            return end
          })
        const small = yield* run(owner, "stream", { unit: "a€", count: 100, pieces: 3 })
        expect(small.payload.result_id).toBeDefined()
        expect((yield* see(small.job_id!)).payload).toMatchObject({
          final_status: "success",
          result: "a€".repeat(300),
          completed_at: small.payload.completed_at
        })
        const binary = yield* run(owner, "stream", { unit: "abcd", count: 1, pieces: 2, encoding: "base64" })
        expect((yield* see(binary.job_id!)).payload.result).toBe(Buffer.from("abcdabcd").toString("base64"))
        for (const made of [
          { unit: "\u0001", count: 200_000 },
          { unit: "x", count: 600_000, pieces: 2 }
        ]) {
          const large = yield* run(owner, "stream", made)
          expect(yield* see(large.job_id!)).toMatchObject({
            type: "job.error",
            payload: { code: "INTERNAL_ERROR", retryable: true, details: { permanent: true } }
          })
        }
        const seqs = observer.events().map((frame) => frame.event_seq)
        expect(seqs).toEqual(seqs.map((_, i) => i + 1))
        expect(largest(observer)).toBeLessThanOrEqual(1_000_000)
      }).pipe(Effect.provide(main))
    )
  })
}

describe("§14 bounds that are changed", () => {
  it.scoped("larger results and events pass where the frame, the result and the event may be larger", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const end = yield* run(peer, "result", { unit: "x", count: 2_000_000 })
      expect(end.payload.result.length).toBe(2_000_000)
      expect((yield* run(peer, "emit", { as: "log", unit: "€", count: 600_000 })).payload.result).toBe("passed")
    }).pipe(
      Effect.provide(over({ limits: { maxFrameBytes: 3_000_000, inlineResult: 2_500_000, eventPayload: 2_500_000 } }))
    )
  )

  it.scoped("follow the frame where they are not named, and never exceed it", () =>
    Effect.gen(function* () {
      const limits = yield* Effect.provide(Limits, Limits.layer({ maxFrameBytes: 3_000_000 }))
      expect([limits.inlineResult, limits.eventPayload, limits.resultChunk]).toEqual([2_998_976, 2_998_976, 2_998_976])
      expect(() => Limits.layer({ maxFrameBytes: 4_095 })).toThrow(
        "maxFrameBytes must be a whole number, at least 4096"
      )
      const peer = yield* hello({ features })
      const end = yield* run(peer, "result", { unit: "x", count: 100_000 })
      expect(end.payload).toMatchObject({ code: "INTERNAL_ERROR", details: { permanent: true } })
      expect((yield* run(peer, "emit", { as: "log", unit: "x", count: 100_000 })).payload.result).toBe(
        "INVALID_REQUEST"
      )
      expect(largest(peer)).toBeLessThanOrEqual(50_000)
    }).pipe(
      Effect.provide(over({ limits: { maxFrameBytes: 50_000, inlineResult: 5_000_000, eventPayload: 5_000_000 } }))
    )
  )

  it.scoped("details of errors, replies and inventories that do not fit are left out, and say so", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const failed = yield* run(peer, "fails", { unit: "€", count: 10_000 })
      expect(failed.payload).toMatchObject({ message: "too bad", details: { omitted: expect.any(String) } })
      const open = yield* run(peer, "open-call", { unit: "€", count: 10_000 })
      const result = eventsOf(peer, open.job_id!).find((frame) => frame.payload.kind === "tool_result")!
      expect(result.payload.body.error).toMatchObject({ message: "too bad", details: { omitted: expect.any(String) } })
      const held = yield* submit(peer, "held", { unit: "x", count: 1 })
      const cancelled = yield* Effect.flatMap(
        peer.send("job.cancel", { job_id: held.job_id, reason: "\u0001".repeat(1_000) }),
        peer.reply
      )
      expect(cancelled).toMatchObject({ type: "job.cancelled", payload: { job_id: held.job_id } })
      const wide = { "fs.read": Array.from({ length: 200 }, (_, n) => `/data/folder-${n}/**`) }
      const refused = yield* submit(peer, "held", { unit: "x", count: 1 }, { lease_request: wide })
      expect(refused.payload).toMatchObject({
        code: "INVALID_REQUEST",
        message: expect.stringContaining("lease_request")
      })
      expect(largest(peer)).toBeLessThanOrEqual(5_000)
    }).pipe(Effect.provide(over({ limits: { maxFrameBytes: 5_000 } })))
  )

  it.scoped("§6.2 an inventory of too many agents is cut, in both spellings, and tells how many are left out", () =>
    Effect.gen(function* () {
      for (const offered of [features, without("agent_versions")]) {
        const peer = yield* hello({ features: offered })
        const { agents: shown, agents_omitted: omitted } = peer.welcome.payload.capabilities
        expect(shown.length).toBeGreaterThan(50)
        expect(shown.length + omitted).toBe(500)
        expect(bytesOf(peer.welcome)).toBeLessThanOrEqual(10_000)
        expect((yield* run(peer, "agent-of-a-name-that-is-long-499", "hosted all the same")).payload.result).toBe(
          "hosted all the same"
        )
      }
    }).pipe(
      Effect.provide(
        over({
          limits: { maxFrameBytes: 10_000 },
          agents: Layer.mergeAll(
            Layer.empty,
            ...Array.from({ length: 500 }, (_, n) =>
              Agent.untyped(`agent-of-a-name-that-is-long-${n}`, (input) => Effect.succeed(input))
            )
          )
        })
      )
    )
  )

  it.scoped("a session.error before the welcome fits too", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      const id = yield* peer.send(
        "session.hello",
        { auth: { scheme: "bearer", token: "wrong" } },
        { id: "\u0001".repeat(256) }
      )
      yield* peer.next("session.error")
      expect(id).toBeDefined()
      expect(largest(peer)).toBeLessThanOrEqual(4_096)
    }).pipe(Effect.provide(over({ limits: { maxFrameBytes: 4_096 } })))
  )
})

describe("§14 what was stored under other limits", () => {
  it.scoped("is replayed within the frame: events are marked, a result becomes the error that says so", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "arcp-frames-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const store = () => SqliteStore.layer({ filename: join(folder, "log.db") })
      const wide = { maxFrameBytes: 4_000_000 }
      const made = { unit: "€", count: 400_000 }
      yield* Deferred.succeed(gate("held"), undefined)
      const jobId = yield* Effect.scoped(
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const end = yield* run(peer, "held", made)
          expect(end.payload.result.length).toBe(400_000)
          const failed = yield* run(peer, "fails", made)
          expect(failed.type).toBe("job.error")
          return end.job_id!
        }).pipe(Effect.provide(over({ store: store(), limits: wide, transport: MemoryTransport.layerEncoded })))
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          yield* Effect.flatMap(peer.send("job.subscribe", { job_id: jobId, history: true }), peer.reply)
          const end = yield* peer.terminal(jobId)
          expect(end).toMatchObject({
            type: "job.error",
            payload: { final_status: "error", code: "INTERNAL_ERROR", retryable: true, details: { permanent: true } }
          })
          const warned = eventsOf(peer, jobId).find((frame) => frame.payload.body?.level === "warn")!
          expect(warned.payload.body.message).toContain("kind log")
          expect(peer.events().map((frame) => frame.event_seq)).toEqual(peer.events().map((_, i) => i + 1))
          expect(largest(peer)).toBeLessThanOrEqual(1_000_000)
        }).pipe(Effect.provide(over({ store: store(), transport: MemoryTransport.layerEncoded })))
      )
    })
  )
})

describe("§12 INTERNAL_ERROR", () => {
  it.scoped("is always retryable on the wire; what a repeat cannot change says permanent", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      yield* Effect.flatMap(peer.send("job.subscribe", { job_id: "job_none" }), peer.reply)
      const held = yield* submit(peer, "held", { unit: "x", count: 1 })
      const refused = yield* Effect.flatMap(peer.send("job.subscribe", { job_id: held.job_id }), peer.reply)
      expect(refused.payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
      expect(refused.payload.details?.permanent).toBeUndefined()
      yield* barrier(peer)
    }).pipe(Effect.provide(over({ limits: { subscriptionsPerSession: 0 } })))
  )

  it.scoped("is retryable also where an earlier version stored that it is not", () => {
    // What a store of 0.1 may hold.
    const old = Layer.effect(
      Store,
      Effect.map(Store, (store) => ({
        ...store,
        segments: (...asked: Parameters<typeof store.segments>) =>
          Effect.map(store.segments(...asked), (found) =>
            found.map((segment) => ({
              ...segment,
              payloads: segment.payloads.map((text) => text.replace('"retryable":true', '"retryable":false'))
            }))
          )
      }))
    ).pipe(Layer.provide(MemoryStore.layer))
    const dies = Agent.untyped("dies", () => Effect.dieMessage("no"))
    return Effect.gen(function* () {
      const { job_id } = yield* run(yield* hello({ features }), "dies")
      for (const offered of [features, without("x-vendor.effect-arcp.agent_errors")]) {
        const peer = yield* hello({ features: offered })
        yield* peer.send("job.subscribe", { job_id, history: true })
        expect((yield* peer.terminal(job_id!)).payload).toMatchObject({
          final_status: "error",
          code: "INTERNAL_ERROR",
          retryable: true,
          details: { permanent: true },
          completed_at: expect.any(String)
        })
      }
    }).pipe(Effect.provide(world({ agents: dies, store: old })))
  })
})
