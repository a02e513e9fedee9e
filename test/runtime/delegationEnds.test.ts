/** How delegated jobs end (ARCP 1.1 §7.3, §7.4, §10): children before parents, one terminal message each, whatever ends them. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Scope, TestClock } from "effect"
import { Ids } from "../../src/protocol/index.js"
import { Store } from "../../src/store/Store.js"
import { SqliteStore } from "../../src/store/sqlite.js"
import { TestGateway } from "../../src/testing/index.js"
import { allFeatures, barrier, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { backends } from "./backends.js"
import { reopened, reopenedAll } from "./mortal.js"
import { listed, scripted, type Step, word, words } from "./script.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((f) => f !== "heartbeat")
const all = { "agent.delegate": ["**"] }

const start = (peer: Peer, steps: ReadonlyArray<Step>, rest: object = {}) =>
  Effect.map(submit(peer, "script", { steps }, { lease_request: all, ...rest }), (accepted) => accepted.job_id!)

/** A child that delegates to a grandchild, which says `ready` and then does the rest. */
const family = (rest: ReadonlyArray<Step>, how: "delegate" | "start" = "delegate"): Step => ({
  do: how,
  input: { steps: [{ do: "delegate", input: { steps: [{ do: "log", message: "ready" }, ...rest] } }] },
  options: { lease: all }
})
const ready = (peer: Peer) => peer.next("job.event", (f) => f.payload.body.message === "ready")
const terminals = (peer: Peer): ReadonlyArray<Frame> => peer.events().filter((f) => f.type !== "job.event")
const children = (peer: Peer) =>
  peer.seen.filter((f) => f.type === "job.accepted" && f.payload.parent_job_id !== undefined).map((f) => f.job_id!)

/** The jobs and codes of the terminal messages: the grandchild's first, then the child's, then the parent's. */
const expectEnds = (peer: Peer, parent: string, codes: ReadonlyArray<string | undefined>) => {
  const [child, grandchild] = children(peer)
  expect(terminals(peer).map((f) => [f.job_id, f.payload.code])).toEqual(
    [grandchild, child, parent].map((jobId, i) => [jobId, codes[i]])
  )
}

