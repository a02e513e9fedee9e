/** Who may do what with whose jobs, sessions and artifacts: every request, by everybody (ARCP 1.1 §6.3, §6.5, §6.7, §7.4, §7.6, §14). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import { anonymous, Authenticator, bearer } from "../../src/auth/index.js"
import { Ids } from "../../src/protocol/index.js"
import { backends } from "./backends.js"
import { allFeatures, barrier, dial, type Frame, hello, type Peer, run, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = [...allFeatures.filter((feature) => feature !== "heartbeat"), "artifacts"]

type Who = "owner" | "same principal" | "stranger" | "anonymous"
type What = "pending" | "live" | "ended" | "never existed"

/** The answer's type, or the code of its error. */
const answerOf = (frame: Frame): string => (frame.type === "session.error" ? frame.payload.code : frame.type)

const whos: ReadonlyArray<Who> = ["owner", "same principal", "stranger", "anonymous"]
const whats: ReadonlyArray<What> = ["pending", "live", "ended", "never existed"]

const hidden = ["JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND", "JOB_NOT_FOUND"] as const

/** By request, then by who asks; each for a pending, a live, an ended and an unknown job. */
const matrix: Readonly<Record<string, Readonly<Record<Who, readonly [string, string, string, string]>>>> = {
  "job.cancel": {
    owner: ["job.cancelled", "job.cancelled", "INVALID_REQUEST", "JOB_NOT_FOUND"],
    "same principal": ["PERMISSION_DENIED", "PERMISSION_DENIED", "INVALID_REQUEST", "JOB_NOT_FOUND"],
    stranger: hidden,
    anonymous: hidden
  },
  "job.subscribe": {
    owner: ["job.subscribed", "job.subscribed", "job.subscribed", "JOB_NOT_FOUND"],
    "same principal": ["job.subscribed", "job.subscribed", "job.subscribed", "JOB_NOT_FOUND"],
    stranger: hidden,
    anonymous: hidden
  },
  // Also of who does not observe it: there is nothing to end then.
  "job.unsubscribe": {
    owner: ["job.unsubscribed", "job.unsubscribed", "job.unsubscribed", "JOB_NOT_FOUND"],
    "same principal": ["job.unsubscribed", "job.unsubscribed", "job.unsubscribed", "JOB_NOT_FOUND"],
    stranger: hidden,
    anonymous: hidden
  }
}

type Artifact = "there" | "released" | "never existed"

/** As above, for an artifact that is there, one that was released, and an unknown one: they are a principal's. */
const artifacts: Readonly<Record<string, Readonly<Record<Who, Readonly<Record<Artifact, string>>>>>> =
  Object.fromEntries(
    [
      ["artifact.fetch", "artifact.data"],
      ["artifact.release", "artifact.released"]
    ].map(([request, answer]) => {
      const gone = { released: "JOB_NOT_FOUND", "never existed": "JOB_NOT_FOUND" }
      const mine = { there: answer!, ...gone }
      const theirs = { there: "JOB_NOT_FOUND", ...gone }
      return [request!, { owner: mine, "same principal": mine, stranger: theirs, anonymous: theirs }]
    })
  )

/** Every request that a client sends in a session, with what fits any of them. */
const requests = (jobId: string, artifactId: string): ReadonlyArray<readonly [type: string, payload: object]> => [
  ["job.submit", { agent: "echo" }],
  ["job.cancel", { job_id: jobId }],
  ["job.subscribe", { job_id: jobId }],
  ["job.unsubscribe", { job_id: jobId }],
  ["session.list_jobs", {}],
  ["session.ack", { last_processed_seq: 0 }],
  ["session.ping", { nonce: "n" }],
  ["session.pong", { ping_nonce: "n", received_at: "2026-01-01T00:00:00Z" }],
  ["artifact.put", { content_type: "text/plain", data: "" }],
  ["artifact.fetch", { artifact_id: artifactId }],
  ["artifact.release", { artifact_id: artifactId }],
  ["session.close", {}],
  ["session.bye", {}]
]

