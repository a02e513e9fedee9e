/** The sessions that own a job: what each of them has of it, and what is left when one of them goes (ARCP 1.1 §7.2). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { type Batch, MemoryStore, Store } from "../../src/store/index.js"
import { backends } from "./backends.js"
import { type Client, machine, resume } from "./machine.js"
import { allFeatures, barrier, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat" && feature !== "ack")
const key = { idempotency_key: "k" }
const open = (name: string) => Deferred.succeed(gate(name), undefined)
const ask = (peer: Peer, type: string, payload: object = {}) => Effect.flatMap(peer.send(type, payload), peer.reply)
const hears = (peer: Peer, message: string) =>
  peer.next("job.event", ({ payload }) => payload.body?.message === message)
const said = ({ payload: { request_id: _, ...rest } }: Frame) => rest
const told = (peer: Peer, jobId: string) =>
  eventsOf(peer, jobId).map(({ payload, type }) => payload.body?.message ?? payload.body?.phase ?? type)
const row = (peer: Peer, jobId: string) =>
  Effect.map(ask(peer, "session.list_jobs"), ({ payload }) =>
    (payload.jobs as ReadonlyArray<{ readonly job_id: string; readonly last_event_seq: number }>).find(
      ({ job_id }) => job_id === jobId
    )
  )

/** Logs "one", waits for the gate "two", logs it, and so on. */
const talking = Agent.untyped(
  "talking",
  () =>
    Effect.gen(function* () {
      yield* Job.log("one")
      for (const next of ["two", "three"]) {
        yield* Deferred.await(gate(next))
        yield* Job.log(next)
      }
      yield* Deferred.await(gate("end"))
      return "said"
    }),
  { onRestart: "rerun" }
)

const parent = Agent.untyped("parent", () =>
  Effect.gen(function* () {
    yield* Job.log("waiting")
    yield* Deferred.await(gate("delegate"))
    const child = yield* Job.startChild("talking", null)
    return yield* child.result
  })
)

/** Passes the gate, then emits four hundred events. */
const flooding = Agent.untyped("flooding", () =>
  Effect.gen(function* () {
    yield* Job.log("waiting")
    yield* Deferred.await(gate("flood"))
    for (let n = 1; n <= 400; n++) yield* Job.log(`event ${n}`)
    return "through"
  })
)

const agents = Layer.mergeAll(talking, parent, flooding)

/** Acknowledges all that has come, until nothing more comes. */
const acknowledged = (peer: Peer) =>
  Effect.gen(function* () {
    let [before, still] = [-1, 0]
    while (still < 5) {
      const last = peer.events().at(-1)?.event_seq ?? 0
      still = last === before ? still + 1 : 0
      before = last
      if (last > 0) yield* peer.send("session.ack", { last_processed_seq: last })
      yield* barrier(peer)
    }
    return before
  })

/** A job with two owners, of which the second came after "one" and the first before it. */
const owned = (agent = "talking", more: object = {}) =>
  Effect.gen(function* () {
    const first = yield* hello({ features })
    const accepted = yield* submit(first, agent, null, { ...key, ...more })
    const id = accepted.job_id!
    yield* hears(first, agent === "talking" ? "one" : "waiting")
    const second = yield* hello({ features })
    const again = yield* submit(second, agent, null, { ...key, ...more })
    expect(said(again)).toEqual(said(accepted))
    return { first, second, id }
  })

