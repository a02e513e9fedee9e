/** Which sessions make room for others where there is none (ARCP 1.1 §14), and which keep what they were promised. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Stream, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { Connector } from "../../src/transport/Connection.js"
import * as MemoryTransport from "../../src/transport/MemoryTransport.js"
import { allFeatures, barrier, type Frame, hello, knock, type Peer, submit } from "./peer.js"
import { makeStore, start } from "./mortal.js"
import { world, type WorldOptions } from "./world.js"

const features = allFeatures.filter((feature) => feature !== "heartbeat")

/** Emits so many events and ends. */
const counter = Agent.untyped("counter", (input) =>
  Effect.forEach(Array.from({ length: input as number }), (_, n) => Job.log(`event ${n + 1}`), { discard: true })
)
const never = Agent.untyped("never", () => Effect.never)

const idleSession = 10_000
const resumeWindow = "60 seconds"

const over = (options: WorldOptions) => world({ agents: Layer.merge(counter, never), ...options })

const refused = { type: "session.error", payload: { code: "INTERNAL_ERROR", retryable: true } }

/** A turn of the event loop. */
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** A session that has a job, which never makes room. */
const busy = (token: string) =>
  Effect.gen(function* () {
    const peer = yield* hello({ features, token })
    yield* submit(peer, "never")
    return peer
  })

/** The session of a peer whose connection or runtime has ended, on a new connection. */
const resumed = ({ sessionId, token }: { readonly sessionId: string; readonly token: string }) =>
  hello({ features, resume: { session_id: sessionId, resume_token: token, last_event_seq: 0 } })

/** Three sessions of one principal, and the next process of their runtime, which allows two. */
const tooMany = Effect.gen(function* () {
  const { layer } = yield* makeStore(MemoryStore.layer)
  const before = yield* start(layer, never)
  const connect = hello({ features })
  const peers = yield* Effect.provide(Effect.all([connect, connect, connect]), before)
  const after = yield* start(layer, never, { sessionsPerPrincipal: 2, idleSession })
  return { after, peers }
})

