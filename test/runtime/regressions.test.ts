/** What went wrong in other implementations, held here, where no other test of the runtime shows it. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Option, TestClock } from "effect"
import { ObservationPolicy } from "../../src/runtime/index.js"
import { Store } from "../../src/store/Store.js"
import { allFeatures, barrier, dial, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { closeCodeOver, transports } from "./backends.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"
import { recording } from "../support/spans.js"

beforeEach(resetGates)

const features = allFeatures.filter((f) => f !== "heartbeat")
const lastSeq = (peer: Peer): number => peer.events().at(-1)?.event_seq ?? 0
const seqs = (peer: Peer) => peer.events().map((f) => f.event_seq)
const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i)
const resumeOf = (peer: Peer & { readonly sessionId: string; readonly token: string }, seq = lastSeq(peer)) => ({
  features,
  resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: seq }
})
const request = (peer: Peer, type: string, payload: object = {}) => Effect.flatMap(peer.send(type, payload), peer.reply)
const terminals = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).filter((f: Frame) => f.type === "job.result" || f.type === "job.error")

describe.each(transports)("regressions over %s", (name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), ...options })
  const main = over()

  describe("resume and sequence", () => {
    it.scoped("§6.3 a replay that races live events sends each once, in order, and stores none again", () =>
      Effect.gen(function* () {
        // It does not acknowledge, and would be slowed.
        const unslowed = { features: features.filter((f) => f !== "ack") }
        const peer = yield* hello(unslowed)
        const accepted = yield* submit(peer, "counter", { count: 30_000 })
        yield* peer.next("job.event", (f) => f.event_seq === 2_000)
        yield* peer.drop
        const second = yield* hello({ ...resumeOf(peer, 1_500), ...unslowed })
        yield* second.next("job.event", (f) => f.event_seq === 9_000)
        yield* second.drop
        const third = yield* hello({ ...resumeOf(second, 5_000), ...unslowed })
        yield* third.terminal(accepted.job_id!)
        expect(seqs(second)).toEqual(from(1_501, second.events().length))
        expect(seqs(third)).toEqual(from(5_001, 30_002 - 5_000))
        expect(third.events().at(-2)!.payload.body.message).toBe("event 30000")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.3 one sequence for all jobs of a session, each job in its order; replies have no number", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const jobs = yield* Effect.all(
          from(0, 4).map(() => submit(peer, "counter", { count: 300 })),
          { concurrency: "unbounded" }
        )
        for (const job of jobs) yield* peer.terminal(job.job_id!)
        yield* request(peer, "session.list_jobs")
        expect(seqs(peer)).toEqual(from(1, 4 * 302))
        for (const job of jobs) {
          const logs = eventsOf(peer, job.job_id!).filter((f) => f.payload.kind === "log")
          expect(logs.map((f) => f.payload.body.message)).toEqual(from(1, 300).map((n) => `event ${n}`))
        }
        const numbered = peer.seen.filter((f) => f.event_seq !== undefined).map((f) => f.type)
        expect(new Set(numbered)).toEqual(new Set(["job.event", "job.result"]))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 an agent that emits while its owner is away goes on; who has seen all resumes with nothing", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const watcher = yield* hello({ features })
        const accepted = yield* submit(peer, "gate", { name: "away" })
        const many = yield* submit(peer, "counter", { count: 3_000 })
        yield* request(watcher, "job.subscribe", { job_id: many.job_id, history: true })
        yield* peer.drop
        yield* watcher.terminal(many.job_id!)
        const second = yield* hello(resumeOf(peer))
        yield* second.terminal(many.job_id!)
        yield* second.drop
        const third = yield* hello(resumeOf(second))
        yield* barrier(third)
        expect(third.events()).toEqual([])
        yield* Deferred.succeed(gate("away"), undefined)
        yield* third.terminal(accepted.job_id!)
        expect([...seqs(peer), ...seqs(second), ...seqs(third)]).toEqual(from(1, 3_002 + 4))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 after a resume the session's subscriptions, acknowledgements, caps and cancels still work", () =>
      Effect.gen(function* () {
        const owner = yield* hello({ features })
        const observer = yield* hello({ features })
        const watched = yield* submit(owner, "gate", { name: "watched" })
        const own = yield* submit(observer, "never")
        yield* request(observer, "job.subscribe", { job_id: watched.job_id, history: true })
        yield* observer.next("job.event", (f) => f.payload.body.message === "waiting")
        yield* observer.drop
        const again = yield* hello(resumeOf(observer))
        const full = yield* request(again, "job.subscribe", { job_id: own.job_id })
        expect(full.payload.code).toBe("INTERNAL_ERROR")
        yield* Deferred.succeed(gate("watched"), undefined)
        yield* again.terminal(watched.job_id!)
        expect(eventsOf(again, watched.job_id!).map((f) => f.payload.body?.message ?? f.type)).toEqual([
          "through",
          "job.result"
        ])
        const beyond = yield* request(again, "session.ack", { last_processed_seq: lastSeq(again) + 1 })
        expect(beyond.payload.code).toBe("INVALID_REQUEST")
        yield* again.send("session.ack", { last_processed_seq: lastSeq(again) })
        expect((yield* request(again, "job.cancel", { job_id: own.job_id })).type).toBe("job.cancelled")
        expect((yield* again.terminal(own.job_id!)).payload.code).toBe("CANCELLED")
        yield* barrier(again)
        expect(again.seen.filter((f) => f.type === "session.error").length).toBe(2)
      }).pipe(Effect.provide(over({ limits: { subscriptionsPerSession: 1 } })))
    )

    it.scoped("§6.5 bounds count what is buffered: who acknowledges can resume however much was ever sent", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        yield* submit(peer, "never")
        for (let i = 0; i < 8; i++) {
          yield* run(peer, "counter", { count: 150 })
          yield* peer.send("session.ack", { last_processed_seq: lastSeq(peer) })
          yield* barrier(peer)
        }
        const long = yield* submit(peer, "counter", { count: 1_000 })
        yield* peer.terminal(long.job_id!)
        yield* peer.drop
        const again = yield* hello(resumeOf(peer, lastSeq(peer) - 20))
        yield* again.terminal(long.job_id!)
        expect(again.events().length).toBe(20)
      }).pipe(Effect.provide(over({ limits: { historyEvents: 50, bufferedEvents: 100, queuedEvents: 16 } })))
    )

    it.scoped("§6.3 tokens are stored as hashes only, and gone from the store once the window has passed", () =>
      Effect.gen(function* () {
        const options = backend()
        const store = Context.get(yield* Layer.build(options.store!), Store)
        yield* Effect.gen(function* () {
          const peer = yield* hello({ features })
          const [record] = (yield* store.recover).sessions
          expect(record).toMatchObject({ sessionId: peer.sessionId })
          expect(JSON.stringify(record)).not.toContain(peer.token.slice(3))
          yield* peer.drop
          yield* peer.ended
          const other = yield* hello({ features })
          yield* barrier(other)
          yield* TestClock.adjust("11 minutes")
          yield* submit(other, "echo")
          expect((yield* store.recover).sessions.map((s) => s.sessionId)).toEqual([other.sessionId])
        }).pipe(Effect.provide(world({ ...options, store: Layer.succeed(Store, store) })))
      })
    )
  })

  describe("submit and idempotency", () => {
    it.scoped("§7.2 spelling of numbers and order of keys do not matter; every parameter does", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const text = (id: string, input: string, rest = "") =>
          Effect.zipRight(
            peer.raw(
              `{"arcp":"1.1","id":"${id}","type":"job.submit","payload":{"agent":"echo","idempotency_key":"n","input":${input}${rest}}}`
            ),
            peer.reply(id)
          )
        const first = yield* text("sp1", `{"a":10,"b":[0.5,{"c":1,"d":2}]}`, `,"max_runtime_sec":60`)
        const second = yield* text("sp2", `{"b":[5e-1,{"d":2.0,"c":1}],"a":1e1}`, `,"max_runtime_sec":6e1`)
        expect(second.job_id).toBe(first.job_id)
        const others = [
          [`{"a":10,"b":[0.5,{"c":1,"d":3}]}`, `,"max_runtime_sec":60`],
          [`{"a":10,"b":[0.5,{"c":1,"d":2}]}`, ""],
          [`{"a":10,"b":[0.5,{"c":1,"d":2}]}`, `,"max_runtime_sec":60,"lease_request":{"fs.read":["/a"]}`],
          [
            `{"a":10,"b":[0.5,{"c":1,"d":2}]}`,
            `,"max_runtime_sec":60,"lease_constraints":{"expires_at":"2099-01-01T00:00:00Z"}`
          ]
        ] as const
        for (const [i, [input, rest]] of others.entries()) {
          expect((yield* text(`sp-o${i}`, input, rest)).payload.code).toBe("DUPLICATE_KEY")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 a repeated submit answers the same payload, in the caller's session, and runs nothing again", () =>
      Effect.gen(function* () {
        const one = yield* hello({ features })
        const two = yield* hello({ features })
        const rest = { idempotency_key: "b", lease_request: { "fs.read": ["/data/**"] } }
        const first = yield* submit(one, "echo", "x", rest)
        yield* one.terminal(first.job_id!)
        const second = yield* submit(two, "echo", "x", rest)
        expect(first.payload.lease).toEqual({ "fs.read": ["/data/**"] })
        expect({ ...second.payload, request_id: "" }).toEqual({ ...first.payload, request_id: "" })
        expect(second.session_id).toBe(two.sessionId)
        yield* two.terminal(first.job_id!)
        yield* barrier(two)
        expect(two.events().map((f) => f.type)).toEqual(["job.result"])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.2 two sessions that submit at once start one job", () =>
      Effect.gen(function* () {
        const peers = yield* Effect.all(from(0, 4).map(() => hello({ features })))
        const accepted = yield* Effect.all(
          peers.flatMap((peer) =>
            from(0, 3).map(() => submit(peer, "gate", { name: "race" }, { idempotency_key: "race" }))
          ),
          { concurrency: "unbounded" }
        )
        expect(new Set(accepted.map((f) => f.job_id)).size).toBe(1)
        const list = yield* request(peers[0]!, "session.list_jobs")
        expect(list.payload.jobs.length).toBe(1)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.1 a submit that cannot be read is answered with its id, and nothing is stored", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (const [i, payload] of ['{"agent":5}', "{}", '{"agent":"echo","max_runtime_sec":-1}', "null"].entries()) {
          yield* peer.raw(`{"arcp":"1.1","id":"unread${i}","type":"job.submit","payload":${payload}}`)
          const error = yield* peer.next("session.error")
          expect(error.payload).toMatchObject({ code: "INVALID_REQUEST", request_id: `unread${i}` })
        }
        yield* submit(peer, "nobody", 1, { idempotency_key: "k" })
        expect((yield* request(peer, "session.list_jobs")).payload.jobs).toEqual([])
      }).pipe(Effect.provide(main))
    )
  })

  describe("terminal states", () => {
    it.scoped("§7.3 a cancelled job cannot report success afterwards", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "deaf", { name: "deaf" })
        yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
        yield* request(peer, "job.cancel", { job_id: accepted.job_id })
        yield* Deferred.succeed(gate("deaf"), undefined)
        expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("cancelled")
        yield* barrier(peer)
        expect(terminals(peer, accepted.job_id!).length).toBe(1)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 cancel racing completion: one end, and the answer to the cancel fits it", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (let i = 0; i < 30; i++) {
          const name = `race-${i}`
          const accepted = yield* submit(peer, "gate", { name })
          yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
          const cancel = request(peer, "job.cancel", { job_id: accepted.job_id })
          const open = Effect.zipRight(
            Effect.repeatN(Effect.yieldNow(), i % 7),
            Deferred.succeed(gate(name), undefined)
          )
          const [answer] = yield* Effect.all([cancel, open], { concurrency: "unbounded" })
          const end = yield* peer.terminal(accepted.job_id!)
          yield* barrier(peer)
          expect(terminals(peer, accepted.job_id!).length).toBe(1)
          expect(end.payload.final_status).toBe(answer.type === "job.cancelled" ? "cancelled" : "success")
          if (answer.type !== "job.cancelled") expect(answer.payload.code).toBe("INVALID_REQUEST")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 a time-out at the moment of the result is one end", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        const accepted = yield* submit(peer, "slow", null, { max_runtime_sec: 3_600 })
        yield* peer.next("job.event")
        yield* TestClock.adjust("1 hour")
        yield* peer.terminal(accepted.job_id!)
        yield* TestClock.adjust("1 minute")
        yield* barrier(peer)
        expect(terminals(peer, accepted.job_id!).length).toBe(1)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 max_runtime_sec counts from the start, not from the submit", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack", "list_jobs"] })
        const first = yield* submit(peer, "single", { name: "first" })
        const second = yield* submit(peer, "single", { name: "second" }, { max_runtime_sec: 5 })
        yield* TestClock.adjust("1 minute")
        yield* barrier(peer)
        expect(terminals(peer, second.job_id!)).toEqual([])
        yield* Deferred.succeed(gate("first"), undefined)
        yield* peer.terminal(first.job_id!)
        yield* peer.next("job.event", (f) => f.job_id === second.job_id)
        yield* TestClock.adjust("4 seconds")
        yield* barrier(peer)
        expect(terminals(peer, second.job_id!)).toEqual([])
        yield* TestClock.adjust("2 seconds")
        expect((yield* peer.terminal(second.job_id!)).payload.code).toBe("TIMEOUT")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 nothing follows the terminal message, also where the agent left a fiber behind", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const end = yield* run(peer, "haunted")
        yield* run(peer, "echo")
        yield* barrier(peer)
        expect(eventsOf(peer, end.job_id!).at(-1)!.event_seq).toBe(end.event_seq)
      }).pipe(Effect.provide(main))
    )
  })

  describe("streamed results", () => {
    it.scoped("§8.4 bytes are the bytes, whatever buffer they are a view of; no chunk exceeds its frame", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const size = 3_000_001
        const end = yield* run(peer, "bytes", { size })
        const chunks = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "result_chunk")
        expect(end.payload.result_size).toBe(size)
        const whole = Buffer.concat(chunks.map((f) => Buffer.from(f.payload.body.data, "base64")))
        const expected = Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 255))
        expect(whole.equals(expected)).toBe(true)
        expect(new Set(chunks.map((f) => f.payload.body.encoding))).toEqual(new Set(["base64"]))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.4 a second stream is refused, and nothing comes after the last chunk", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const end = yield* run(peer, "twice")
        expect(end.payload.final_status).toBe("error")
        const chunks = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "result_chunk")
        expect(chunks.map((f) => f.payload.body.more)).toEqual([false])
      }).pipe(Effect.provide(main))
    )
  })

  describe("policy", () => {
    it.scoped("§7.6, §14 a policy lets others observe or only know, never cancel", () =>
      Effect.gen(function* () {
        const alice = yield* hello({ features })
        const bob = yield* hello({ token: "bob-token", features })
        const carol = yield* hello({ token: "carol-token", features })
        const accepted = yield* submit(alice, "gate", { name: "policy" })
        const payload = { job_id: accepted.job_id, history: true }
        expect((yield* request(bob, "job.subscribe", payload)).type).toBe("job.subscribed")
        expect((yield* request(carol, "job.subscribe", payload)).payload.code).toBe("PERMISSION_DENIED")
        expect((yield* request(bob, "job.cancel", payload)).type).toBe("session.error")
        const listed = (peer: Peer) => Effect.map(request(peer, "session.list_jobs"), (f) => f.payload.jobs.length)
        expect([yield* listed(bob), yield* listed(carol)]).toEqual([1, 0])
        yield* Deferred.succeed(gate("policy"), undefined)
        expect((yield* bob.terminal(accepted.job_id!)).payload.result).toBe("policy")
      }).pipe(
        Effect.provide(
          Layer.provide(
            main,
            ObservationPolicy.layer({
              visibility: (principal) => (principal.id === "bob" ? "observe" : "know"),
              listed: (principal) => (principal.id === "bob" ? "all" : [])
            })
          )
        )
      )
    )
  })

  describe("events and traces", () => {
    it.scoped("§8.2.1 progress is not negative: the agent's call fails, and nothing is sent", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        for (const input of [{ current: -1 }, { current: 1, total: -2 }]) {
          const end = yield* run(peer, "progress", input)
          expect(end.payload.code).toBe("INVALID_REQUEST")
          expect(eventsOf(peer, end.job_id!).some((f) => f.payload.kind === "progress")).toBe(false)
        }
        const end = yield* run(peer, "progress", { current: 0, total: 2 })
        expect(eventsOf(peer, end.job_id!)[1]!.payload).toMatchObject({
          kind: "progress",
          body: { current: 0, total: 2 }
        })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§11 a span for each job, in the caller's trace, with the attributes that the spec names", () =>
      Effect.gen(function* () {
        const { layer, spans } = yield* recording
        yield* Effect.gen(function* () {
          const peer = yield* hello({ features })
          const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
          const id = yield* peer.send(
            "job.submit",
            { agent: "echo", lease_request: { "fs.read": ["/a"], "net.fetch": ["https://x.example/**"] } },
            { trace_id: `00-${traceId}-00f067aa0ba902b7-01` }
          )
          const accepted = yield* peer.reply(id)
          yield* peer.terminal(accepted.job_id!)
          const span = spans.find((s) => s.name === "arcp.job")!
          expect(span.traceId).toBe(traceId)
          expect(Option.getOrThrow(span.parent).spanId).toBe("00f067aa0ba902b7")
          expect(Object.fromEntries(span.attributes)).toMatchObject({
            "arcp.job_id": accepted.job_id,
            "arcp.session_id": peer.sessionId,
            "arcp.agent": "echo@1.0.0",
            "arcp.lease.capabilities": "fs.read,net.fetch"
          })
        }).pipe(Effect.provide(Layer.provide(main, layer)))
      })
    )
  })

  describe("subscriptions and listings", () => {
    it.scoped(
      "§7.6 an observer that goes is not noticed; the same principal observes after the submitter has gone",
      () =>
        Effect.gen(function* () {
          const owner = yield* hello({ features })
          const observer = yield* hello({ features })
          const accepted = yield* submit(owner, "gate", { name: "orphan" })
          yield* request(observer, "job.subscribe", { job_id: accepted.job_id })
          yield* owner.drop
          yield* observer.drop
          yield* owner.ended
          yield* observer.ended
          const late = yield* hello({ features })
          yield* barrier(late)
          yield* TestClock.adjust("11 minutes")
          const gone = yield* dial
          yield* gone.send("session.hello", { auth: { token: "alice-token" }, ...resumeOf(owner) })
          expect((yield* gone.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
          yield* request(late, "job.subscribe", { job_id: accepted.job_id, history: true })
          yield* Deferred.succeed(gate("orphan"), undefined)
          expect((yield* late.terminal(accepted.job_id!)).payload.result).toBe("orphan")
          expect(eventsOf(late, accepted.job_id!).map((f) => f.payload.body?.message ?? f.type)).toEqual([
            "job.event",
            "waiting",
            "through",
            "job.result"
          ])
        }).pipe(Effect.provide(main))
    )
  })

  describe("close", () => {
    it.scoped("§6.7 nothing follows session.closed, however much is being emitted", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        yield* submit(peer, "talker")
        yield* peer.next("job.event", (f) => f.event_seq === 500)
        yield* peer.send("session.close")
        // What comes after it is not read.
        yield* peer.send("job.submit", { agent: "echo" })
        yield* peer.ended
        yield* peer.next("session.closed")
        expect(peer.seen.at(-1)!.type).toBe("session.closed")
      }).pipe(Effect.provide(main))
    )
  })

  describe("bounds", () => {
    it.scoped("§14 sessions of one principal and in all are bounded; others get in, and an ended one makes room", () =>
      Effect.gen(function* () {
        const first = yield* hello({ features })
        yield* hello({ features })
        const refused = yield* dial
        yield* refused.send("session.hello", { auth: { token: "alice-token" } })
        expect((yield* refused.next("session.error")).payload).toMatchObject({
          code: "INTERNAL_ERROR",
          retryable: true
        })
        expect((yield* refused.ended).code).toBe(closeCodeOver(name, 1013))
        const bob = yield* hello({ token: "bob-token", features })
        const carol = yield* dial
        yield* carol.send("session.hello", { auth: { token: "carol-token" } })
        expect((yield* carol.next("session.error")).payload.code).toBe("INTERNAL_ERROR")
        // A resume is not a new session.
        yield* first.drop
        const again = yield* hello(resumeOf(first, 0))
        yield* again.drop
        yield* again.ended
        yield* barrier(bob)
        yield* TestClock.adjust("11 minutes")
        yield* hello({ features })
      }).pipe(Effect.provide(over({ limits: { sessionsPerPrincipal: 2, sessions: 3 } })))
    )

    it.scoped("jobs that run and wait are bounded, and one principal does not take another's share", () =>
      Effect.gen(function* () {
        const alice = yield* hello({ features })
        const bob = yield* hello({ token: "bob-token", features })
        const first = yield* submit(alice, "gate", { name: "a1" })
        yield* submit(alice, "gate", { name: "a2" })
        const full = yield* submit(alice, "gate", { name: "a3" }, { idempotency_key: "later" })
        expect(full.payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
        // What starts at once does not wait, however many others do.
        expect((yield* run(bob, "echo", "mine")).payload.result).toBe("mine")
        expect(bob.seen.map((f) => f.type)).toEqual(["session.welcome", "job.accepted", "job.event", "job.result"])
        yield* Deferred.succeed(gate("a1"), undefined)
        yield* alice.terminal(first.job_id!)
        expect((yield* submit(alice, "gate", { name: "a3" }, { idempotency_key: "later" })).type).toBe("job.accepted")
      }).pipe(Effect.provide(over({ limits: { runningJobsPerPrincipal: 1, pendingJobs: 1 } })))
    )

    it.scoped("an event over its limit fails the agent's call; a page is never longer than its limit", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        expect((yield* run(peer, "long-log", 300)).payload.code).toBe("INVALID_REQUEST")
        expect((yield* run(peer, "long-log", 10)).payload.result).toBe("logged")
        yield* run(peer, "echo")
        const page = yield* request(peer, "session.list_jobs", { limit: 100 })
        expect(page.payload.jobs.length).toBe(2)
        expect(page.payload.next_cursor).not.toBeNull()
      }).pipe(Effect.provide(over({ limits: { eventPayload: 200, listPage: 2 } })))
    )

    it.scoped("more requests at once than may be answered beside each other are all answered", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const ids: Array<string> = []
        for (let i = 0; i < 50; i++) ids.push(yield* peer.send("session.list_jobs"))
        for (const id of ids) expect((yield* peer.reply(id)).type).toBe("session.jobs")
      }).pipe(Effect.provide(over({ limits: { concurrentRequests: 2 } })))
    )
  })
})

describe("fairness, of more than pings", () => {
  it.scopedLive("while an agent emits without end, cancels arrive, timers fire and other jobs run", () =>
    Effect.gen(function* () {
      const owner = yield* hello({ features })
      const other = yield* hello({ features })
      const talker = yield* submit(owner, "talker")
      const timed = yield* submit(other, "never", null, { max_runtime_sec: 1 })
      expect((yield* run(other, "counter", { count: 2_000 })).payload.final_status).toBe("success")
      expect((yield* other.terminal(timed.job_id!)).payload.code).toBe("TIMEOUT")
      yield* request(owner, "job.cancel", { job_id: talker.job_id })
      expect((yield* owner.terminal(talker.job_id!)).payload.code).toBe("CANCELLED")
    }).pipe(Effect.provide(world()))
  )
})
