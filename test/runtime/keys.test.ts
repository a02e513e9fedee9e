/** §7.2 What an idempotency key stands for: what was asked, whatever a deploy has changed since, and the whole end of its job. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Option, Redacted, Schema, Stream, TestClock } from "effect"
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Agent } from "../../src/agent/index.js"
import { Job } from "../../src/agent/Job.js"
import { ArcpClient } from "../../src/client/index.js"
import { CanonicalJson } from "../../src/protocol/index.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { emptyBatch, Store } from "../../src/store/Store.js"
import { backends, sqliteFile } from "./backends.js"
import { allFeatures, barrier, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

const features = allFeatures.filter((feature) => feature !== "heartbeat")
const withoutChunks = features.filter((feature) => feature !== "result_chunk")

/** What a job's frames say, in order. */
const told = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).map(({ payload, type }) =>
    payload.kind === "result_chunk" ? payload.body.data : (payload.body?.message ?? payload.body?.phase ?? type)
  )

const said = ({ payload: { request_id: _, ...rest } }: Frame) => rest

const clientOf = Layer.fresh(ArcpClient.layer({ auth: { token: Redacted.make("alice-token") } }))

const stream = Agent.untyped("stream", (input) =>
  Job.streamResult(Stream.fromIterable((input as { chunks: ReadonlyArray<string> }).chunks))
)

