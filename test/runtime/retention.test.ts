/** What retention lets go, and what that means for who has not had it (ARCP 1.1 §6.3). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Effect, Either, Layer, Option, Schema, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Envelope } from "../../src/protocol/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store } from "../../src/store/Store.js"
import { Connector } from "../../src/transport/Connection.js"
import { makeStore, start, stores } from "./mortal.js"
import { allFeatures, barrier, dial, eventsOf, hello, run, submit } from "./peer.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const text = "x".repeat(200_000)

const keepers = Layer.mergeAll(
  Agent.untyped("idle", () => Effect.succeed(null)),
  Agent.untyped("result", () => Effect.succeed(text)),
  Agent.untyped("chunks", () => Job.streamResult(Stream.make(text.slice(0, 100_000), text.slice(0, 100_000)))),
  Agent.untyped("events", () => Effect.as(Job.log(text), null)),
  Agent.untyped("steps", () =>
    Effect.as(
      Effect.forEach(["one", "two"], (name) => Job.step(name, Schema.String, Effect.succeed(text.slice(0, 100_000)))),
      null
    )
  )
)

/** What of a job has 200 KB, or as many bytes as `size` says. */
const kinds: Readonly<
  Record<
    string,
    { readonly agent: string; readonly input?: unknown; readonly lease_request?: object; readonly size?: number }
  >
> = {
  inputs: { agent: "idle", input: text },
  "inputs in bytes, and not in characters": { agent: "idle", input: "é".repeat(100_000) },
  // The lease, and the acceptance that says it.
  "leases and accepted payloads": {
    agent: "idle",
    lease_request: { "tool.call": Array.from({ length: 15 }, (_, n) => "é".repeat(1_000) + n) },
    size: 60_000
  },
  steps: { agent: "steps" },
  results: { agent: "result" },
  "streamed results": { agent: "chunks" },
  events: { agent: "events" }
}

const limits = { retainEndedFor: 60_000, sweepEvery: 10_000 }

