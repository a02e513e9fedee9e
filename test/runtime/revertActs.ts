/** What clients and agents do that changes what the log has in memory, each so that its commit can be made to fail. */
import { Deferred, Effect, Layer, type Scope, Stream, TestClock } from "effect"
import { expect } from "@effect/vitest"
import { Agent, Job } from "../../src/agent/index.js"
import { formatTimestamp } from "../../src/protocol/Fields.js"
import type { Connector } from "../../src/transport/Connection.js"
import { allFeatures, barrier, dial, eventsOf, type Frame, hello, type Peer, submit } from "./peer.js"
import { scripted, type Step } from "./script.js"
import { gate } from "./world.js"

export const features = allFeatures.filter((feature) => feature !== "heartbeat")

export type Client = Effect.Effect.Success<ReturnType<typeof hello>>

/** Logs, reports progress and streams its result once its gate is open; then waits for another. */
const streaming = Agent.untyped("streaming", (input) =>
  Effect.gen(function* () {
    const { name } = input as { name: string }
    yield* Job.log("waiting")
    yield* Deferred.await(gate(name))
    yield* Job.progress({ current: 1, total: 2 })
    const streamed = yield* Job.streamResult(Stream.make("abcd", "efgh", "ij"))
    yield* Job.progress({ current: 2, total: 2 })
    yield* Deferred.await(gate(`${name} end`))
    return streamed
  })
)

export const agents = Layer.mergeAll(
  scripted,
  streaming,
  Agent.untyped("single", (input) => Effect.as(Deferred.await(gate((input as { name: string }).name)), "done"), {
    maxRunning: 1
  })
)

/** Lets everything else go on. */
const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** All clients of a test, and the sessions that there have been. */
export class Room {
  readonly clients: Array<{ readonly peer: Peer; readonly sessionId: string; gone: boolean }> = []

  readonly connect = (
    options: Parameters<typeof hello>[0] = {}
  ): Effect.Effect<Client, unknown, Connector | Scope.Scope> =>
    Effect.map(hello({ features, ...options }), (peer) => {
      this.clients.push({ peer, sessionId: peer.sessionId, gone: false })
      return peer
    })

  /** Comes back; with what it has seen, where no number is said. */
  readonly resume = ({ sessionId, token }: Client, after: number, offered = features) =>
    this.connect({
      features: offered,
      resume: { session_id: sessionId, resume_token: token, last_event_seq: after }
    })

  /** Its connection is ending. */
  left(client: Peer): void {
    for (const one of this.clients) if (one.peer.connection === client.connection) one.gone = true
  }

  readonly drop = (client: Peer) =>
    Effect.zipRight(
      Effect.sync(() => this.left(client)),
      Effect.zipRight(client.drop, Effect.zipRight(client.ended, this.settled))
    )

