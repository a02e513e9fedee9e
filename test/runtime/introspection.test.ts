/** What a listing and a subscription tell of jobs (ARCP 1.1 §6.6, §7.6, §7.7): every filter, and every field. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, TestClock } from "effect"
import { backends } from "./backends.js"
import { barrier, eventsOf, hello, type Peer, run, submit } from "./peer.js"
import { scripted, type Step } from "./script.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

interface Row {
  readonly job_id: string
  readonly created_at: string
}

const list = (peer: Peer, filter?: object) =>
  Effect.map(
    Effect.flatMap(peer.send("session.list_jobs", filter === undefined ? {} : { filter }), peer.reply),
    ({ payload }) => payload.jobs as ReadonlyArray<Row & Record<string, unknown>>
  )

const idsOf = (rows: ReadonlyArray<Row>) => rows.map((row) => row.job_id)

describe.each(backends)("introspection over %s", (_name, backend) => {
  const main = world(backend())

  it.scoped("§6.6 created_after lists what was created later, to the millisecond, and refuses what is no time", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const ids: Array<string> = []
      for (let i = 0; i < 3; i++) {
        ids.push((yield* run(peer, "echo", i)).job_id!)
        yield* TestClock.adjust(1)
      }
      const rows = yield* list(peer)
      expect(idsOf(rows)).toEqual(ids)
      const times = rows.map((row) => row.created_at)
      expect(new Set(times).size).toBe(3)
      expect(idsOf(yield* list(peer, { created_after: times[0] }))).toEqual(ids.slice(1))
      expect(idsOf(yield* list(peer, { created_after: times[1] }))).toEqual(ids.slice(2))
      expect(yield* list(peer, { created_after: times[2] })).toEqual([])
      expect(idsOf(yield* list(peer, { created_after: "1969-12-31T23:59:59.999Z" }))).toEqual(ids)
      expect(yield* list(peer, { created_after: "2999-01-01T00:00:00Z" })).toEqual([])
      for (const created_after of ["yesterday", "", 5]) {
        const refused = yield* Effect.flatMap(peer.send("session.list_jobs", { filter: { created_after } }), peer.reply)
        expect(refused.payload).toMatchObject({
          code: "INVALID_REQUEST",
          message: expect.stringContaining("created_after")
        })
      }
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.6 status and agent filter alone, and all filters together", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const failed = (yield* run(peer, "fail")).job_id!
      const first = (yield* run(peer, "versions@1.0.0")).job_id!
      const second = (yield* run(peer, "versions@2.0.0")).job_id!
      yield* TestClock.adjust("1 second")
      const later = (yield* run(peer, "versions@1.0.0")).job_id!
      const running = (yield* submit(peer, "never")).job_id!
      const cut = (yield* list(peer)).find((row) => row.job_id === second)!.created_at
      for (const [filter, expected] of [
        [{ status: ["error"] }, [failed]],
        [{ status: ["running"] }, [running]],
        [{ status: ["running", "error"] }, [failed, running]],
        [{ status: ["cancelled", "timed_out"] }, []],
        [{ agent: "versions" }, [first, second, later]],
        [{ agent: "versions@2.0.0" }, [second]],
        [{ agent: "versions@3.0.0" }, []],
        [{ agent: "version" }, []],
        [{ agent: "versions", status: ["error"] }, []],
        [{ agent: "versions@1.0.0", status: ["success"], created_after: cut }, [later]],
        [{ status: ["success"], created_after: cut }, [later]],
        [{}, [failed, first, second, later, running]]
      ] as const) {
        expect([filter, idsOf(yield* list(peer, filter))]).toEqual([filter, expected])
      }
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.6 job.subscribed has every field, those that are optional only where there is something to tell", () =>
    Effect.gen(function* () {
      const owner = yield* hello()
      const steps: ReadonlyArray<Step> = [
        { do: "spend", amount: "1.25 USD" },
        { do: "wait", gate: "fields" }
      ]
      const trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
      const asked = {
        agent: "script",
        input: { steps },
        lease_request: { "tool.call": ["search.*"], "cost.budget": ["USD:5.00", "credits:7"] },
        lease_constraints: { expires_at: "1970-01-02T00:00:00Z" }
      }
      const accepted = yield* Effect.flatMap(owner.send("job.submit", asked, { trace_id }), owner.reply)
      yield* owner.next("job.event", (f) => f.payload.body.name === "cost.budget.remaining")
      const observer = yield* hello()
      const id = yield* observer.send("job.subscribe", { job_id: accepted.job_id })
      const subscribed = yield* observer.reply(id)
      expect(subscribed).toMatchObject({ type: "job.subscribed", job_id: accepted.job_id })
      expect(subscribed.session_id).toBe(observer.sessionId)
      expect(subscribed.event_seq).toBeUndefined()
      expect(subscribed.payload).toEqual({
        request_id: id,
        job_id: accepted.job_id,
        current_status: "running",
        agent: "script@1.0.0",
        lease: accepted.payload.lease,
        lease_constraints: { expires_at: "1970-01-02T00:00:00Z" },
        budget: { USD: 3.75, credits: 7 },
        parent_job_id: null,
        trace_id,
        subscribed_from: eventsOf(owner, accepted.job_id!).at(-1)!.event_seq,
        replayed: false
      })
      const plain = yield* submit(owner, "echo")
      yield* owner.terminal(plain.job_id!)
      const bare = yield* Effect.flatMap(observer.send("job.subscribe", { job_id: plain.job_id }), observer.reply)
      expect(bare.payload).toMatchObject({ current_status: "success", agent: "echo@1.0.0", lease: {} })
      for (const field of ["lease_constraints", "budget", "credentials"]) {
        expect(subscribed.payload).not.toHaveProperty("credentials")
        expect(bare.payload).not.toHaveProperty(field)
      }
      yield* Deferred.succeed(gate("fields"), undefined)
      yield* owner.terminal(accepted.job_id!)
    }).pipe(Effect.provide(world({ ...backend(), agents: scripted })))
  )

  it.scoped("§7.6 replayed says whether history follows, for jobs that run and that have ended", () =>
    Effect.gen(function* () {
      const owner = yield* hello()
      const running = (yield* submit(owner, "gate", { name: "replayed" })).job_id!
      yield* owner.next("job.event", (f) => f.payload.body.message === "waiting")
      const ended = (yield* run(owner, "counter", { count: 2 })).job_id!
      for (const job_id of [running, ended]) {
        for (const [request, replayed] of [
          [{ history: true }, true],
          [{ history: true, from_event_seq: 0 }, true],
          [{}, false],
          [{ history: false, from_event_seq: 0 }, false],
          [{ from_event_seq: 0 }, false]
        ] as const) {
          const observer = yield* hello()
          const reply = yield* Effect.flatMap(observer.send("job.subscribe", { job_id, ...request }), observer.reply)
          yield* barrier(observer)
          expect([request, reply.payload.replayed]).toEqual([request, replayed])
          expect([request, observer.events().length > 0]).toEqual([request, replayed])
          yield* observer.drop
        }
      }
      yield* Deferred.succeed(gate("replayed"), undefined)
      yield* owner.terminal(running)
    }).pipe(Effect.provide(main))
  )

  it.scoped(
    "§7.7 a resumed session may cancel and goes on with its numbers; a subscription may not and has its own",
    () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const { job_id } = yield* submit(owner, "never")
        yield* barrier(owner)
        const last = owner.events().at(-1)!.event_seq!
        yield* owner.drop
        const observer = yield* hello()
        yield* Effect.flatMap(observer.send("job.subscribe", { job_id, history: true }), observer.reply)
        const refused = yield* Effect.flatMap(observer.send("job.cancel", { job_id }, { job_id }), observer.reply)
        expect(refused.payload.code).toBe("PERMISSION_DENIED")
        const resumed = yield* hello({
          resume: { session_id: owner.sessionId, resume_token: owner.token, last_event_seq: last }
        })
        yield* Effect.flatMap(resumed.send("job.cancel", { job_id }, { job_id }), resumed.reply)
        expect((yield* resumed.terminal(job_id!)).event_seq).toBe(last + 1)
        expect((yield* observer.terminal(job_id!)).payload.final_status).toBe("cancelled")
        expect(observer.events().map((f) => f.event_seq)).toEqual(observer.events().map((_, i) => i + 1))
      }).pipe(Effect.provide(main))
  )
})
