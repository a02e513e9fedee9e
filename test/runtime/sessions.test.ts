import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, TestClock } from "effect"
import { PrincipalId, SessionId } from "../../src/protocol/index.js"
import { packageVersion } from "../../src/protocol/Package.js"
import { TokenIndex } from "../../src/runtime/sessions/internal/resuming.js"
import { decorate } from "../../src/store/decorate.js"
import { MemoryStore } from "../../src/store/index.js"
import { Store } from "../../src/store/Store.js"
import { allFeatures, barrier, dial, hello, run, submit, withoutAck } from "./peer.js"
import { closeCodeOver, transports } from "./backends.js"
import { gate, resetGates, world, type WorldOptions } from "./world.js"

beforeEach(resetGates)

describe.each(transports)("sessions over %s", (name, backend) => {
  const over = (options: WorldOptions) => world({ ...backend(), ...options })
  const main = over({})

  it.scoped("§6.2 the welcome is the first frame and carries the intersection of features", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: ["ack", "progress", "x-unknown"] })
      expect(peer.seen[0]!.type).toBe("session.welcome")
      expect(peer.welcome.session_id).toMatch(/^sess_/)
      expect(peer.welcome.payload.capabilities.features.toSorted()).toEqual(["ack", "progress"])
      expect(peer.welcome.payload.capabilities.agents).toContain("echo")
      expect(peer.welcome.payload.resume_token.length).toBeGreaterThanOrEqual(24)
      expect(peer.welcome.payload.resume_window_sec).toBe(600)
      expect(peer.welcome.payload.runtime.version).toBe(packageVersion)
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.2 the inventory has versions and the default where agent_versions was negotiated", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const versions = peer.welcome.payload.capabilities.agents.find((a: any) => a.name === "versions")
      expect(versions).toEqual({ name: "versions", versions: ["1.0.0", "2.0.0"], default: "2.0.0" })
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.1 a wrong token gets UNAUTHENTICATED and a closed connection", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      yield* peer.send("session.hello", { auth: { scheme: "bearer", token: "no-such-token" } })
      const error = yield* peer.next("session.error")
      expect(error.payload.code).toBe("UNAUTHENTICATED")
      expect(JSON.stringify(error)).not.toContain("no-such-token")
      expect((yield* peer.ended).code).toBe(closeCodeOver(name, 1008))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.2 the first message must be a hello", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      yield* peer.send("job.submit", { agent: "echo" })
      expect((yield* peer.next("session.error")).payload.code).toBe("INVALID_REQUEST")
      yield* peer.ended
    }).pipe(Effect.provide(main))
  )

  it.scoped("a peer that says nothing is dropped after the handshake timeout", () =>
    Effect.gen(function* () {
      const peer = yield* dial
      yield* Effect.yieldNow()
      yield* TestClock.adjust("11 seconds")
      expect((yield* peer.next("session.error")).payload.code).toBe("INVALID_REQUEST")
      expect((yield* peer.ended).code).toBe(closeCodeOver(name, 1008))
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.7 close is answered with closed, and the job lives on", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const accepted = yield* submit(peer, "gate", { name: "close-1" })
      const id = yield* peer.send("session.close", { reason: "done" })
      const closed = yield* peer.next("session.closed")
      expect(closed.payload.request_id).toBe(id)
      expect((yield* peer.ended).code).toBe(1000)
      yield* Deferred.succeed(gate("close-1"), undefined)
      const again = yield* hello({
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 1 }
      })
      const end = yield* again.terminal(accepted.payload.job_id)
      expect(end.payload.result).toBe("close-1")
    }).pipe(Effect.provide(main))
  )

  it.scoped("1.0 §6.4 nothing follows a session.bye: the connection is closed, and the session can be resumed", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const accepted = yield* submit(peer, "gate", { name: "bye" })
      yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
      const seen = peer.seen.length
      // The job emits, and a reply is due, when the bye comes.
      const unanswered = ["session.list_jobs", "session.bye", "session.ping"].map((type, i) =>
        JSON.stringify({ arcp: "1.1", id: `bye-${i}`, type, payload: type === "session.ping" ? { nonce: "late" } : {} })
      )
      yield* Effect.ignore(peer.connection.send(unanswered))
      yield* Deferred.succeed(gate("bye"), undefined)
      expect((yield* peer.ended).code).toBe(1000)
      const after = peer.seen.slice(seen).map(({ type }) => type)
      expect(after).not.toContain("session.closed")
      expect(after).not.toContain("session.pong")
      const again = yield* hello({
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      })
      expect((yield* again.terminal(accepted.job_id!)).payload.result).toBe("bye")
    }).pipe(Effect.provide(main))
  )

  it.scoped.each(["session.bye", "session.close"])(
    "§6.7, 1.0 §6.4 no events follow a %s that comes while a replay is being read",
    (type) => {
      const slow = Layer.effect(
        Store,
        Effect.map(Store, (store) =>
          decorate(store, (operation, run) =>
            operation === "segments"
              ? Effect.zipRight(
                  Effect.zipRight(Deferred.succeed(gate("reading"), undefined), Deferred.await(gate("read"))),
                  run
                )
              : run
          )
        )
      ).pipe(Layer.provide(MemoryStore.layer))
      return Effect.gen(function* () {
        const first = yield* hello({ features: withoutAck })
        // More than is kept in memory.
        yield* run(first, "counter", { count: 5_000 })
        yield* first.drop
        yield* first.ended
        const peer = yield* hello({
          resume: { session_id: first.sessionId, resume_token: first.token, last_event_seq: 0 }
        })
        yield* Deferred.await(gate("reading"))
        yield* peer.send(type)
        // The message is taken before the store has answered.
        for (let turn = 0; turn < 50; turn++) yield* Effect.promise(() => new Promise(setImmediate))
        yield* Deferred.succeed(gate("read"), undefined)
        expect((yield* peer.ended).code).toBe(1000)
        expect(peer.seen.map((frame) => frame.type)).toEqual(
          type === "session.bye" ? ["session.welcome"] : ["session.welcome", "session.closed"]
        )
      }).pipe(Effect.provide(over({ store: slow })))
    }
  )

  describe("resume", () => {
    it.scoped("§6.3 replays every event after last_event_seq, then goes on live with the next number", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "gate", { name: "resume-1" })
        yield* peer.next("job.event", (f) => f.payload.body.message === "waiting")
        yield* run(peer, "counter", { count: 50 })
        yield* peer.drop
        const again = yield* hello({
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 10 }
        })
        expect(again.seen[0]!.type).toBe("session.welcome")
        expect(again.sessionId).toBe(peer.sessionId)
        expect(again.token).not.toBe(peer.token)
        yield* Deferred.succeed(gate("resume-1"), undefined)
        yield* again.terminal(accepted.payload.job_id)
        const seqs = again.events().map((f) => f.event_seq)
        expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => 11 + i))
        expect(
          new Map(
            peer
              .events()
              .slice(10)
              .map((f) => [f.event_seq, JSON.stringify(f.payload)])
          )
        ).toEqual(
          new Map(
            again
              .events()
              .slice(0, peer.events().length - 10)
              .map((f) => [f.event_seq, JSON.stringify(f.payload)])
          )
        )
      }).pipe(Effect.provide(main))
    )

    for (const [name, payload] of [
      [
        "flat fields of a hello",
        (s: string, t: string) => ["session.hello", { session_id: s, resume_token: t, last_event_seq: 0 }]
      ],
      [
        "session.resume",
        (s: string, t: string) => ["session.resume", { session_id: s, resume_token: t, last_event_seq: -1 }]
      ]
    ] as const) {
      it.scoped(`§6.3 accepts ${name}`, () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          yield* run(peer, "counter", { count: 2 })
          yield* peer.drop
          const again = yield* dial
          const [type, body] = payload(peer.sessionId, peer.token) as [string, object]
          yield* again.send(type, { ...body, auth: { token: "alice-token" } })
          yield* again.next("session.welcome")
          yield* again.next("job.result")
          expect(again.events().map((f) => f.event_seq)).toEqual([1, 2, 3, 4])
        }).pipe(Effect.provide(main))
      )
    }

    it.scoped("§6.3 a wrong token, principal or cursor changes nothing for the real session", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* run(peer, "counter", { count: 2 })
        const attempts: ReadonlyArray<readonly [string, object, string]> = [
          [
            "alice-token",
            { session_id: peer.sessionId, resume_token: "rt_wrong", last_event_seq: 0 },
            "RESUME_WINDOW_EXPIRED"
          ],
          [
            "bob-token",
            { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 },
            "RESUME_WINDOW_EXPIRED"
          ],
          [
            "alice-token",
            { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 99 },
            "INVALID_REQUEST"
          ],
          [
            "alice-token",
            { session_id: "sess_none", resume_token: peer.token, last_event_seq: 0 },
            "RESUME_WINDOW_EXPIRED"
          ]
        ]
        for (const [token, resume, code] of attempts) {
          const other = yield* dial
          yield* other.send("session.hello", { auth: { token }, resume })
          expect((yield* other.next("session.error")).payload.code).toBe(code)
          yield* other.ended
        }
        const end = yield* run(peer, "echo", "still here")
        expect(end.payload.result).toBe("still here")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 tokens are single-use once the client has shown the new one", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* peer.drop
        const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        const second = yield* hello({ resume })
        yield* barrier(second)
        yield* second.drop
        const third = yield* dial
        yield* third.send("session.hello", { auth: { token: "alice-token" }, resume })
        expect((yield* third.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 a drop during the welcome loses nothing: the previous token still counts", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* peer.drop
        const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        const second = yield* hello({ resume })
        yield* second.drop
        const third = yield* hello({ resume })
        expect(third.sessionId).toBe(peer.sessionId)
      }).pipe(Effect.provide(main))
    )

    it.scoped("a second connection takes the session over; the first is told and closed", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "gate", { name: "takeover" })
        const second = yield* hello({
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        })
        const error = yield* peer.next("session.error")
        expect(error.payload.details).toEqual({ reason: "taken_over" })
        expect((yield* peer.ended).code).toBe(closeCodeOver(name, 1008))
        const id = yield* second.send("job.cancel", { job_id: accepted.payload.job_id })
        expect((yield* second.reply(id)).type).toBe("job.cancelled")
        const end = yield* second.terminal(accepted.payload.job_id)
        expect(end.payload.code).toBe("CANCELLED")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 after the window the session is gone; before it, counted from the last message, it is not", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* TestClock.adjust("9 minutes")
        yield* barrier(peer)
        yield* peer.drop
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        yield* TestClock.adjust("9 minutes")
        const again = yield* hello({
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        })
        yield* again.drop
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        yield* TestClock.adjust("11 minutes")
        const late = yield* dial
        yield* late.send("session.hello", {
          auth: { token: "alice-token" },
          resume: { session_id: peer.sessionId, resume_token: again.token, last_event_seq: 0 }
        })
        expect((yield* late.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }).pipe(Effect.provide(over({ runtime: { features: ["ack"] } })))
    )

    it.scoped("§6.3 a replay larger than any queue arrives whole", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: withoutAck })
        yield* run(peer, "counter", { count: 20_000 })
        yield* peer.drop
        const again = yield* hello({
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
        })
        yield* again.next("job.result")
        const seqs = again.events().map((f) => f.event_seq)
        expect(seqs.length).toBe(20_002)
        expect(seqs.every((seq, i) => seq === i + 1)).toBe(true)
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.3 when events of the gap have been let go, resume is refused, not silently short", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const accepted = yield* submit(peer, "counter", { count: 1_000 })
        yield* peer.terminal(accepted.payload.job_id)
        yield* submit(peer, "gate", { name: "never-opened" })
        yield* peer.drop
        const stale = yield* dial
        yield* stale.send("session.hello", {
          auth: { token: "alice-token" },
          resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 5 }
        })
        const first = yield* stale.next("session.error")
        expect(first.payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }).pipe(Effect.provide(over({ limits: { historyEvents: 50, bufferedEvents: 100, queuedEvents: 16 } })))
    )
  })

  describe("messages", () => {
    it.scoped("§5 bad frames are answered, the next good one works, five in a row close", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        const bad = [
          "{",
          "[]",
          `{"arcp":"2","id":"a","type":"session.ping","payload":{}}`,
          `{"arcp":"1.1","id":"b","type":"job.result","payload":{}}`
        ]
        for (const text of bad) {
          yield* peer.raw(text)
          expect((yield* peer.next("session.error")).payload.code).toBe("INVALID_REQUEST")
        }
        yield* barrier(peer)
        for (const text of [...bad, `{"arcp":"1.1","id":"c","type":"no.such","payload":{}}`]) yield* peer.raw(text)
        expect((yield* peer.ended).code).toBe(closeCodeOver(name, 1008))
      }).pipe(Effect.provide(main))
    )

    it.scoped("§5 unknown fields and vendor types are ignored", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* peer.raw(`{"arcp":"1","id":"v","type":"arcpx.demo.note.v1","payload":{},"zzz":1}`)
        yield* peer.raw(`{"arcp":"1.7","id":"w","type":"x-demo","payload":{}}`)
        yield* barrier(peer)
        expect(peer.seen.some((f) => f.type === "session.error")).toBe(false)
      }).pipe(Effect.provide(main))
    )

    it.scoped(
      "§5 every frame of the runtime from the welcome on has the session_id; a client's frame may leave it out",
      () =>
        Effect.gen(function* () {
          const peer = yield* hello()
          yield* peer.send("session.ping", { nonce: "without" })
          yield* peer.send("session.ping", { nonce: "with" }, { session_id: peer.sessionId })
          yield* run(peer, "counter", { count: 2 })
          yield* run(peer, "fail")
          yield* submit(peer, "nobody")
          yield* Effect.flatMap(peer.send("session.list_jobs"), peer.reply)
          yield* barrier(peer)
          const pongs = peer.seen.filter((frame) => frame.type === "session.pong")
          expect(pongs.map((frame) => frame.payload.ping_nonce).slice(0, 2)).toEqual(["without", "with"])
          expect(new Set(peer.seen.map((frame) => frame.type)).size).toBeGreaterThan(6)
          for (const frame of peer.seen) expect([frame.type, frame.session_id]).toEqual([frame.type, peer.sessionId])
        }).pipe(Effect.provide(main))
    )

    it.scoped("a foreign session_id is INVALID_REQUEST and names the field", () =>
      Effect.gen(function* () {
        const peer = yield* hello()
        yield* peer.send("session.ping", { nonce: "n" }, { session_id: "sess_other" })
        expect((yield* peer.next("session.error")).payload.message).toContain("session_id")
      }).pipe(Effect.provide(main))
    )

    it.scoped("§6.2 a feature that was not negotiated is refused", () =>
      Effect.gen(function* () {
        const peer = yield* hello({ features: ["ack"] })
        for (const type of ["session.list_jobs", "job.subscribe", "artifact.fetch"]) {
          const id = yield* peer.send(type, { job_id: "job_1", artifact_id: "a" })
          expect((yield* peer.reply(id)).payload.code).toBe("INVALID_REQUEST")
        }
        const refused = yield* submit(peer, "echo", 1, { lease_request: { "cost.budget": ["USD:1"] } })
        expect(refused.payload.code).toBe("INVALID_REQUEST")
      }).pipe(Effect.provide(main))
    )
  })
})