  /** What was sent so far has been read, and what that comes to has been done as far as it can be. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    Effect.repeatN(
      Effect.zipRight(
        Effect.forEach(this.clients, ({ gone, peer }) => (gone ? Effect.void : barrier(peer)), { discard: true }),
        turn
      ),
      4
    )
  )
}

export type World = Connector | Scope.Scope

/** What is to be done while no commit succeeds, and what must have come of it once they do. */
export interface Prepared {
  readonly act: Effect.Effect<unknown, unknown, World>
  readonly after: Effect.Effect<unknown, unknown, World>
}

export interface Act {
  /** The section, and what is done. */
  readonly title: string
  /** Moves the clock, so that it has to be prepared before the others. */
  readonly first?: true
  readonly prepare: (room: Room, name: string) => Effect.Effect<Prepared, unknown, World>
}

const open = (name: string) => Deferred.succeed(gate(name), undefined)
const refused = { code: "INTERNAL_ERROR", retryable: true }

/** Waits until a peer has seen a frame, however long ago. */
export const sees = (peer: Peer, fits: (frame: Frame) => boolean): Effect.Effect<void> =>
  Effect.asVoid(
    Effect.repeat(turn, { while: () => !peer.seen.some(fits), times: 2_000 }).pipe(
      Effect.zipRight(Effect.suspend(() => (peer.seen.some(fits) ? Effect.void : Effect.dieMessage("it never came"))))
    )
  )
const heard = (peer: Peer, jobId: string, message: string) =>
  sees(peer, ({ job_id, payload }) => job_id === jobId && payload.body?.message === message)
/** Waits for the end of a job's child. */
const childEnded = (peer: Peer, jobId: string) =>
  sees(peer, ({ job_id, type }) => type === "job.result" && job_id !== jobId)
const money = { "agent.delegate": ["script"], "cost.budget": ["USD:1.00"] }
const leased = { lease_request: money }
const child = (budget: string, steps: ReadonlyArray<Step>): Step => ({
  do: "start",
  input: { steps },
  options: { lease: { "agent.delegate": ["script"], "cost.budget": [`USD:${budget}`] } }
})

/** A job of the agent `script`, as far as its first wait. */
const script = (peer: Peer, steps: ReadonlyArray<Step>, rest: object = {}) =>
  Effect.gen(function* () {
    const accepted = yield* submit(peer, "script", { steps: [{ do: "log", message: "begun" }, ...steps] }, rest)
    yield* heard(peer, accepted.job_id!, "begun")
    return accepted.job_id!
  })

/** Asks; the store refuses it, and takes it when it is asked again. */
const asked = (
  peer: Peer,
  type: string,
  payload: object,
  then: (reply: string) => Effect.Effect<unknown, unknown, World>
) => {
  let id = ""
  return {
    act: Effect.map(peer.send(type, payload), (sent) => void (id = sent)),
    after: Effect.gen(function* () {
      expect((yield* peer.reply(id)).payload).toMatchObject(refused)
      const again = yield* Effect.flatMap(peer.send(type, payload), peer.reply)
      expect(again.payload.code).toBe(undefined)
      yield* then(again.payload.job_id)
    })
  }
}

const remaining = (peer: Peer, jobId: string) =>
  Effect.map(
    Effect.flatMap(peer.send("session.list_jobs"), peer.reply),
    ({ payload }) => payload.jobs.find((job: { job_id: string }) => job.job_id === jobId)?.budget?.USD
  )

const submits: Act = {
  title: "§7.1 a submit",
  prepare: (room) =>
    Effect.map(room.connect(), (peer) =>
      asked(peer, "job.submit", { agent: "echo", input: 1 }, (jobId) => peer.terminal(jobId))
    )
}

const submitsWithKey: Act = {
  title: "§7.2 a submit with a key",
  prepare: (room, name) =>
    Effect.map(room.connect(), (peer) => {
      const payload = { agent: "echo", input: 1, idempotency_key: name }
      return asked(peer, "job.submit", payload, (jobId) =>
        Effect.gen(function* () {
          yield* peer.terminal(jobId)
          expect((yield* Effect.flatMap(peer.send("job.submit", payload), peer.reply)).payload.job_id).toBe(jobId)
        })
      )
    })
}

const submitsAgain: Act = {
  title: "§7.2 a repeated submit of another session, which becomes an owner of the job and of its child",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const one = yield* room.connect()
      const steps: ReadonlyArray<Step> = [
        { do: "log", message: "begun" },
        child("0.10", [{ do: "wait", gate: name }]),
        { do: "log", message: "delegated" },
        { do: "wait", gate: name }
      ]
      const payload = { agent: "script", input: { steps }, idempotency_key: name, ...leased }
      const job = yield* Effect.flatMap(one.send("job.submit", payload), one.reply)
      yield* heard(one, job.job_id!, "delegated")
      const two = yield* room.connect()
      return asked(two, "job.submit", payload, (jobId) =>
        Effect.gen(function* () {
          expect(jobId).toBe(job.job_id)
          yield* open(name)
          yield* Effect.all([one.terminal(jobId), two.terminal(jobId)])
          const ends = (peer: Peer) => peer.events().filter(({ type }) => type === "job.result").length
          expect([ends(one), ends(two)]).toEqual([2, 2])
        })
      )
    })
}