describe.each(backends)("a repeated submit over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), ...options })

  it.scoped("§7.2 of an ended streamed job replays its chunks, then its terminal message", () =>
    Effect.gen(function* () {
      const one = yield* hello({ features })
      const rest = { idempotency_key: "streamed" }
      const input = { chunks: ["ab", "cd", "ef"] }
      const first = yield* submit(one, "stream", input, rest)
      const end = yield* one.terminal(first.job_id!)
      const two = yield* hello({ features })
      for (const peer of [two, one]) {
        const before = peer.events().length
        const again = yield* submit(peer, "stream", input, rest)
        expect(said(again)).toEqual(said(first))
        yield* barrier(peer)
        const replayed = peer.events().slice(before)
        expect(replayed.map(({ payload, type }) => payload.body?.data ?? type)).toEqual([
          "ab",
          "cd",
          "ef",
          "job.result"
        ])
        expect(replayed.map(({ payload }) => payload.body?.chunk_seq)).toEqual([0, 1, 2, undefined])
        expect(replayed[3]!.payload).toEqual(end.payload)
        expect(peer.events().map((f) => f.event_seq)).toEqual(peer.events().map((_, i) => i + 1))
      }
    }).pipe(Effect.provide(over()))
  )

  it.scopedLive("§7.2 §8.4 a client's repeat of an ended streamed job gives its result and its chunks", () =>
    Effect.gen(function* () {
      const repeat = Effect.gen(function* () {
        const client = yield* ArcpClient
        const job = yield* client.submit("stream", { chunks: ["ab", "cd"] }, { idempotencyKey: "c" })
        const result = yield* job.result
        return { id: job.jobId, result, chunks: [...(yield* Stream.runCollect(job.chunks))] }
      })
      const twice = yield* Effect.provide(Effect.all([repeat, repeat]), clientOf)
      const all = [...twice, yield* Effect.provide(repeat, clientOf)]
      for (const { chunks, id, result } of all) {
        expect({ id, result, chunks }).toEqual({ id: all[0]!.id, result: "abcd", chunks: ["ab", "cd"] })
      }
    }).pipe(Effect.provide(over()))
  )

  it.scoped(
    "§6.2 §8.4 by a session without result_chunk gets the streamed result inline, or an error over the cap",
    () =>
      Effect.gen(function* () {
        const one = yield* hello({ features })
        const two = yield* hello({ features: withoutChunks })
        const texts = yield* submit(one, "stream", { chunks: ["ab", "cd"] }, { idempotency_key: "t" })
        const bytes = yield* submit(
          one,
          "stream",
          { chunks: ["ab", "cd"], encoding: "base64" },
          { idempotency_key: "b" }
        )
        const large = yield* submit(
          one,
          "stream",
          { chunks: ["x".repeat(60), "y".repeat(60)] },
          { idempotency_key: "l" }
        )
        for (const { job_id } of [texts, bytes, large]) yield* one.terminal(job_id!)
        yield* submit(two, "stream", { chunks: ["ab", "cd"] }, { idempotency_key: "t" })
        expect((yield* two.terminal(texts.job_id!)).payload).toMatchObject({ final_status: "success", result: "abcd" })
        yield* submit(two, "stream", { chunks: ["ab", "cd"], encoding: "base64" }, { idempotency_key: "b" })
        const { result } = (yield* two.terminal(bytes.job_id!)).payload
        expect(Buffer.from(result, "base64").toString()).toBe("abcd")
        yield* submit(two, "stream", { chunks: ["x".repeat(60), "y".repeat(60)] }, { idempotency_key: "l" })
        expect(yield* two.terminal(large.job_id!)).toMatchObject({
          type: "job.error",
          payload: { final_status: "error", code: "INTERNAL_ERROR" }
        })
        expect(two.events().some((f) => f.payload.kind === "result_chunk")).toBe(false)
        // An observer is told the same.
        const observer = yield* hello({ features: withoutChunks })
        yield* observer.send("job.subscribe", { job_id: texts.job_id, history: true })
        expect((yield* observer.terminal(texts.job_id!)).payload.result).toBe("abcd")
      }).pipe(Effect.provide(over({ limits: { inlineResult: 100 } })))
  )

  it.scoped("§7.2 of a job that streams gets the chunks before it and those after it, each once", () => {
    const slow = Agent.untyped("slow-stream", () =>
      Job.streamResult(
        Stream.concat(
          Stream.make("a", "b", "c"),
          Stream.unwrap(Effect.as(Deferred.await(gate("slow-stream")), Stream.make("d", "e")))
        )
      )
    )
    return Effect.gen(function* () {
      resetGates()
      const rest = { idempotency_key: "middle" }
      const one = yield* hello({ features })
      const { job_id: id } = yield* submit(one, "slow-stream", null, rest)
      // One chunk is held back, so that the last can say that it is the last.
      yield* one.next("job.event", (f) => f.payload.body.data === "b")
      const two = yield* hello({ features })
      const three = yield* hello({ features: withoutChunks })
      expect((yield* submit(two, "slow-stream", null, rest)).job_id).toBe(id)
      yield* submit(two, "slow-stream", null, rest)
      yield* submit(three, "slow-stream", null, rest)
      yield* submit(two, "slow-stream", null, rest)
      yield* Deferred.succeed(gate("slow-stream"), undefined)
      yield* two.terminal(id!)
      for (const peer of [two, one]) {
        yield* peer.terminal(id!)
        expect(told(peer, id!).filter((text) => text !== "running")).toEqual(["a", "b", "c", "d", "e", "job.result"])
      }
      // An owner without result_chunk has it inline, at the end.
      expect((yield* three.terminal(id!)).payload.result).toBe("abcde")
      expect(told(three, id!)).toEqual(["job.result"])
    }).pipe(Effect.provide(over({ agents: slow })))
  })

  it.scoped(
    "§7.2 §6.6 adds an owner: numbers are the asking owner's, and an owner that leaves for good leaves the job",
    () =>
      Effect.gen(function* () {
        resetGates()
        const rest = { idempotency_key: "owners" }
        const one = yield* hello({ features })
        const two = yield* hello({ features })
        const watcher = yield* hello({ features })
        yield* Effect.forEach([1, 2, 3], (n) => submit(two, "echo", n))
        const { job_id: id } = yield* submit(one, "gate", { name: "owners" }, rest)
        yield* one.next("job.event", (f) => f.payload.body.message === "waiting")
        yield* submit(two, "gate", { name: "owners" }, rest)
        yield* Effect.all([barrier(one), barrier(two)])
        const numberOf = (peer: Peer) =>
          Effect.map(
            Effect.flatMap(peer.send("session.list_jobs", {}), peer.reply),
            (page) => page.payload.jobs.find((job: { job_id: string }) => job.job_id === id).last_event_seq as number
          )
        // Nothing has come to the second owner since it asked.
        expect([yield* numberOf(one), yield* numberOf(watcher), yield* numberOf(two)]).toEqual([2, 2, 0])
        yield* one.drop
        yield* TestClock.adjust("2 hours")
        expect(yield* numberOf(two)).toBe(0)
        yield* Deferred.succeed(gate("owners"), undefined)
        yield* two.terminal(id!)
        expect(told(two, id!)).toEqual(["through", "job.result"])
        const last = eventsOf(two, id!).at(-1)!.event_seq
        expect([yield* numberOf(two), yield* numberOf(watcher)]).toEqual([last, last])
      }).pipe(Effect.provide(over({ runtime: { heartbeatInterval: 86_400_000 }, limits: { sweepEvery: 90_000_000 } })))
  )

  it.scoped("§7.2 §10 is told of the children that run, before their events, and once", () => {
    const kid = Agent.untyped("kid", () =>
      Effect.gen(function* () {
        yield* Job.log("before")
        yield* Deferred.await(gate("kid"))
        yield* Job.log("after")
        return "grown"
      })
    )
    const parent = Agent.untyped("parent", () =>
      Effect.flatMap(Job.startChild("kid", null), (child) => Effect.zipRight(Job.log("started"), child.result))
    )
    return Effect.gen(function* () {
      resetGates()
      const rest = { idempotency_key: "parent", lease_request: { "agent.delegate": ["**"] } }
      const one = yield* hello({ features })
      const { job_id: id } = yield* submit(one, "parent", null, rest)
      yield* one.next("job.event", (f) => f.payload.body.message === "started")
      const announced = (peer: Peer) => peer.seen.filter((f) => f.payload.parent_job_id === id)
      const child = announced(one)[0]!
      const two = yield* hello({ features })
      yield* submit(two, "parent", null, rest)
      yield* submit(two, "parent", null, rest)
      yield* Deferred.succeed(gate("kid"), undefined)
      yield* two.terminal(id!)
      const { id: _, session_id: __, ...same } = child
      expect(announced(two)).toEqual([{ ...same, id: expect.any(String), session_id: two.sessionId }])
      const ofChild = two.seen
        .filter((f) => f.job_id === child.job_id)
        .map(({ payload, type }) => payload.body?.message ?? type)
      expect(ofChild).toEqual(["job.accepted", "after", "job.result"])
      expect(announced(one).length).toBe(1)
    }).pipe(Effect.provide(over({ agents: Layer.merge(kid, parent) })))
  })

  it.scoped("§7.2 of a pending job is its job, and starts nothing", () =>
    Effect.gen(function* () {
      resetGates()
      const one = yield* hello({ features })
      const two = yield* hello({ features })
      const running = yield* submit(one, "single", { name: "first" })
      yield* one.next("job.event", (f) => f.job_id === running.job_id)
      const rest = { idempotency_key: "pending" }
      const waiting = yield* submit(one, "single", { name: "second" }, rest)
      expect(said(yield* submit(two, "single", { name: "second" }, rest))).toEqual(said(waiting))
      yield* Deferred.succeed(gate("first"), undefined)
      yield* Deferred.succeed(gate("second"), undefined)
      yield* two.terminal(waiting.job_id!)
      expect(told(two, waiting.job_id!)).toEqual(["running", "job.result"])
    }).pipe(Effect.provide(over()))
  )
})