describe("§14 a session that is idle", () => {
  for (const [bound, token, limits] of [
    ["its principal's", "alice-token", { sessionsPerPrincipal: 1 }],
    ["all", "bob-token", { sessions: 2 }]
  ] as const) {
    it.scoped(`§6.3 keeps the window that it was promised while it is away, at the bound of ${bound} sessions`, () =>
      Effect.gen(function* () {
        const watcher = yield* busy("carol-token")
        const away = yield* hello({ features })
        yield* away.drop
        yield* barrier(watcher)
        yield* TestClock.adjust("59 seconds")
        expect(yield* knock(token, features)).toMatchObject(refused)
        const back = yield* resumed(away)
        expect(back.sessionId).toBe(away.sessionId)
        // A resume is a sign that somebody works: it is idle only once it has done nothing for as long again.
        yield* TestClock.adjust(idleSession - 1)
        expect(yield* knock(token, features)).toMatchObject(refused)
        yield* TestClock.adjust(1)
        expect((yield* knock(token, features)).type).toBe("session.welcome")
        expect((yield* back.next("session.error")).payload).toMatchObject({ details: { reason: "idle_session" } })
        expect((yield* back.ended).code).toBe(1013)
      }).pipe(Effect.provide(over({ runtime: { resumeWindow }, limits: { ...limits, idleSession } })))
    )
  }

  it.scoped("makes room only where that is room enough; else it stays, and counts", () =>
    Effect.gen(function* () {
      const { after, peers } = yield* tooMany
      yield* Effect.gen(function* () {
        const [first, second, third] = yield* Effect.forEach(peers, resumed)
        yield* submit(third!, "never")
        yield* TestClock.adjust(idleSession - 1)
        yield* submit(second!, "never")
        yield* TestClock.adjust(1)
        // One of two that would have to go is idle: it stays.
        expect(yield* knock("alice-token", features)).toMatchObject(refused)
        yield* barrier(first!)
        const again = yield* resumed(first!)
        expect(again.sessionId).toBe(first!.sessionId)
        expect(yield* knock("alice-token", features)).toMatchObject(refused)
      }).pipe(Effect.provide(after))
    })
  )

  it.scoped("goes with others where more than one has to", () =>
    Effect.gen(function* () {
      const { after, peers } = yield* tooMany
      yield* Effect.gen(function* () {
        const [first, second, third] = yield* Effect.forEach(peers, (peer) =>
          Effect.zipLeft(resumed(peer), TestClock.adjust(1))
        )
        yield* TestClock.adjust(idleSession)
        expect((yield* knock("alice-token", features)).type).toBe("session.welcome")
        for (const gone of [first!, second!]) expect((yield* gone.ended).code).toBe(1013)
        yield* barrier(third!)
      }).pipe(Effect.provide(after))
    })
  )

  it.scoped("§6.3 makes room once its window is over", () =>
    Effect.gen(function* () {
      const watcher = yield* busy("carol-token")
      const away = yield* hello({ features })
      yield* away.drop
      yield* barrier(watcher)
      yield* TestClock.adjust(resumeWindow)
      expect((yield* knock("alice-token", features)).type).toBe("session.welcome")
    }).pipe(Effect.provide(over({ runtime: { resumeWindow }, limits: { sessionsPerPrincipal: 1, idleSession } })))
  )

  it.scoped("is not one that has not been sent everything; when it has, it makes room", () =>
    Effect.gen(function* () {
      const watcher = yield* busy("carol-token")
      const slow = yield* Effect.flatMap(Connector, ({ connect }) => connect)
      const say = (type: string, payload: object) =>
        slow.send([JSON.stringify({ arcp: "1.1", id: type, type, payload })])
      yield* say("session.hello", { auth: { token: "alice-token" }, capabilities: { features } })
      yield* say("job.submit", { agent: "counter", input: 3_000 })
      // Its job ends while nothing of it is read.
      const mine = yield* hello({ features })
      const ended = yield* Effect.repeat(
        Effect.zipRight(turn, Effect.flatMap(mine.send("session.list_jobs"), mine.reply)),
        { until: ({ payload }) => payload.jobs[0]?.status === "success" }
      )
      expect(ended.payload.jobs[0].last_event_seq).toBe(3_002)
      yield* mine.drop
      yield* barrier(watcher)
      yield* TestClock.adjust(resumeWindow)
      // Mine has gone with its window: one place is free, and the other is not.
      const next = yield* busy("alice-token")
      expect(yield* knock("alice-token", features)).toMatchObject(refused)
      const frames: Array<Frame> = []
      yield* Stream.runForEach(slow.inbound, (frame) =>
        Effect.sync(() => void frames.push(JSON.parse(String(frame)) as Frame))
      ).pipe(Effect.fork)
      yield* everything(frames, next)
      expect((yield* knock("alice-token", features)).type).toBe("session.welcome")
      expect((yield* slow.closed).code).toBe(1013)
      expect(frames.at(-1)).toMatchObject({ type: "session.error", payload: { details: { reason: "idle_session" } } })
      expect(frames.flatMap(({ event_seq }) => event_seq ?? [])).toEqual(Array.from({ length: 3_002 }, (_, n) => n + 1))
    }).pipe(
      // Closed before the runtime ends: nobody moves the clock then, and it would give what does not read its time.
      Effect.scoped,
      Effect.provide(
        over({
          transport: MemoryTransport.layerWith({ capacity: 8, encoded: true }),
          runtime: { resumeWindow },
          limits: { sessionsPerPrincipal: 2, idleSession }
        })
      )
    )
  )
})

/** Waits until a job's end is among the frames, and whoever sent it knows that it has. */
const everything = (frames: ReadonlyArray<Frame>, peer: Peer) =>
  Effect.zipRight(
    Effect.repeat(Effect.zipRight(turn, barrier(peer)), {
      until: () => frames.some(({ type }) => type === "job.result")
    }),
    barrier(peer)
  )