const emits: Act = {
  title: "§8.1 events",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [
        { do: "wait", gate: name },
        { do: "log", message: "one" },
        { do: "status", phase: "two" },
        { do: "log", message: "three" },
        { do: "wait", gate: `${name} end` }
      ])
      return {
        act: open(name),
        after: Effect.gen(function* () {
          yield* heard(peer, jobId, "three")
          yield* open(`${name} end`)
          yield* peer.terminal(jobId)
          const bodies = eventsOf(peer, jobId).map(
            ({ payload, type }) => payload.body?.message ?? payload.body?.phase ?? type
          )
          expect(bodies).toEqual(["running", "begun", "one", "two", "three", "job.result"])
        })
      }
    })
}

const streams: Act = {
  title: "§8.2.1, §8.4 progress and chunks, which not every session is sent",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = (yield* submit(peer, "streaming", { name })).job_id!
      yield* heard(peer, jobId, "waiting")
      const observer = yield* room.connect({
        features: features.filter((feature) => feature !== "progress" && feature !== "result_chunk")
      })
      yield* Effect.flatMap(observer.send("job.subscribe", { job_id: jobId, history: true }), observer.reply)
      return {
        act: open(name),
        after: Effect.gen(function* () {
          yield* open(`${name} end`)
          yield* Effect.all([peer.terminal(jobId), observer.terminal(jobId)])
          const kinds = (of: Peer) => eventsOf(of, jobId).map(({ payload, type }) => payload.kind ?? type)
          const chunks = ["result_chunk", "result_chunk", "result_chunk"]
          expect(kinds(peer)).toEqual(["status", "log", "progress", ...chunks, "progress", "job.result"])
          expect(kinds(observer)).toEqual(["status", "log", "job.result"])
        })
      }
    })
}

const charges: Act = {
  title: "§9.6 a charge",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(
        peer,
        [
          { do: "wait", gate: name },
          { do: "spend", amount: "0.25 USD" },
          { do: "log", message: "spent" },
          { do: "wait", gate: `${name} end` }
        ],
        leased
      )
      return {
        act: open(name),
        after: Effect.gen(function* () {
          yield* heard(peer, jobId, "spent")
          expect(yield* remaining(peer, jobId)).toBe(0.75)
          yield* open(`${name} end`)
          yield* peer.terminal(jobId)
        })
      }
    })
}

const settles: Act = {
  title: "§9.6, §10 the end of a child, whose budget goes back",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(
        peer,
        [
          child("0.40", [
            { do: "wait", gate: name },
            { do: "spend", amount: "0.10 USD" }
          ]),
          { do: "log", message: "delegated" },
          { do: "wait", gate: `${name} end` }
        ],
        leased
      )
      yield* heard(peer, jobId, "delegated")
      expect(yield* remaining(peer, jobId)).toBe(0.6)
      return {
        act: open(name),
        after: Effect.gen(function* () {
          yield* childEnded(peer, jobId)
          expect(yield* remaining(peer, jobId)).toBe(0.9)
          yield* open(`${name} end`)
          yield* peer.terminal(jobId)
        })
      }
    })
}

const delegates: Act = {
  title: "§10 a delegation of a job with two owners, which is refused, and again",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const one = yield* room.connect()
      const steps: ReadonlyArray<Step> = [
        { do: "log", message: "begun" },
        { do: "wait", gate: name },
        child("0.40", [{ do: "spend", amount: "0.10 USD" }]),
        { do: "log", message: "tried" },
        { do: "wait", gate: `${name} again` },
        child("0.40", [{ do: "spend", amount: "0.10 USD" }]),
        { do: "wait", gate: `${name} end` }
      ]
      const payload = { agent: "script", input: { steps }, idempotency_key: name, ...leased }
      const jobId = (yield* Effect.flatMap(one.send("job.submit", payload), one.reply)).job_id!
      yield* heard(one, jobId, "begun")
      const two = yield* room.connect()
      yield* Effect.flatMap(two.send("job.submit", payload), two.reply)
      return {
        act: open(name),
        after: Effect.gen(function* () {
          yield* heard(one, jobId, "tried")
          const told = eventsOf(one, jobId).filter(({ payload }) => payload.kind === "tool_result")
          expect(told.map(({ payload }) => payload.body.error)).toEqual([expect.objectContaining(refused)])
          expect(yield* remaining(one, jobId)).toBe(1)
          yield* open(`${name} again`)
          for (const peer of [one, two]) yield* childEnded(peer, jobId)
          expect(yield* remaining(one, jobId)).toBe(0.9)
          yield* open(`${name} end`)
          for (const peer of [one, two]) yield* peer.terminal(jobId)
          for (const peer of [one, two]) {
            const children = peer.seen.filter(({ job_id, type }) => type === "job.accepted" && job_id !== jobId)
            expect(children.length).toBe(1)
          }
        })
      }
    })
}

