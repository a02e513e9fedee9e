/** Who may do what with whose jobs and sessions: every request, by everybody, on jobs of every kind (ARCP 1.1 §6.3, §7.4, §7.6, §14). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { backends } from "./backends.js"
import { allFeatures, barrier, dial, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")

type Who = "owner" | "same principal" | "stranger"
type What = "pending" | "live" | "ended" | "never existed"

/** The answer's type, or the code of its error. */
const answerOf = (frame: Frame): string => (frame.type === "session.error" ? frame.payload.code : frame.type)

const whos: ReadonlyArray<Who> = ["owner", "same principal", "stranger"]
const whats: ReadonlyArray<What> = ["pending", "live", "ended", "never existed"]

/** By request, then by who asks; each for a pending, a live, an ended and an unknown job. */
const matrix: Readonly<Record<string, Readonly<Record<Who, readonly [string, string, string, string]>>>> = {
  "job.cancel": {
    owner: ["job.cancelled", "job.cancelled", "INVALID_REQUEST", "JOB_NOT_FOUND"],
    "same principal": ["PERMISSION_DENIED", "PERMISSION_DENIED", "INVALID_REQUEST", "JOB_NOT_FOUND"],
    stranger: ["JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND"]
  },
  "job.subscribe": {
    owner: ["job.subscribed", "job.subscribed", "job.subscribed", "JOB_NOT_FOUND"],
    "same principal": ["job.subscribed", "job.subscribed", "job.subscribed", "JOB_NOT_FOUND"],
    stranger: ["JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND"]
  }
}