describe.each(stores)("retention over %s", (_name, layer) => {
  const resume = (session: { readonly sessionId: string; readonly token: string }, last: number) =>
    Effect.gen(function* () {
      const peer = yield* dial
      const id = yield* peer.send("session.hello", {
        auth: { scheme: "bearer", token: "alice-token" },
        capabilities: { features: allFeatures },
        resume: { session_id: session.sessionId, resume_token: session.token, last_event_seq: last }
      })
      return yield* Effect.raceFirst(peer.next("session.welcome"), peer.reply(id))
    })

  it.scoped(
    "§6.3 a resume from before what is gone is RESUME_WINDOW_EXPIRED, also after a restart; one from behind it works",
    () =>
      Effect.gen(function* () {
        const { die, layer: stored, store } = yield* makeStore(layer())
        const process = yield* start(stored, undefined, limits)
        const sessions = yield* Effect.gen(function* () {
          const away = yield* hello()
          const present = yield* hello()
          const ended = yield* run(away, "counter", { count: 5 })
          yield* run(present, "counter", { count: 5 })
          // A later event of the away session stays.
          const { job_id } = yield* submit(away, "gate", { name: "stays" })
          yield* away.next("job.event", (frame) => frame.payload.body?.message === "waiting")
          const last = away.events().at(-1)!.event_seq!
          yield* away.drop
          // Sessions outlive the window only while something comes of them.
          for (let n = 0; n < 8; n++) {
            yield* TestClock.adjust("9 seconds")
            yield* barrier(present)
          }
          expect(Option.isNone(yield* store.job(ended.job_id!))).toBe(true)
          expect(Option.isSome(yield* store.job(job_id!))).toBe(true)
          expect((yield* resume(away, 3)).payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED" })
          // Not even from one before the end: the end is gone too.
          expect((yield* resume(away, 6)).payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED" })
          const welcome = yield* resume(away, last)
          expect(welcome.type).toBe("session.welcome")
          return { away: { sessionId: away.sessionId, token: welcome.payload.resume_token as string }, last, present }
        }).pipe(Effect.provide(process))
        yield* die
        const again = yield* start(stored, undefined, limits)
        yield* Effect.gen(function* () {
          const { away, last, present } = sessions
          expect((yield* resume(away, 3)).payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED" })
          // The job that a restart ends is the next event, under the next number.
          const back = yield* hello({
            resume: { session_id: away.sessionId, resume_token: away.token, last_event_seq: last }
          })
          const next = yield* back.next("job.error")
          expect(next.event_seq).toBe(last + 1)
          // All that this session ever had is gone: its numbers go on all the same.
          const seen = present.events().at(-1)!.event_seq!
          expect((yield* resume(present, seen - 1)).payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED" })
          const other = yield* hello({
            resume: { session_id: present.sessionId, resume_token: present.token, last_event_seq: seen }
          })
          const end = yield* run(other, "echo", 1)
          expect(eventsOf(other, end.job_id!).map((frame) => frame.event_seq)).toEqual([seen + 1, seen + 2])
        }).pipe(Effect.provide(again))
      })
  )

  it.scoped("§6.3 an ended job stays until its connected owner has been sent it, whatever the bounds say", () =>
    Effect.gen(function* () {
      const { layer: stored, store } = yield* makeStore(layer())
      const context = yield* start(stored, undefined, { ...limits, retainEndedBytes: 1_000 })
      yield* Effect.gen(function* () {
        const connector = yield* Connector
        const connection = yield* connector.connect
        const pull = yield* Stream.toPull(connection.inbound)
        const read = Effect.map(
          pull,
          Chunk.map((frame) => Either.getOrThrow(Envelope.fromText(frame as string)))
        )
        const say = (type: string, payload: object) =>
          connection.send([JSON.stringify({ arcp: "1.1", id: type, type, payload })])
        yield* say("session.hello", {
          auth: { scheme: "bearer", token: "alice-token" },
          capabilities: { features: allFeatures.filter((one) => one !== "ack" && one !== "heartbeat") }
        })
        expect(Chunk.unsafeHead(yield* read).type).toBe("session.welcome")
        yield* say("job.submit", { agent: "counter", input: { count: 6_000 } })
        const accepted = Chunk.toReadonlyArray(yield* read).find(({ type }) => type === "job.accepted")!
        const job_id = accepted.payload["job_id"] as string
        // It ends, while its owner reads nothing of it.
        const observer = yield* hello()
        yield* observer.send("job.subscribe", { job_id, history: true })
        yield* observer.terminal(job_id)
        yield* TestClock.adjust("1 minute")
        const seen: Array<Envelope.RawEnvelope> = []
        while (seen.at(-1)?.type !== "job.result") seen.push(...(yield* read))
        expect(seen.map(({ event_seq }) => event_seq)).toEqual(seen.map((_, n) => seen[0]!.event_seq! + n))
        expect(seen.at(-1)!.event_seq).toBe(6_002)
        yield* TestClock.adjust("10 seconds")
        expect(yield* store.job(job_id)).toEqual(Option.none())
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped.each(Object.entries(kinds))("ARCP 1.1 §14: retention counts what is kept: %s", ([, submitted]) =>
    Effect.gen(function* () {
      const { layer: stored, store } = yield* makeStore(layer())
      const context = yield* start(stored, keepers, { ...limits, retainEndedBytes: 5 * (submitted.size ?? 200_000) })
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        const jobs: Array<string> = []
        for (let n = 0; n < 12; n++) {
          const { agent, input, lease_request } = submitted
          const end = yield* run(peer, agent, input, lease_request === undefined ? {} : { lease_request })
          expect(end.type).toBe("job.result")
          jobs.push(end.job_id!)
        }
        yield* barrier(peer)
        yield* TestClock.adjust("30 seconds")
        const kept = yield* Effect.filter(jobs, (jobId) => Effect.map(store.job(jobId), Option.isSome))
        expect(kept).toEqual(jobs.slice(-4))
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("§6.3 an observer that has left keeps its numbers when what it saw is trimmed", () =>
    Effect.gen(function* () {
      const { die, layer: stored } = yield* makeStore(layer())
      const process = yield* start(stored, undefined, { historyEvents: 100, bufferedEvents: 100 })
      const { observer, seen } = yield* Effect.gen(function* () {
        const owner = yield* hello()
        const observer = yield* hello()
        const { job_id } = yield* submit(owner, "pacer", null)
        yield* observer.send("job.subscribe", { job_id, history: true })
        yield* observer.next("job.event", (frame) => frame.payload.body?.message === "pace 50")
        const id = yield* observer.send("job.unsubscribe", { job_id })
        yield* observer.reply(id)
        const seen = observer.events().at(-1)!.event_seq!
        yield* Deferred.succeed(gate("pace"), undefined)
        yield* owner.next("job.event", (frame) => frame.payload.body?.message === "pace 2000")
        return { observer, seen }
      }).pipe(Effect.provide(process))
      yield* die
      const again = yield* start(stored)
      yield* Effect.gen(function* () {
        expect((yield* resume(observer, seen - 1)).payload).toMatchObject({ code: "RESUME_WINDOW_EXPIRED" })
        const back = yield* hello({
          resume: { session_id: observer.sessionId, resume_token: observer.token, last_event_seq: seen }
        })
        const end = yield* run(back, "echo", 1)
        expect(eventsOf(back, end.job_id!).map((frame) => frame.event_seq)).toEqual([seen + 1, seen + 2])
      }).pipe(Effect.provide(again))
    })
  )
})

/** The same store as an instance of a class: its operations stand on the prototype, and need the instance. */
const asInstance = (store: Context.Tag.Service<Store>): Context.Tag.Service<Store> => {
  class Backend {
    readonly inner: { readonly [name: string]: unknown } = { ...store }
  }
  for (const [name, value] of Object.entries(store)) {
    Object.defineProperty(
      Backend.prototype,
      name,
      typeof value === "function"
        ? {
            value(this: Backend, ...args: ReadonlyArray<unknown>) {
              return (this.inner[name] as (...args: ReadonlyArray<unknown>) => unknown)(...args)
            }
          }
        : {
            get(this: Backend) {
              return this.inner[name]
            }
          }
    )
  }
  return new Backend() as unknown as Context.Tag.Service<Store>
}

it.scoped.each([true, false])("a store that is a class serves a runtime, retention too; immediate: %s", (immediate) =>
  Effect.gen(function* () {
    const store = Context.get(yield* Layer.build(MemoryStore.layer), Store)
    const made = asInstance({ ...store, immediate })
    const context = yield* start(Layer.succeed(Store, made), undefined, limits)
    yield* Effect.gen(function* () {
      const peer = yield* hello()
      const ended = yield* run(peer, "counter", { count: 5 }, { idempotency_key: "once" })
      const again = yield* submit(peer, "counter", { count: 5 }, { idempotency_key: "once" })
      expect(again.payload.job_id).toBe(ended.job_id)
      const listed = yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
      expect(listed.payload.jobs.length).toBe(1)
      const subscribe = { job_id: ended.job_id, history: true }
      const other = yield* hello()
      expect((yield* Effect.flatMap(other.send("job.subscribe", subscribe), other.reply)).type).toBe("job.subscribed")
      yield* other.terminal(ended.job_id!)
      for (let n = 0; n < 8; n++) {
        yield* TestClock.adjust("9 seconds")
        yield* barrier(peer)
      }
      expect(Option.isNone(yield* store.job(ended.job_id!))).toBe(true)
    }).pipe(Effect.provide(context))
  })
)