const delegatesAndStops: Act = {
  title: "§10 a delegation whose parent is cancelled before it is written",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [{ do: "wait", gate: name }, child("0.40", [{ do: "never" }])], leased)
      return {
        act: Effect.zipRight(
          open(name),
          Effect.zipRight(
            room.settled,
            Effect.suspend(() => peer.send("job.cancel", { job_id: jobId }))
          )
        ),
        after: Effect.gen(function* () {
          expect((yield* peer.terminal(jobId)).payload.final_status).toBe("cancelled")
          expect(yield* remaining(peer, jobId)).toBe(1)
          expect(peer.seen.filter(({ type }) => type === "job.accepted").length).toBe(1)
        })
      }
    })
}

const expiresUnwritten: Act = {
  title: "§9.5 a submit whose lease ends before it is written",
  prepare: (room) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      let id = ""
      return {
        act: Effect.gen(function* () {
          const expires_at = formatTimestamp((yield* TestClock.currentTimeMillis) + 1_000)
          const lease = { lease_request: { "tool.call": ["*"] }, lease_constraints: { expires_at } }
          id = yield* peer.send("job.submit", { agent: "echo", input: 1, ...lease })
          yield* room.settled
          yield* TestClock.adjust(3_000)
        }),
        after: Effect.gen(function* () {
          expect((yield* peer.reply(id)).payload).toMatchObject(refused)
          yield* peer.terminal((yield* submit(peer, "echo", 1)).job_id!)
          expect(peer.events().filter(({ type }) => type === "job.error")).toEqual([])
        })
      }
    })
}

const ends = (how: string, last: ReadonlyArray<Step>, type: string, status: string): Act => ({
  title: `§7.3 an end with ${how}`,
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [{ do: "wait", gate: name }, ...last])
      const observer = yield* room.connect()
      yield* Effect.flatMap(observer.send("job.subscribe", { job_id: jobId, history: true }), observer.reply)
      return {
        act: open(name),
        after: Effect.gen(function* () {
          for (const one of [peer, observer]) {
            const end = yield* one.terminal(jobId)
            expect([end.type, end.payload.final_status]).toEqual([type, status])
          }
        })
      }
    })
})

const cancels: Act = {
  title: "§7.4 a cancel of a job with a child",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const steps: ReadonlyArray<Step> = [
        child("0.30", [{ do: "never" }]),
        { do: "log", message: "delegated" },
        { do: "wait", gate: name }
      ]
      const jobId = yield* script(peer, steps, leased)
      yield* heard(peer, jobId, "delegated")
      let id = ""
      return {
        act: Effect.map(peer.send("job.cancel", { job_id: jobId }), (sent) => void (id = sent)),
        after: Effect.gen(function* () {
          expect((yield* peer.reply(id)).payload.code).toBe(undefined)
          expect((yield* peer.terminal(jobId)).payload.final_status).toBe("cancelled")
          expect(peer.events().filter(({ type }) => type === "job.error").length).toBe(2)
        })
      }
    })
}