describe.each(backends)("permissions over %s", (_name, backend) => {
  const main = world({ ...backend(), limits: { runningJobsPerAgent: 1 } })

  /** Sessions of everybody, and a job of alice's of every kind. */
  const scene = Effect.gen(function* () {
    const peers: Record<Who, Peer & { readonly sessionId: string; readonly token: string }> = {
      owner: yield* hello({ features }),
      "same principal": yield* hello({ features }),
      stranger: yield* hello({ features, token: "bob-token" })
    }
    const ended = yield* run(peers.owner, "echo", "x")
    const live = yield* submit(peers.owner, "gate", { name: "live" })
    yield* peers.owner.next("job.event", (frame) => frame.payload.body?.message === "waiting")
    const pending = yield* submit(peers.owner, "gate", { name: "pending" })
    const jobs: Record<What, string> = {
      pending: pending.job_id!,
      live: live.job_id!,
      ended: ended.job_id!,
      "never existed": "job_01M8BMGX24CEBWWVQ00VY60JGP"
    }
    return { peers, jobs }
  })

  const ask = (peer: Peer, type: string, jobId: string) =>
    Effect.flatMap(peer.send(type, { job_id: jobId }), peer.reply)

  for (const [request, byWho] of Object.entries(matrix)) {
    it.scoped(`§7.4, §7.6 ${request}: each answer, and a refusal changes nothing`, () =>
      Effect.gen(function* () {
        const { jobs, peers } = yield* scene
        // Those who may not come first, so that what they do not change is seen by those who may.
        for (const who of whos.toReversed()) {
          for (const [i, what] of whats.entries()) {
            const answer = yield* ask(peers[who], request, jobs[what])
            expect(`${who}, ${what}: ${answerOf(answer)}`).toBe(`${who}, ${what}: ${byWho[who][i]}`)
          }
          if (who === "owner") continue
          const list = yield* Effect.flatMap(peers.owner.send("session.list_jobs"), peers.owner.reply)
          expect(list.payload.jobs.map((job: { status: string }) => job.status)).toEqual([
            "success",
            "running",
            "pending"
          ])
        }
      }).pipe(Effect.provide(main))
    )
  }

  it.scoped("§14 what is another's and what never was cannot be told apart", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      const shape = (frame: Frame) => {
        const { message, request_id: _, ...rest } = frame.payload
        return { type: frame.type, rest, message: String(message).replace(/job_[0-9A-Z]{26}/, "JOB") }
      }
      for (const request of ["job.cancel", "job.subscribe"]) {
        const unknown = shape(yield* ask(peers.stranger, request, jobs["never existed"]))
        for (const what of ["pending", "live", "ended"] as const) {
          expect(shape(yield* ask(peers.stranger, request, jobs[what]))).toEqual(unknown)
        }
      }
      // Leaving what was never observed is answered alike for everybody's jobs, and does nothing.
      const left = shape(yield* ask(peers.stranger, "job.unsubscribe", jobs["never existed"]))
      for (const what of ["pending", "live", "ended"] as const) {
        expect(shape(yield* ask(peers.stranger, "job.unsubscribe", jobs[what]))).toEqual(left)
      }
      const list = yield* Effect.flatMap(peers.stranger.send("session.list_jobs"), peers.stranger.reply)
      expect(list.payload.jobs).toEqual([])
      yield* barrier(peers.stranger)
      const alices = Object.values(jobs).filter((id) => id !== jobs["never existed"])
      for (const frame of peers.stranger.seen) {
        if (frame.type === "session.error") continue
        expect(alices.some((id) => JSON.stringify(frame).includes(id) && frame.payload.job_id !== id)).toBe(false)
      }
    }).pipe(Effect.provide(main))
  )

  it.scoped("§7.2 a key is its principal's own: a stranger's same key is another job", () =>
    Effect.gen(function* () {
      const { peers } = yield* scene
      const keyed = (peer: Peer) => submit(peer, "echo", "keyed", { idempotency_key: "shared" })
      const mine = yield* keyed(peers.owner)
      const again = yield* keyed(peers["same principal"])
      const theirs = yield* keyed(peers.stranger)
      expect(again.job_id).toBe(mine.job_id)
      expect(theirs.type).toBe("job.accepted")
      expect(theirs.job_id).not.toBe(mine.job_id)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.3 a session is resumed by its principal with its token only; whoever fails harms nobody", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      const { owner } = peers
      const attempts: ReadonlyArray<readonly [token: string, resume: object, code: string]> = [
        ["bob-token", { session_id: owner.sessionId, resume_token: owner.token }, "UNAUTHENTICATED"],
        ["alice-token", { session_id: owner.sessionId, resume_token: peers.stranger.token }, "UNAUTHENTICATED"],
        ["alice-token", { session_id: owner.sessionId, resume_token: "rt_guess" }, "UNAUTHENTICATED"],
        ["nobody", { session_id: owner.sessionId, resume_token: owner.token }, "UNAUTHENTICATED"],
        ["bob-token", { session_id: "sess_01M8BMGX24CEBWWVQ00VY60JGP", resume_token: "rt_x" }, "RESUME_WINDOW_EXPIRED"]
      ]
      for (const [token, resume, code] of attempts) {
        const peer = yield* dial
        const id = yield* peer.send("session.hello", {
          auth: { scheme: "bearer", token },
          capabilities: { features },
          resume: { ...resume, last_event_seq: 0 }
        })
        expect((yield* peer.reply(id)).payload.code).toBe(code)
        expect((yield* peer.ended).code).toBe(1008)
      }
      // Its connection, its job and its numbers are as they were.
      yield* barrier(owner)
      yield* Deferred.succeed(gate("live"), undefined)
      expect((yield* owner.terminal(jobs.live)).payload.result).toBe("live")
      expect(owner.events().map((frame) => frame.event_seq)).toEqual(owner.events().map((_, i) => i + 1))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.1 before its hello nobody may do anything: each request is refused alike, and closed", () =>
    Effect.gen(function* () {
      const { jobs } = yield* scene
      for (const [type, payload] of [
        ["job.submit", { agent: "echo" }],
        ["job.cancel", { job_id: jobs.live }],
        ["job.subscribe", { job_id: jobs.live }],
        ["job.unsubscribe", { job_id: jobs.live }],
        ["session.list_jobs", {}],
        ["session.ack", { last_processed_seq: 0 }],
        ["session.ping", { nonce: "n" }],
        ["session.close", {}]
      ] as const) {
        const peer = yield* dial
        const id = yield* peer.send(type, payload)
        expect((yield* peer.reply(id)).payload.code).toBe("INVALID_REQUEST")
        expect((yield* peer.ended).code).toBe(1008)
      }
    }).pipe(Effect.provide(main))
  )
})
