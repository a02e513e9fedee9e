import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Store, StoreError } from "../../src/store/Store.js"
import { Connector } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { allFeatures, barrier, dial, eventsOf, hello, run, submit } from "./peer.js"
import { reopened } from "./mortal.js"
import { backends, webSocket } from "./backends.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((f) => f !== "heartbeat")

/** A store that outlives the runtimes built on it. */
const lasting = (options: WorldOptions) =>
  Effect.map(Layer.build(options.store!), (context) => reopened(Context.get(context, Store)))

/** A runtime that a test ends itself. */
const started = (options: WorldOptions) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.build(world(options)).pipe(Scope.extend(scope))
    return { context, stop: Scope.close(scope, Exit.void) }
  })

/** An authenticator that a test opens. */
const slowAuth = (open: Deferred.Deferred<void>, asked?: Deferred.Deferred<void>) =>
  Layer.effect(
    Authenticator,
    Effect.map(Authenticator, (inner) => ({
      ...inner,
      authenticate: (request: Parameters<typeof inner.authenticate>[0]) =>
        Effect.zipRight(
          Effect.zipRight(asked === undefined ? Effect.void : Deferred.succeed(asked, undefined), Deferred.await(open)),
          inner.authenticate(request)
        )
    }))
  ).pipe(Layer.provide(Authenticator.layerBearer({ "alice-token": "alice" })))

/** Lets time pass until it is done. */
const advancing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    while (Option.isNone(yield* Fiber.poll(fiber))) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("1 second")
    }
    return yield* Fiber.join(fiber)
  })

describe.each(backends)("shutdown over %s", (_name, backend) => {
  it.scoped("tells clients to come back, ends jobs within the grace, and keeps what they were told", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = yield* lasting(options)
      const { context, stop } = yield* started({ ...options, store })
      const { job, peer, stubborn } = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const job = yield* submit(peer, "never")
        const stubborn = yield* submit(peer, "stubborn")
        yield* barrier(peer)
        return { peer, job: job.job_id!, stubborn: stubborn.job_id! }
      }).pipe(Effect.provide(context))
      const stopping = yield* Effect.fork(stop)
      // The stubborn one gets its grace and not more; clients are there until every job has ended.
      expect((yield* advancing(peer.ended)).code).toBe(1001)
      yield* advancing(Fiber.join(stopping))
      expect(yield* Clock.currentTimeMillis).toBeLessThan(60_000)
      yield* stop
      for (const jobId of [job, stubborn]) {
        const stored = yield* Effect.flatMap(Store, (s) => s.job(jobId)).pipe(Effect.provide(store))
        expect(Option.getOrThrow(stored).state.status).toBe("error")
      }
      const next = yield* started({ ...options, store })
      yield* Effect.gen(function* () {
        const last = peer.events().at(-1)!.event_seq!
        // From before the ends, which the first connection has been sent already.
        const again = yield* hello({
          features,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: last - 2 }
        })
        for (const jobId of [job, stubborn]) {
          const end = yield* again.terminal(jobId)
          expect(end.payload).toEqual((yield* peer.terminal(jobId)).payload)
          expect(end.payload).toMatchObject({ code: "INTERNAL_ERROR", details: { reason: "runtime_shutdown" } })
        }
        expect(again.events().map((f) => f.event_seq)).toEqual([last - 1, last])
      }).pipe(Effect.provide(next.context))
      yield* next.stop
    })
  )

  it.scoped("a handshake that races the shutdown resurrects no session", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = yield* lasting(options)
      const open = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      const { context, stop } = yield* started({ ...options, store, auth: slowAuth(open, asked) })
      const peer = yield* Effect.gen(function* () {
        const peer = yield* dial
        yield* peer.send("session.hello", { auth: { token: "alice-token" } })
        return peer
      }).pipe(Effect.provide(context))
      yield* Deferred.await(asked)
      const stopping = yield* Effect.fork(stop)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Deferred.succeed(open, undefined)
      yield* advancing(Fiber.join(stopping))
      yield* peer.ended
      expect(peer.seen.some((f) => f.type === "session.welcome")).toBe(false)
      const recovered = yield* Effect.flatMap(Store, (s) => s.recover).pipe(Effect.provide(store))
      expect(recovered.sessions).toEqual([])
    })
  )

  it.scoped("an authenticator that hangs holds up nobody else, and its answer after the time-out opens nothing", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = yield* lasting(options)
      const open = yield* Deferred.make<void>()
      const { context, stop } = yield* started({ ...options, store, auth: slowAuth(open) })
      yield* Effect.gen(function* () {
        const peer = yield* dial
        yield* peer.send("session.hello", { auth: { token: "alice-token" } })
        const second = yield* dial
        const error = yield* advancing(peer.next("session.error"))
        expect(error.payload.code).toBe("INTERNAL_ERROR")
        expect((yield* peer.ended).code).toBe(1013)
        yield* second.ended
        yield* Deferred.succeed(open, undefined)
        const other = yield* hello()
        yield* barrier(other)
        const recovered = yield* Effect.flatMap(Store, (s) => s.recover).pipe(Effect.provide(store))
        expect(recovered.sessions.map((s) => s.sessionId)).toEqual([other.sessionId])
      }).pipe(Effect.provide(context))
      yield* stop
    })
  )
})