describe.each(backends)("several owners of a job over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), agents, ...options })

  it.scoped("§7.2 each is sent every event from its request on, in its own numbers, and the result", () =>
    Effect.gen(function* () {
      const { first, id, second } = yield* owned()
      yield* open("two")
      yield* Effect.all([hears(first, "two"), hears(second, "two")])
      const third = yield* hello({ features })
      yield* submit(third, "talking", null, key)
      for (const name of ["three", "end"]) yield* open(name)
      for (const peer of [first, second, third]) {
        expect((yield* peer.terminal(id)).payload.result).toBe("said")
        expect(peer.events().map(({ event_seq }) => event_seq)).toEqual(peer.events().map((_, i) => i + 1))
      }
      expect([first, second, third].map((peer) => told(peer, id))).toEqual([
        ["running", "one", "two", "three", "job.result"],
        ["two", "three", "job.result"],
        ["three", "job.result"]
      ])
    }).pipe(Effect.provide(over()))
  )

  it.scoped("§7.4 each may cancel, the first and the later; an observer of their principal may not", () =>
    Effect.gen(function* () {
      for (const place of ["first", "second"] as const) {
        const more = { idempotency_key: place }
        const owners = yield* owned("talking", more)
        const observer = yield* hello({ features })
        yield* ask(observer, "job.subscribe", { job_id: owners.id })
        expect((yield* ask(observer, "job.cancel", { job_id: owners.id })).payload.code).toBe("PERMISSION_DENIED")
        const cancelled = yield* ask(owners[place], "job.cancel", { job_id: owners.id })
        expect(cancelled.type).toBe("job.cancelled")
        for (const peer of [owners.first, owners.second, observer]) {
          expect((yield* peer.terminal(owners.id)).payload.final_status).toBe("cancelled")
        }
        // The one that did not ask is sent no answer.
        const other = place === "first" ? owners.second : owners.first
        expect(other.seen.filter(({ type }) => type === "job.cancelled")).toEqual([])
      }
    }).pipe(Effect.provide(over()))
  )

  it.scoped.each(["first", "second"] as const)(
    "§6.7 the %s one closes: the job goes on for the other, and both have all of it",
    (place) =>
      Effect.gen(function* () {
        const { first, id, second } = yield* owned()
        const [leaves, stays] = place === "first" ? [first, second] : [second, first]
        expect((yield* ask(leaves, "session.close")).type).toBe("session.closed")
        yield* leaves.ended
        for (const name of ["two", "three", "end"]) yield* open(name)
        expect((yield* stays.terminal(id)).payload.result).toBe("said")
        // It can come back within its window, and has missed nothing.
        const back = yield* hello({
          features,
          resume: {
            session_id: leaves.sessionId,
            resume_token: leaves.token,
            last_event_seq: leaves.events().length
          }
        })
        expect((yield* back.terminal(id)).payload.result).toBe("said")
        expect(told(back, id)).toEqual(["two", "three", "job.result"])
      }).pipe(Effect.provide(over()))
  )

  it.scoped("§6.6 a session that owns it is shown its own number, any other that of the first owner", () =>
    Effect.gen(function* () {
      const { first, id, second } = yield* owned()
      const other = yield* hello({ features })
      for (const beside of ["1", "2"]) {
        yield* Effect.all([submit(second, "talking", null, { idempotency_key: beside }), hears(second, "one")])
      }
      yield* open("two")
      yield* Effect.all([hears(first, "two"), second.next("job.event", (f) => f.job_id === id)])
      yield* Effect.all([barrier(first), barrier(second)])
      const last = (peer: Peer) => eventsOf(peer, id).at(-1)!.event_seq
      expect(last(first)).not.toBe(last(second))
      expect((yield* row(first, id))!.last_event_seq).toBe(last(first))
      expect((yield* row(second, id))!.last_event_seq).toBe(last(second))
      expect((yield* row(other, id))!.last_event_seq).toBe(last(first))
      // `from_event_seq` counts as the listing does: nothing is replayed behind it, and the last event before it.
      const from = yield* ask(other, "job.subscribe", { job_id: id, history: true, from_event_seq: last(first) })
      expect(from.payload.subscribed_from).toBe(last(first))
      yield* barrier(other)
      expect(told(other, id).length).toBeLessThanOrEqual(1)
    }).pipe(Effect.provide(over()))
  )

  it.scoped("§10 children follow: each owner is told of a child, sent its events, and may cancel it", () =>
    Effect.gen(function* () {
      const { first, id, second } = yield* owned("parent", { lease_request: { "agent.delegate": ["**"] } })
      yield* open("delegate")
      const accepted = yield* second.next("job.accepted", (f) => f.payload.parent_job_id === id)
      const child = accepted.job_id!
      yield* Effect.all([hears(first, "one"), hears(second, "one")])
      const ofParent = first.seen.find((f) => f.type === "job.accepted" && f.job_id === child)
      expect(said(ofParent!)).toEqual(said(accepted))
      expect((yield* ask(second, "job.cancel", { job_id: child })).type).toBe("job.cancelled")
      for (const peer of [first, second]) {
        expect((yield* peer.terminal(child)).payload.final_status).toBe("cancelled")
        yield* peer.terminal(id)
      }
    }).pipe(Effect.provide(over()))
  )

  it.scoped("§6.5 the slowest owner that acknowledges holds the job, however fast the others are", () =>
    Effect.gen(function* () {
      const acking = [...features, "ack"]
      const fast = yield* hello({ features: acking })
      const id = (yield* submit(fast, "flooding", null, key)).job_id!
      yield* hears(fast, "waiting")
      const slow = yield* hello({ features: acking })
      const silent = yield* hello({ features })
      for (const peer of [slow, silent]) expect((yield* submit(peer, "flooding", null, key)).job_id).toBe(id)
      yield* open("flood")
      expect(yield* acknowledged(fast)).toBeLessThan(200)
      expect([fast, silent].map((peer) => told(peer, id).includes("job.result"))).toEqual([false, false])
      while (!told(fast, id).includes("job.result")) yield* Effect.all([acknowledged(slow), acknowledged(fast)])
      for (const peer of [fast, slow, silent]) expect((yield* peer.terminal(id)).payload.result).toBe("through")
    }).pipe(Effect.provide(over({ limits: { ackLag: 64, queuedEvents: 16 } })))
  )

  it.scoped("§7.2 a conflict changes nothing: the job runs on, and the session that asked is no owner", () =>
    Effect.gen(function* () {
      const { first, id, second } = yield* owned()
      const stranger = yield* hello({ features })
      const refused = yield* submit(stranger, "talking", "other", key)
      expect(refused.payload).toMatchObject({ code: "DUPLICATE_KEY", details: { job_id: id } })
      for (const name of ["two", "three", "end"]) yield* open(name)
      for (const peer of [first, second]) expect((yield* peer.terminal(id)).payload.result).toBe("said")
      yield* barrier(stranger)
      expect(stranger.events()).toEqual([])
    }).pipe(Effect.provide(over()))
  )

  it.scoped("§7.2 two submits at once with one key are one job with two owners", () =>
    Effect.gen(function* () {
      const peers = [yield* hello({ features }), yield* hello({ features }), yield* hello({ features })]
      const replies = yield* Effect.forEach(peers, (peer) => submit(peer, "talking", null, key), {
        concurrency: "unbounded"
      })
      const ids = new Set(replies.map(({ job_id }) => job_id))
      expect([...ids]).toHaveLength(1)
      for (const name of ["two", "three", "end"]) yield* open(name)
      for (const peer of peers) expect((yield* peer.terminal([...ids][0]!)).payload.result).toBe("said")
    }).pipe(Effect.provide(over()))
  )
})

