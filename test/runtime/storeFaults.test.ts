/** A store that hangs or refuses, and what everybody is told meanwhile. Stores that fail commits: see `shutdown`. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, TestClock } from "effect"
import { SqliteStore } from "../../src/store/sqlite.js"
import { MemoryStore } from "../../src/store/index.js"
import { StoreFaults } from "../../src/testing/FaultyStore.js"
import { FaultyStore, TestGateway } from "../../src/testing/index.js"
import { allFeatures, barrier, dial, hello, type Peer, submit } from "./peer.js"
import { faulty } from "./faultyWorld.js"
import { eventually, leased, provisioned, provisionedBackends } from "./provisionedWorld.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const stores = [
  ["memory", () => MemoryStore.layer],
  ["SQLite", () => SqliteStore.layer({ filename: ":memory:" })]
] as const

const storeTime = 30_000

const ask = (peer: Peer, type: string, payload: object = {}) => Effect.flatMap(peer.send(type, payload), peer.reply)
const features = [...allFeatures, "artifacts"].filter((feature) => feature !== "heartbeat")
const unavailable = {
  code: "INTERNAL_ERROR",
  retryable: true,
  message: expect.stringMatching(/^the store is not available/)
}

describe.each(stores)("a store of %s that does not answer", (_name, store) => {
  it.scoped("§6.3 a session that makes room while its resume is being stored is not resumed", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      const auth = { scheme: "bearer", token: "alice-token" }
      yield* faults.stall("commit")
      const back = yield* dial
      const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      yield* back.send("session.hello", { auth, capabilities: { features }, resume })
      yield* eventually(Effect.map(faults.counts("commit"), ({ stalled }) => stalled === 1))
      yield* TestClock.adjust("2 seconds")
      const other = yield* dial
      yield* other.send("session.hello", { auth, capabilities: { features } })
      expect((yield* peer.next("session.error")).payload.details).toEqual({ reason: "idle_session" })
      yield* faults.heal
      yield* other.next("session.welcome")
      expect((yield* back.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
    }).pipe(Effect.provide(faulty(store, { limits: { sessionsPerPrincipal: 1, idleSession: 1_000 } })))
  )

  it.scoped(
    "§6.1 nothing is read of a client that was refused before its session was open, also if it opens later",
    () =>
      Effect.gen(function* () {
        const faults = yield* StoreFaults
        const late = yield* dial
        yield* faults.stall("commit")
        const frame = (type: string, payload: object) => JSON.stringify({ arcp: "1.1", id: type, type, payload })
        yield* late.connection.send([
          frame("session.hello", { auth: { scheme: "bearer", token: "alice-token" }, capabilities: { features } }),
          frame("job.submit", { agent: "echo", input: 1 })
        ])
        yield* eventually(Effect.map(faults.counts("commit"), ({ stalled }) => stalled === 1))
        yield* TestClock.adjust("10 seconds")
        expect((yield* late.next("session.error")).payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
        yield* late.ended
        yield* faults.heal
        const peer = yield* hello({ features })
        expect((yield* ask(peer, "session.list_jobs")).payload.jobs).toEqual([])
      }).pipe(Effect.provide(faulty(store)))
  )

  it.scoped("refuses what is queued behind a commit, says nothing of what it has, and goes on when it answers", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      const running = yield* submit(peer, "gate", { name: "hung" })
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
      yield* faults.stall("commit")
      const inHand = yield* peer.send("job.submit", { agent: "echo", input: 1 })
      yield* barrier(peer)
      const behind = yield* peer.send("job.submit", { agent: "echo", input: 2, idempotency_key: "behind" })
      yield* barrier(peer)
      yield* Deferred.succeed(gate("hung"), undefined)
      yield* barrier(peer)
      expect((yield* faults.counts("commit")).stalled).toBe(1)
      yield* TestClock.adjust(storeTime - 1)
      yield* barrier(peer)
      expect(peer.seen.filter((frame) => frame.type !== "session.pong").map((frame) => frame.type)).toEqual([
        "session.welcome",
        "job.accepted",
        "job.event",
        "job.event"
      ])
      yield* TestClock.adjust(1)
      expect((yield* peer.reply(behind)).payload).toMatchObject(unavailable)
      // Who comes later is told sooner: a look a second.
      const later = yield* peer.send("job.submit", { agent: "echo", input: 3 })
      yield* barrier(peer)
      yield* TestClock.adjust("1 second")
      expect((yield* peer.reply(later)).payload).toMatchObject(unavailable)
      yield* faults.heal
      expect((yield* peer.reply(inHand)).type).toBe("job.accepted")
      expect((yield* peer.terminal(running.job_id!)).payload.result).toBe("hung")
      // The key was not taken by the submit that was refused.
      expect((yield* submit(peer, "echo", 4, { idempotency_key: "behind" })).type).toBe("job.accepted")
      yield* eventually(Effect.sync(() => peer.events().filter((frame) => frame.type === "job.result").length === 3))
      expect(peer.events().map((frame) => frame.event_seq)).toEqual(peer.events().map((_, i) => i + 1))
      expect(
        peer
          .events()
          .filter((frame) => frame.type === "job.result")
          .map((frame) => frame.payload.result)
      ).toEqual(expect.arrayContaining([1, "hung", 4]))
    }).pipe(Effect.provide(faulty(store)))
  )

  it.scoped("gives up a read, and no other request waits for it", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      yield* faults.stall("read")
      const listing = yield* peer.send("session.list_jobs")
      const keyed = yield* peer.send("job.submit", { agent: "echo", input: 1, idempotency_key: "read" })
      const job = yield* submit(peer, "echo", "alive")
      expect((yield* peer.terminal(job.job_id!)).payload.result).toBe("alive")
      yield* TestClock.adjust(storeTime)
      expect((yield* peer.reply(listing)).payload).toMatchObject(unavailable)
      expect((yield* peer.reply(keyed)).payload).toMatchObject(unavailable)
      yield* faults.heal
      expect((yield* ask(peer, "session.list_jobs")).payload.jobs.length).toBe(1)
      expect((yield* submit(peer, "echo", 1, { idempotency_key: "read" })).type).toBe("job.accepted")
    }).pipe(Effect.provide(faulty(store)))
  )

  it.scoped("§7.6 holds an observer with history alone, who comes back for what there is", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const owner = yield* hello({ features })
      const done = yield* submit(owner, "counter", { count: 20 })
      yield* owner.terminal(done.job_id!)
      const observer = yield* hello({ features })
      yield* faults.stall("read")
      const id = yield* observer.send("job.subscribe", { job_id: done.job_id, history: true })
      const next = yield* submit(owner, "echo", 1)
      yield* owner.terminal(next.job_id!)
      yield* TestClock.adjust(storeTime)
      expect((yield* observer.reply(id)).payload).toMatchObject(unavailable)
      yield* faults.heal
      expect((yield* ask(observer, "job.subscribe", { job_id: done.job_id, history: true })).type).toBe(
        "job.subscribed"
      )
      yield* observer.terminal(done.job_id!)
      expect(observer.events().filter((frame) => frame.payload.kind === "log").length).toBe(20)
    }).pipe(Effect.provide(faulty(store)))
  )

  it.scoped("answers artifact requests with an error, and everything else goes on", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      const put = { content_type: "text/plain", encoding: "utf8", data: "kept" }
      yield* faults.stall("artifacts")
      const id = yield* peer.send("artifact.put", put)
      const job = yield* submit(peer, "echo", "meanwhile")
      expect((yield* peer.terminal(job.job_id!)).payload.result).toBe("meanwhile")
      yield* TestClock.adjust(storeTime)
      expect((yield* peer.reply(id)).payload).toMatchObject(unavailable)
      yield* faults.heal
      expect((yield* ask(peer, "artifact.put", put)).type).toBe("artifact.ref")
    }).pipe(Effect.provide(faulty(store)))
  )

  it.scoped("does not keep a runtime from its end", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(FaultyStore.layer.pipe(Layer.provide(Layer.orDie(store()))))
      const scope = yield* Scope.make()
      const runtime = yield* Layer.build(
        world({ store: Layer.succeedContext(context), runtime: { drainTime: "10 seconds" } })
      ).pipe(Scope.extend(scope))
      yield* Effect.gen(function* () {
        const faults = yield* StoreFaults
        const peer = yield* hello({ features })
        yield* submit(peer, "gate", { name: "end" })
        yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
        yield* faults.stall()
        yield* peer.send("job.submit", { agent: "echo", input: 1 })
        yield* barrier(peer)
        const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
        // drainTime, the grace of a cancel, and the last waits
        for (let seconds = 0; seconds < 60; seconds += 5) yield* TestClock.adjust("5 seconds")
        expect(Option.isSome(yield* Fiber.poll(stopping))).toBe(true)
        expect((yield* peer.ended).code).toBe(1001)
        expect(peer.seen.some((frame) => frame.type === "job.error" || frame.payload.result === 1)).toBe(false)
      }).pipe(Effect.provide(runtime), Effect.provide(context))
    })
  )
})

describe.each(stores)("a store of %s that refuses to be read", (_name, store) => {
  it.scoped("§6.3 refuses a resume for now, which the session makes when the store is well", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(FaultyStore.layer.pipe(Layer.provide(Layer.orDie(store()))))
      const runtime = world({ store: Layer.succeedContext(context) })
      const faults = Context.get(context, StoreFaults)
      const [peer, jobId] = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const job = yield* submit(peer, "counter", { count: 50 })
        yield* peer.terminal(job.job_id!)
        return [peer, job.job_id!] as const
      }).pipe(Effect.provide(runtime))
      const seen = peer.events()
      const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 3 }
      yield* Effect.gen(function* () {
        yield* faults.fail("read")
        const refused = yield* dial
        yield* refused.send("session.hello", {
          client: { name: "test", version: "1" },
          auth: { scheme: "bearer", token: "alice-token" },
          capabilities: { encodings: ["json"], features },
          resume
        })
        expect((yield* refused.next("session.error")).payload).toMatchObject(unavailable)
        expect((yield* refused.ended).code).toBe(1013)
        expect(refused.events()).toEqual([])
        yield* faults.heal
        const well = yield* hello({ features, resume })
        yield* well.terminal(jobId)
        expect(well.events().map((frame) => frame.event_seq)).toEqual(seen.slice(3).map((frame) => frame.event_seq))
        expect(well.events().map((frame) => frame.payload)).toEqual(seen.slice(3).map((frame) => frame.payload))
      }).pipe(Effect.provide(world({ store: Layer.succeedContext(context) })))
    })
  )
})

describe.each(stores)("over %s, a submit that is repeated while the end of its job is written", (_name, store) => {
  it.scoped("§7.2 is given the end once more, and §6.6 the job's last event is the end that was first", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const peer = yield* hello({ features })
      const key = { idempotency_key: "again" }
      const job = yield* submit(peer, "gate", { name: "again" }, key)
      yield* peer.next("job.event", (frame) => frame.payload.body?.message === "waiting")
      yield* faults.stall("commit")
      // Something is in the store's hands, so that what follows is one batch.
      yield* peer.send("job.submit", { agent: "echo", input: 1 })
      yield* barrier(peer)
      yield* Deferred.succeed(gate("again"), undefined)
      yield* barrier(peer)
      const repeated = yield* peer.send("job.submit", { agent: "gate", input: { name: "again" }, ...key })
      yield* barrier(peer)
      yield* faults.heal
      expect((yield* peer.reply(repeated)).payload.job_id).toBe(job.job_id)
      const ends = () => peer.events().filter((frame) => frame.type === "job.result" && frame.job_id === job.job_id)
      yield* eventually(Effect.sync(() => ends().length === 2))
      expect(ends().map((frame) => frame.payload)).toEqual([ends()[0]!.payload, ends()[0]!.payload])
      const { jobs } = (yield* ask(peer, "session.list_jobs")).payload
      const listed = jobs.find((row: { readonly job_id: string }) => row.job_id === job.job_id)
      expect(listed.last_event_seq).toBe(ends()[0]!.event_seq)
    }).pipe(Effect.provide(faulty(store)))
  )
})

describe("a ledger of credentials that does not answer", () => {
  it.scoped("§9.8 refuses the submit, issues nothing, and holds up nobody else", () =>
    Effect.gen(function* () {
      const faults = yield* StoreFaults
      const gateway = yield* TestGateway
      const peer = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const before = yield* submit(bob, "keeper", { name: "ledger" }, leased)
      yield* bob.next("job.event", (frame) => frame.payload.body?.message === "waiting")
      yield* faults.stall("credentials")
      const id = yield* peer.send("job.submit", { agent: "keeper", input: { name: "none" }, ...leased })
      // What needs no credential: listings, and the end of a job that has one.
      expect((yield* ask(bob, "session.list_jobs")).payload.jobs.length).toBe(1)
      yield* Deferred.succeed(gate("ledger"), undefined)
      expect((yield* bob.terminal(before.job_id!)).type).toBe("job.result")
      yield* TestClock.adjust(storeTime)
      expect((yield* peer.reply(id)).payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
      expect((yield* gateway.keys).length).toBe(1)
      yield* faults.heal
      yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 0))
    }).pipe(
      Effect.provide(
        Layer.unwrapScoped(
          Effect.map(
            Layer.build(
              FaultyStore.layer.pipe(
                Layer.provide(Layer.orDie(SqliteStore.layer({ filename: ":memory:", durable: true })))
              )
            ),
            (context) => {
              const beneath = Layer.succeedContext(context)
              return Layer.merge(provisioned({ ...provisionedBackends[1]![1](), store: beneath }), beneath)
            }
          )
        )
      )
    )
  )
})