describe.each(backends)("a restart over %s", (_name, backend) => {
  it.scoped("§7.5 a job that runs again does so in its own version, whatever the default has become", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = yield* lasting(options)
      const version = (version: string, more: object = {}) =>
        Agent.untyped("v", () => Effect.map(Job, (job) => ({ version: job.agent.version, attempt: job.attempt })), {
          version,
          onRestart: "rerun",
          ...more
        })
      const before = Agent.untyped("v", () => Effect.never, { version: "1.0.0" })
      const first = yield* started({ ...options, store, agents: before })
      const { accepted, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "v")
        yield* peer.next("job.event")
        return { peer, accepted }
      }).pipe(Effect.provide(first.context))
      // The first runtime is not stopped but left: as far as the store knows, its process has died.
      const after = Layer.merge(version("1.0.0"), version("2.0.0", { default: true }))
      const second = yield* started({ ...options, store, agents: after })
      yield* Effect.gen(function* () {
        const again = yield* hello({
          features,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 1 }
        })
        const end = yield* again.terminal(accepted.job_id!)
        expect(end.payload.result).toEqual({ version: "1.0.0", attempt: 2 })
        expect(again.events().map((f) => f.event_seq)).toEqual([2, 3])
        expect((yield* run(again, "v")).payload.result).toEqual({ version: "2.0.0", attempt: 1 })
      }).pipe(Effect.provide(second.context))
    })
  )
})

/** Nobody here acknowledges, and nobody has said that they would: no reader slows an agent. */
const silent = allFeatures.filter((feature) => feature !== "ack")
const quiet = features.filter((feature) => feature !== "ack")

/** A peer that says hello and then reads nothing at all. */
const deafPeer = Effect.gen(function* () {
  const connector = yield* Connector
  const connection = yield* connector.connect
  const send = (type: string, payload: object) =>
    Effect.ignore(connection.send([JSON.stringify({ arcp: "1.1", id: `deaf-${type}`, type, payload })]))
  yield* send("session.hello", { auth: { token: "alice-token" }, capabilities: { features: silent } })
  return { connection, send }
})

describe.each([
  ["memory", MemoryTransport.layerWith({ capacity: 8 })],
  ["WebSocket", webSocket]
] as const)("a peer that does not read, over %s", (_name, transport) => {
  const main = world({ transport })

  it.scoped("slows neither the owner nor another observer of the job", () =>
    Effect.gen(function* () {
      const owner = yield* hello({ features: quiet })
      const other = yield* hello({ features: quiet })
      const deaf = yield* deafPeer
      const accepted = yield* submit(owner, "counter", { count: 30_000 })
      yield* deaf.send("job.subscribe", { job_id: accepted.job_id, history: true })
      yield* Effect.flatMap(other.send("job.subscribe", { job_id: accepted.job_id, history: true }), other.reply)
      yield* owner.terminal(accepted.job_id!)
      yield* other.terminal(accepted.job_id!)
      expect(eventsOf(other, accepted.job_id!).length).toBe(30_002)
      // Nobody moves the clock when the runtime ends, and it would give this one its time.
      yield* deaf.connection.close(1000, "")
    }).pipe(Effect.provide(main))
  )
})