describe("owners after a restart", () => {
  it.scoped("§7.2 are the same, in their order: numbers, events, cancel, and the window of each", () =>
    Effect.gen(function* () {
      const { start } = machine(agents)
      const process = yield* start
      const [first, second] = yield* Effect.provide(
        Effect.gen(function* () {
          const { first, second } = yield* owned()
          yield* Effect.all([barrier(first), barrier(second)])
          return [first, second] as const
        }),
        process
      )
      const id = first.seen.find(({ type }) => type === "job.accepted")!.job_id!
      const next = yield* start
      const back = yield* resume(next, second, second.events().length)
      yield* hears(back, "one")
      const watcher = yield* Effect.provide(hello({ features }), next)
      const numbers = Effect.all([row(back, id), row(watcher, id)])
      const [own, others] = yield* numbers
      expect(own!.last_event_seq).toBe(back.events().at(-1)!.event_seq)
      // In the first owner's session, which has not come back yet: it was given "running" and "one" before, and two or three again.
      expect(others!.last_event_seq).toBeGreaterThan(own!.last_event_seq)
      // The window of the first one ends: the second is the first now, and the job goes on.
      yield* TestClock.adjust("2 hours")
      yield* barrier(back)
      const [, now] = yield* numbers
      expect(now!.last_event_seq).toBe(own!.last_event_seq)
      for (const name of ["two", "three", "end"]) yield* open(name)
      expect((yield* back.terminal(id)).payload.result).toBe("said")
      expect(back.events().map(({ event_seq }) => event_seq)).toEqual(
        back.events().map((_, i) => second.events().length + 1 + i)
      )
    })
  )

  it.scoped("§7.2 each that leaves for good makes the next one the first, also over further restarts", () =>
    Effect.gen(function* () {
      const { start } = machine(agents)
      let process = yield* start
      const [second, third, id] = yield* Effect.provide(
        Effect.gen(function* () {
          const { id, second } = yield* owned()
          // The numbers of the third one are others than those of the second.
          const third = yield* hello({ features })
          yield* submit(third, "talking", null, { idempotency_key: "beside" })
          yield* hears(third, "one")
          yield* submit(third, "talking", null, key)
          yield* Effect.all([barrier(second), barrier(third)])
          return [second, third, id] as const
        }),
        process
      )
      /** Goes on in the next process; the windows of those that do not are over. */
      const alone = (...peers: ReadonlyArray<Client>) =>
        Effect.gen(function* () {
          process = yield* start
          const back = yield* Effect.forEach(peers, (peer) =>
            resume(process, peer, peer.events().at(-1)?.event_seq ?? 0)
          )
          for (const peer of back) {
            yield* peer.next("job.event", (f) => f.job_id === id && f.payload.body?.message === "one")
          }
          yield* TestClock.adjust("11 minutes")
          yield* Effect.forEach(back, barrier)
          return back
        })
      const shown = (peer: Peer) => Effect.map(row(peer, id), (found) => found!.last_event_seq)
      const watching = Effect.suspend(() => Effect.provide(Effect.flatMap(hello({ features }), shown), process))

      const [secondNext, thirdNext] = yield* alone(second, third)
      expect(yield* shown(secondNext!)).not.toBe(yield* shown(thirdNext!))
      expect(yield* watching).toBe(yield* shown(secondNext!))
      const [secondThen, thirdThen] = yield* alone(secondNext!, thirdNext!)
      expect(yield* shown(secondThen!)).not.toBe(yield* shown(thirdThen!))
      expect(yield* watching).toBe(yield* shown(secondThen!))
      const [thirdLast] = yield* alone(thirdThen!)
      expect(yield* watching).toBe(yield* shown(thirdLast!))
      const [thirdStill] = yield* alone(thirdLast!)
      for (const name of ["two", "three", "end"]) yield* open(name)
      expect((yield* thirdStill!.terminal(id)).payload.result).toBe("said")
      expect(yield* watching).toBe(yield* shown(thirdStill!))
    })
  )
})