describe.each(backends)("the ends of delegated jobs over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), agents: scripted, ...options })
  const main = over()

  describe("a cascade", () => {
    it.scoped("§7.4 a cancelled parent: children end first, each once, and their finalizers have run", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const parent = yield* start(peer, [
          family([
            { do: "finally", steps: [{ do: "log", message: "cleaned" }] },
            { do: "log", message: "set" },
            { do: "never" }
          ])
        ])
        yield* peer.next("job.event", (f) => f.payload.body.message === "set")
        yield* peer.send("job.cancel", { job_id: parent })
        yield* peer.terminal(parent)
        expectEnds(peer, parent, ["CANCELLED", "CANCELLED", "CANCELLED"])
        expect(words(peer, children(peer)[1]!)).toEqual([
          "status running",
          "log ready",
          "log set",
          "log cleaned",
          "job.error"
        ])
        expect(terminals(peer).map((f) => f.payload.final_status)).toEqual(["cancelled", "cancelled", "cancelled"])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.3 a parent that times out; §9.5 a parent whose lease expires", () =>
      Effect.gen(function* () {
        const slow = yield* hello({ features })
        const timed = yield* start(slow, [family([{ do: "never" }])], { max_runtime_sec: 10 })
        yield* ready(slow)
        yield* TestClock.adjust("10 seconds")
        expect((yield* slow.terminal(timed)).payload.final_status).toBe("timed_out")
        expectEnds(slow, timed, ["CANCELLED", "CANCELLED", "TIMEOUT"])
        const late = yield* hello({ features })
        const expiring = yield* start(late, [family([{ do: "never" }])], {
          lease_constraints: { expires_at: "1970-01-01T00:05:00Z" }
        })
        yield* ready(late)
        yield* TestClock.adjust("6 minutes")
        yield* late.terminal(expiring)
        expectEnds(late, expiring, ["LEASE_EXPIRED", "LEASE_EXPIRED", "LEASE_EXPIRED"])
      }).pipe(Effect.provide(main))
    )

    it.scoped.each([
      ["returns", [], undefined],
      ["fails", [{ do: "fail", code: "NO_LUCK" }], "NO_LUCK"],
      ["dies", [{ do: "die" }], "INTERNAL_ERROR"]
    ] as ReadonlyArray<[string, ReadonlyArray<Step>, string | undefined]>)(
      "§7.3 a parent that %s while its children run ends them first",
      ([_what, rest, code]) =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const parent = yield* start(peer, [family([{ do: "never" }], "start"), { do: "wait", gate: "end" }, ...rest])
          yield* ready(peer)
          yield* Deferred.succeed(gate("end"), undefined)
          yield* peer.terminal(parent)
          expectEnds(peer, parent, ["CANCELLED", "CANCELLED", code])
        }).pipe(Effect.provide(main))
    )

    it.scoped("§7.4 a child that does not unwind holds its parent for the grace, not longer", () =>
      Effect.gen(function* () {
        const deaf: ReadonlyArray<Step> = [{ do: "deaf", steps: [{ do: "log", message: "deaf" }, { do: "never" }] }]
        const peer = yield* hello({ features })
        const parent = yield* start(peer, [family(deaf)])
        yield* peer.next("job.event", (f) => f.payload.body.message === "deaf")
        yield* peer.send("job.cancel", { job_id: parent })
        yield* peer.next("job.cancelled")
        yield* barrier(peer)
        yield* TestClock.adjust("29 seconds")
        yield* barrier(peer)
        expect(terminals(peer)).toEqual([])
        yield* TestClock.adjust("1 second")
        yield* peer.terminal(parent)
        expectEnds(peer, parent, ["CANCELLED", "CANCELLED", "CANCELLED"])
        const other = yield* hello({ features })
        const done = yield* start(other, [family(deaf, "start"), { do: "wait", gate: "deaf" }])
        yield* other.next("job.event", (f) => f.payload.body.message === "deaf")
        yield* Deferred.succeed(gate("deaf"), undefined)
        yield* barrier(other)
        yield* TestClock.adjust("30 seconds")
        expect((yield* other.terminal(done)).payload.final_status).toBe("success")
        expectEnds(other, done, ["CANCELLED", "CANCELLED", undefined])
      }).pipe(Effect.provide(main))
    )
  })

  describe("a single child", () => {
    it.scoped("§7.4 cancelled by its owner is a failure that the parent handles; other sessions may not", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const other = yield* hello({ features })
        const stranger = yield* hello({ features, token: "bob-token" })
        const parent = yield* start(peer, [family([{ do: "never" }]), { do: "log", message: "goes on" }])
        yield* ready(peer)
        const [child] = children(peer)
        const cancel = (who: Peer) =>
          Effect.flatMap(who.send("job.cancel", { job_id: child, reason: "enough" }), who.reply)
        expect((yield* cancel(other)).payload.code).toBe("PERMISSION_DENIED")
        expect((yield* cancel(stranger)).payload.code).toBe("JOB_NOT_FOUND")
        expect((yield* cancel(peer)).type).toBe("job.cancelled")
        const end = yield* peer.terminal(parent)
        expect(end.payload.result).toEqual([{ code: "CANCELLED", message: "cancelled: enough" }, "ok"])
        expectEnds(peer, parent, ["CANCELLED", "CANCELLED", undefined])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.1 that outlives its own max_runtime_sec or expiry fails for its parent with that code", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const never = { steps: [{ do: "log", message: "ready" }, { do: "never" }] }
        const parent = yield* start(peer, [
          { do: "delegate", input: never, options: { maxRuntimeSec: 5 } },
          { do: "delegate", input: never, options: { expiresAt: 60_000 } },
          { do: "log", message: "goes on" }
        ])
        yield* ready(peer)
        yield* TestClock.adjust("5 seconds")
        yield* ready(peer)
        yield* TestClock.adjust("1 minute")
        const { result } = (yield* peer.terminal(parent)).payload
        expect(result.map((d: any) => d.code ?? d)).toEqual(["TIMEOUT", "LEASE_EXPIRED", "ok"])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§10 that nobody waits for any more is cancelled, its money comes back, and the parent goes on", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const parent = yield* start(
          peer,
          [
            {
              do: "patience",
              millis: 5_000,
              input: { steps: [{ do: "spend", amount: "0.25 USD" }, { do: "log", message: "ready" }, { do: "never" }] },
              options: { lease: { "cost.budget": ["USD:1"] } }
            },
            { do: "wait", gate: "back" },
            { do: "remaining" }
          ],
          { lease_request: { ...all, "cost.budget": ["USD:1"] } }
        )
        yield* ready(peer)
        yield* TestClock.adjust("5 seconds")
        const [child] = children(peer)
        expect((yield* peer.terminal(child!)).payload.code).toBe("CANCELLED")
        yield* Deferred.succeed(gate("back"), undefined)
        expect((yield* peer.terminal(parent)).payload.result).toEqual(["gave up", "waited", { USD: "0.75" }])
      }).pipe(Effect.provide(main))
    )
  })

  describe("the owner", () => {
    it.scoped("§7.2 that joins by submitting again owns the children too", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const body: ReadonlyArray<Step> = [
          family([{ do: "wait", gate: "moved" }, { do: "log", message: "here" }, { do: "never" }])
        ]
        const parent = yield* start(peer, body, { idempotency_key: "move" })
        yield* ready(peer)
        const other = yield* hello({ features })
        expect(yield* start(other, body, { idempotency_key: "move" })).toBe(parent)
        yield* Deferred.succeed(gate("moved"), undefined)
        yield* other.next("job.event", (f) => f.payload.body.message === "here")
        const [child, grandchild] = children(peer)
        const stranger = yield* hello({ features })
        const old = yield* Effect.flatMap(stranger.send("job.cancel", { job_id: grandchild }), stranger.reply)
        expect(old.payload.code).toBe("PERMISSION_DENIED")
        yield* other.send("job.cancel", { job_id: grandchild })
        yield* other.terminal(parent)
        expect(terminals(other).map((f) => f.job_id)).toEqual([grandchild, child, parent])
        yield* peer.terminal(parent)
        expect(terminals(peer).map((f) => f.job_id)).toEqual([grandchild, child, parent])
        expect(other.events().map((f) => f.event_seq)).toEqual(other.events().map((_, i) => i + 1))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.5 that goes away lets children go on for the owner that stays", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const body: ReadonlyArray<Step> = [
          { do: "wait", gate: "flood" },
          {
            do: "delegate",
            input: { steps: Array.from({ length: 60 }, (_, i) => ({ do: "log", message: `${i}` })) }
          }
        ]
        const parent = yield* start(peer, body, { idempotency_key: "flood" })
        yield* peer.next("job.event")
        yield* peer.send("session.ack", { last_processed_seq: 1 })
        yield* barrier(peer)
        yield* Deferred.succeed(gate("flood"), undefined)
        yield* peer.next("job.event", (f) => f.payload.body.phase === "back_pressure")
        // It acknowledges nothing, and has not said that it would.
        const other = yield* hello({ features: features.filter((feature) => feature !== "ack") })
        yield* start(other, body, { idempotency_key: "flood" })
        yield* peer.drop
        expect((yield* other.terminal(parent)).payload.final_status).toBe("success")
      }).pipe(Effect.provide(over({ limits: { ackLag: 8, queuedEvents: 4 } })))
    )
  })

  it.scoped("§7.3 a restart ends children, brings their money back, and runs their parent again", () =>
    Effect.gen(function* () {
      const options = backend()
      const store = reopened(Context.get(yield* Layer.build(options.store!), Store))
      const runtime = world({ ...options, store, agents: scripted })
      // Not stopped but left: as far as the store knows, its process has died.
      const dying = yield* Layer.build(runtime).pipe(Scope.extend(yield* Scope.make()))
      const spending = (rest: ReadonlyArray<Step>): ReadonlyArray<Step> => [{ do: "spend", amount: "0.1 USD" }, ...rest]
      const share = (amount: string, steps: ReadonlyArray<Step>): Step => ({
        do: "delegate",
        agent: "lasting",
        input: { steps },
        options: { lease: { ...all, "cost.budget": [amount] } }
      })
      const { parent, peer } = yield* Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(
          peer,
          "lasting",
          {
            steps: [
              {
                do: "attempt",
                first: spending([
                  share(
                    "USD:0.5",
                    spending([share("USD:0.3", spending([{ do: "log", message: "ready" }, { do: "never" }]))])
                  )
                ]),
                again: [{ do: "remaining" }, share("USD:0.7", [{ do: "remaining" }])]
              }
            ]
          },
          { lease_request: { ...all, "cost.budget": ["USD:1"] } }
        )
        yield* ready(peer)
        return { peer, parent: accepted.job_id! }
      }).pipe(Effect.provide(dying))
      const [child, grandchild] = children(peer)
      yield* Effect.gen(function* () {
        const last = peer.events().at(-1)!.event_seq!
        const again = yield* hello({
          features,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: last }
        })
        const end = yield* again.terminal(parent)
        expect(end.payload.result).toEqual([[{ USD: "0.7" }, [{ USD: "0.7" }]]])
        const name = (f: Frame) =>
          f.job_id === parent ? "P" : f.job_id === child ? "C" : f.job_id === grandchild ? "G" : "N"
        expect(again.events().map((f) => `${name(f)} ${word(f)}`)).toEqual([
          "G job.error",
          "C cost.budget.remaining 0.3 USD",
          "C job.error",
          "P cost.budget.remaining 0.7 USD",
          "P status running",
          "P delegate undefined",
          "N status running",
          "P cost.budget.remaining 0 USD",
          "N job.result",
          "P cost.budget.remaining 0.7 USD",
          "P job.result"
        ])
        for (const jobId of [child!, grandchild!]) {
          expect(eventsOf(again, jobId).at(-1)!.payload).toMatchObject({
            code: "INTERNAL_ERROR",
            retryable: true,
            details: { reason: "runtime_restarted" }
          })
        }
        expect(again.events().map((f) => f.event_seq)).toEqual(again.events().map((_, i) => last + 1 + i))
        yield* barrier(again)
        expect((yield* listed(again, parent)).budget).toEqual({ USD: 0.7 })
      }).pipe(Effect.provide(runtime))
    })
  )
})