describe("a peer that does not read, over memory", () => {
  it.scoped("§6.4 is given up all the same: what waits for it cannot put off the end of its connection", () =>
    Effect.gen(function* () {
      const deaf = yield* deafPeer
      yield* deaf.send("job.submit", { agent: "counter", input: { count: 20_000 } })
      const other = yield* hello({ features: quiet })
      yield* run(other, "counter", { count: 20_000 })
      const closed = yield* Effect.fork(deaf.connection.closed)
      yield* TestClock.adjust("61 seconds")
      yield* barrier(other)
      expect(Option.isNone(yield* Fiber.poll(closed))).toBe(true)
      yield* TestClock.adjust("6 seconds")
      expect((yield* Fiber.join(closed)).reason).toBe("HEARTBEAT_LOST")
    }).pipe(Effect.provide(world({ transport: MemoryTransport.layerWith({ capacity: 8 }) })))
  )
})

/** A store whose commits fail while a test says so. */
const flaky = (inner: Layer.Layer<Store, unknown>) => {
  const faults = { failing: false, failed: 0 }
  const layer = Layer.effect(
    Store,
    Effect.map(Store, (store) => ({
      ...store,
      commit: (batch: Parameters<typeof store.commit>[0]) =>
        Effect.suspend(() => {
          if (!faults.failing) return store.commit(batch)
          faults.failed++
          return Effect.fail(new StoreError({ operation: "commit", message: "the disk is full" }))
        })
    }))
  ).pipe(Layer.provide(inner))
  return { faults, layer }
}

describe.each(backends)("a store that fails over %s", (_name, backend) => {
  it.scoped("§8.3 leaves no hole: what was not stored was not sent and has no number; no key is poisoned", () =>
    Effect.gen(function* () {
      const options = backend()
      const { faults, layer } = flaky(options.store!)
      yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(peer, "gate", { name: "disk" })
        yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
        faults.failing = true
        yield* Deferred.succeed(gate("disk"), undefined)
        const refused = yield* advancing(submit(peer, "echo", 1, { idempotency_key: "poison" }))
        expect(refused.payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
        expect(faults.failed).toBeGreaterThan(1)
        yield* barrier(peer)
        expect(peer.events().map((f) => f.payload.body.phase ?? f.payload.body.message)).toEqual(["running", "waiting"])
        faults.failing = false
        const end = yield* advancing(peer.terminal(accepted.job_id!))
        expect(end.payload.result).toBe("disk")
        const again = yield* submit(peer, "echo", 1, { idempotency_key: "poison" })
        expect(again.type).toBe("job.accepted")
        yield* peer.terminal(again.job_id!)
        expect(peer.events().map((f) => f.payload.body?.phase ?? f.payload.body?.message ?? f.type)).toEqual([
          "running",
          "waiting",
          "through",
          "job.result",
          "running",
          "job.result"
        ])
        expect(peer.events().map((f) => f.event_seq)).toEqual([1, 2, 3, 4, 5, 6])
        yield* peer.drop
        const resumed = yield* hello({
          features,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        })
        yield* resumed.terminal(again.job_id!)
        expect(resumed.events().map((f) => f.payload)).toEqual(peer.events().map((f) => f.payload))
        const list = yield* Effect.flatMap(resumed.send("session.list_jobs"), resumed.reply)
        expect(list.payload.jobs.length).toBe(2)
      }).pipe(Effect.provide(world({ ...options, store: layer })))
    })
  )
})