describe("what is stored of owners", () => {
  it.scoped(
    "§7.2 nothing more for the one that submits a job, one row for each that comes later, and none for one that comes again",
    () => {
      const written: Array<Pick<Batch, "owners" | "ownersRemoved">> = []
      const store = Layer.map(MemoryStore.layer, (context) => {
        const inner = Context.get(context, Store)
        const commit = (batch: Batch) =>
          Effect.zipRight(
            Effect.sync(() => {
              if (batch.owners.length + batch.ownersRemoved.length > 0)
                written.push({ owners: [...batch.owners], ownersRemoved: [...batch.ownersRemoved] })
            }),
            inner.commit(batch)
          )
        return Context.add(context, Store, { ...inner, commit })
      })
      return Effect.gen(function* () {
        const first = yield* hello({ features })
        const id = (yield* submit(first, "talking", null, key)).job_id!
        yield* hears(first, "one")
        expect(written).toEqual([])
        const second = yield* hello({ features })
        for (let n = 0; n < 2; n++) yield* submit(second, "talking", null, key)
        yield* submit(first, "talking", null, key)
        yield* Effect.all([barrier(first), barrier(second)])
        expect(written).toEqual([{ owners: [{ sessionId: second.sessionId, jobId: id }], ownersRemoved: [] }])
        for (const name of ["two", "three", "end"]) yield* open(name)
        yield* second.terminal(id)
        expect(written).toHaveLength(1)
      }).pipe(Effect.provide(world({ store, agents })))
    }
  )
})