describe("after a deploy a repeated submit", () => {
  const typed = (fields: Schema.Struct.Fields) => Schema.Struct(fields)
  const versions = (...all: ReadonlyArray<readonly [string, boolean]>) =>
    all.reduce(
      (layer, [version, isDefault]) =>
        Layer.merge(
          layer,
          Agent.untyped("shifts", () => Effect.as(Deferred.await(gate("shifts")), version), {
            version,
            default: isDefault,
            onRestart: "rerun"
          })
        ),
      Layer.empty as Layer.Layer<never>
    )
  const input = (schema: Schema.Struct<Schema.Struct.Fields>) =>
    (
      Agent.make("typed", { input: schema as never, output: Schema.Unknown }) as unknown as {
        toLayer: (run: () => Effect.Effect<unknown>) => Layer.Layer<never>
      }
    ).toLayer(() => Effect.succeed("done"))
  const gone = Agent.untyped("gone", () => Effect.succeed("was here"))
  const before = Layer.mergeAll(versions(["1.0.0", true]), input(typed({ a: Schema.Number })), gone, stream)
  const after = Layer.mergeAll(
    versions(["1.0.0", false], ["2.0.0", true]),
    input(typed({ a: Schema.String, b: Schema.String })),
    stream
  )

  it.scoped("§7.2 finds its job: another default version, another schema, an agent that is gone, other policies", () =>
    Effect.gen(function* () {
      resetGates()
      const store = Context.get(yield* Layer.build(sqliteFile), Store)
      // Each world has the store to itself, one after the other.
      const process = (options: WorldOptions) =>
        world({ ...options, store: Layer.sync(Store, () => ({ ...store, instance: {} })) })
      const asked = [
        ["shifts", null],
        ["typed", { a: 1 }],
        ["gone", null],
        ["stream", { chunks: ["x", "y"] }]
      ] as const
      const lease = { lease_request: { "fs.read": ["/data/**"], "tool.call": ["*"] }, max_runtime_sec: 1_000 }
      const all = (peer: Peer) =>
        Effect.forEach(asked, ([agent, input]) => submit(peer, agent, input, { ...lease, idempotency_key: agent }))
      const first = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* all(peer)
        for (const { job_id } of accepted.slice(1)) yield* peer.terminal(job_id!)
        yield* barrier(peer)
        return accepted.map(said)
      }).pipe(Effect.provide(process({ agents: before })), Effect.scoped)
      const narrow = LeasePolicy.layer({ allowed: () => ({ "tool.call": ["nothing"] }) as never })
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const again = yield* all(peer)
        expect(again.map((frame) => frame.type)).toEqual(again.map(() => "job.accepted"))
        expect(again.map(said)).toEqual(first)
        // What was asked counts, and not what it would be today.
        const other = yield* submit(peer, "shifts@1.0.0", null, { ...lease, idempotency_key: "shifts" })
        expect(other.payload.code).toBe("DUPLICATE_KEY")
        const conflict = yield* submit(peer, "gone", 1, { ...lease, idempotency_key: "gone" })
        expect(conflict.payload).toMatchObject({ code: "DUPLICATE_KEY", details: { job_id: first[2]!.job_id } })
        expect((yield* submit(peer, "gone", null)).payload.code).toBe("AGENT_NOT_AVAILABLE")
        yield* barrier(peer)
        expect(told(peer, first[3]!.job_id)).toEqual(["x", "y", "job.result"])
        expect((yield* peer.terminal(first[2]!.job_id)).payload.result).toBe("was here")
        // The job that runs is untouched: it ends as it was submitted, with its own version.
        yield* Deferred.succeed(gate("shifts"), undefined)
        expect((yield* peer.terminal(first[0]!.job_id)).payload.result).toBe("1.0.0")
      }).pipe(Effect.provide(Layer.provide(process({ agents: after }), narrow)), Effect.scoped)
    })
  )

  it.scoped("§7.2 compares the digests of 0.1 their way, and writes its own with the prefix v2:", () =>
    Effect.gen(function* () {
      const store = Context.get(yield* Layer.build(SqliteStore.layer({ filename: ":memory:" })), Store)
      const process = (agents: Layer.Layer<never>) =>
        world({ agents, store: Layer.sync(Store, () => ({ ...store, instance: {} })) })
      const echoes = (version: string) =>
        Agent.untyped("echo", (value) => Effect.succeed(value), { version, default: true })
      const job = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "echo", { b: 1.0, a: 2 }, { idempotency_key: "old", max_runtime_sec: 60 })
        yield* peer.terminal(accepted.job_id!)
        const key = Option.getOrThrow(yield* store.key("alice", "old"))
        expect(key.parametersHash).toMatch(/^v2:[0-9a-f]{64}$/)
        // As 0.1 would have written it: the agent with the version that it was resolved to.
        const parametersHash = createHash("sha256")
          .update(
            CanonicalJson.canonicalize({
              agent: "echo@1.0.0",
              input: { a: 2, b: 1 },
              lease_request: {},
              lease_constraints: {},
              max_runtime_sec: 60
            })
          )
          .digest("hex")
        yield* store.commit({ ...emptyBatch, keys: [{ ...key, parametersHash }] })
        return accepted
      }).pipe(Effect.provide(process(echoes("1.0.0"))), Effect.scoped)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const repeat = (agent: string, input: unknown, max_runtime_sec: number) =>
          submit(peer, agent, input, { idempotency_key: "old", max_runtime_sec })
        for (const agent of ["echo", "echo@1.0.0"]) {
          expect((yield* repeat(agent, { a: 2, b: 1 }, 60)).job_id).toBe(job.job_id)
        }
        for (const [agent, input, time] of [
          ["echo@2.0.0", { a: 2, b: 1 }, 60],
          ["other", { a: 2, b: 1 }, 60],
          ["not a name", { a: 2, b: 1 }, 60],
          ["echo", { a: 2, b: 2 }, 60],
          ["echo", { a: 2, b: 1 }, 61]
        ] as const) {
          expect((yield* repeat(agent, input, time)).payload.code).toBe("DUPLICATE_KEY")
        }
      }).pipe(Effect.provide(process(Layer.merge(echoes("2.0.0"), Layer.empty))), Effect.scoped)
    })
  )

  it.scopedLive("§7.2 of an ended streamed job replays its chunks after a restart over SQLite", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "arcp-keys-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const process = Layer.fresh(world({ store: SqliteStore.layer({ filename: join(folder, "store.db") }) }))
      const rest = { idempotency_key: "s" }
      const input = { chunks: ["1", "2", "3"] }
      const job = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "stream", input, rest)
        yield* peer.terminal(accepted.job_id!)
        return accepted
      }).pipe(Effect.provide(process), Effect.scoped)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        expect(said(yield* submit(peer, "stream", input, rest))).toEqual(said(job))
        yield* peer.terminal(job.job_id!)
        expect(told(peer, job.job_id!)).toEqual(["1", "2", "3", "job.result"])
        const plain = yield* hello({ features: withoutChunks })
        yield* submit(plain, "stream", input, rest)
        expect((yield* plain.terminal(job.job_id!)).payload.result).toBe("123")
        const byClient = Effect.gen(function* () {
          const client = yield* ArcpClient
          return yield* (yield* client.submit("stream", input, { idempotencyKey: "s" })).result
        })
        expect(yield* Effect.provide(byClient, clientOf)).toBe("123")
      }).pipe(Effect.provide(process), Effect.scoped)
    })
  )

  it.scopedLive("§7.2 the sessions that submitted a job own it after a restart, and may cancel it", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "arcp-owners-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const again = Agent.untyped("again", () => Effect.never, { onRestart: "rerun" })
      const process = Layer.fresh(
        world({ agents: again, store: SqliteStore.layer({ filename: join(folder, "o.db") }) })
      )
      const { id, sessions } = yield* Effect.gen(function* () {
        const sessions = [yield* hello({ features }), yield* hello({ features })]
        let id = ""
        for (const peer of sessions) id = (yield* submit(peer, "again", 1, { idempotency_key: "k" })).job_id!
        yield* Effect.forEach(sessions, barrier)
        return { id, sessions }
      }).pipe(Effect.provide(process), Effect.scoped)
      yield* Effect.gen(function* () {
        const back = yield* Effect.forEach(sessions, (peer) =>
          hello({ features, resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 } })
        )
        const cancelled = yield* Effect.flatMap(back[1]!.send("job.cancel", { job_id: id }), back[1]!.reply)
        expect(cancelled.type).toBe("job.cancelled")
        for (const peer of back) expect((yield* peer.terminal(id)).payload.final_status).toBe("cancelled")
      }).pipe(Effect.provide(process), Effect.scoped)
    })
  )
})