const subscribes = (what: string, from: object): Act => ({
  title: `§7.6 a subscribe ${what}`,
  prepare: (room, name) =>
    Effect.gen(function* () {
      const owner = yield* room.connect()
      const jobId = yield* script(owner, [
        { do: "log", message: "two" },
        { do: "wait", gate: name }
      ])
      yield* heard(owner, jobId, "two")
      const observer = yield* room.connect()
      return asked(observer, "job.subscribe", { job_id: jobId, ...from }, () =>
        Effect.gen(function* () {
          yield* open(name)
          yield* observer.terminal(jobId)
          const owned = eventsOf(owner, jobId)
          const seen = eventsOf(observer, jobId)
          expect(seen.map(({ payload }) => payload)).toEqual(owned.slice(-seen.length).map(({ payload }) => payload))
          expect(seen.length).toBe("history" in from ? ("from_event_seq" in from ? 2 : 4) : 1)
        })
      )
    })
})

const subscribesAgain: Act = {
  title: "§7.6 a subscribe over another connection, which is sent the history once more",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const owner = yield* room.connect()
      const jobId = yield* script(owner, [{ do: "wait", gate: name }])
      const first = yield* room.connect()
      const payload = { job_id: jobId, history: true }
      yield* Effect.flatMap(first.send("job.subscribe", payload), first.reply)
      yield* heard(first, jobId, "begun")
      yield* room.drop(first)
      const observer = yield* room.resume(first, 2)
      return asked(observer, "job.subscribe", payload, () =>
        Effect.gen(function* () {
          yield* open(name)
          yield* observer.terminal(jobId)
          expect(
            eventsOf(observer, jobId).map(({ payload, type }) => payload.body?.message ?? payload.body?.phase ?? type)
          ).toEqual(["running", "begun", "job.result"])
        })
      )
    })
}

const unsubscribes: Act = {
  title: "§7.6 an unsubscribe",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const owner = yield* room.connect()
      const jobId = yield* script(owner, [{ do: "wait", gate: name }])
      const observer = yield* room.connect()
      yield* Effect.flatMap(observer.send("job.subscribe", { job_id: jobId, history: true }), observer.reply)
      let id = ""
      return {
        act: Effect.map(observer.send("job.unsubscribe", { job_id: jobId }), (sent) => void (id = sent)),
        after: Effect.gen(function* () {
          expect((yield* observer.reply(id)).payload.code).toBe(undefined)
          yield* open(name)
          yield* owner.terminal(jobId)
          yield* room.settled
          expect(eventsOf(observer, jobId).some(({ type }) => type === "job.result")).toBe(false)
        })
      }
    })
}

const helloFrame = (offered: ReadonlyArray<string>, resume?: object) => ({
  client: { name: "test", version: "1" },
  auth: { scheme: "bearer", token: "alice-token" },
  capabilities: { encodings: ["json"], features: offered },
  ...(resume === undefined ? {} : { resume })
})

const opens: Act = {
  title: "§6.2 a hello",
  prepare: (room) => {
    let peer: Peer
    return Effect.succeed({
      act: Effect.gen(function* () {
        peer = yield* dial
        yield* peer.send("session.hello", helloFrame(features))
      }),
      after: Effect.gen(function* () {
        expect((yield* peer.next("session.error")).payload).toMatchObject(refused)
        expect((yield* peer.ended).code).toBe(1013)
        const again = yield* room.connect()
        yield* again.terminal((yield* submit(again, "echo", 1)).job_id!)
      })
    })
  }
}

const resumes: Act = {
  title: "§6.3 a resume with other features, whose old token counts after it was refused",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [{ do: "wait", gate: name }])
      yield* room.drop(peer)
      const offered = features.filter((feature) => feature !== "progress")
      let coming: Peer
      const resume = { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 1 }
      return {
        act: Effect.gen(function* () {
          coming = yield* dial
          yield* coming.send("session.hello", helloFrame(offered, resume))
        }),
        after: Effect.gen(function* () {
          expect((yield* coming.next("session.error")).payload).toMatchObject(refused)
          const again = yield* room.resume(peer, 1, offered)
          expect(again.welcome.payload.capabilities.features).not.toContain("progress")
          yield* open(name)
          yield* again.terminal(jobId)
          expect(eventsOf(again, jobId).map(({ event_seq }) => event_seq)).toEqual([2, 3])
          // Only the newest token and the one that it was resumed with count, until the client has spoken.
          yield* room.drop(again)
          yield* room.resume(again, 3)
        })
      }
    })
}

