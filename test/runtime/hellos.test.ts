/** First frames: every shape of a resume, what a refusal tells, and which clients are known by their hello. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Layer, Deferred, Effect } from "effect"
import { fromJobError } from "../../src/protocol/Errors.js"
import type { RawEnvelope } from "../../src/protocol/Envelope.js"
import { peerKind } from "../../src/runtime/kernel/Peers.js"
import { Audit, AuditMemory } from "../../src/runtime/index.js"
import { backends } from "./backends.js"
import { dial, type Frame, hello, type Peer, submit } from "./peer.js"
import { gate, resetGates, world } from "./world.js"

beforeEach(resetGates)

const auth = { scheme: "bearer", token: "alice-token" }

describe.each(backends)("hellos over %s", (_name, backend) => {
  const main = world(backend())

  it.scoped("§6.2 the welcome names its session and its time in its payload too", () =>
    Effect.gen(function* () {
      const { welcome } = yield* hello()
      expect(welcome.payload.session_id).toBe(welcome.session_id)
      expect(welcome.payload.accepted_at).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
    }).pipe(Effect.provide(main))
  )

  /** Opens a session with an event behind it, and drops its connection. */
  const left = Effect.gen(function* () {
    const peer = yield* hello()
    const accepted = yield* submit(peer, "gate", { name: "hellos" })
    yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
    yield* peer.drop
    return { ...peer, jobId: accepted.job_id! }
  })

  type Left = Effect.Effect.Success<typeof left>
  const point = ({ token }: Left) => ({ resume_token: token, last_event_seq: 0 })

  it.scoped.each<readonly [string, string, (peer: Left) => object, ((peer: Left) => object) | undefined]>([
    ["nested, with its id", "session.hello", (p) => ({ resume: { ...point(p), session_id: p.sessionId } }), undefined],
    ["nested, by its token alone", "session.hello", (p) => ({ resume: point(p) }), undefined],
    ["flat, with its id", "session.hello", (p) => ({ ...point(p), session_id: p.sessionId }), undefined],
    ["flat, by its token alone", "session.hello", point, undefined],
    ["session.resume, with its id", "session.resume", (p) => ({ ...point(p), session_id: p.sessionId }), undefined],
    ["session.resume, named by its envelope", "session.resume", point, (p) => ({ session_id: p.sessionId })],
    ["session.resume, by its token alone", "session.resume", point, undefined]
  ])("§6.3 a session is resumed: %s", ([_shape, type, payload, head]) =>
    Effect.gen(function* () {
      const peer = yield* left
      const again = yield* dial
      yield* again.send(type, { auth, ...payload(peer) }, head?.(peer) ?? {})
      const welcome = yield* again.next("session.welcome")
      expect(welcome.session_id).toBe(peer.sessionId)
      expect(welcome.payload.resume_token).not.toBe(peer.token)
      yield* again.next("job.event", (f) => f.payload.body.message === "waiting")
      yield* Deferred.succeed(gate("hellos"), undefined)
      yield* again.terminal(peer.jobId)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.3 a token resumes by itself until the next one has been shown, and never after", () =>
    Effect.gen(function* () {
      const peer = yield* left
      const byToken = (token: string) =>
        Effect.gen(function* () {
          const again = yield* dial
          yield* again.send("session.hello", { auth, resume_token: token, last_event_seq: 0 })
          return yield* again.next("session.welcome")
        })
      const second = yield* byToken(peer.token)
      // The second has not been used: the first counts still.
      const third = yield* byToken(peer.token)
      expect(third.session_id).toBe(second.session_id)
      const refused = yield* dial
      yield* refused.send("session.hello", { auth, resume_token: second.payload.resume_token, last_event_seq: 0 })
      expect((yield* refused.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      const fourth = yield* dial
      yield* fourth.send("session.hello", { auth, resume_token: third.payload.resume_token, last_event_seq: 0 })
      yield* fourth.next("session.welcome")
      yield* fourth.send("session.ping", { nonce: "n" })
      yield* fourth.next("session.pong")
      const old = yield* dial
      yield* old.send("session.hello", { auth, resume_token: third.payload.resume_token, last_event_seq: 0 })
      expect((yield* old.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.3, §14 every resume that fails is refused alike, and only the audit trail tells why", () =>
    Effect.gen(function* () {
      const peer = yield* left
      const attempts: ReadonlyArray<readonly [token: string, payload: object]> = [
        ["alice-token", { session_id: "sess_none", resume_token: peer.token }],
        ["alice-token", { session_id: peer.sessionId, resume_token: "rt_wrong" }],
        ["alice-token", { resume_token: "rt_wrong" }],
        ["bob-token", { session_id: peer.sessionId, resume_token: peer.token }],
        ["bob-token", { resume_token: peer.token }],
        ["bob-token", { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 99 }]
      ]
      const told: Array<unknown> = []
      for (const [token, resume] of attempts) {
        const other = yield* dial
        yield* other.send("session.hello", { auth: { scheme: "bearer", token }, resume })
        const { payload } = yield* other.next("session.error")
        const { request_id: _, ...rest } = payload
        told.push(rest)
        expect((yield* other.ended).code).toBe(1008)
      }
      expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1)
      expect(told[0]).toMatchObject({ code: "RESUME_WINDOW_EXPIRED", retryable: false })
      // None of them has harmed the session.
      const again = yield* hello({ resume: { ...point(peer), session_id: peer.sessionId } })
      expect(again.sessionId).toBe(peer.sessionId)
      const audit = yield* AuditMemory
      yield* audit.first(({ type }) => type === "session.resumed")
      const known = (yield* audit.kept).flatMap((record) => (record.type === "session.refused" ? [record] : []))
      expect(known.map(({ reason }) => reason)).toEqual(attempts.map(() => "resume"))
      expect(new Set(known.map(({ detail }) => detail)).size).toBe(3)
    }).pipe(Effect.provide(Layer.provideMerge(world(backend()), Audit.layerMemory())))
  )

  it.scoped.each<readonly [string, (peer: Peer) => Effect.Effect<unknown>, string | undefined]>([
    ["a wrong token", (peer) => peer.send("session.hello", { auth: { token: "x" } }), undefined],
    ["a frame that is not JSON", (peer) => peer.raw("{"), undefined],
    ["a message that is no hello", (peer) => peer.send("session.ping", { nonce: "n" }), undefined],
    ["a payload of the wrong shape", (peer) => peer.send("session.hello", { auth: 1 }), undefined],
    [
      "a session that is gone",
      (peer) => peer.send("session.hello", { auth, resume: { session_id: "sess_gone", resume_token: "rt" } }),
      "sess_gone"
    ],
    [
      "a flat resume",
      (peer) => peer.send("session.hello", { auth, session_id: "sess_flat", resume_token: "rt" }),
      "sess_flat"
    ],
    [
      "a resume by its envelope",
      (peer) => peer.send("session.resume", { auth, resume_token: "rt" }, { session_id: "sess_head" }),
      "sess_head"
    ],
    [
      "a payload of the wrong shape that names one",
      (peer) => peer.send("session.hello", { auth, resume: { session_id: "sess_bad", resume_token: 1 } }),
      "sess_bad"
    ]
  ])("1.0 §5.1 a refusal before the welcome carries a session_id: %s", ([_what, send, named]) =>
    Effect.gen(function* () {
      const peer = yield* dial
      yield* send(peer)
      const refusal = yield* peer.next("session.error")
      expect(refusal.session_id).toEqual(named ?? expect.stringMatching(/^sess_[0-9A-HJKMNP-TV-Z]{26}$/))
      yield* peer.ended
      expect(peer.seen).toHaveLength(1)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§5 a client whose hello says arcp 1 is answered so in every frame, and any other with 1.1", () =>
    Effect.gen(function* () {
      const told = (peer: Peer) => [...new Set(peer.seen.map(({ arcp }) => arcp))]
      const greet = (arcp: string, payload: object) =>
        Effect.gen(function* () {
          const peer = yield* dial
          yield* peer.send("session.hello", payload, { arcp })
          return peer
        })
      const capabilities = { features: ["list_jobs", "progress"] }
      const peer = yield* greet("1", { auth, capabilities })
      const welcome = yield* peer.next("session.welcome")
      const accepted = yield* submit(peer, "counter", { count: 3, kind: "progress" })
      yield* peer.terminal(accepted.job_id!)
      yield* Effect.flatMap(peer.send("session.list_jobs", {}, { arcp: "1" }), peer.reply)
      yield* Effect.flatMap(peer.send("job.cancel", { job_id: "job_none" }), peer.reply)
      yield* peer.send("session.close")
      yield* peer.ended
      expect(new Set(peer.seen.map(({ type }) => type))).toEqual(
        new Set([
          "session.welcome",
          "job.accepted",
          "job.event",
          "job.result",
          "session.jobs",
          "session.error",
          "session.closed"
        ])
      )
      expect(told(peer)).toEqual(["1"])
      const resume = {
        session_id: welcome.session_id,
        resume_token: welcome.payload.resume_token,
        last_event_seq: 0
      }
      const back = yield* greet("1.1", { auth, capabilities, resume })
      yield* back.terminal(accepted.job_id!)
      expect(told(back)).toEqual(["1.1"])
      const refused = yield* greet("1", { auth: { token: "x" } })
      yield* refused.ended
      expect(told(refused)).toEqual(["1"])
      const later = yield* greet("1.9", { auth })
      yield* later.next("session.welcome")
      expect(told(later)).toEqual(["1.1"])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.1 the old dialect's first frame is told which dialect it is", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      const id = yield* peer.send("session.open", { auth })
      const { payload } = yield* peer.next("session.error")
      expect(payload).toMatchObject({ code: "INVALID_REQUEST", request_id: id })
      expect(payload.message).toContain("session.open is the old dialect")
      expect(payload.message).toContain("session.hello")
      expect((yield* peer.ended).code).toBe(1008)
    }).pipe(Effect.provide(main))
  )

  it.scoped(
    "1.0 §12 an agent's own code goes to sessions that offered to take it, also in a replay, and to no other",
    () =>
      Effect.gen(function* () {
        const owner = yield* hello()
        const accepted = yield* submit(owner, "fail")
        const end = yield* owner.terminal(accepted.job_id!)
        expect(end.payload).toMatchObject({ code: "NO_LUCK", final_status: "error" })
        const plain = yield* hello({ features: ["subscribe"] })
        yield* plain.send("job.subscribe", { job_id: accepted.job_id, history: true })
        const { payload } = yield* plain.terminal(accepted.job_id!)
        expect(payload).toEqual({
          ...end.payload,
          code: "INTERNAL_ERROR",
          retryable: true,
          details: { agent_error: { code: "NO_LUCK", message: "no luck", retryable: false } }
        })
        // A code of the protocol is everybody's.
        const own = yield* submit(plain, "die")
        expect((yield* plain.terminal(own.job_id!)).payload.code).toBe("INTERNAL_ERROR")
        expect(plain.seen.filter(({ type }) => type === "session.error")).toEqual([])
      }).pipe(Effect.provide(main))
  )
})

describe("peers by the shape of their hello", () => {
  const ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
  const of = (id: string, payload: object, head: object = {}): RawEnvelope => ({
    arcp: "1.1",
    id,
    type: "session.hello",
    payload: payload as Frame["payload"],
    ...head
  })
  const offering = (...features: ReadonlyArray<string>) => ({ capabilities: { features } })

  it.each<readonly [string, RawEnvelope, "go" | "java" | undefined]>([
    ["a UUIDv7", of("01920000-0000-7000-8000-000000000001", offering("ack")), "go"],
    ["a UUIDv4", of("01920000-0000-4000-8000-000000000001", offering("ack", "progress")), undefined],
    ["a bare ULID and sorted features", of(ulid, offering("ack", "heartbeat", "subscribe")), "java"],
    ["and a timestamp", of(ulid, offering("ack", "heartbeat"), { timestamp: "2026-01-01T00:00:00Z" }), undefined],
    ["features in another order", of(ulid, offering("heartbeat", "ack")), undefined],
    ["a feature that is not the specification's", of(ulid, offering("ack", "artifacts")), undefined],
    ["the same feature twice", of(ulid, offering("ack", "ack")), undefined],
    ["one feature, which is always sorted", of(ulid, offering("ack")), undefined],
    ["one feature and a flat resume", of(ulid, { ...offering("ack"), resume_token: "rt" }), "java"],
    ["a nested resume", of(ulid, { ...offering("ack", "progress"), resume: { resume_token: "rt" } }), undefined],
    ["no features", of(ulid, {}), undefined],
    ["features that are none", of(ulid, { capabilities: { features: [1, null] } }), undefined],
    ["a prefixed ULID", of(`msg_${ulid}`, offering("ack", "heartbeat")), undefined]
  ])("%s", (_what, envelope, kind) => {
    expect(peerKind(envelope)).toBe(kind)
  })
})

describe("an agent's error as a client reads it", () => {
  it("1.0 §12 is the agent's own, also where it came as INTERNAL_ERROR", () => {
    const details = { agent_error: { code: "NO_LUCK", message: "no luck", retryable: false, details: { at: 3 } } }
    expect(fromJobError({ code: "INTERNAL_ERROR", message: "no luck", retryable: true, details })).toMatchObject({
      _tag: "VendorError",
      code: "NO_LUCK",
      message: "no luck",
      retryable: false,
      details: { at: 3 }
    })
  })

  it.each([null, 1, "x", [], {}, { code: 1 }, { code: "" }, { code: "INTERNAL_ERROR" }, { code: "PERMISSION_DENIED" }])(
    "what is no agent's error stays INTERNAL_ERROR: %j",
    (agent_error) => {
      const error = fromJobError({ code: "INTERNAL_ERROR", message: "m", retryable: true, details: { agent_error } })
      expect(error._tag).toBe("InternalError")
    }
  )
})
