import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Layer, Logger } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { Lease } from "../../src/authority/index.js"
import { LeasePolicy } from "../../src/runtime/index.js"
import { backends } from "./backends.js"
import { bodies, calls, leaseAgents, ran, type Seen, seen, type Step } from "./leaseWorld.js"
import { allFeatures, hello, type Peer, run, submit } from "./peer.js"
import { resetGates, world } from "./world.js"

beforeEach(() => {
  resetGates()
  ran.length = 0
})

const every: Record<string, ReadonlyArray<string>> = {
  "fs.read": ["/data/**"],
  "fs.write": ["/out/*"],
  "net.fetch": ["https://api.example.com/**"],
  "tool.call": ["mcp:github/*", "humanq.*", "broken", "liar"],
  "agent.delegate": ["script"],
  "model.use": ["tier-fast/*", "anthropic/claude-3-haiku-*"],
  "x-vendor.acme.deploy": ["eu.*"]
}

const does = (peer: Peer, lease_request: object, steps: ReadonlyArray<Step>, rest: object = {}) =>
  Effect.map(
    run(peer, "script", { steps }, { lease_request, ...rest }),
    (end): { readonly jobId: string; readonly saw: ReadonlyArray<any> } => ({ jobId: end.job_id!, saw: seen(end) })
  )

const codes = (saw: ReadonlyArray<Seen>) => saw.map((one) => ("error" in one ? one.error : "ok"))