const confirms: Act = {
  title: "§6.3 the first frame after a resume, with which the token before it counts no more",
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [{ do: "wait", gate: name }])
      yield* room.drop(peer)
      const again = yield* hello({
        features,
        resume: { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 2 }
      })
      return {
        act: Effect.map(barrier(again), () =>
          room.clients.push({ peer: again, sessionId: again.sessionId, gone: false })
        ),
        after: Effect.gen(function* () {
          const stale = yield* dial
          yield* stale.send(
            "session.hello",
            helloFrame(features, { session_id: peer.sessionId, resume_token: peer.token, last_event_seq: 2 })
          )
          expect((yield* stale.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
          yield* open(name)
          yield* again.terminal(jobId)
        })
      }
    })
}

const leaves = (type: "session.close" | "session.bye"): Act => ({
  title: `§6.7 a ${type}`,
  prepare: (room, name) =>
    Effect.gen(function* () {
      const peer = yield* room.connect()
      const jobId = yield* script(peer, [{ do: "wait", gate: name }])
      return {
        act: Effect.zipRight(
          Effect.sync(() => room.left(peer)),
          peer.send(type, {})
        ),
        after: Effect.gen(function* () {
          yield* peer.ended
          const again = yield* room.resume(peer, 2)
          yield* open(name)
          yield* again.terminal(jobId)
        })
      }
    })
})

/** Of the runtime of these acts; see `expires`. */
export const resumeWindow = 60_000

const expires: Act = {
  title: "§6.3 the end of the window of a session that owns one job with another session, and observes a second",
  first: true,
  prepare: (room, name) =>
    Effect.gen(function* () {
      const steps: ReadonlyArray<Step> = [
        { do: "log", message: "begun" },
        { do: "wait", gate: name },
        { do: "log", message: "goes on" }
      ]
      const payload = { agent: "script", input: { steps }, idempotency_key: name }
      const one = yield* room.connect()
      const jobId = (yield* Effect.flatMap(one.send("job.submit", payload), one.reply)).job_id!
      yield* heard(one, jobId, "begun")
      const two = yield* room.connect()
      yield* Effect.flatMap(two.send("job.submit", payload), two.reply)
      const observed = yield* script(two, [{ do: "wait", gate: name }])
      yield* Effect.flatMap(one.send("job.subscribe", { job_id: observed, history: true }), one.reply)
      yield* room.settled
      yield* room.drop(one)
      yield* TestClock.adjust(resumeWindow - 10_000)
      return {
        act: TestClock.adjust(10_000),
        after: Effect.gen(function* () {
          const late = yield* dial
          const resume = { session_id: one.sessionId, resume_token: one.token, last_event_seq: 0 }
          yield* late.send("session.hello", helloFrame(features, resume))
          expect((yield* late.next("session.error")).payload.code).toBe("RESUME_WINDOW_EXPIRED")
          yield* open(name)
          yield* two.terminal(jobId)
          yield* two.terminal(observed)
        })
      }
    })
}

export const acts: ReadonlyArray<Act> = [
  submits,
  submitsWithKey,
  submitsAgain,
  emits,
  streams,
  charges,
  settles,
  delegates,
  delegatesAndStops,
  expiresUnwritten,
  ends("a result", [{ do: "log", message: "last" }], "job.result", "success"),
  ends("an error", [{ do: "fail", code: "NO" }], "job.error", "error"),
  cancels,
  subscribes("with history", { history: true }),
  subscribes("with history from a number on", { history: true, from_event_seq: 2 }),
  subscribes("without history", {}),
  subscribesAgain,
  unsubscribes,
  opens,
  resumes,
  confirms,
  leaves("session.close"),
  leaves("session.bye"),
  expires
]