describe.each(backends)("permissions over %s", (_name, backend) => {
  const main = world({
    ...backend(),
    limits: { runningJobsPerAgent: 1 },
    auth: Authenticator.layerFirstOf([bearer({ "alice-token": "alice", "bob-token": "bob" }), anonymous]).pipe(
      Layer.provide(Ids.layer)
    )
  })

  /** Sessions of everybody, and a job of alice's of every kind. */
  const scene = Effect.gen(function* () {
    const peers: Record<Who, Peer & { readonly sessionId: string; readonly token: string }> = {
      owner: yield* hello({ features }),
      "same principal": yield* hello({ features }),
      stranger: yield* hello({ features, token: "bob-token" }),
      anonymous: yield* hello({ features, token: "" })
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

  const ask = (peer: Peer, type: string, payload: object) => Effect.flatMap(peer.send(type, payload), peer.reply)

  for (const [request, byWho] of Object.entries(matrix)) {
    it.scoped(`§7.4, §7.6 ${request}: each answer, and a refusal changes nothing`, () =>
      Effect.gen(function* () {
        const { jobs, peers } = yield* scene
        // Those who may not come first, so that what they do not change is seen by those who may.
        for (const who of whos.toReversed()) {
          for (const [i, what] of whats.entries()) {
            const answer = yield* ask(peers[who], request, { job_id: jobs[what] })
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
        if (request === "job.cancel") return
        // To observe a job, or no longer, changes nothing for its owner.
        yield* Deferred.succeed(gate("live"), undefined)
        yield* Deferred.succeed(gate("pending"), undefined)
        for (const what of ["live", "pending"] as const) {
          expect((yield* peers.owner.terminal(jobs[what])).payload.result).toBe(what)
        }
        for (const who of whos) {
          const observes = who === "owner" || (who === "same principal" && request === "job.subscribe")
          yield* barrier(peers[who])
          expect([who, peers[who].events().some(({ type }) => type === "job.result")]).toEqual([who, observes])
        }
      }).pipe(Effect.provide(main))
    )
  }

  it.scoped("§14 artifacts: each answer, and a refusal changes nothing", () =>
    Effect.gen(function* () {
      const { peers } = yield* scene
      const put = Effect.map(
        ask(peers.owner, "artifact.put", { content_type: "text/plain", data: "AAEC" }),
        ({ payload }): string => payload.artifact_id
      )
      const released = yield* put
      yield* ask(peers.owner, "artifact.release", { artifact_id: released })
      for (const who of whos) {
        for (const [request, byWho] of Object.entries(artifacts)) {
          // Anew for each, since a release that is allowed ends it.
          const there = yield* put
          for (const [what, artifact_id] of [
            ["there", there],
            ["released", released],
            ["never existed", "art_01M8BMGX24CEBWWVQ00VY60JGP"]
          ] as const) {
            const answer = yield* ask(peers[who], request, { artifact_id })
            expect([who, request, what, answerOf(answer)]).toEqual([who, request, what, byWho[who][what]])
          }
          const { payload } = yield* ask(peers.owner, "artifact.fetch", { artifact_id: there })
          const isGone = byWho[who].there === "artifact.released"
          expect([who, request, payload.data]).toEqual([who, request, isGone ? undefined : "AAEC"])
        }
      }
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.5 an acknowledgement counts in its own session, up to its last event: more is refused", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      for (const who of whos) {
        const peer = peers[who]
        yield* barrier(peer)
        const last = peer.events().length
        expect([who, last > 0]).toEqual([who, who === "owner"])
        for (const seq of [last + 1, peers.owner.events().length + 1, Number.MAX_SAFE_INTEGER]) {
          expect((yield* ask(peer, "session.ack", { last_processed_seq: seq })).payload).toMatchObject({
            code: "INVALID_REQUEST",
            message: `payload.last_processed_seq: the session's last event is ${last}`
          })
        }
        // Those that are allowed are not answered, in any order.
        const seen = peer.seen.length
        for (const seq of [last, 0, last]) yield* peer.send("session.ack", { last_processed_seq: seq })
        yield* barrier(peer)
        expect(peer.seen.slice(seen).map(({ type }) => type)).toEqual(["session.pong"])
      }
      // No acknowledgement, and none that was refused, has let go of an event that comes.
      yield* Deferred.succeed(gate("live"), undefined)
      yield* peers.owner.terminal(jobs.live)
      expect(peers.owner.events().map((frame) => frame.event_seq)).toEqual(peers.owner.events().map((_, i) => i + 1))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§5 who names another's session is refused, whatever it asks; that session does not notice", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      const { artifact_id } = (yield* ask(peers.owner, "artifact.put", { content_type: "text/plain", data: "AAEC" }))
        .payload
      for (const who of whos) {
        if (who === "owner") continue
        for (const [type, payload] of requests(jobs.live, artifact_id)) {
          const id = yield* peers[who].send(type, payload, { session_id: peers.owner.sessionId })
          expect([who, type, (yield* peers[who].reply(id)).payload]).toMatchObject([
            who,
            type,
            { code: "INVALID_REQUEST", message: "session_id: is not this connection's session" }
          ])
          // So that they are not too many bad ones in a row.
          yield* barrier(peers[who])
        }
      }
      yield* barrier(peers.owner)
      expect((yield* ask(peers.owner, "artifact.fetch", { artifact_id })).payload.data).toBe("AAEC")
      yield* Deferred.succeed(gate("live"), undefined)
      expect((yield* peers.owner.terminal(jobs.live)).payload.result).toBe("live")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.7, 1.0 §6.4 a close or bye ends the connection of who sends it, and no job, session or window", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      const tokens = { owner: "alice-token", "same principal": "alice-token", stranger: "bob-token", anonymous: "" }
      for (const who of whos) {
        for (const type of ["session.close", "session.bye"]) {
          const peer = peers[who]
          const before = peer.seen.length
          if (type === "session.close") {
            const closed = yield* ask(peer, type, { reason: "done" })
            expect([who, closed.type, closed.session_id]).toEqual([who, "session.closed", peer.sessionId])
            expect((yield* peer.ended).code).toBe(1000)
            expect(peer.seen.at(-1)).toBe(closed)
          } else {
            yield* peer.send(type, { reason: "done" })
            expect((yield* peer.ended).code).toBe(1000)
            expect(peer.seen.slice(before).filter((frame) => frame.event_seq === undefined)).toEqual([])
          }
          for (const other of whos) if (other !== who) yield* barrier(peers[other])
          // It comes back to its own session, with its own token.
          peers[who] = yield* hello({
            token: tokens[who],
            features,
            resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
          })
          expect(peers[who].sessionId).toBe(peer.sessionId)
        }
      }
      yield* Deferred.succeed(gate("live"), undefined)
      expect((yield* peers.owner.terminal(jobs.live)).payload.result).toBe("live")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§14 what is another's and what never was cannot be told apart", () =>
    Effect.gen(function* () {
      const { jobs, peers } = yield* scene
      const shape = (frame: Frame) => {
        const { message, request_id: _, ...rest } = frame.payload
        return { type: frame.type, rest, message: String(message).replace(/job_[0-9A-Z]{26}/, "JOB") }
      }
      for (const request of ["job.cancel", "job.subscribe"]) {
        const unknown = shape(yield* ask(peers.stranger, request, { job_id: jobs["never existed"] }))
        for (const what of ["pending", "live", "ended"] as const) {
          expect(shape(yield* ask(peers.stranger, request, { job_id: jobs[what] }))).toEqual(unknown)
        }
      }
      // Leaving what was never observed is answered alike for everybody's jobs, and does nothing.
      const left = shape(yield* ask(peers.stranger, "job.unsubscribe", { job_id: jobs["never existed"] }))
      for (const what of ["pending", "live", "ended"] as const) {
        expect(shape(yield* ask(peers.stranger, "job.unsubscribe", { job_id: jobs[what] }))).toEqual(left)
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
        ["bob-token", { session_id: owner.sessionId, resume_token: owner.token }, "RESUME_WINDOW_EXPIRED"],
        ["alice-token", { session_id: owner.sessionId, resume_token: peers.stranger.token }, "RESUME_WINDOW_EXPIRED"],
        ["alice-token", { session_id: owner.sessionId, resume_token: "rt_guess" }, "RESUME_WINDOW_EXPIRED"],
        ["nobody", { session_id: owner.sessionId, resume_token: owner.token }, "UNAUTHENTICATED"],
        ["", { session_id: owner.sessionId, resume_token: owner.token }, "RESUME_WINDOW_EXPIRED"],
        ["", { session_id: peers.anonymous.sessionId, resume_token: owner.token }, "RESUME_WINDOW_EXPIRED"],
        [
          "bob-token",
          { session_id: peers.anonymous.sessionId, resume_token: peers.anonymous.token },
          "RESUME_WINDOW_EXPIRED"
        ],
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
      for (const [type, payload] of requests(jobs.live, "art_01M8BMGX24CEBWWVQ00VY60JGP")) {
        const peer = yield* dial
        const id = yield* peer.send(type, payload)
        expect((yield* peer.reply(id)).payload.code).toBe("INVALID_REQUEST")
        expect((yield* peer.ended).code).toBe(1008)
      }
    }).pipe(Effect.provide(main))
  )
})