describe("heartbeats", () => {
  it.scoped("§6.4 pings an idle client and gives up a silent one; the session can be resumed", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const accepted = yield* submit(peer, "gate", { name: "hb" })
      yield* TestClock.adjust("31 seconds")
      yield* peer.next("session.ping")
      yield* TestClock.adjust("31 seconds")
      expect((yield* peer.next("session.error")).payload.code).toBe("HEARTBEAT_LOST")
      yield* peer.ended
      yield* Deferred.succeed(gate("hb"), undefined)
      const again = yield* hello({
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      })
      expect((yield* again.terminal(accepted.payload.job_id)).type).toBe("job.result")
    }).pipe(Effect.provide(world()))
  )

  it.scoped("§6.4 a client that answers is kept, at sub-second intervals too", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      for (let i = 0; i < 20; i++) {
        yield* TestClock.adjust("150 millis")
        const ping = yield* peer.next("session.ping")
        yield* peer.send("session.pong", { ping_nonce: ping.payload.nonce })
        yield* Effect.repeatN(Effect.yieldNow(), 20)
      }
      yield* barrier(peer)
    }).pipe(Effect.provide(world({ runtime: { heartbeatInterval: Duration.millis(100) } })))
  )

  it.scoped("§6.4 without the feature nothing is pinged and nobody is dropped", () =>
    Effect.gen(function* () {
      const peer = yield* hello({ features: allFeatures.filter((f) => f !== "heartbeat") })
      yield* TestClock.adjust("5 minutes")
      yield* barrier(peer)
      expect(peer.seen.some((f) => f.type === "session.ping")).toBe(false)
    }).pipe(Effect.provide(world()))
  )
})

it("§6.3 the index of tokens forgets a session whole, also one that goes while its resume is being stored", () => {
  const principal = { id: PrincipalId("alice"), anonymous: false, claims: {} }
  const known = { sessionId: SessionId("sess_1"), principal, tokenHash: "second", previousTokenHash: "first" }
  const other = { ...known, sessionId: SessionId("sess_2"), tokenHash: "first", previousTokenHash: undefined }
  const found = () => ["first", "second", "third"].map((hash) => index.get(hash))
  const index = new TokenIndex()
  index.add(known)
  expect(found()).toEqual(["sess_1", "sess_1", undefined])
  index.remove(known)
  expect(found()).toEqual([undefined, undefined, undefined])
  // Of two sessions with one token, which only a damaged store has, the later has it until it goes.
  index.add(known)
  index.add(other)
  index.remove(known)
  expect(found()).toEqual(["sess_2", undefined, undefined])
})
