/** What a session did not negotiate is refused by name, never dropped silently (§6.2). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { backends } from "./backends.js"
import { allFeatures, barrier, hello, run, submit } from "./peer.js"
import { resetGates, world } from "./world.js"

beforeEach(resetGates)

const without = (feature: string) => allFeatures.filter((other) => other !== feature)

/** Requests that need a feature: which, and what is sent. */
const needing: ReadonlyArray<readonly [feature: string, type: string, payload: object]> = [
  ["lease_expires_at", "job.submit", { agent: "echo", lease_constraints: { expires_at: "2030-01-01T00:00:00Z" } }],
  ["cost.budget", "job.submit", { agent: "echo", lease_request: { "cost.budget": ["USD:1.00"] } }],
  ["cost.budget", "job.submit", { agent: "echo", lease_request: { "cost.budget": [] } }],
  ["model.use", "job.submit", { agent: "echo", lease_request: { "model.use": ["tier-fast/*"] } }],
  ["agent_versions", "job.submit", { agent: "versions@1.0.0" }],
  ["agent_versions", "job.submit", { agent: "nothing-of-that-name@1.0.0" }],
  ["agent_versions", "session.list_jobs", { filter: { agent: "versions@1.0.0" } }],
  ["list_jobs", "session.list_jobs", {}],
  ["subscribe", "job.subscribe", { job_id: "job_none" }],
  ["subscribe", "job.unsubscribe", { job_id: "job_none" }],
  ["ack", "session.ack", { last_processed_seq: 0 }]
]

for (const [name, options] of backends) {
  describe(`features over ${name}`, () => {
    it.scoped("§6.2 a request that needs a feature that was not negotiated is INVALID_REQUEST naming it", () =>
      Effect.gen(function* () {
        for (const [feature, type, payload] of needing) {
          const peer = yield* hello({ features: without(feature) })
          const refused = yield* Effect.flatMap(peer.send(type, payload), peer.reply)
          expect(refused, `${type} without ${feature}`).toMatchObject({
            type: "session.error",
            payload: { code: "INVALID_REQUEST", retryable: false, message: expect.stringContaining(feature) }
          })
          // The session lives on, and nothing was begun.
          expect((yield* run(peer, "echo", "on")).payload.result).toBe("on")
          expect(peer.seen.filter((frame) => frame.type === "job.accepted").length).toBe(1)
        }
      }).pipe(Effect.provide(world(options())))
    )

    it.scoped("§6.2 with the feature the same requests pass", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        for (const [feature, type, payload] of needing) {
          // What is wrong for another reason too.
          if (/none|nothing|\[\]/.test(JSON.stringify(payload))) continue
          // An acknowledgement has no reply.
          if (type === "session.ack") continue
          const reply = yield* Effect.flatMap(peer.send(type, payload), peer.reply)
          expect(reply.type, `${type} with ${feature}`).not.toBe("session.error")
        }
      }).pipe(Effect.provide(world(options())))
    )

    it.scoped("§6.4 a ping is answered without heartbeat, also of a session that negotiated nothing", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: [] })
        yield* barrier(peer)
        expect((yield* submit(peer, "versions")).type).toBe("job.accepted")
        yield* barrier(peer)
      }).pipe(Effect.provide(world(options())))
    )
  })
}
