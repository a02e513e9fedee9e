/** Heartbeats (ARCP 1.1 §6.4) at intervals from one second to ten minutes, by a clock that the test moves. */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Redacted, Stream, TestClock } from "effect"
import { ArcpClient } from "../../src/client/index.js"
import { Ids } from "../../src/protocol/index.js"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { barrier, hello, submit } from "./peer.js"
import { resetGates, world } from "./world.js"

beforeEach(resetGates)

describe.each([[1], [5], [30], [600]] as const)("a runtime, at an interval of %i seconds", (seconds) => {
  const interval = seconds * 1_000
  const main = world({ runtime: { heartbeatInterval: interval, resumeWindow: "1 day" } })
  const pings = (peer: { readonly seen: ReadonlyArray<{ readonly type: string }> }) =>
    peer.seen.filter((frame) => frame.type === "session.ping").length

  it.scoped("§6.4 announces it, pings an idle client at its end and not before, without event_seq", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      expect(peer.welcome.payload.heartbeat_interval_sec).toBe(seconds)
      yield* TestClock.adjust(interval - 1)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      expect(pings(peer)).toBe(0)
      yield* TestClock.adjust(1)
      const ping = yield* peer.next("session.ping")
      expect(ping.event_seq).toBeUndefined()
      expect(ping.session_id).toBe(peer.sessionId)
      expect(typeof ping.payload.nonce).toBe("string")
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.4 gives a silent client up after two, not before; its jobs run, its session resumes", () =>
    Effect.gen(function* () {
      const peer = yield* hello()
      const { job_id } = yield* submit(peer, "never")
      yield* TestClock.adjust(2 * interval - 1)
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      expect(peer.seen.some((frame) => frame.type === "session.error")).toBe(false)
      yield* TestClock.adjust(1)
      expect((yield* peer.next("session.error")).payload.code).toBe("HEARTBEAT_LOST")
      yield* peer.ended
      const again = yield* hello({
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 0 }
      })
      const { payload } = yield* Effect.flatMap(again.send("session.list_jobs"), again.reply)
      expect(payload.jobs).toMatchObject([{ job_id, status: "running" }])
    }).pipe(Effect.provide(main))
  )

  it.scoped("§6.4 keeps a client that answers, and one that says anything at all", () =>
    Effect.gen(function* () {
      const answering = yield* hello()
      const talking = yield* hello()
      for (let i = 0; i < 6; i++) {
        yield* TestClock.adjust(interval)
        const ping = yield* answering.next("session.ping")
        yield* answering.send("session.pong", { ping_nonce: ping.payload.nonce })
        yield* talking.send("session.list_jobs")
        yield* Effect.repeatN(Effect.yieldNow(), 20)
      }
      yield* barrier(answering)
      yield* barrier(talking)
    }).pipe(Effect.provide(main))
  )
})

const client = ArcpClient.layer({ auth: { token: Redacted.make("t") }, closeTimeout: 0 }).pipe(
  Layer.provideMerge(MemoryTransport.layerEncoded),
  Layer.provideMerge(Ids.layerSeeded(9))
)

describe.each([[30], [60], [600]] as const)("a client, at an interval of %i seconds", (seconds) => {
  const interval = seconds * 1_000
  const welcomed = (features: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const arcp = yield* ArcpClient
      const accepting = yield* Stream.toPull(ScriptedPeer.accept)
      const peer = Chunk.unsafeHead(yield* Effect.orDie(accepting))
      yield* peer.expect("session.hello")
      const payload = { resume_token: "rt", heartbeat_interval_sec: seconds, capabilities: { features, agents: [] } }
      yield* peer.send("session.welcome", payload, { session_id: "s" })
      yield* arcp.connected
      return peer
    })

  it.scoped("§6.4 pings within it when idle, answers pings, and gives a silent runtime up after two", () =>
    Effect.gen(function* () {
      const peer = yield* welcomed(["heartbeat"])
      const ending = yield* Effect.fork(peer.ended)
      yield* peer.send("session.ping", { nonce: "n1", sent_at: "1970-01-01T00:00:00Z" }, { session_id: "s" })
      expect((yield* peer.expect("session.pong")).payload).toMatchObject({ ping_nonce: "n1" })
      // The client looks twice in an interval: the last two are for the ping and for the look that follows it.
      for (let i = 0; i < 6; i++) yield* TestClock.adjust(interval / 4)
      expect(typeof (yield* peer.expect("session.ping")).payload["nonce"]).toBe("string")
      for (let i = 0; i < 6; i++) yield* TestClock.adjust(interval / 4)
      expect((yield* Fiber.join(ending)).code).not.toBe(1000)
    }).pipe(Effect.provide(client))
  )

  it.scoped("§6.4 without the feature the client pings and gives up nothing, and answers a ping all the same", () =>
    Effect.gen(function* () {
      const peer = yield* welcomed([])
      for (let i = 0; i < 20; i++) yield* TestClock.adjust(interval)
      expect(peer.seen().filter((frame) => frame.type === "session.ping")).toEqual([])
      yield* peer.send("session.ping", { nonce: "n2" }, { session_id: "s" })
      expect((yield* peer.expect("session.pong")).payload).toMatchObject({ ping_nonce: "n2" })
    }).pipe(Effect.provide(client))
  )
})
