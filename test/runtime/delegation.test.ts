/** Delegation on the wire (ARCP 1.1 §9.4, §10, §11; 1.0 §10, §13.2): what is announced, refused, inherited and handed back. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Option, Schema, TestClock } from "effect"
import type { DelegateOptions } from "../../src/agent/Job.js"
import { Event } from "../../src/protocol/index.js"
import { Store } from "../../src/store/Store.js"
import { allFeatures, barrier, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { backends } from "./backends.js"
import { listed, scripted, type Step, word, words } from "./script.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const isDelegate = Schema.is(Event.bodies.delegate)

const features = allFeatures.filter((f) => f !== "heartbeat")

/** Runs steps as a job that may delegate to the agents of the scripts. */
const perform = (peer: Peer, steps: ReadonlyArray<Step>, lease: object = {}, rest: object = {}) =>
  Effect.map(
    run(peer, "script", { steps }, { lease_request: { "agent.delegate": ["**"], ...lease }, ...rest }),
    (end) => ({ jobId: end.job_id!, end, did: end.payload.result as ReadonlyArray<any> })
  )

/** Every frame that is about a job, with `P` for the given parent and `C` for any other, in the order of the wire. */
const wire = (peer: Peer, parent: string): ReadonlyArray<string> =>
  peer.seen
    .filter((f) => f.job_id !== undefined)
    .map((f) => `${f.job_id === parent ? "P" : "C"} ${f.type === "job.accepted" ? "accepted" : word(f)}`)

const childOf = (peer: Peer, parent: string): Frame =>
  peer.seen.find((f) => f.type === "job.accepted" && f.payload.parent_job_id === parent)!

