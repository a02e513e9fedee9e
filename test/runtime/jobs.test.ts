import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, TestClock } from "effect"
import { allFeatures, barrier, eventsOf, hello, run, submit, withoutAck } from "./peer.js"
import { backends } from "./backends.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

describe.each(backends)("jobs over %s", (_name, backend) => {
  const over = (options: WorldOptions) => world({ ...backend(), ...options })
  const main = over({})

  describe("submit", () => {
    it.scoped("§7.1 accepted comes first, with the resolved agent, lease and trace; then status running", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const id = yield* peer.send(
          "job.submit",
          { agent: "facts", lease_request: { "fs.read": ["/data/**"] } },
          { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736" }
        )
        const accepted = yield* peer.reply(id)
        expect(accepted.payload).toMatchObject({
          request_id: id,
          agent: "facts@1.0.0",
          lease: { "fs.read": ["/data/**"] },
          trace_id: "4bf92f3577b34da6a3ce929d0e0e4736"
        })
        expect(accepted.job_id).toBe(accepted.payload.job_id)
        expect(accepted.event_seq).toBeUndefined()
        const end = yield* peer.terminal(accepted.job_id!)
        expect(end.payload.result).toMatchObject({
          principalId: "alice",
          traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
          attempt: 1,
          lease: { "fs.read": ["/data/**"] }
        })
        const types = peer.seen.map((f) => f.type)
        expect(types.indexOf("job.accepted")).toBeLessThan(types.indexOf("job.event"))
        expect(eventsOf(peer, accepted.job_id!)[0]!.payload).toMatchObject({
          kind: "status",
          body: { phase: "running" }
        })
        expect(end.trace_id).toBe("4bf92f3577b34da6a3ce929d0e0e4736")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§11 a submit without a trace gets one", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "echo")
        expect(accepted.payload.trace_id).toMatch(/^(?!0{32})[0-9a-f]{32}$/)
        expect(accepted.payload.lease).toEqual({})
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.5 a bare name is the default version, a pinned one is that version, unknown ones are refused", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "versions")).payload.result).toEqual({ version: "2.0.0" })
        expect((yield* run(peer, "versions@1.0.0")).payload.result).toEqual({ version: "1.0.0" })
        const missing = yield* submit(peer, "versions@3.0.0")
        expect(missing.type).toBe("session.error")
        expect(missing.payload).toMatchObject({ code: "AGENT_VERSION_NOT_AVAILABLE", retryable: false })
        expect((yield* submit(peer, "nobody")).payload.code).toBe("AGENT_NOT_AVAILABLE")
        expect((yield* submit(peer, "Bad Name")).payload.code).toBe("INVALID_REQUEST")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.1 input that does not fit the agent is refused before anything is accepted", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const refused = yield* submit(peer, "counter", { count: "many" }, { idempotency_key: "bad-input" })
        expect(refused.payload.code).toBe("INVALID_REQUEST")
        expect(refused.payload.message).toContain("payload.input.count")
        const list = yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
        expect(list.payload.jobs).toEqual([])
        const good = yield* submit(peer, "counter", { count: 1 }, { idempotency_key: "bad-input" })
        expect(good.type).toBe("job.accepted")
      }).pipe(Effect.provide(main))
    )

    it.scoped("one refused request fails only its own caller", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "gate", { name: "unharmed" })
        yield* submit(peer, "nobody")
        for (const type of ["job.subscribe", "job.cancel", "job.unsubscribe"]) {
          const id = yield* peer.send(type, { job_id: "job_none" })
          expect((yield* peer.reply(id)).payload).toMatchObject({ code: "JOB_NOT_FOUND", request_id: id })
        }
        yield* Deferred.succeed(gate("unharmed"), undefined)
        expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("success")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.5 an expiry that is past, not UTC or no time is refused", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const expires_at of ["1969-01-01T00:00:00Z", "2099-01-01T00:00:00+02:00", "tomorrow"]) {
          const refused = yield* submit(peer, "echo", 1, { lease_constraints: { expires_at } })
          expect(refused.payload.code).toBe("INVALID_REQUEST")
        }
      }).pipe(Effect.provide(main))
    )
  })

  describe("idempotency", () => {
    it.scoped("§7.2 the same key and parameters is the same job; order of keys does not matter", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const first = yield* submit(peer, "echo", { a: 1, b: 2.0 }, { idempotency_key: "k1" })
        yield* peer.terminal(first.job_id!)
        const second = yield* submit(peer, "echo", { b: 2, a: 1 }, { idempotency_key: "k1" })
        const { request_id: _1, ...a } = first.payload
        const { request_id: _2, ...b } = second.payload
        expect(b).toEqual(a)
        yield* barrier(peer)
        const terminals = peer.events().filter((f) => f.type === "job.result")
        expect(terminals.length).toBe(2)
        expect(terminals[1]!.payload).toEqual(terminals[0]!.payload)
        const seqs = peer.events().map((f) => f.event_seq)
        expect(seqs).toEqual(seqs.map((_, i) => i + 1))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 a conflicting key is DUPLICATE_KEY and leaves the running job alone", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const first = yield* submit(peer, "gate", { name: "dup" }, { idempotency_key: "k2" })
        for (const [input, rest] of [
          [{ name: "other" }, {}],
          [{ name: "dup" }, { max_runtime_sec: 5 }],
          [{ name: "dup" }, { lease_request: { "fs.read": ["/x"] } }]
        ] as const) {
          const refused = yield* submit(peer, "gate", input, { idempotency_key: "k2", ...rest })
          expect(refused.payload.code).toBe("DUPLICATE_KEY")
        }
        yield* Deferred.succeed(gate("dup"), undefined)
        expect((yield* peer.terminal(first.job_id!)).payload.result).toBe("dup")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 two identical submits at once start one job; another principal's key is another job", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const bob = yield* hello({ token: "bob-token" })
        const ids = yield* Effect.all(
          Array.from({ length: 10 }, () => submit(peer, "gate", { name: "once" }, { idempotency_key: "k3" })),
          { concurrency: "unbounded" }
        )
        expect(new Set(ids.map((f) => f.job_id)).size).toBe(1)
        const other = yield* submit(bob, "gate", { name: "once" }, { idempotency_key: "k3" })
        expect(other.job_id).not.toBe(ids[0]!.job_id)
        yield* Deferred.succeed(gate("once"), undefined)
        yield* peer.terminal(ids[0]!.job_id!)
        expect(eventsOf(peer, ids[0]!.job_id!).filter((f) => f.payload.body?.phase === "running").length).toBe(1)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 the session that submits again becomes the owner: events and cancel authority move", () =>
      Effect.gen(function* () {
        const one = yield* hello()
        const two = yield* hello()
        const first = yield* submit(one, "gate", { name: "moves" }, { idempotency_key: "k4" })
        const second = yield* submit(two, "gate", { name: "moves" }, { idempotency_key: "k4" })
        expect(second.job_id).toBe(first.job_id)
        const denied = yield* Effect.flatMap(one.send("job.cancel", { job_id: first.job_id }), one.reply)
        expect(denied.payload.code).toBe("PERMISSION_DENIED")
        const ok = yield* Effect.flatMap(two.send("job.cancel", { job_id: first.job_id }), two.reply)
        expect(ok.type).toBe("job.cancelled")
        expect((yield* two.terminal(first.job_id!)).payload.final_status).toBe("cancelled")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 a key counts for 24 hours", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        const first = yield* submit(peer, "echo", 1, { idempotency_key: "k5" })
        yield* peer.terminal(first.job_id!)
        yield* TestClock.adjust("25 hours")
        const second = yield* submit(peer, "echo", 1, { idempotency_key: "k5" })
        expect(second.job_id).not.toBe(first.job_id)
      }).pipe(Effect.provide(over({ limits: { sweepEvery: 90_000_000 } })))
    )
  })

  describe("terminal states", () => {
    for (const [agent, status, code] of [
      ["fail", "error", "NO_LUCK"],
      ["die", "error", "INTERNAL_ERROR"],
      ["bad-finalizer", "error", "INTERNAL_ERROR"],
      ["mixed", "error", "INTERNAL_ERROR"],
      ["negative", "error", "INVALID_REQUEST"]
    ] as const) {
      it.scoped(`§7.3 ${agent} ends once, in ${code}`, () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          const end = yield* run(peer, agent)
          expect(end.payload).toMatchObject({ final_status: status, code })
          expect(JSON.stringify(end)).not.toContain("secret inside")
          yield* run(peer, "echo")
          expect(eventsOf(peer, end.job_id!).filter((f) => f.type !== "job.event").length).toBe(1)
        }).pipe(Effect.provide(main))
      )
    }

    it.scoped("§7.4 cancel is acknowledged, the agent is interrupted, the end is cancelled", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "never")
        const id = yield* peer.send("job.cancel", { reason: "enough" }, { job_id: accepted.job_id })
        const ack = yield* peer.reply(id)
        expect(ack.payload).toMatchObject({ job_id: accepted.job_id, reason: "enough" })
        expect(ack.event_seq).toBeUndefined()
        const end = yield* peer.terminal(accepted.job_id!)
        expect(end.payload).toMatchObject({ final_status: "cancelled", code: "CANCELLED" })
        const again = yield* Effect.flatMap(peer.send("job.cancel", { job_id: accepted.job_id }), peer.reply)
        expect(again.payload.code).toBe("INVALID_REQUEST")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.4 an agent that does not unwind is ended after the grace, and its slot is free", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        const accepted = yield* submit(peer, "stubborn")
        yield* peer.next("job.event")
        const id = yield* peer.send("job.cancel", { job_id: accepted.job_id })
        yield* peer.reply(id)
        yield* barrier(peer)
        expect(eventsOf(peer, accepted.job_id!).length).toBe(1)
        yield* TestClock.adjust("31 seconds")
        expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("cancelled")
        expect((yield* run(peer, "echo", "free")).payload.result).toBe("free")
      }).pipe(Effect.provide(over({ limits: { runningJobs: 1 } })))
    )

    it.scoped("§7.4 only the owner session cancels; a foreign principal does not learn that the job exists", () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const same = yield* hello()
        const foreign = yield* hello({ token: "bob-token" })
        const accepted = yield* submit(owner, "never")
        const a = yield* Effect.flatMap(same.send("job.cancel", { job_id: accepted.job_id }), same.reply)
        expect(a.payload.code).toBe("PERMISSION_DENIED")
        const b = yield* Effect.flatMap(foreign.send("job.cancel", { job_id: accepted.job_id }), foreign.reply)
        expect(b.payload.code).toBe("JOB_NOT_FOUND")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 max_runtime_sec ends the job as timed_out, not as cancelled", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        const accepted = yield* submit(peer, "slow", null, { max_runtime_sec: 5 })
        yield* peer.next("job.event")
        yield* TestClock.adjust("4 seconds")
        yield* barrier(peer)
        expect(eventsOf(peer, accepted.job_id!).length).toBe(1)
        yield* TestClock.adjust("2 seconds")
        expect((yield* peer.terminal(accepted.job_id!)).payload).toMatchObject({
          final_status: "timed_out",
          code: "TIMEOUT"
        })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 a deadline further away than a timer can count neither fires at once nor never", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        const accepted = yield* submit(peer, "never", null, { max_runtime_sec: 40 * 86_400 })
        yield* peer.next("job.event")
        yield* TestClock.adjust("39 days")
        yield* barrier(peer)
        expect(eventsOf(peer, accepted.job_id!).length).toBe(1)
        yield* TestClock.adjust("2 days")
        expect((yield* peer.terminal(accepted.job_id!)).payload.code).toBe("TIMEOUT")
      }).pipe(Effect.provide(over({ limits: { sweepEvery: 90 * 86_400_000 } })))
    )

    it.scoped("a handler that ends leaves no open tool_call without a tool_result", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "open-call")
        const events = eventsOf(peer, end.job_id!)
        const call = events.find((f) => f.payload.kind === "tool_call")!
        const results = events.filter((f) => f.payload.kind === "tool_result")
        expect(results.length).toBe(1)
        expect(results[0]!.payload.body.call_id).toBe(call.payload.body.call_id)
        expect(end.payload.result).toBe("left open")
      }).pipe(Effect.provide(main))
    )

    it.scoped("jobs over the limit wait as pending and start in order", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const first = yield* submit(peer, "single", { name: "s1" })
        const second = yield* submit(peer, "single", { name: "s2" })
        const list = yield* Effect.flatMap(
          peer.send("session.list_jobs", { filter: { status: ["pending"] } }),
          peer.reply
        )
        expect(list.payload.jobs.map((j: any) => j.job_id)).toEqual([second.job_id])
        const third = yield* submit(peer, "single", { name: "s3" })
        yield* Effect.flatMap(peer.send("job.cancel", { job_id: third.job_id }), peer.reply)
        expect((yield* peer.terminal(third.job_id!)).payload.code).toBe("CANCELLED")
        yield* Deferred.succeed(gate("s1"), undefined)
        yield* peer.terminal(first.job_id!)
        yield* Deferred.succeed(gate("s2"), undefined)
        yield* peer.terminal(second.job_id!)
      }).pipe(Effect.provide(main))
    )
  })

  describe("streamed results", () => {
    it.scoped("§8.4 chunks are numbered, one says that it is the last, and the result refers to them", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "stream", { chunks: ["ab", "c\ud83d", "\ude00d"] })
        const chunks = eventsOf(peer, end.job_id!)
          .filter((f) => f.payload.kind === "result_chunk")
          .map((f) => f.payload.body)
        expect(chunks.map((c) => c.chunk_seq)).toEqual(chunks.map((_, i) => i))
        expect(chunks.map((c) => c.more)).toEqual(chunks.map((_, i) => i < chunks.length - 1))
        expect(chunks.map((c) => c.data).join("")).toBe("abc😀d")
        for (const chunk of chunks) expect(chunk.data.isWellFormed?.() ?? true).toBe(true)
        expect(new Set(chunks.map((c) => c.result_id))).toEqual(new Set([end.payload.result_id]))
        expect(end.payload.result_size).toBe(8)
        expect("result" in end.payload).toBe(false)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.4 an empty stream is one empty last chunk", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "stream", { chunks: [] })
        expect(end.payload.result_size).toBe(0)
        const chunks = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "result_chunk")
        expect(chunks.map((f) => f.payload.body)).toMatchObject([{ chunk_seq: 0, data: "", more: false }])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§14 a chunk over the limit is cut, never inside a character", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const text = "é".repeat(50) + "😀".repeat(20)
        const end = yield* run(peer, "stream", { chunks: [text] })
        const chunks = eventsOf(peer, end.job_id!)
          .filter((f) => f.payload.kind === "result_chunk")
          .map((f) => f.payload.body.data)
        expect(chunks.length).toBeGreaterThan(1)
        expect(chunks.join("")).toBe(text)
        for (const chunk of chunks) expect(new TextEncoder().encode(chunk).length).toBeLessThanOrEqual(15)
      }).pipe(Effect.provide(over({ limits: { resultChunk: 15 } })))
    )

    it.scoped("§14 a streamed result over the total limit ends in INTERNAL_ERROR", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "stream", { chunks: ["x".repeat(60), "x".repeat(60)] })
        expect(end.payload.code).toBe("INTERNAL_ERROR")
      }).pipe(Effect.provide(over({ limits: { resultTotal: 100 } })))
    )

    it.scoped("§8.4 a stream that fails half-way ends in job.error without a last chunk", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "stream", { chunks: ["a", "b"], fail: true })
        expect(end.payload.code).toBe("BROKEN")
        const chunks = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "result_chunk")
        expect(chunks.every((f) => f.payload.body.more)).toBe(true)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.2 without result_chunk the result is assembled inline; progress is left out without a gap", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        expect((yield* run(peer, "stream", { chunks: ["a", "b"] })).payload.result).toBe("ab")
        expect((yield* run(peer, "stream", { chunks: ["a", "b"], encoding: "base64" })).payload.result).toBe(btoa("ab"))
        yield* run(peer, "counter", { count: 10, kind: "progress" })
        expect(peer.events().some((f) => f.payload.kind === "progress" || f.payload.kind === "result_chunk")).toBe(
          false
        )
        const seqs = peer.events().map((f) => f.event_seq)
        expect(seqs).toEqual(seqs.map((_, i) => i + 1))
      }).pipe(Effect.provide(main))
    )

    it.scoped("an inline result over the limit is refused with what to do", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const end = yield* run(peer, "echo", "x".repeat(200))
        expect(end.payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: false })
        expect(end.payload.message).toContain("stream")
      }).pipe(Effect.provide(over({ limits: { inlineResult: 100 } })))
    )
  })

  describe("listing and subscription", () => {
    it.scoped("§6.6 lists the principal's jobs, filters, and pages with stable cursors", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const bob = yield* hello({ token: "bob-token" })
        yield* run(bob, "echo")
        const ids: Array<string> = []
        for (let i = 0; i < 7; i++) ids.push((yield* run(peer, i % 2 === 0 ? "echo" : "fail")).job_id!)
        const collected: Array<string> = []
        let cursor: string | null = null
        do {
          const page: any = yield* Effect.flatMap(peer.send("session.list_jobs", { limit: 3, cursor }), peer.reply)
          collected.push(...page.payload.jobs.map((j: any) => j.job_id))
          cursor = page.payload.next_cursor
          // A job that is added meanwhile neither repeats nor skips another.
          if (collected.length === 3) ids.push((yield* run(peer, "echo")).job_id!)
        } while (cursor !== null)
        expect(collected).toEqual(ids)
        const failed = yield* Effect.flatMap(
          peer.send("session.list_jobs", { filter: { status: ["error"], agent: "fail@1.0.0" } }),
          peer.reply
        )
        expect(failed.payload.jobs.length).toBe(3)
        expect(failed.payload.jobs[0]).toMatchObject({
          agent: "fail@1.0.0",
          status: "error",
          parent_job_id: null,
          lease: {}
        })
        const bad = yield* Effect.flatMap(peer.send("session.list_jobs", { cursor: "???" }), peer.reply)
        expect(bad.payload.code).toBe("INVALID_REQUEST")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.6 history up to the boundary, then live, each event once, in the observer's own numbers", () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const observer = yield* hello()
        yield* run(owner, "counter", { count: 5 })
        const accepted = yield* submit(owner, "gate", { name: "sub-1" })
        yield* owner.next("job.event", (f) => f.payload.body.message === "waiting")
        const id = yield* observer.send("job.subscribe", { job_id: accepted.job_id, history: true, from_event_seq: 0 })
        const subscribed = yield* observer.reply(id)
        expect(subscribed.payload).toMatchObject({
          job_id: accepted.job_id,
          current_status: "running",
          agent: "gate@1.0.0",
          replayed: true,
          subscribed_from: 0
        })
        for (let i = 0; i < 2; i++)
          yield* Effect.flatMap(
            observer.send("job.subscribe", { job_id: accepted.job_id, history: true }),
            observer.reply
          )
        yield* Deferred.succeed(gate("sub-1"), undefined)
        yield* observer.terminal(accepted.job_id!)
        yield* owner.terminal(accepted.job_id!)
        expect(observer.events().map((f) => f.payload)).toEqual(eventsOf(owner, accepted.job_id!).map((f) => f.payload))
        expect(observer.events().map((f) => f.event_seq)).toEqual(observer.events().map((_, i) => i + 1))
        const types = observer.seen.map((f) => f.type)
        expect(types.indexOf("job.subscribed")).toBeLessThan(types.indexOf("job.event"))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.6 without history only what comes after; from_event_seq counts in the owner's numbers", () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const live = yield* hello()
        const part = yield* hello()
        yield* run(owner, "counter", { count: 3 })
        const accepted = yield* submit(owner, "gate", { name: "sub-2" })
        const waiting = yield* owner.next("job.event", (f) => f.payload.body.message === "waiting")
        yield* Effect.flatMap(live.send("job.subscribe", { job_id: accepted.job_id }), live.reply)
        yield* Effect.flatMap(
          part.send("job.subscribe", {
            job_id: accepted.job_id,
            history: true,
            from_event_seq: waiting.event_seq! - 1
          }),
          part.reply
        )
        yield* Deferred.succeed(gate("sub-2"), undefined)
        yield* live.terminal(accepted.job_id!)
        yield* part.terminal(accepted.job_id!)
        expect(live.events().map((f) => f.payload.body?.message ?? f.type)).toEqual(["through", "job.result"])
        expect(part.events().map((f) => f.payload.body?.message ?? f.type)).toEqual([
          "waiting",
          "through",
          "job.result"
        ])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.6 an ended job can be observed with history as long as it is retained", () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const end = yield* run(owner, "counter", { count: 4, kind: "progress" })
        const full = yield* hello()
        const plain = yield* hello({ features: allFeatures.filter((f) => f !== "progress") })
        for (const [peer, count] of [
          [full, 6],
          [plain, 2]
        ] as const) {
          const reply = yield* Effect.flatMap(
            peer.send("job.subscribe", { job_id: end.job_id, history: true }),
            peer.reply
          )
          expect(reply.payload.current_status).toBe("success")
          yield* peer.terminal(end.job_id!)
          expect(peer.events().length).toBe(count)
          expect(peer.events().map((f) => f.event_seq)).toEqual(peer.events().map((_, i) => i + 1))
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.6 a foreign job does not exist; an observer cannot cancel; unsubscribe ends it", () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const bob = yield* hello({ token: "bob-token" })
        const observer = yield* hello()
        const accepted = yield* submit(owner, "gate", { name: "sub-3" })
        const foreign = yield* Effect.flatMap(bob.send("job.subscribe", { job_id: accepted.job_id }), bob.reply)
        expect(foreign.payload.code).toBe("JOB_NOT_FOUND")
        yield* Effect.flatMap(observer.send("job.subscribe", { job_id: accepted.job_id }), observer.reply)
        const cancel = yield* Effect.flatMap(observer.send("job.cancel", { job_id: accepted.job_id }), observer.reply)
        expect(cancel.payload.code).toBe("PERMISSION_DENIED")
        const gone = yield* Effect.flatMap(
          observer.send("job.unsubscribe", { job_id: accepted.job_id }),
          observer.reply
        )
        expect(gone.type).toBe("job.unsubscribed")
        yield* Deferred.succeed(gate("sub-3"), undefined)
        yield* owner.terminal(accepted.job_id!)
        yield* barrier(observer)
        expect(observer.events()).toEqual([])
      }).pipe(Effect.provide(main))
    )
  })
})

describe("fairness", () => {
  it.scopedLive(
    "an agent that emits 100,000 events leaves another session's pings under 100 ms",
    () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features: withoutAck })
        const other = yield* hello()
        const accepted = yield* submit(owner, "counter", { count: 100_000 })
        let worst = 0
        let rounds = 0
        while (!owner.seen.some((f) => f.type === "job.result")) {
          const start = performance.now()
          yield* barrier(other)
          worst = Math.max(worst, performance.now() - start)
          rounds++
          yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
        }
        yield* owner.terminal(accepted.job_id!)
        expect(rounds).toBeGreaterThan(5)
        expect(worst).toBeLessThan(100)
      }).pipe(Effect.provide(world())),
    30_000
  )

  it.scopedLive(
    "5,000 sequential jobs on one session work at default settings",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (let i = 0; i < 5_000; i++) yield* run(peer, "echo", i)
        expect(peer.events().at(-1)!.event_seq).toBe(10_000)
      }).pipe(Effect.provide(world())),
    60_000
  )
})