describe("delegation with provisioned credentials", () => {
  const gateway = TestGateway.layer().pipe(Layer.provide(Ids.layerSeeded(7)))
  const budget = { ...all, "cost.budget": ["USD:1"] }
  const half: Step = {
    do: "delegate",
    input: { steps: [{ do: "log", message: "ready" }] },
    options: { lease: { "cost.budget": ["USD:0.5"] } }
  }

  it.scoped("§9.8 a child has its own, told to the owner in the child's job.accepted, and revoked with its end", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const accepted = yield* submit(peer, "script", { steps: [half] }, { lease_request: budget })
      yield* peer.terminal(accepted.job_id!)
      const child = peer.seen.find((f) => f.payload.parent_job_id !== undefined)!
      expect(child.payload.credentials).toEqual([
        expect.objectContaining({ id: expect.any(String), value: expect.any(String), endpoint: expect.any(String) })
      ])
      expect(child.payload).not.toHaveProperty("0")
      expect(child.payload.credentials[0].value).not.toBe(accepted.payload.credentials[0].value)
      const without = yield* hello({ features: features.filter((f) => f !== "provisioned_credentials") })
      const other = yield* submit(without, "script", { steps: [half] }, { lease_request: budget })
      yield* without.terminal(other.job_id!)
      expect(without.seen.filter((f) => JSON.stringify(f).includes("credential"))).toEqual([])
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flatMap(TestGateway, (g) => g.liveKeys)).toEqual([])
    }).pipe(
      Effect.provide(
        world({ agents: scripted, store: SqliteStore.layer({ filename: ":memory:", durable: true }) }).pipe(
          Layer.provideMerge(gateway)
        )
      )
    )
  )

  it.scoped(
    "§9.6 the share stays with the parent until the child has its own: a failure or a crash before loses nothing",
    () =>
      Effect.gen(function* () {
        const built = yield* Layer.build(SqliteStore.layer({ filename: ":memory:", durable: true }))
        const store = reopenedAll(built) as unknown as Layer.Layer<Store>
        const upstream = yield* Layer.build(gateway)
        const { hangIssues, failIssues } = Context.get(upstream, TestGateway)
        const runtime = world({ agents: scripted, store })
        const dying = yield* Layer.build(runtime.pipe(Layer.provide(Layer.succeedContext(upstream)))).pipe(
          Scope.extend(yield* Scope.make())
        )
        const { parent, peer } = yield* Effect.gen(function* () {
          const peer = yield* hello({ features })
          const accepted = yield* submit(
            peer,
            "lasting",
            {
              steps: [
                {
                  do: "attempt",
                  first: [
                    { do: "wait", gate: "failing" },
                    { do: "all", steps: [half] },
                    { do: "remaining" },
                    { do: "log", message: "one failed" },
                    { do: "wait", gate: "hanging" },
                    {
                      do: "all",
                      steps: [
                        half,
                        { do: "remaining" },
                        { do: "spend", amount: "0.25 USD" },
                        { do: "log", message: "asked" }
                      ]
                    }
                  ],
                  again: [{ do: "remaining" }]
                }
              ]
            },
            { lease_request: budget }
          )
          yield* failIssues(1)
          yield* Deferred.succeed(gate("failing"), undefined)
          yield* peer.next("job.event", (f) => f.payload.body.message === "one failed")
          expect(words(peer, accepted.job_id!)).toEqual([
            "status running",
            "delegate undefined",
            "result INTERNAL_ERROR",
            "log one failed"
          ])
          yield* hangIssues(true)
          yield* Deferred.succeed(gate("hanging"), undefined)
          yield* peer.next("job.event", (f) => f.payload.body.message === "asked")
          return { peer, parent: accepted.job_id! }
        }).pipe(Effect.provide(dying))
        yield* Effect.gen(function* () {
          const again = yield* hello({
            features,
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
          })
          expect((yield* again.terminal(parent)).payload.result).toEqual([[{ USD: "0.75" }]])
        }).pipe(Effect.provide(runtime.pipe(Layer.provide(gateway))))
      })
  )
})