describe.each(backends)("delegation over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}) => world({ ...backend(), agents: scripted, ...options })
  const main = over()

  describe("the wire", () => {
    it.scoped("1.0 §13.2 the figure: delegate, accepted, the child's events, one sequence for both", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const lease_request = {
          "fs.read": ["/workspace/myapp/**"],
          "fs.write": ["/workspace/myapp/**"],
          "tool.call": ["fs.*"],
          "agent.delegate": ["script"]
        }
        const childLease = { "fs.read": ["/workspace/myapp/**"], "fs.write": ["/workspace/myapp/test-output/**"] }
        const input = { steps: [{ do: "log", message: "127/127 passed" }] }
        const end = yield* run(
          peer,
          "script",
          {
            steps: [
              { do: "status", phase: "analyzing" },
              { do: "tool", name: "fs.read" },
              { do: "tool", name: "fs.write" },
              { do: "delegate", input, options: { lease: childLease } },
              { do: "status", phase: "completing" }
            ]
          },
          { lease_request }
        )
        const parent = end.job_id!
        expect(wire(peer, parent)).toEqual([
          "P accepted",
          "P status running",
          "P status analyzing",
          "P call fs.read",
          "P result ok",
          "P call fs.write",
          "P result ok",
          "P delegate undefined",
          "C accepted",
          "C status running",
          "C log 127/127 passed",
          "C job.result",
          "P status completing",
          "P job.result"
        ])
        const events = peer.events()
        expect(events.map((f) => f.event_seq)).toEqual(events.map((_, i) => i + 1))
        const { body } = eventsOf(peer, parent).find((f) => f.payload.kind === "delegate")!.payload
        const child = childOf(peer, parent)
        expect(body).toEqual({
          delegate_id: expect.stringMatching(/^del_/),
          child_job_id: child.job_id,
          agent: "script",
          input,
          lease_request: childLease
        })
        expect(child.event_seq).toBeUndefined()
        expect(child.payload).toMatchObject({
          job_id: child.job_id,
          parent_job_id: parent,
          delegate_id: body.delegate_id,
          agent: "script@1.0.0",
          lease: childLease,
          trace_id: peer.seen.find((f) => f.job_id === parent)!.payload.trace_id
        })
        expect(child.payload).not.toHaveProperty("budget")
        yield* barrier(peer)
        expect((yield* listed(peer, child.job_id!)).parent_job_id).toBe(parent)
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§9.4, §9.6 a share of the budget leaves the parent with the child's start and comes back with its end",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello({ features })
          const share = (amount: string, steps: ReadonlyArray<Step>): Step => ({
            do: "delegate",
            input: { steps },
            options: { lease: { "cost.budget": [amount] } }
          })
          const { did, jobId } = yield* perform(
            peer,
            [
              { do: "spend", amount: "3 USD" },
              share("USD:2.00", [{ do: "spend", amount: "0.5 USD" }, { do: "remaining" }]),
              { do: "remaining" },
              // More than it was given: what it owes comes out of its parent.
              share("USD:0.25", [
                { do: "spend", amount: "1 USD" },
                { do: "fail", code: "BROKE" }
              ]),
              { do: "remaining" },
              share("USD:0", [{ do: "tool", name: "a" }])
            ],
            { "cost.budget": ["USD:5"] }
          )
          expect(did[1]).toEqual(["ok", { USD: "1.5" }])
          expect(did[2]).toEqual({ USD: "1.5" })
          expect(did[3]).toMatchObject({ code: "BROKE" })
          expect(did[4]).toEqual({ USD: "0.5" })
          expect(did[5]).toEqual([expect.objectContaining({ code: "BUDGET_EXHAUSTED" })])
          expect(wire(peer, jobId).slice(2, 14)).toEqual([
            "P cost.x 3 USD",
            "P cost.budget.remaining 2 USD",
            "P delegate undefined",
            "C accepted",
            "C status running",
            "P cost.budget.remaining 0 USD",
            "C cost.x 0.5 USD",
            "C cost.budget.remaining 1.5 USD",
            "C job.result",
            "P cost.budget.remaining 1.5 USD",
            "P delegate undefined",
            "C accepted"
          ])
          expect(childOf(peer, jobId).payload.budget).toEqual({ USD: 2 })
          yield* barrier(peer)
          expect((yield* listed(peer, jobId)).budget).toEqual({ USD: 0.5 })
        }).pipe(Effect.provide(main))
    )

    it.scoped("§9.6 side by side delegations and reservations cannot give the same money away twice", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const child: Step = {
          do: "delegate",
          input: {
            steps: [
              { do: "spend", amount: "0.4 USD" },
              { do: "wait", gate: "all" }
            ]
          },
          options: { lease: { "cost.budget": ["USD:0.4"] } }
        }
        const { did } = yield* perform(
          peer,
          [
            {
              do: "reserve",
              amount: "0.1 USD",
              steps: [{ do: "all", steps: [child, child, child, { do: "remaining" }, { do: "open", gate: "all" }] }]
            },
            { do: "remaining" }
          ],
          { "cost.budget": ["USD:1"] }
        )
        expect(did).toEqual(["ok", { USD: "0.1" }])
        expect(peer.seen.filter((f) => f.type === "job.accepted").length).toBe(3)
        const refused = peer.events().find((f) => f.payload.body?.error !== undefined)!
        expect(refused.payload.body.error).toMatchObject({ code: "LEASE_SUBSET_VIOLATION" })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.6 observers of the parent see that it delegates; the child is another job, to be subscribed to", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const watcher = yield* hello({ features })
        const parent = yield* submit(
          peer,
          "script",
          {
            steps: [
              { do: "wait", gate: "go" },
              { do: "delegate", input: { steps: [{ do: "wait", gate: "child" }] } }
            ]
          },
          { lease_request: { "agent.delegate": ["script"] } }
        )
        yield* Effect.flatMap(watcher.send("job.subscribe", { job_id: parent.job_id }), watcher.reply)
        yield* Deferred.succeed(gate("go"), undefined)
        const { child_job_id } = (yield* watcher.next("job.event", (f) => f.payload.kind === "delegate")).payload.body
        yield* Effect.flatMap(watcher.send("job.subscribe", { job_id: child_job_id, history: true }), watcher.reply)
        yield* Deferred.succeed(gate("child"), undefined)
        yield* watcher.terminal(parent.job_id!)
        expect(watcher.seen.some((f) => f.type === "job.accepted")).toBe(false)
        expect(words(watcher, child_job_id)).toEqual(["status running", "job.result"])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 while the owner is away jobs delegate on; its resume replays all in one sequence", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(
          peer,
          "script",
          {
            steps: [
              { do: "wait", gate: "away" },
              { do: "delegate", agent: "echo", input: 7 }
            ]
          },
          { lease_request: { "agent.delegate": ["echo"] }, idempotency_key: "away" }
        )
        yield* peer.next("job.event")
        yield* peer.drop
        const watcher = yield* hello({ features })
        yield* Effect.flatMap(watcher.send("job.subscribe", { job_id: accepted.job_id }), watcher.reply)
        yield* Deferred.succeed(gate("away"), undefined)
        yield* watcher.terminal(accepted.job_id!)
        const again = yield* hello({
          features,
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 1 }
        })
        yield* again.terminal(accepted.job_id!)
        const child = again.events()[0]!.payload.body.child_job_id
        expect(again.events().map((f) => [f.event_seq, f.job_id === child ? "C" : "P", word(f)])).toEqual([
          [2, "P", "delegate undefined"],
          [3, "C", "status running"],
          [4, "C", "job.result"],
          [5, "P", "job.result"]
        ])
      }).pipe(Effect.provide(main))
    )
  })

  describe("refusals", () => {
    const lease = {
      "fs.read": ["/data/*"],
      "net.fetch": ["https://example.org/a/**"],
      "tool.call": ["search.*"],
      "model.use": ["small/*"],
      "agent.delegate": ["script", "typed", "ghost"],
      "cost.budget": ["USD:1"]
    }
    const own = { "cost.budget": ["USD:0.5"] }
    const asking = (lease: Record<string, ReadonlyArray<string>>, more: DelegateOptions = {}): Step => ({
      do: "delegate",
      input: { steps: [] },
      options: { lease: { ...own, ...lease }, ...more }
    })
    const table: ReadonlyArray<readonly [what: string, step: Step, code: string, reason?: string]> = [
      ["an agent that the lease does not name", { do: "delegate", agent: "echo" }, "PERMISSION_DENIED", "pattern"],
      ["an agent that nobody may know of", { do: "delegate", agent: "nobody" }, "PERMISSION_DENIED", "pattern"],
      ["an agent that nobody hosts", { do: "delegate", agent: "ghost" }, "AGENT_NOT_AVAILABLE"],
      ["an unknown version", { do: "delegate", agent: "typed@9" }, "AGENT_VERSION_NOT_AVAILABLE"],
      ["a name that is none", { do: "delegate", agent: "Bad Name" }, "INVALID_REQUEST"],
      ["input that does not fit", { do: "delegate", agent: "typed", input: { n: 1 } }, "INVALID_REQUEST"],
      ["a wider path", asking({ "fs.read": ["/data/**"] }), "LEASE_SUBSET_VIOLATION", "pattern"],
      ["a wider URL", asking({ "net.fetch": ["https://example.org/**"] }), "LEASE_SUBSET_VIOLATION", "pattern"],
      ["a wider tool", asking({ "tool.call": ["search.*", "s*"] }), "LEASE_SUBSET_VIOLATION", "pattern"],
      ["a wider model", asking({ "model.use": ["**"] }), "LEASE_SUBSET_VIOLATION", "pattern"],
      ["a wider delegation", asking({ "agent.delegate": ["script", "echo"] }), "LEASE_SUBSET_VIOLATION", "pattern"],
      ["another capability", asking({ "fs.write": ["/data/x"] }), "LEASE_SUBSET_VIOLATION", "capability"],
      ["another spelling", asking({ "FS.read": ["/data/x"] }), "INVALID_REQUEST", "unknown_capability"],
      ["more than is left", asking({ "cost.budget": ["USD:0.7500001"] }), "LEASE_SUBSET_VIOLATION", "budget"],
      ["another currency", asking({ "cost.budget": ["USD:0.1", "EUR:1"] }), "LEASE_SUBSET_VIOLATION", "capability"],
      ["no budget", { do: "delegate", options: { lease: {} } }, "LEASE_SUBSET_VIOLATION", "budget_missing"],
      ["a later expiry", asking({}, { expiresAt: "1970-01-01T01:00:00.001Z" }), "LEASE_SUBSET_VIOLATION", "expiry"],
      ["a past expiry", asking({}, { expiresAt: "1969-12-31T23:59:59Z" }), "INVALID_REQUEST", "expiry_past"],
      ["an expiry that is no time", asking({}, { expiresAt: 1e300 }), "INVALID_REQUEST", "expiry_malformed"],
      ["no time to run", asking({}, { maxRuntimeSec: 0 }), "INVALID_REQUEST"],
      ["patterns that are no list", asking({ "fs.read": "/data/x" as never }), "INVALID_REQUEST", "malformed"],
      ["a pattern that is no text", asking({ "tool.call": [["search.a"] as never] }), "INVALID_REQUEST", "malformed"],
      [
        "a lease that is a list",
        { do: "delegate", options: { lease: ["fs.read"] as never } },
        "INVALID_REQUEST",
        "malformed"
      ],
      [
        "a lease that is a text",
        { do: "delegate", options: { lease: "fs.read" as never } },
        "INVALID_REQUEST",
        "malformed"
      ],
      ["a lease that is a number", { do: "delegate", options: { lease: 5 as never } }, "INVALID_REQUEST", "malformed"]
    ]

    it.scoped("§9.4, 1.0 §10.2 each is a tool_result of the delegation and a typed failure; the parent goes on", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { did, end, jobId } = yield* perform(
          peer,
          [{ do: "spend", amount: "0.25 USD" }, ...table.map(([, step]) => step), { do: "remaining" }],
          lease,
          { lease_constraints: { expires_at: "1970-01-01T01:00:00Z" } }
        )
        expect(did.slice(1, -1).map((d, i) => [table[i]![0], d.code, d.details?.reason])).toEqual(
          table.map(([what, , code, reason]) => [what, code, reason])
        )
        expect(did.at(-1)).toEqual({ USD: "0.75" })
        expect(end.payload.final_status).toBe("success")
        const told = eventsOf(peer, jobId).slice(3, -1)
        expect(told.length).toBe(table.length * 2)
        for (const [i, [what, , code]] of table.entries()) {
          const [delegate, result] = told.slice(i * 2, i * 2 + 2).map((f) => f.payload)
          expect([what, delegate!.kind, result!.kind]).toEqual([what, "delegate", "tool_result"])
          expect([what, isDelegate(delegate!.body)]).toEqual([what, true])
          expect(delegate!.body).not.toHaveProperty("child_job_id")
          expect(result!.body).toMatchObject({ call_id: delegate!.body.delegate_id, error: { code, retryable: false } })
        }
        yield* barrier(peer)
        const list = yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
        expect(list.payload.jobs.length).toBe(1)
        expect(peer.seen.filter((f) => f.type === "session.error")).toEqual([])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§10 without agent.delegate nothing is delegated", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const end = yield* run(peer, "script", { steps: [{ do: "delegate", agent: "echo" }] })
        expect(end.payload.result[0]).toMatchObject({ code: "PERMISSION_DENIED", details: { reason: "capability" } })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.5 an expired lease delegates nothing, and the job ends for it", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const accepted = yield* submit(
          peer,
          "script",
          { steps: [{ do: "wait", gate: "expiry" }, { do: "delegate", agent: "echo" }, { do: "never" }] },
          {
            lease_request: { "agent.delegate": ["echo"] },
            lease_constraints: { expires_at: "1970-01-01T00:01:00Z" }
          }
        )
        yield* peer.next("job.event")
        yield* TestClock.adjust("1 minute")
        yield* Deferred.succeed(gate("expiry"), undefined)
        const end = yield* peer.terminal(accepted.job_id!)
        expect(end.payload).toMatchObject({ code: "LEASE_EXPIRED", final_status: "error", retryable: false })
        expect(words(peer, accepted.job_id!)).toEqual([
          "status running",
          "delegate undefined",
          "result LEASE_EXPIRED",
          "job.error"
        ])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§10 depth, children at a time and delegations in all are bounded", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const all = { "agent.delegate": ["**"] }
        const nested = (levels: number): Step =>
          levels === 0
            ? { do: "log", message: "deep" }
            : { do: "delegate", input: { steps: [nested(levels - 1)] }, options: { lease: all } }
        const deep = yield* perform(peer, [nested(3)])
        expect(deep.did).toEqual([[[expect.objectContaining({ code: "PERMISSION_DENIED" })]]])
        const started = (name: string): Step => ({ do: "start", input: { steps: [{ do: "wait", gate: name }] } })
        const wide = yield* perform(peer, [
          started("a"),
          started("b"),
          started("c"),
          { do: "open", gate: "a" },
          { do: "open", gate: "b" },
          { do: "delegate", agent: "echo" }
        ])
        expect(wide.did[2]).toMatchObject({ code: "PERMISSION_DENIED", details: { reason: "fan_out" } })
        const many = yield* perform(
          peer,
          Array.from({ length: 5 }, (_, input) => ({ do: "delegate", agent: "echo", input }) as const)
        )
        expect(many.did.map((d) => d.code ?? d)).toEqual([0, 1, 2, 3, "PERMISSION_DENIED"])
      }).pipe(Effect.provide(over({ limits: { delegationDepth: 2, childrenPerJob: 2, delegationsPerJob: 4 } })))
    )
  })

  describe("what a child has from its parent, and the parent from its child", () => {
    it.scoped("§9.5 the expiry, unless it has an earlier one", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const facts = (options?: DelegateOptions): Step => ({
          do: "delegate",
          input: { steps: [{ do: "facts" }] },
          ...(options === undefined ? {} : { options })
        })
        const { did, jobId } = yield* perform(
          peer,
          [facts(), facts({ expiresAt: "1970-01-01T00:30:00Z" }), facts({ expiresAt: 3_600_000 })],
          {},
          { lease_constraints: { expires_at: "1970-01-01T01:00:00Z" } }
        )
        expect(did.map(([{ constraints }]) => constraints.expires_at)).toEqual([
          "1970-01-01T01:00:00Z",
          "1970-01-01T00:30:00Z",
          "1970-01-01T01:00:00.000Z"
        ])
        expect(childOf(peer, jobId).payload.lease_constraints).toEqual({ expires_at: "1970-01-01T01:00:00Z" })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§11, 1.0 §10.3 the trace, with its tracestate, under a span of its own", () =>
      Effect.gen(function* () {
        const options = backend()
        const built = yield* Layer.build(options.store!)
        const store = Context.get(built, Store)
        yield* Effect.gen(function* () {
          const peer = yield* hello({ features })
          const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
          const id = yield* peer.send(
            "job.submit",
            {
              agent: "script",
              input: { steps: [{ do: "facts" }, { do: "delegate", input: { steps: [{ do: "facts" }] } }] },
              lease_request: { "agent.delegate": ["script"] }
            },
            {
              trace_id: `00-${traceId}-00f067aa0ba902b7-01`,
              extensions: { "x-vendor.opentelemetry.tracecontext": { tracestate: "congo=t61rcWkgMzE" } }
            }
          )
          const accepted = yield* peer.reply(id)
          const [mine, [child]] = (yield* peer.terminal(accepted.job_id!)).payload.result
          expect([mine.span.traceId, child.span.traceId, child.traceId]).toEqual([traceId, traceId, traceId])
          expect(child.span.spanId).not.toBe(mine.span.spanId)
          for (const frame of eventsOf(peer, child.jobId)) expect(frame.trace_id).toBe(traceId)
          const { record } = Option.getOrThrow(yield* store.job(child.jobId))
          expect(JSON.parse(record.traceContext!)).toEqual({
            traceId,
            parentSpanId: mine.span.spanId,
            sampled: true,
            traceState: "congo=t61rcWkgMzE"
          })
        }).pipe(Effect.provide(world({ ...options, agents: scripted, store: Layer.succeed(Store, store) })))
      })
    )

    it.scoped("§10 the result: inline, streamed where it is small enough, decoded for typed agents; or the error", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features })
        const { did } = yield* perform(peer, [
          { do: "delegate", agent: "echo", input: { any: ["json"] } },
          { do: "delegate", agent: "echo" },
          { do: "delegate", agent: "stream", input: 500 },
          { do: "delegate", agent: "stream", input: 2_501 },
          { do: "delegate", agent: "bytes", input: 3 },
          { do: "delegate", agent: "by-definition" },
          { do: "delegate", agent: "by-definition", options: { lease: { "agent.delegate": ["typed"] } } },
          { do: "delegate", input: { steps: [{ do: "fail", code: "NO_LUCK" }] } },
          { do: "delegate", input: { steps: [{ do: "die" }] } }
        ])
        expect(did.slice(0, 3)).toEqual([{ any: ["json"] }, null, "x".repeat(500)])
        expect(did[3]).toMatchObject({ code: "INTERNAL_ERROR", message: expect.stringContaining("2501 bytes") })
        expect(did[4]).toBe("BwcH")
        expect(did[5]).toMatchObject({ code: "PERMISSION_DENIED" })
        expect(did[6]).toBe("1970-01-02T00:00:00.000Z")
        expect(did[7]).toMatchObject({ code: "NO_LUCK", message: "failed with NO_LUCK" })
        expect(did[8]).toMatchObject({ code: "INTERNAL_ERROR", message: "the agent failed unexpectedly" })
        const streamed = peer.events().find((f) => f.type === "job.result" && f.payload.result_size === 2_501)!
        expect(streamed.payload).not.toHaveProperty("result")
      }).pipe(Effect.provide(over({ limits: { inlineResult: 2_500 } })))
    )

    it.scoped("§6.2 a child's streamed result goes inline where its owner knows no chunks", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: features.filter((f) => f !== "result_chunk") })
        const { did, jobId } = yield* perform(peer, [{ do: "delegate", agent: "stream", input: 5 }])
        expect(did).toEqual(["xxxxx"])
        const child = childOf(peer, jobId).job_id!
        expect(eventsOf(peer, child).at(-1)!.payload).toMatchObject({ final_status: "success", result: "xxxxx" })
      }).pipe(Effect.provide(main))
    )
  })
})
