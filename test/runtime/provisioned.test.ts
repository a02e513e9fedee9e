import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Redacted, TestClock } from "effect"
import { Credentials, ObservationPolicy } from "../../src/runtime/index.js"
import { TestGateway } from "../../src/testing/index.js"
import { barrier, eventsOf, type Frame, hello, type Peer, run, submit } from "./peer.js"
import {
  allRevoked,
  eventually,
  failingStore,
  heard,
  lease,
  leased,
  logged,
  provisioned,
  provisionedBackends,
  request
} from "./provisionedWorld.js"
import { gate, resetGates } from "./world.js"

beforeEach(resetGates)

const withoutFeature = ["heartbeat", "list_jobs", "subscribe", "cost.budget", "model.use"]
const keep = (peer: Peer, name: string, rest: object = {}) => submit(peer, "keeper", { name }, { ...leased, ...rest })
const valueOf = (accepted: Frame): string => accepted.payload.credentials[0].value
const open = (name: string) => Deferred.succeed(gate(name), undefined)
const works = (value: string) =>
  Effect.flatMap(TestGateway, (gateway) =>
    Effect.map(Effect.exit(gateway.call(value, { model: "tier-fast/a" })), Exit.isSuccess)
  )
/** An answer that hangs may still come: until that is over, the ledger keeps looking for its key. */
const settled = Effect.flatMap(Credentials, ({ outstanding }) =>
  eventually(
    Effect.zipRight(
      TestClock.adjust("1 minute"),
      Effect.map(Effect.orDie(outstanding), (rows) => rows.length === 0)
    )
  )
)
/** The frame that tells of a rotation. */
const rotated = (peer: Peer) => peer.next("job.event", (f) => f.payload.body?.phase === "credential_rotated")

