/** §8.3 Commits in turns of the event loop: what fails or is busy loses nothing, and what comes together is written together. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { type CommitNow, commitNowOf, committingNow } from "../../src/store/CommitNow.js"
import { MemoryStore, Store, StoreError } from "../../src/store/index.js"
import { eventsOf, hello, run, submit } from "./peer.js"
import { world } from "./world.js"

/** What the next commits meet, in their order; nothing: they are taken. */
type Fault = "busy" | "fails" | "throws" | "taken"

const faulty = () => {
  const faults: Array<Fault> = []
  const seen = { commits: 0, jobs: 0, asked: 0, always: undefined as Fault | undefined }
  const store = Layer.effect(
    Store,
    Effect.map(Store, (store) => {
      const real = commitNowOf(store.commit)!
      const now: CommitNow = (batch) => {
        seen.asked++
        const fault = seen.always ?? faults.shift()
        if (fault === "busy") return "busy"
        if (fault === "throws") throw new Error("unexpected")
        if (fault === "fails") return new StoreError({ operation: "commit", message: "no room" })
        seen.commits++
        seen.jobs += batch.jobs.length
        return real(batch)
      }
      return { ...store, commit: committingNow((batch) => store.commit(batch), now) }
    })
  ).pipe(Layer.provideMerge(MemoryStore.layer))
  return { faults, seen, store }
}

const quiet = Logger.remove(Logger.defaultLogger)

const agents = Layer.mergeAll(
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("counts", (count) =>
    Effect.as(
      Effect.forEach(Array.from({ length: count as number }), (_, n) => Job.log(`line ${n}`), { discard: true }),
      "counted"
    )
  )
)

describe("a store that commits in one step", () => {
  it.scopedLive("§8.3 that is busy for some turns has each event once, in order, and every answer before them", () =>
    Effect.gen(function* () {
      const { faults, seen, store } = faulty()
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        // Sixteen turns, and then milliseconds; what the job emits meets it too.
        for (let n = 0; n < 24; n++) faults.push("busy")
        faults.push("taken")
        for (let n = 0; n < 16; n++) faults.push("busy")
        const accepted = yield* submit(peer, "counts", 50)
        expect(accepted.type).toBe("job.accepted")
        const end = yield* peer.terminal(accepted.job_id!)
        expect(end.payload.result).toBe("counted")
        const events = eventsOf(peer, accepted.job_id!)
        expect(events.flatMap(({ payload }) => (payload.kind === "log" ? [payload.body.message] : []))).toEqual(
          Array.from({ length: 50 }, (_, n) => `line ${n}`)
        )
        expect(events.map(({ event_seq }) => event_seq)).toEqual(events.map((_, n) => n + 1))
        expect(faults).toEqual([])
        expect(seen.asked).toBe(seen.commits + 40)
      }).pipe(Effect.provide(world({ agents, store })))
    })
  )

  for (const fault of ["fails", "throws"] as const) {
    it.scopedLive(`§12 that ${fault} refuses what waits for it, and keeps what was emitted until it succeeds`, () =>
      Effect.gen(function* () {
        const { faults, store } = faulty()
        const go = yield* Deferred.make<void>()
        const gated = Agent.untyped("gated", () =>
          Effect.zipRight(Deferred.await(go), Effect.as(Job.log("kept"), "done"))
        )
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          faults.push(fault)
          const refused = yield* submit(peer, "gated")
          expect(refused).toMatchObject({ payload: { code: "INTERNAL_ERROR", retryable: true } })
          const accepted = yield* submit(peer, "gated")
          expect(accepted.type).toBe("job.accepted")
          faults.push(fault, fault)
          yield* Deferred.succeed(go, undefined)
          expect((yield* peer.terminal(accepted.job_id!)).payload.result).toBe("done")
          const kinds = eventsOf(peer, accepted.job_id!).map(({ payload }) => payload.body?.message ?? payload.kind)
          expect(kinds).toEqual(["status", "kept", undefined])
          expect(faults).toEqual([])
        }).pipe(Effect.provide(Layer.provide(world({ agents: gated, store }), quiet)))
      })
    )
  }

  it.scopedLive("writes in one commit what several connections asked for in one turn", () =>
    Effect.gen(function* () {
      const { seen, store } = faulty()
      yield* Effect.gen(function* () {
        const peers = yield* Effect.all(Array.from({ length: 16 }, () => hello()))
        const before = seen.commits
        const ends = yield* Effect.forEach(peers, (peer) => run(peer, "echo", 1), { concurrency: "unbounded" })
        expect(ends.map(({ payload }) => payload.result)).toEqual(peers.map(() => 1))
        expect(seen.jobs).toBe(16)
        // Acceptances and starts, then ends: far fewer than two of each connection.
        expect(seen.commits - before).toBeLessThan(16)
      }).pipe(Effect.provide(world({ agents, store })))
    })
  )

  it.scopedLive("is not passed by where a program has put another commit in its place", () =>
    Effect.gen(function* () {
      let asked = 0
      const store = Layer.effect(
        Store,
        Effect.map(Store, (store) => ({
          ...store,
          commit: (batch: Parameters<typeof store.commit>[0]) =>
            Effect.suspend(() => {
              asked++
              return store.commit(batch)
            })
        }))
      ).pipe(Layer.provideMerge(MemoryStore.layer))
      yield* Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "echo", 1)).payload.result).toBe(1)
        expect(asked).toBeGreaterThan(1)
      }).pipe(Effect.provide(world({ agents, store })))
    })
  )

  it.scopedLive("that stays busy does not keep the runtime from ending, which says what was not written", () =>
    Effect.gen(function* () {
      const { seen, store } = faulty()
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const peer = yield* hello()
          yield* run(peer, "echo", 1)
          seen.always = "busy"
          yield* peer.send("job.submit", { agent: "echo", input: 2 })
        }).pipe(
          Effect.provide(
            Layer.provide(
              world({ agents, store, limits: { storeTime: "1 second" } }),
              Logger.replace(Logger.defaultLogger, logger)
            )
          )
        )
      )
      expect(lines.filter((line) => /the journal closes with \d+ operations/.test(line))).toHaveLength(1)
    })
  )
})
