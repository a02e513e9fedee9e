import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { PrincipalId } from "../../src/protocol/index.js"
import { Authenticator } from "../../src/auth/index.js"
import { Audit, AuditMemory, ObservationPolicy, type ObservationPolicyShape } from "../../src/runtime/index.js"
import { backends } from "./backends.js"
import { barrier, eventsOf, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

const request = (peer: Peer, type: string, payload: object = {}) => Effect.flatMap(peer.send(type, payload), peer.reply)

/** What a refusal says, without the id that it names. */
const words = (frame: { readonly payload: Record<string, unknown> }, jobId: string) => ({
  code: frame.payload.code,
  message: String(frame.payload.message).replace(jobId, "…"),
  retryable: frame.payload.retryable,
  details: frame.payload.details
})

/** Bob observes alice's jobs and lists them, carol knows of them, nobody else does either. */
const audited: ObservationPolicyShape = {
  visibility: (principal, owner) =>
    owner !== "alice" ? "nothing" : principal.id === "bob" ? "observe" : principal.id === "carol" ? "know" : "nothing",
  listed: (principal) => (principal.id === "bob" ? [PrincipalId("alice")] : [])
}

const unknown = "job_00000000000000000000000000"

describe.each(backends)("observation over %s", (_name, backend) => {
  const over = (options: WorldOptions = {}, policy?: ObservationPolicyShape) => {
    const main = world({ ...backend(), ...options })
    return policy === undefined ? main : Layer.provide(main, ObservationPolicy.layer(policy))
  }

  it.scoped("§14 without a policy only the same principal observes; to others a job is like one that never was", () =>
    Effect.gen(function* () {
      const alice = yield* hello()
      const same = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const accepted = yield* submit(alice, "gate", { name: "a" })
      const jobId = accepted.job_id!
      expect((yield* request(same, "job.subscribe", { job_id: jobId })).type).toBe("job.subscribed")
      for (const type of ["job.subscribe", "job.unsubscribe", "job.cancel"]) {
        const foreign = yield* request(bob, type, { job_id: jobId })
        const missing = yield* request(bob, type, { job_id: unknown })
        expect(words(foreign, jobId)).toEqual(words(missing, unknown))
        expect(foreign.payload.code).toBe("JOB_NOT_FOUND")
      }
      expect((yield* request(bob, "session.list_jobs")).payload.jobs).toEqual([])
      yield* Deferred.succeed(gate("a"), undefined)
      yield* same.terminal(jobId)
      yield* alice.terminal(jobId)
      expect((yield* request(bob, "job.subscribe", { job_id: jobId, history: true })).payload.code).toBe(
        "JOB_NOT_FOUND"
      )
      yield* barrier(bob)
      expect(bob.events()).toEqual([])
    }).pipe(Effect.provide(over()))
  )

  it.scoped("§14 anonymous clients are strangers to each other", () =>
    Effect.gen(function* () {
      const one = yield* hello()
      const other = yield* hello()
      const end = yield* run(one, "echo", 1)
      expect((yield* request(one, "job.subscribe", { job_id: end.job_id, history: true })).type).toBe("job.subscribed")
      expect((yield* request(other, "job.subscribe", { job_id: end.job_id })).payload.code).toBe("JOB_NOT_FOUND")
      expect((yield* request(other, "session.list_jobs")).payload.jobs).toEqual([])
    }).pipe(Effect.provide(over({ auth: Authenticator.layerAnonymous })))
  )

  it.scoped("§7.6 a broadened policy: who may observe sees what the owner sees, and interferes with nothing", () =>
    Effect.gen(function* () {
      const alice = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const carol = yield* hello({ token: "carol-token" })
      const lease = { "fs.read": ["/data/**"], "cost.budget": ["USD:1.00"] }
      const accepted = yield* submit(alice, "gate", { name: "b" }, { lease_request: lease })
      const jobId = accepted.job_id!
      yield* alice.next("job.event", (f) => f.payload.body?.message === "waiting")
      const subscribed = yield* request(bob, "job.subscribe", { job_id: jobId, history: true })
      expect(subscribed.payload).toMatchObject({ job_id: jobId, lease, budget: { USD: 1 }, current_status: "running" })
      const known = yield* request(carol, "job.subscribe", { job_id: jobId })
      expect(known.payload).toMatchObject({ code: "PERMISSION_DENIED", retryable: false })
      // It may know that the job is there, not what it is.
      expect(JSON.stringify(known.payload)).not.toMatch(/gate|\/data|alice/)
      expect((yield* request(carol, "session.list_jobs")).payload.jobs).toEqual([])
      expect((yield* request(bob, "session.list_jobs")).payload.jobs).toHaveLength(1)
      for (const peer of [bob, carol]) {
        expect((yield* request(peer, "job.cancel", { job_id: jobId })).payload.code).toBe("JOB_NOT_FOUND")
      }
      // The policy is for alice's jobs alone.
      const own = yield* run(carol, "echo", 1)
      expect((yield* request(bob, "job.subscribe", { job_id: own.job_id })).payload.code).toBe("JOB_NOT_FOUND")
      yield* Deferred.succeed(gate("b"), undefined)
      const end = yield* bob.terminal(jobId)
      expect(end.payload).toMatchObject({ final_status: "success", result: "b" })
      yield* alice.terminal(jobId)
      expect(eventsOf(bob, jobId).map((f) => f.payload)).toEqual(eventsOf(alice, jobId).map((f) => f.payload))
      // The end was the end of the observation; history is still to be had.
      const again = yield* hello({ token: "bob-token" })
      yield* request(again, "job.subscribe", { job_id: jobId, history: true })
      yield* again.terminal(jobId)
      expect(eventsOf(again, jobId)).toHaveLength(eventsOf(alice, jobId).length)
    }).pipe(Effect.provide(over({}, audited)))
  )

  it.scoped("§14 each subscribe is one record: who, which job, whose, and what was decided", () =>
    Effect.gen(function* () {
      const alice = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const carol = yield* hello({ token: "carol-token" })
      const accepted = yield* submit(alice, "gate", { name: "c" })
      const jobId = accepted.job_id!
      const foreign = yield* run(bob, "echo", 1)
      const asked = [
        [alice, jobId, "alice", "alice", undefined],
        [bob, jobId, "bob", "alice", undefined],
        [bob, jobId, "bob", "alice", undefined],
        [carol, jobId, "carol", "alice", "PERMISSION_DENIED"],
        [carol, foreign.job_id!, "carol", "bob", "JOB_NOT_FOUND"],
        [carol, unknown, "carol", undefined, "JOB_NOT_FOUND"]
      ] as const
      for (const [peer, id] of asked) yield* request(peer, "job.subscribe", { job_id: id })
      for (const [peer, id] of asked) yield* request(peer, "job.unsubscribe", { job_id: id })
      const memory = yield* AuditMemory
      yield* memory.first((record) => record.type === "subscription.refused" && record.owner === undefined)
      const subscribes = Effect.map(memory.kept, (records) =>
        records.filter(({ type }) => type.startsWith("subscription."))
      )
      expect(yield* subscribes).toEqual(
        asked.map(([peer, job_id, principal, owner, code]) =>
          expect.objectContaining({
            type: code === undefined ? "subscription.opened" : "subscription.refused",
            principal,
            session_id: peer.sessionId,
            job_id,
            ...(owner === undefined ? {} : { owner }),
            ...(code === undefined ? {} : { code })
          })
        )
      )
      yield* Deferred.succeed(gate("c"), undefined)
      yield* alice.terminal(jobId)
      yield* request(bob, "job.subscribe", { job_id: jobId, history: true })
      yield* memory.first((record) => record.type === "subscription.opened" && record.history)
      expect(yield* subscribes).toHaveLength(asked.length + 1)
    }).pipe(Effect.provide(over({}, audited).pipe(Layer.provideMerge(Audit.layerMemory()))))
  )

  it.scoped("§7.6 a policy that breaks refuses, and the session lives on", () =>
    Effect.gen(function* () {
      const alice = yield* hello()
      const bob = yield* hello({ token: "bob-token" })
      const end = yield* run(alice, "echo", 1)
      const refused = yield* request(bob, "job.subscribe", { job_id: end.job_id, history: true })
      expect(refused.payload).toMatchObject({ code: "INTERNAL_ERROR" })
      expect(JSON.stringify(refused.payload)).not.toContain("secret of the policy")
      // The owner is never asked about.
      expect((yield* request(alice, "job.subscribe", { job_id: end.job_id, history: true })).type).toBe(
        "job.subscribed"
      )
      expect((yield* request(bob, "session.list_jobs")).payload.code).toBe("INTERNAL_ERROR")
      yield* barrier(bob)
      expect(bob.events()).toEqual([])
    }).pipe(
      Effect.provide(
        over(
          {},
          {
            visibility: () => {
              throw new Error("secret of the policy")
            },
            listed: () => {
              throw new Error("secret of the policy")
            }
          }
        )
      )
    )
  )
})
