/** Handing a job over to another agent (ARCP 1.1 §10): the same job, what is left of its lease and budget, one end. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, TestClock } from "effect"
import { allFeatures, barrier, eventsOf, hello, type Peer, run, submit } from "./peer.js"
import { backends } from "./backends.js"
import { listed, scripted, type Step, words } from "./script.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((f) => f !== "heartbeat")
const lease_request = { "agent.delegate": ["**"], "tool.call": ["search.*"], "cost.budget": ["USD:1"] }
const to = (steps: ReadonlyArray<Step>, agent = "other"): Step => ({ do: "handoff", agent, input: { steps } })
const terminals = (peer: Peer, jobId: string) => eventsOf(peer, jobId).filter((f) => f.type !== "job.event")

describe.each(backends)("handing over, over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), agents: scripted, ...options })
  const main = over()

  it.scoped(
    "§10 the other agent goes on in the same job with what is left; the first one's finalizers run before",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const steps: ReadonlyArray<Step> = [
          {
            do: "finally",
            steps: [
              { do: "spend", amount: "0.1 USD" },
              { do: "log", message: "cleaned" }
            ]
          },
          {
            do: "reserve",
            amount: "0.5 USD",
            steps: [to([{ do: "remaining" }, { do: "facts" }, { do: "tool", name: "search.web" }])]
          },
          { do: "log", message: "must not be reached" }
        ]
        const accepted = yield* submit(peer, "script", { steps }, { lease_request })
        const end = yield* peer.terminal(accepted.job_id!)
        // The reservation that it was called in was let go of, the cost of the cleaning counts.
        expect(end.payload.result.other).toEqual([
          { USD: "0.9" },
          expect.objectContaining({ agent: "other", jobId: accepted.job_id, lease: lease_request, attempt: 1 }),
          []
        ])
        expect(words(peer, accepted.job_id!)).toEqual([
          "status running",
          "cost.x 0.1 USD",
          "cost.budget.remaining 0.9 USD",
          "log cleaned",
          "status handoff",
          "call search.web",
          "result ok",
          "job.result"
        ])
        yield* barrier(peer)
        expect(yield* listed(peer, accepted.job_id!)).toMatchObject({ agent: "script@1.0.0", budget: { USD: 0.9 } })
      }).pipe(Effect.provide(main))
  )

  it.scoped("§10 a child hands over too: its parent gets the other agent's output; its children go on", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const end = yield* run(
        peer,
        "script",
        {
          steps: [
            {
              do: "delegate",
              input: {
                steps: [
                  { do: "start", input: { steps: [{ do: "wait", gate: "grandchild" }] } },
                  to([
                    { do: "open", gate: "grandchild" },
                    { do: "log", message: "opened" }
                  ])
                ]
              },
              options: { lease: { "agent.delegate": ["**"] } }
            }
          ]
        },
        { lease_request: { "agent.delegate": ["**"] } }
      )
      expect(end.payload.result).toEqual([{ other: ["opened", "ok"] }])
    }).pipe(Effect.provide(main))
  )

  it.scoped(
    "§10 needs agent.delegate, a hosted agent, fitting input, money and time; a refusal is told and handled",
    () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const end = yield* run(
          peer,
          "script",
          {
            steps: [
              to([]),
              { do: "handoff", agent: "ghost" },
              { do: "handoff", agent: "typed@9" },
              { do: "handoff", agent: "typed", input: { n: 1 } },
              { do: "spend", amount: "1 USD" },
              { do: "handoff", agent: "echo" }
            ]
          },
          { lease_request: { "agent.delegate": ["ghost", "typed", "echo"], "cost.budget": ["USD:1"] } }
        )
        const codes = [
          "PERMISSION_DENIED",
          "AGENT_NOT_AVAILABLE",
          "AGENT_VERSION_NOT_AVAILABLE",
          "INVALID_REQUEST",
          "ok",
          "BUDGET_EXHAUSTED"
        ]
        expect(end.payload.result.map((d: any) => d.code ?? d)).toEqual(codes)
        const told = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "tool_result")
        expect(told.map((f) => f.payload.body.error.code)).toEqual(codes.filter((code) => code !== "ok"))
      }).pipe(Effect.provide(main))
  )

  it.scoped("§10 is bounded, so that agents cannot hand a job round for ever", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const round = to([to([to([{ do: "log", message: "too far" }])], "script")])
      const end = yield* run(peer, "script", { steps: [round] }, { lease_request })
      expect(end.payload.result).toEqual([
        expect.objectContaining({
          code: "PERMISSION_DENIED",
          details: { capability: "agent.delegate", reason: "depth" }
        })
      ])
      expect(words(peer, end.job_id!).filter((w) => w === "status handoff").length).toBe(2)
    }).pipe(Effect.provide(over({ limits: { delegationDepth: 2 } })))
  )

  it.scoped("§10 from where no interruption comes in: an uninterruptible region, and a finalizer", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const deaf = yield* run(
        peer,
        "script",
        { steps: [{ do: "deaf", steps: [to([]), { do: "log", message: "must not be reached" }] }] },
        { lease_request }
      )
      expect(deaf.payload.result).toEqual({ other: [] })
      expect(words(peer, deaf.job_id!)).toEqual(["status running", "status handoff", "job.result"])
      const late = yield* run(peer, "script", { steps: [{ do: "finally", steps: [to([])] }] }, { lease_request })
      expect(late.payload.result).toEqual({ other: [] })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§10 of two at once the first counts", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const both: Step = {
        do: "all",
        steps: [to([{ do: "log", message: "first" }]), to([{ do: "log", message: "second" }])]
      }
      const end = yield* run(peer, "script", { steps: [both] }, { lease_request })
      expect(words(peer, end.job_id!)).toEqual(["status running", "status handoff", "log first", "job.result"])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.4 a cancel while the first agent unwinds: the second never starts, one terminal message", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const cleaning: Step = {
        do: "finally",
        steps: [
          { do: "log", message: "cleaning" },
          { do: "wait", gate: "clean" }
        ]
      }
      const steps = [cleaning, to([{ do: "log", message: "must not start" }])]
      const accepted = yield* submit(peer, "script", { steps }, { lease_request })
      yield* peer.next("job.event", (f) => f.payload.body.message === "cleaning")
      yield* peer.send("job.cancel", { job_id: accepted.job_id })
      yield* peer.next("job.cancelled")
      yield* Deferred.succeed(gate("clean"), undefined)
      yield* peer.terminal(accepted.job_id!)
      yield* barrier(peer)
      expect(words(peer, accepted.job_id!)).toEqual(["status running", "log cleaning", "job.error"])
      expect(terminals(peer, accepted.job_id!)[0]!.payload.code).toBe("CANCELLED")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.4, §7.3 the second agent can be cancelled, and runs in the time that is left of max_runtime_sec", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features })
      const waiting = to([{ do: "log", message: "second" }, { do: "never" }])
      const first = yield* submit(peer, "script", { steps: [waiting] }, { lease_request })
      yield* peer.next("job.event", (f) => f.payload.body.message === "second")
      yield* peer.send("job.cancel", { job_id: first.job_id })
      expect((yield* peer.terminal(first.job_id!)).payload.code).toBe("CANCELLED")
      const steps = [{ do: "wait", gate: "half" }, waiting]
      const timed = yield* submit(peer, "script", { steps }, { lease_request, max_runtime_sec: 10 })
      yield* peer.next("job.event", (f) => f.job_id === timed.job_id)
      yield* TestClock.adjust("6 seconds")
      yield* Deferred.succeed(gate("half"), undefined)
      yield* peer.next("job.event", (f) => f.payload.body.message === "second")
      yield* TestClock.adjust("4 seconds")
      expect((yield* peer.terminal(timed.job_id!)).payload.code).toBe("TIMEOUT")
      expect(terminals(peer, timed.job_id!).length).toBe(1)
    }).pipe(Effect.provide(main))
  )
})