describe.each(backends)("leases over %s", (_name, backend) => {
  const main = world({ ...backend(), agents: leaseAgents })
  const under = (policy: Layer.Layer<never>) => Layer.provide(world({ ...backend(), agents: leaseAgents }), policy)

  describe("admission", () => {
    it.scoped(
      "§9.2 an unknown capability, or a reserved one in other spelling, is refused by name and with a hint",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          for (const [name, hint] of [
            ["fs.raed", "fs.read"],
            ["FS.READ", "fs.read"],
            ["fs_write", "fs.write"],
            ["net.fetch ", "net.fetch"],
            ["cost-budget", "cost.budget"],
            ["x-vendor.acme", "x-vendor.<vendor>.<name>"],
            ["process.spawn", undefined]
          ] as const) {
            const lease_request = JSON.parse(`{"fs.read": ["/data/**"], ${JSON.stringify(name)}: ["**"]}`) as object
            const refused = yield* submit(peer, "script", { steps: [] }, { lease_request, idempotency_key: "k" })
            expect(refused.type).toBe("session.error")
            expect(refused.payload).toMatchObject({ code: "INVALID_REQUEST", retryable: false })
            expect(refused.payload.message).toContain(JSON.stringify(name))
            if (hint !== undefined) expect(refused.payload.message).toContain(`did you mean ${hint}?`)
          }
          // Nothing came of them, and the key is free.
          const list = yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
          expect(list.payload.jobs).toEqual([])
          const good = yield* submit(peer, "script", { steps: [] }, { lease_request: every, idempotency_key: "k" })
          expect(good.payload.lease).toEqual(every)
        }).pipe(Effect.provide(main))
    )

    it.scoped("§9.2 a pattern or amount that breaks the grammar, and too much of everything, is refused", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const [lease_request, told] of [
          [{ "fs.read": ["data/**"] }, "fs.read"],
          [{ "fs.read": ["/data/../etc"] }, "fs.read"],
          [{ "net.fetch": ["api.example.com/**"] }, "net.fetch"],
          [{ "net.fetch": ["https://user:hunter2@example.com/**"] }, "net.fetch"],
          [{ "cost.budget": ["1 dollar"] }, "cost.budget"],
          [{ "cost.budget": ["USD:-1"] }, "cost.budget"],
          [{ "tool.call": ["a".repeat(2000)] }, "tool.call"],
          [{ "tool.call": Array.from({ length: 300 }, (_, i) => `t${i}`) }, "tool.call"],
          [JSON.parse('{ "__proto__": { "fs.read": ["/**"] } }'), "lease_request"],
          [{ "fs.read": "/data/**" }, "lease_request"],
          [{ "fs.read": [7] }, "lease_request"],
          [["fs.read"], "lease_request"]
        ] as const) {
          const refused = yield* submit(peer, "script", { steps: [] }, { lease_request })
          expect(refused.payload).toMatchObject({ code: "INVALID_REQUEST" })
          expect(refused.payload.message).toContain(told)
          expect(JSON.stringify(refused)).not.toContain("hunter2")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.5 an expiry that is no time, does not exist, is not UTC or is not in the future is refused", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const lease_constraints of [
          { expires_at: "tomorrow" },
          { expires_at: "" },
          { expires_at: 4_000_000_000 },
          { expiresAt: "tomorrow" },
          { expiresAt: 4_000_000_000 },
          { expires_at: "2099-01-01T00:00:00Z", expiresAt: "1969-12-31T23:59:59Z" },
          { expires_at: "tomorrow", expiresAt: "2099-01-01T00:00:00Z" },
          { expires_at: "2099-01-01T00:00:00Z", max_operations: 3 },
          { expires_at: "2099-02-30T00:00:00Z" },
          { expires_at: "2099-01-01T25:00:00Z" },
          { expires_at: "2099-01-01T00:00:00" },
          { expires_at: "2099-01-01T00:00:00+00:00" },
          { expires_at: "2099-01-01T02:00:00+02:00" },
          { expires_at: "2099-01-01T00:00:00z" },
          { expires_at: "1969-12-31T23:59:59Z" },
          // this very moment
          { expires_at: "1970-01-01T00:00:00.000Z" }
        ]) {
          const refused = yield* submit(peer, "script", { steps: [] }, { lease_constraints })
          expect(refused.payload, JSON.stringify(lease_constraints)).toMatchObject({ code: "INVALID_REQUEST" })
          expect(refused.payload.message).toContain("lease_constraints")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.2 what was not negotiated is refused and not dropped", () =>
      Effect.gen(function* () {
        const far = { expires_at: "2099-01-01T00:00:00Z" }
        for (const [feature, rest] of [
          ["lease_expires_at", { lease_constraints: far }],
          ["cost.budget", { lease_request: { "cost.budget": ["USD:1"] } }],
          ["model.use", { lease_request: { "model.use": ["*"] } }]
        ] as const) {
          const without = yield* hello({ features: allFeatures.filter((one) => one !== feature) })
          const refused = yield* submit(without, "script", { steps: [] }, rest)
          expect(refused.payload.code).toBe("INVALID_REQUEST")
          expect(refused.payload.message).toContain(`${feature} was not negotiated`)
          expect((yield* submit(without, "script", { steps: [] }, {})).type).toBe("job.accepted")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§7.1 lease and constraints are echoed on acceptance, in listings and to observers", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const observer = yield* hello()
        const lease_constraints = { expires_at: "2099-01-01T00:00:00.5Z" }
        const accepted = yield* submit(peer, "idle", null, { lease_request: every, lease_constraints })
        const told = { lease: every, lease_constraints }
        expect(accepted.payload).toMatchObject(told)
        const list = yield* Effect.flatMap(observer.send("session.list_jobs"), observer.reply)
        expect(list.payload.jobs).toMatchObject([told])
        const id = yield* observer.send("job.subscribe", { job_id: accepted.job_id })
        expect((yield* observer.reply(id)).payload).toMatchObject(told)
        // Without any, it is {} and no constraints at all.
        const bare = yield* submit(peer, "idle")
        expect(bare.payload.lease).toEqual({})
        expect(bare.payload).not.toHaveProperty("lease_constraints")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.1 policy narrows a lease and never widens it; job.accepted tells what came of it", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const asked = {
          lease_request: {
            "fs.read": ["/data/a/**", "/home/**"],
            "fs.write": ["/**"],
            "model.use": ["tier-*/**"],
            "cost.budget": ["USD:5", "EUR:1"]
          },
          lease_constraints: { expires_at: "2099-01-01T00:00:00Z" }
        }
        const accepted = yield* submit(peer, "idle", null, asked)
        expect(accepted.payload).toMatchObject({
          lease: { "fs.read": ["/data/a/**"], "model.use": ["tier-fast/*"] },
          lease_constraints: { expires_at: "1970-01-02T00:00:00Z" },
          budget: { USD: 2, EUR: 1 }
        })
        expect(accepted.payload.lease).not.toHaveProperty("net.fetch")
        expect(accepted.payload.lease["fs.write"] ?? []).toEqual([])
        // It holds, whatever was asked for.
        const { saw } = yield* does(peer, asked.lease_request, [
          { authorize: ["fs.read", "/data/a/x"] },
          { authorize: ["fs.read", "/data/b"] },
          { authorize: ["fs.read", "/home/x"] },
          { authorize: ["fs.write", "/data/a/x"] },
          { authorize: ["net.fetch", "https://example.com/"] },
          { model: "tier-fast/one" },
          { model: "tier-slow/one" }
        ])
        expect(codes(saw)).toEqual([
          "ok",
          ...Array.from({ length: 4 }, () => "PERMISSION_DENIED"),
          "ok",
          "PERMISSION_DENIED"
        ])
        // Nobody gets what they did not ask for.
        const bare = yield* submit(peer, "idle", null, { lease_request: {} })
        expect(
          Object.keys(bare.payload.lease).filter(
            (name) => name !== "cost.budget" && bare.payload.lease[name].length > 0
          )
        ).toEqual([])
        // Others are not limited.
        const bob = yield* hello({ token: "bob-token" })
        expect((yield* submit(bob, "idle", null, asked)).payload.lease).toEqual(asked.lease_request)
      }).pipe(
        Effect.provide(
          under(
            LeasePolicy.layer({
              allowed: ({ id }) =>
                id !== "alice"
                  ? undefined
                  : Either.getOrThrow(
                      Lease.compile(
                        {
                          "fs.read": ["/data/**"],
                          "net.fetch": ["https://**"],
                          "model.use": ["tier-fast/*"],
                          "cost.budget": ["USD:2"]
                        },
                        { expires_at: "1970-01-02T00:00:00Z" }
                      )
                    )
            })
          )
        )
      )
    )

    it.scoped(
      "§9 a narrowed lease is one warning in the runtime's log: whose, for which agent, and what is missing",
      () => {
        const lines: Array<unknown> = []
        const logger = Logger.map(Logger.structuredLogger, ({ annotations, logLevel, message }) => {
          if (logLevel === "WARN") lines.push({ message, ...annotations })
        })
        return Effect.gen(function* () {
          const peer = yield* hello()
          yield* does(peer, { "fs.read": ["/data/x"] }, [])
          expect(lines).toEqual([])
          yield* does(peer, { "fs.read": ["/**"], "tool.call": ["deploy"] }, [], { idempotency_key: "once" })
          // The same job: nothing was decided again.
          yield* does(peer, { "fs.read": ["/**"], "tool.call": ["deploy"] }, [], { idempotency_key: "once" })
          expect(lines).toEqual([
            {
              message:
                'a lease was narrowed: fs.read: "/**" was not granted, only "/data/**"; tool.call: "deploy" was not granted',
              principal: "alice",
              agent: "script@1.0.0"
            }
          ])
        }).pipe(
          Effect.provide(
            under(
              Layer.merge(
                LeasePolicy.layer({ allowed: () => Either.getOrThrow(Lease.compile({ "fs.read": ["/data/**"] })) }),
                Logger.add(logger)
              )
            )
          )
        )
      }
    )

    it.scoped("§9 a policy that breaks refuses the submit, and the session lives on", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const refused = yield* submit(peer, "script", { steps: [] }, { lease_request: { "fs.read": ["/data/**"] } })
        expect(refused.payload).toMatchObject({ code: "INTERNAL_ERROR" })
        expect(JSON.stringify(refused.payload)).not.toContain("secret of the policy")
        expect((yield* submit(peer, "script", { steps: [] })).payload).toMatchObject({ code: "INTERNAL_ERROR" })
      }).pipe(
        Effect.provide(
          under(
            LeasePolicy.layer({
              allowed: () => {
                throw new Error("secret of the policy")
              }
            })
          )
        )
      )
    )
  })

  describe("checks", () => {
    const oneEach: ReadonlyArray<Step> = [
      { authorize: ["fs.read", "/data/x"] },
      { authorize: ["fs.write", "/out/x"] },
      { authorize: ["net.fetch", "https://api.example.com/v1"] },
      { tool: ["humanq.ask"] },
      { call: ["mcp:github/search", { query: "q" }] },
      { authorize: ["agent.delegate", "script"] },
      { model: "tier-fast/a" },
      { authorize: ["x-vendor.acme.deploy", "eu.west"] }
    ]

    it.scoped(
      "§9.3 an empty lease, and one with constraints alone, grants nothing; a full one grants what it names",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          const denied = oneEach.map(() => "PERMISSION_DENIED")
          expect(codes((yield* does(peer, {}, oneEach)).saw)).toEqual(denied)
          const far = { lease_constraints: { expires_at: "2099-01-01T00:00:00Z" } }
          expect(codes((yield* does(peer, {}, oneEach, far)).saw)).toEqual(denied)
          const none = Object.fromEntries(Object.keys(every).map((name) => [name, []]))
          expect(codes((yield* does(peer, none, oneEach)).saw)).toEqual(denied)
          expect(ran).toEqual([])
          expect(codes((yield* does(peer, every, oneEach)).saw)).toEqual(oneEach.map(() => "ok"))
          expect(ran).toEqual(["humanq.ask", "search q", "tier-fast/a"])
        }).pipe(Effect.provide(main))
    )

    it.scoped("1.0 §13.4 a violation: tool_call, tool_result with the error, and the agent goes on", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const src = ["/workspace/myapp/src/**"]
        const end = yield* run(
          peer,
          "script",
          { steps: [{ authorize: ["fs.read", "/etc/passwd"] }, { log: "Skipping unauthorized read" }] },
          { lease_request: { "fs.read": src, "fs.write": src } }
        )
        expect(seen(end)).toMatchObject([{ error: "PERMISSION_DENIED", reason: "pattern" }, { ok: null }])
        const [call, result, log, ...rest] = bodies(peer, end.job_id!)
        expect(call).toMatchObject({ kind: "tool_call", body: { tool: "fs.read", args: { path: "/etc/passwd" } } })
        expect(result).toMatchObject({
          kind: "tool_result",
          body: { call_id: call!.body.call_id, error: { code: "PERMISSION_DENIED", retryable: false } }
        })
        expect(log).toMatchObject({ kind: "log", body: { message: "Skipping unauthorized read" } })
        expect(rest).toEqual([])
        const seqs = peer.events().map((frame) => frame.event_seq)
        expect(seqs).toEqual(seqs.map((_, i) => i + 1))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.3 what is allowed is answered in its canonical form and tells observers nothing", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(peer, every, [
          { authorize: ["fs.read", "/data/./a//b/../c/"] },
          { authorize: ["net.fetch", "HTTPS://API.Example.com:443/a/../b?x=%7e#top"] },
          { authorize: ["fs.read", "/data/../etc/passwd"] },
          { authorize: ["fs.read", "/data/%2e%2e/etc"] },
          { authorize: ["fs.read", "/data\u0000/x"] },
          { authorize: ["net.fetch", "https://api.example.com@evil.example/"] },
          { authorize: ["net.fetch", "https://api.example.com.evil.example/"] },
          { authorize: ["cost.budget", "USD"] },
          { authorize: ["toString", "x"] }
        ])
        expect(saw.slice(0, 2)).toEqual([{ ok: "/data/a/c" }, { ok: "https://api.example.com/b?x=~" }])
        expect(codes(saw.slice(2))).toEqual(saw.slice(2).map(() => "PERMISSION_DENIED"))
        expect(saw.slice(2).map(({ reason }) => reason)).toEqual([
          "pattern",
          "canonical",
          "canonical",
          "canonical",
          "pattern",
          "canonical",
          "capability"
        ])
        expect(calls(peer, jobId).length).toBe(7)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.3 expiry and budget come before the target, the canonical form before the pattern", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const spent = Agent.untyped("spent", (input) =>
          Effect.zipRight(
            Job.spend("cost.x", "1 USD"),
            Effect.forEach(input as ReadonlyArray<string>, (path) =>
              Effect.merge(Effect.map(Effect.flip(Job.authorize("fs.read", path)), (error) => error.code))
            )
          )
        )
        yield* Effect.gen(function* () {
          const peer = yield* hello()
          const end = yield* run(peer, "spent", ["/data/x", "/etc", "relative"], {
            lease_request: { ...every, "cost.budget": ["USD:1"] }
          })
          expect(end.payload.result).toEqual(["BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED", "BUDGET_EXHAUSTED"])
        }).pipe(Effect.provide(world({ ...backend(), agents: spent })))
        const { saw } = yield* does(peer, every, [{ authorize: ["fs.read", "relative"] }])
        expect(saw).toMatchObject([{ error: "PERMISSION_DENIED", reason: "canonical" }])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§12 a denial that nobody handled ends the job with its code, also one that the agent died of", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const input of [
          { steps: [{ authorize: ["fs.read", "/etc"] }] },
          { steps: [{ tool: ["forbidden"] }] },
          { steps: [{ tool: ["humanq.x", "denied"] }] },
          { steps: [{ model: "other" }] },
          { steps: [{ call: ["forbidden", 1] }] },
          { steps: [{ authorize: ["fs.read", "/etc"] }], die: true }
        ]) {
          const end = yield* run(peer, "careless", input, { lease_request: every })
          expect(end.type).toBe("job.error")
          expect(end.payload).toMatchObject({ final_status: "error", code: "PERMISSION_DENIED", retryable: false })
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§12 an error that cannot be told whole is told without its details", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const how of ["cyclic", "huge"]) {
          const end = yield* run(peer, "strange", how)
          expect(end.payload).toMatchObject({ final_status: "error", code: "STRANGE", message: "strange" })
          expect(end.payload.details.omitted).toContain("details")
        }
      }).pipe(Effect.provide(main))
    )

    it.scoped("§14 what may be a secret in a URL is in no event", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const urls = [
          "https://other.example/path?token=hunter2",
          "https://other.example/path#access_token=hunter2",
          "https://user:hunter2@api.example.com/",
          "https://user:hun/hunter2@api.example.com/",
          "https://user:a?hunter2@api.example.com/",
          "https:user:hunter2@api.example.com/",
          "//user:hunter2@api.example.com/",
          "https://api.example.com/ ?token=hunter2",
          "nothing#hunter2"
        ]
        const { jobId, saw } = yield* does(
          peer,
          every,
          urls.map((url): Step => ({ authorize: ["net.fetch", url] }))
        )
        expect(codes(saw)).toEqual(urls.map(() => "PERMISSION_DENIED"))
        expect(JSON.stringify(peer.seen)).not.toContain("hunter2")
        const told = calls(peer, jobId)
        expect(told.length).toBe(urls.length)
        expect(told[0]!.args).toEqual({ url: "https://other.example/path?…" })
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.2 a vendor's capability is checked as its patterns say", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(peer, every, [
          { authorize: ["x-vendor.acme.deploy", "eu.west"] },
          { authorize: ["x-vendor.acme.deploy", "us.west"] },
          { authorize: ["x-vendor.acme.destroy", "eu.west"] }
        ])
        expect(codes(saw)).toEqual(["ok", "PERMISSION_DENIED", "PERMISSION_DENIED"])
        expect(calls(peer, jobId).map(({ args, tool }) => [tool, args])).toEqual([
          ["x-vendor.acme.deploy", { name: "us.west" }],
          ["x-vendor.acme.destroy", { name: "eu.west" }]
        ])
      }).pipe(Effect.provide(main))
    )
  })

  describe("tools", () => {
    it.scoped("§8.2 one tool_result for every call, however it ends; a refused tool is not run", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(peer, every, [
          { tool: ["humanq.a"] },
          { tool: ["humanq.b", "fail"] },
          { tool: ["humanq.c", "die"] },
          { tool: ["humanq.d", "interrupt"] },
          { tool: ["forbidden"] },
          { tool: ["humanq"] },
          { tool: ["Humanq.a"] },
          { tool: ["humanq.e", "badDetails"] }
        ])
        expect(codes(saw)).toEqual([
          "ok",
          "TOOL_BROKE",
          "defect",
          "interrupted",
          "PERMISSION_DENIED",
          "PERMISSION_DENIED",
          "PERMISSION_DENIED",
          "TOOL_BROKE"
        ])
        expect(ran).toEqual(["humanq.a", "humanq.b", "humanq.c", "humanq.d", "humanq.e"])
        const told = calls(peer, jobId)
        expect(told[0]).toMatchObject({ tool: "humanq.a", args: { how: "nothing" }, result: "done", error: undefined })
        expect(told.slice(1).map(({ error, result }) => [error.code, error.retryable, result])).toEqual([
          ["TOOL_BROKE", true, undefined],
          ["INTERNAL_ERROR", true, undefined],
          ["CANCELLED", false, undefined],
          ["PERMISSION_DENIED", false, undefined],
          ["PERMISSION_DENIED", false, undefined],
          ["PERMISSION_DENIED", false, undefined],
          ["TOOL_BROKE", expect.any(Boolean), undefined]
        ])
        expect(JSON.stringify(peer.seen)).not.toContain("a secret inside")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.2 a result that is no JSON or too large is told as left out, and the agent has it all the same", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(
          peer,
          every,
          (["huge", "cyclic", "bigint", "function", "undefined"] as const).map(
            (how): Step => ({
              tool: ["humanq.x", how]
            })
          )
        )
        expect(saw).toEqual([
          { ok: 2_000_000 },
          { ok: "object" },
          { ok: "bigint" },
          { ok: "function" },
          { ok: "undefined" }
        ])
        const told = calls(peer, jobId).map(({ result }) => result)
        for (const result of told.slice(0, 3)) expect(result.omitted).toContain("tool_result")
        expect(told.slice(3)).toEqual([null, null])
      }).pipe(Effect.provide(main))
    )

    it.scoped("§8.2 a call that is open when its job is cancelled is closed, once, before the end", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const steps = [{ tool: ["humanq.x", "never"] }]
        const accepted = yield* submit(peer, "script", { steps }, { lease_request: every })
        yield* peer.next("job.event", (frame) => frame.payload.kind === "tool_call")
        yield* peer.send("job.cancel", { job_id: accepted.job_id })
        expect((yield* peer.terminal(accepted.job_id!)).payload.final_status).toBe("cancelled")
        expect(calls(peer, accepted.job_id!)).toMatchObject([{ tool: "humanq.x", error: { code: "CANCELLED" } }])
        expect(peer.events().at(-1)!.type).toBe("job.error")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§9.2 a typed tool is called by its name, decodes and encodes, and keeps its own errors", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(peer, every, [
          { call: ["mcp:github/search", { query: "effect", since: "2026-01-01T00:00:00.000Z" }] },
          { call: ["mcp:github/search", { query: 7 }] },
          { call: ["mcp:github/nothing", {}] },
          { call: ["mcp:gitlab/search", { query: "x" }] },
          { call: ["mcp:github/search/deeper", { query: "x" }] },
          { call: ["broken", "own"] },
          { call: ["broken", "text"] },
          { call: ["liar", null] },
          { call: ["broken", "die"] }
        ])
        expect(saw[0]).toEqual({ ok: ["2026-01-01T00:00:00.000Z"] })
        expect(codes(saw)).toEqual([
          "ok",
          "INVALID_REQUEST",
          "INVALID_REQUEST",
          "PERMISSION_DENIED",
          "PERMISSION_DENIED",
          "RATE_LIMITED",
          "AGENT_FAILURE",
          "defect",
          "defect"
        ])
        expect(saw[1].message).toContain("the input of mcp:github/search")
        expect(saw[2].message).toContain("mcp:github/nothing")
        expect(ran).toEqual(["search effect"])
        const told = calls(peer, jobId)
        expect(told.length).toBe(9)
        expect(told[5]!.error).toMatchObject({ code: "RATE_LIMITED", message: "slow down", retryable: true })
        expect(told[8]!.error).toMatchObject({ code: "INTERNAL_ERROR" })
        expect(JSON.stringify(peer.seen)).not.toContain("a secret inside")
      }).pipe(Effect.provide(main))
    )
  })

  describe("models", () => {
    const steps: ReadonlyArray<Step> = [
      { model: "tier-fast/a" },
      { model: "tier-fast/a/b" },
      { model: "anthropic/claude-3-haiku-20240307" },
      { model: "anthropic/claude-3-opus" },
      { model: "" }
    ]

    it.scoped("§9.7 a model is used only where a pattern names it, by default also where the lease names none", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const { jobId, saw } = yield* does(peer, every, steps)
        expect(codes(saw)).toEqual(["ok", "PERMISSION_DENIED", "ok", "PERMISSION_DENIED", "PERMISSION_DENIED"])
        expect(calls(peer, jobId).map(({ args, tool }) => [tool, args.name])).toEqual([
          ["model.use", "tier-fast/a/b"],
          ["model.use", "anthropic/claude-3-opus"],
          ["model.use", ""]
        ])
        expect(codes((yield* does(peer, { "fs.read": ["/**"] }, steps)).saw)).toEqual(
          steps.map(() => "PERMISSION_DENIED")
        )
        expect(ran).toEqual(["tier-fast/a", "anthropic/claude-3-haiku-20240307"])
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§9.7 where policy does not require it, a lease without model.use allows any; one that names it holds",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          expect(codes((yield* does(peer, {}, steps)).saw)).toEqual(["ok", "ok", "ok", "ok", "PERMISSION_DENIED"])
          expect(codes((yield* does(peer, { "model.use": [] }, steps)).saw)).toEqual(
            steps.map(() => "PERMISSION_DENIED")
          )
          expect(codes((yield* does(peer, every, steps)).saw)[1]).toBe("PERMISSION_DENIED")
          // Nothing else becomes free by it.
          expect(codes((yield* does(peer, {}, [{ tool: ["x"] }, { authorize: ["fs.read", "/x"] }])).saw)).toEqual([
            "PERMISSION_DENIED",
            "PERMISSION_DENIED"
          ])
        }).pipe(Effect.provide(under(LeasePolicy.layer({ requireModelUse: false }))))
    )
  })
})