describe.each(provisionedBackends)("provisioned credentials over %s", (_name, backend) => {
  describe("issue", () => {
    it.scoped(
      "§13.7 the figure: a key of the lease's size before job.accepted, used, told, revoked after the end",
      () =>
        Effect.gen(function* () {
          const gateway = yield* TestGateway
          const peer = yield* hello()
          expect(peer.welcome.payload.capabilities.features).toContain("provisioned_credentials")
          const accepted = yield* submit(
            peer,
            "research-summarizer",
            {},
            {
              ...leased,
              lease_constraints: { expires_at: "1970-01-02T00:00:00Z" }
            }
          )
          expect(accepted.payload).toMatchObject({ budget: { USD: 2 }, lease })
          expect(accepted.payload.credentials).toEqual([
            {
              id: expect.stringMatching(/^cred_[0-9A-Z]{26}$/),
              scheme: "bearer",
              value: expect.stringMatching(/^sk-test-/),
              endpoint: "https://gateway.test/v1",
              profile: "openai",
              constraints: {
                "cost.budget": ["USD:2"],
                "model.use": ["tier-fast/*"],
                expires_at: "1970-01-02T00:00:00.000Z"
              }
            }
          ])
          const end = yield* peer.terminal(accepted.job_id!)
          expect(end.payload).toMatchObject({ final_status: "success", result: { summary: "short" } })
          expect(eventsOf(peer, accepted.job_id!).map((f) => f.payload.body?.name ?? f.payload.kind ?? f.type)).toEqual(
            ["status", "cost.inference", "cost.budget.remaining", "job.result"]
          )
          const [key, ...others] = yield* allRevoked
          expect(others).toEqual([])
          expect(key).toMatchObject({ jobId: accepted.job_id, revocations: 1, revokeRequests: 1 })
          expect(yield* works(valueOf(accepted))).toBe(false)
          expect(yield* gateway.counts).toEqual({ issued: 1, revoked: 1 })
        }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped(
      "§9.8.2 a gateway that fails fails its own submit: no job, no key; its idempotency key works afterwards",
      () =>
        Effect.gen(function* () {
          const gateway = yield* TestGateway
          const peer = yield* hello()
          const key = { idempotency_key: "again" }
          yield* gateway.failIssues(1)
          const failed = yield* keep(peer, "a", key)
          expect(failed.type).toBe("session.error")
          expect(failed.payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
          yield* gateway.loseAnswers(1)
          expect((yield* keep(peer, "a", key)).payload.code).toBe("INTERNAL_ERROR")
          yield* eventually(Effect.map(gateway.counts, ({ issued, revoked }) => issued === 1 && revoked === 1))
          expect((yield* request(peer, "session.list_jobs")).payload.jobs).toEqual([])
          const accepted = yield* keep(peer, "a", key)
          expect(accepted.payload.credentials).toHaveLength(1)
          expect((yield* gateway.liveKeys).map(({ jobId }) => jobId)).toEqual([accepted.job_id])
        }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped("§9.8.2 a gateway that hangs fails its own submit in time; others, pings and the key go on", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const id = yield* peer.send("job.submit", { agent: "stuck", ...leased, idempotency_key: "stuck" })
        yield* barrier(peer)
        expect((yield* run(peer, "research-summarizer", {}, leased)).type).toBe("job.result")
        yield* allRevoked
        expect(heard(peer)).not.toContain(`"request_id":"${id}"`)
        yield* TestClock.adjust("10 seconds")
        expect((yield* peer.reply(id)).payload).toMatchObject({ code: "INTERNAL_ERROR", retryable: true })
        const jobs = (yield* request(peer, "session.list_jobs")).payload.jobs
        expect(jobs.map((job: { agent: string }) => job.agent)).toEqual(["research-summarizer@1.0.0"])
        yield* settled
        const other = yield* submit(peer, "keeper", { name: "b" }, { ...leased, idempotency_key: "stuck" })
        expect(other.type).toBe("job.accepted")
      }).pipe(Effect.provide(provisioned(backend(), { runtime: { heartbeatInterval: "1 hour" } })))
    )

    it.scoped("§9.8.2 a connection that ends while its submit waits for the gateway leaves nothing behind", () =>
      Effect.gen(function* () {
        const gateway = yield* TestGateway
        yield* gateway.hangIssues(true)
        const gone = yield* hello()
        yield* gone.send("job.submit", {
          agent: "keeper",
          input: { name: "c" },
          ...leased,
          idempotency_key: "gone"
        })
        yield* barrier(gone)
        yield* gone.drop
        const peer = yield* hello()
        yield* barrier(peer)
        yield* gateway.hangIssues(false)
        const accepted = yield* keep(peer, "c", { idempotency_key: "gone" })
        yield* eventually(
          Effect.map(gateway.liveKeys, (keys) => keys.length === 1 && keys[0]!.jobId === accepted.job_id)
        )
        expect((yield* request(peer, "session.list_jobs")).payload.jobs).toHaveLength(1)
      }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped("§9.8.2 a store that does not take the job, and a queue that is full, leave no key", () => {
      const faults = { failing: true }
      return Effect.gen(function* () {
        const gateway = yield* TestGateway
        const peer = yield* hello()
        const key = { idempotency_key: "full" }
        expect((yield* keep(peer, "d", key)).payload.code).toBe("INTERNAL_ERROR")
        expect((yield* allRevoked).length).toBe(1)
        faults.failing = false
        const accepted = yield* keep(peer, "d", key)
        expect(accepted.payload.credentials).toHaveLength(1)
        // One runs, none may wait.
        expect((yield* keep(peer, "e")).payload).toMatchObject({ code: "INTERNAL_ERROR" })
        yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 1))
        expect((yield* request(peer, "session.list_jobs")).payload.jobs).toHaveLength(1)
      }).pipe(
        Effect.provide(
          provisioned(backend(), { store: failingStore(faults), limits: { runningJobs: 1, pendingJobs: 0 } })
        )
      )
    })

    it.scoped("§6.2, §9.8 no credentials are issued for a session that did not negotiate them", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: withoutFeature })
        expect(peer.welcome.payload.capabilities.features).not.toContain("provisioned_credentials")
        const accepted = yield* keep(peer, "f")
        expect(accepted.payload).not.toHaveProperty("credentials")
        yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
        expect((yield* Credentials).of(accepted.job_id!)).toEqual([])
        expect((yield* (yield* TestGateway).counts).issued).toBe(0)
        yield* open("f")
        yield* peer.terminal(accepted.job_id!)
        expect(heard(peer)).not.toContain("sk-test-")
      }).pipe(Effect.provide(provisioned(backend())))
    )
  })

  describe("repeated submits", () => {
    it.scoped("§7.2 the same key answers the live credentials, also to another session that takes the job over", () =>
      Effect.gen(function* () {
        const { rotate } = yield* Credentials
        const gateway = yield* TestGateway
        const peer = yield* hello()
        const key = { idempotency_key: "same" }
        const first = yield* keep(peer, "g", key)
        const second = yield* keep(peer, "g", key)
        const { request_id: _, ...payload } = second.payload
        expect(payload).toEqual({ ...first.payload, request_id: undefined })
        const id = first.payload.credentials[0].id
        yield* rotate(first.job_id!, id)
        const fresh = (yield* rotated(peer)).payload.body.value
        const other = yield* hello()
        const third = yield* keep(other, "g", key)
        expect(third.payload.credentials).toEqual([{ ...first.payload.credentials[0], value: fresh }])
        const plain = yield* hello({ features: withoutFeature })
        expect((yield* keep(plain, "g", key)).payload).not.toHaveProperty("credentials")
        yield* keep(other, "g", key)
        yield* rotate(first.job_id!, id)
        const last = (yield* rotated(other)).payload.body.value
        expect(yield* works(last)).toBe(true)
        yield* Effect.all([barrier(peer), barrier(plain)])
        // Each owner that negotiated it is told.
        expect(heard(peer)).toContain(last)
        expect(heard(plain)).not.toContain(last)
        expect((yield* gateway.counts).issued).toBe(3)
        yield* open("g")
        yield* other.terminal(first.job_id!)
        expect((yield* keep(other, "g", key)).payload).not.toHaveProperty("credentials")
        yield* allRevoked
        // Another principal's key is another job.
        resetGates()
        const bob = yield* hello({ token: "bob-token" })
        expect((yield* keep(bob, "g", key)).job_id).not.toBe(first.job_id)
      }).pipe(Effect.provide(provisioned(backend())))
    )
  })

  describe("secrets", () => {
    it.scoped(
      "§14 values are in no observer's frame, no listing, no row and no log; the owner's session alone has them",
      () => {
        const own = backend()
        const log = logged()
        return Effect.gen(function* () {
          const { rotate } = yield* Credentials
          const owner = yield* hello()
          const observer = yield* hello({ features: withoutFeature })
          const bob = yield* hello({ token: "bob-token" })
          const accepted = yield* keep(owner, "h", { idempotency_key: "h" })
          const [credential] = accepted.payload.credentials
          const subscribed = yield* request(observer, "job.subscribe", { job_id: accepted.job_id, history: true })
          expect(subscribed.payload).not.toHaveProperty("credentials")
          expect((yield* request(bob, "job.subscribe", { job_id: accepted.job_id })).payload.code).toBe("JOB_NOT_FOUND")
          yield* rotate(accepted.job_id!, credential.id)
          const told = yield* rotated(owner)
          expect(told.payload.body).toMatchObject({ id: credential.id, value: expect.stringMatching(/^sk-test-/) })
          const { details, value, ...body } = told.payload.body
          expect(details).toEqual({ id: credential.id, value })
          expect((yield* rotated(observer)).payload.body).toEqual(body)
          for (const peer of [owner, observer, bob]) yield* request(peer, "session.list_jobs")
          const quoted = yield* run(owner, "quoted", {}, leased)
          expect(quoted.payload.message).toBe("401: <redacted> is not good here")
          yield* run(owner, "quoted", "die", leased)
          expect(log.lines.some((line) => line.includes("<redacted> is not good here"))).toBe(true)
          yield* request(observer, "job.subscribe", { job_id: quoted.job_id, history: true })
          yield* observer.terminal(quoted.job_id!)
          yield* run(owner, "caller", { calls: [{ model: "dear/x" }] }, leased)
          yield* open("h")
          yield* observer.terminal(accepted.job_id!)
          yield* request(observer, "job.subscribe", { job_id: accepted.job_id, history: true })
          yield* allRevoked
          yield* barrier(observer)
          expect(heard(observer) + heard(bob)).not.toContain("sk-test-")
          expect(log.lines.length).toBeGreaterThan(0)
          expect(log.lines.join("\n")).not.toContain("sk-test-")
          expect(own.written()).not.toContain("sk-test-")
          // Where there is a file, the search would have found what it holds.
          if (own.written() !== "") expect(own.written()).toContain(credential.id)
        }).pipe(Effect.provide(Layer.provide(provisioned(own), log.layer)))
      }
    )
  })

  describe("rotation", () => {
    it.scoped(
      "§9.8.2 the prior value is revoked promptly and the new one never; a resume from memory has the value",
      () =>
        Effect.gen(function* () {
          const gateway = yield* TestGateway
          const { rotate } = yield* Credentials
          const peer = yield* hello()
          const accepted = yield* keep(peer, "i")
          const prior = valueOf(accepted)
          yield* peer.next("job.event", (f) => f.payload.body?.message === "waiting")
          yield* peer.drop
          yield* rotate(accepted.job_id!, accepted.payload.credentials[0].id)
          yield* eventually(Effect.map(works(prior), (live) => !live))
          const again = yield* hello({
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
          })
          const { id, value } = (yield* rotated(again)).payload.body
          expect(id).toBe(accepted.payload.credentials[0].id)
          expect(yield* works(value)).toBe(true)
          yield* open("i")
          expect((yield* again.terminal(accepted.job_id!)).payload.result).toBe(1)
          expect((yield* allRevoked).map(({ revocations }) => revocations)).toEqual([1, 1])
          expect((yield* gateway.counts).issued).toBe(2)
        }).pipe(Effect.provide(provisioned(backend())))
    )
  })

  describe("revocation", () => {
    const expiring = { lease_constraints: { expires_at: "1970-01-01T00:00:30Z" } }
    it.scoped.each<readonly [string, string, object, (peer: Peer, job: string) => Effect.Effect<unknown>, string]>([
      ["success", "ok", {}, () => Effect.void, "success"],
      ["failure", "fail", {}, () => Effect.void, "AGENT_FAILURE"],
      ["a defect", "die", {}, () => Effect.void, "INTERNAL_ERROR"],
      ["cancel", "never", {}, (peer, job) => request(peer, "job.cancel", { job_id: job }), "CANCELLED"],
      ["timeout", "never", { max_runtime_sec: 5 }, () => TestClock.adjust("5 seconds"), "TIMEOUT"],
      ["lease expiry", "never", expiring, () => TestClock.adjust("31 seconds"), "LEASE_EXPIRED"],
      [
        "a handler that does not unwind",
        "stubborn",
        {},
        (peer, job) => Effect.zipRight(request(peer, "job.cancel", { job_id: job }), TestClock.adjust("30 seconds")),
        "CANCELLED"
      ]
    ])("§9.8.2 on %s, once", ([_what, mode, rest, stop, code]) =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "ends", { mode }, { ...leased, ...rest })
        yield* peer.next("job.event", (f) => f.payload.body?.message === "runs")
        if (mode === "never" || mode === "stubborn") expect(yield* works(valueOf(accepted))).toBe(true)
        yield* stop(peer, accepted.job_id!)
        const end = yield* peer.terminal(accepted.job_id!)
        expect(end.payload.code ?? end.payload.final_status).toBe(code)
        expect((yield* allRevoked).map(({ revocations, revokeRequests }) => [revocations, revokeRequests])).toEqual([
          [1, 1]
        ])
      }).pipe(Effect.provide(provisioned(backend(), { runtime: { heartbeatInterval: "1 hour" } })))
    )

    it.scoped("§14 what the upstream refuses to revoke is shown to operators, and goes when they ask again", () =>
      Effect.gen(function* () {
        const gateway = yield* TestGateway
        const { failed, retryFailed } = yield* Credentials
        const peer = yield* hello()
        yield* gateway.refuseRevokes(true)
        const end = yield* run(peer, "research-summarizer", {}, leased)
        yield* eventually(Effect.map(Effect.orDie(failed), (rows) => rows.length === 1))
        expect((yield* failed)[0]).toMatchObject({ jobId: end.job_id, state: "failed", principalId: "alice" })
        yield* gateway.refuseRevokes(false)
        expect(yield* retryFailed).toBe(1)
        yield* allRevoked
        yield* eventually(Effect.map(Effect.orDie(failed), (rows) => rows.length === 0))
      }).pipe(Effect.provide(provisioned(backend())))
    )
  })

  describe("upstream errors", () => {
    const spent = { calls: [{ model: "tier-fast/a", cost: "2 USD" }, { model: "tier-fast/a" }] }
    const dear = { calls: [{ model: "dear/x" }] }

    it.scoped("§9.6, §13.7 an upstream that refuses ends a job that does not handle it with the protocol's code", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        expect((yield* run(peer, "caller", spent, leased)).payload).toMatchObject({
          code: "BUDGET_EXHAUSTED",
          final_status: "error",
          retryable: false
        })
        expect((yield* run(peer, "caller", dear, leased)).payload).toMatchObject({
          code: "PERMISSION_DENIED",
          details: { capability: "model.use", reason: "upstream" }
        })
        yield* allRevoked
        // A budget of zero has no credential: what another key is told is the agent's own affair.
        const poor = { lease_request: { ...lease, "cost.budget": ["USD:0"] } }
        expect((yield* run(peer, "caller", dear, poor)).payload.code).toBe("AGENT_FAILURE")
      }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped("§13.7 the agent's operation fails with it, and the call's result says so", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const as of ["tool", "model", "reserve"]) {
          const calls = [{ model: "tier-fast/a", cost: "2 USD" }, { model: "tier-fast/a" }, ...dear.calls]
          const end = yield* run(peer, "careful", { as, calls }, leased)
          expect(end.payload.result).toEqual(["answered", "BudgetExhausted", "PermissionDenied"])
          const results = eventsOf(peer, end.job_id!).filter((f) => f.payload.kind === "tool_result")
          expect(results.map((f) => f.payload.body.error?.code)).toEqual(
            as === "tool" ? [undefined, "BUDGET_EXHAUSTED", "PERMISSION_DENIED"] : []
          )
        }
      }).pipe(Effect.provide(provisioned(backend())))
    )
  })

  describe("delegation", () => {
    const childLease = { "cost.budget": ["USD:0.50"], "model.use": ["tier-fast/a"] }
    const parentLease = { lease_request: { ...lease, "agent.delegate": ["*"] } }
    const child = (agent: string, input: unknown, rest: object = {}) => ({ agent, input, lease: childLease, ...rest })

    it.scoped("§9.8.2 a child's credentials are bounded by its own lease and end with it; its parent's stay", () =>
      Effect.gen(function* () {
        const gateway = yield* TestGateway
        const peer = yield* hello()
        const accepted = yield* submit(peer, "parent", child("keeper", { name: "j" }, { gate: "k" }), parentLease)
        const delegated = yield* peer.next("job.accepted", (f) => f.payload.parent_job_id === accepted.job_id)
        expect(delegated.payload.credentials).toHaveLength(1)
        expect(delegated.payload.credentials[0].constraints).toEqual({
          "cost.budget": ["USD:0.5"],
          "model.use": ["tier-fast/a"]
        })
        expect(valueOf(delegated)).not.toBe(valueOf(accepted))
        expect((yield* gateway.liveKeys).map(({ jobId }) => jobId)).toEqual([accepted.job_id, delegated.job_id])
        yield* open("j")
        yield* peer.terminal(delegated.job_id!)
        yield* eventually(Effect.map(gateway.liveKeys, (keys) => keys.length === 1))
        expect((yield* gateway.liveKeys)[0]!.jobId).toBe(accepted.job_id)
        yield* open("k")
        expect((yield* peer.terminal(accepted.job_id!)).payload.result).toBe("Right")
        expect((yield* allRevoked).map(({ revocations }) => revocations)).toEqual([1, 1])
      }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped("§9.8.2 a parent that is cancelled leaves no child's credential, also not one that is being issued", () =>
      Effect.gen(function* () {
        const gateway = yield* TestGateway
        const peer = yield* hello()
        const running = yield* submit(peer, "parent", child("keeper", { name: "l" }), parentLease)
        const delegated = yield* peer.next("job.accepted", (f) => f.payload.parent_job_id === running.job_id)
        expect(valueOf(delegated)).toMatch(/^sk-test-/)
        yield* request(peer, "job.cancel", { job_id: running.job_id })
        yield* peer.terminal(delegated.job_id!)
        yield* peer.terminal(running.job_id!)
        expect(yield* allRevoked).toHaveLength(2)
        const waiting = yield* submit(peer, "parent", child("stuck", {}), parentLease)
        yield* peer.next("job.event", (f) => f.payload.kind === "status" && f.job_id === waiting.job_id)
        yield* request(peer, "job.cancel", { job_id: waiting.job_id })
        expect((yield* peer.terminal(waiting.job_id!)).payload.code).toBe("CANCELLED")
        expect(yield* allRevoked).toHaveLength(3)
        expect((yield* gateway.counts).issued).toBe(3)
        yield* settled
      }).pipe(Effect.provide(provisioned(backend(), { runtime: { heartbeatInterval: "1 hour" } })))
    )

    it.scoped("§9.8.2 a child of a session that did not negotiate credentials has none either", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: withoutFeature })
        const accepted = yield* submit(peer, "parent", child("keeper", { name: "n" }), parentLease)
        const delegated = yield* peer.next("job.accepted", (f) => f.payload.parent_job_id === accepted.job_id)
        expect(delegated.payload).not.toHaveProperty("credentials")
        yield* open("n")
        yield* peer.terminal(accepted.job_id!)
        expect((yield* (yield* TestGateway).counts).issued).toBe(0)
      }).pipe(Effect.provide(provisioned(backend())))
    )

    it.scoped(
      "§7.6, §14 live credentials are shown to their submitter's sessions alone, in job.subscribed and listings",
      () =>
        Effect.gen(function* () {
          const owner = yield* hello()
          const accepted = yield* keep(owner, "o")
          const { rotate } = yield* Credentials
          const { value } = yield* rotate(accepted.job_id!, accepted.payload.credentials[0].id)
          const shown = [{ ...accepted.payload.credentials[0], value: Redacted.value(value) }]
          const rowOf = (frame: Frame) =>
            frame.payload.jobs.find((job: { job_id: string }) => job.job_id === accepted.job_id)
          const second = yield* hello()
          const told = yield* request(second, "job.subscribe", { job_id: accepted.job_id })
          expect(told.payload.credentials).toEqual(shown)
          const row = rowOf(yield* request(second, "session.list_jobs"))
          expect(row.credentials).toEqual(shown)
          expect(row.submitted_at).toBe(row.created_at)
          const plain = yield* hello({ features: withoutFeature })
          expect((yield* request(plain, "job.subscribe", { job_id: accepted.job_id })).payload).not.toHaveProperty(
            "credentials"
          )
          expect(rowOf(yield* request(plain, "session.list_jobs"))).not.toHaveProperty("credentials")
          // Another principal that may observe everything.
          const bob = yield* hello({ token: "bob-token" })
          const observed = yield* request(bob, "job.subscribe", { job_id: accepted.job_id })
          expect(observed.type).toBe("job.subscribed")
          expect(observed.payload).not.toHaveProperty("credentials")
          expect(rowOf(yield* request(bob, "session.list_jobs"))).not.toHaveProperty("credentials")
          yield* open("o")
          yield* owner.terminal(accepted.job_id!)
          yield* allRevoked
          expect((yield* request(second, "job.subscribe", { job_id: accepted.job_id })).payload).not.toHaveProperty(
            "credentials"
          )
          expect(rowOf(yield* request(second, "session.list_jobs"))).not.toHaveProperty("credentials")
        }).pipe(
          Effect.provide(
            Layer.provide(
              provisioned(backend()),
              ObservationPolicy.layer({ visibility: () => "observe", listed: () => "all" })
            )
          )
        )
    )

    it.scoped("§9.8.2 a child whose credentials fail is refused to its parent, and its budget is back", () =>
      Effect.gen(function* () {
        const { outstanding } = yield* Credentials
        const peer = yield* hello()
        const stuck = yield* submit(peer, "parent", child("stuck", {}), parentLease)
        // The parent's own, and the child's, which is being asked for.
        yield* eventually(Effect.map(Effect.orDie(outstanding), (rows) => rows.length === 2))
        yield* barrier(peer)
        yield* TestClock.adjust("10 seconds")
        const end = yield* peer.terminal(stuck.job_id!)
        expect(end.payload).toMatchObject({ code: "INTERNAL_ERROR", final_status: "error" })
        const events = eventsOf(peer, stuck.job_id!)
        const told = events.find((f) => f.payload.kind === "delegate")!.payload.body
        const refusal = events.find((f) => f.payload.kind === "tool_result")!.payload.body
        expect(refusal).toMatchObject({ call_id: told.delegate_id, error: { code: "INTERNAL_ERROR" } })
        expect(told).not.toHaveProperty("child_job_id")
        yield* allRevoked
        const listed = (yield* request(peer, "session.list_jobs")).payload.jobs
        expect(listed.find((job: Frame["payload"]) => job.job_id === stuck.job_id).budget).toEqual({ USD: 2 })
        yield* settled
      }).pipe(Effect.provide(provisioned(backend(), { runtime: { heartbeatInterval: "1 hour" } })))
    )
  })
})
