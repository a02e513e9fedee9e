/** Of bounds in all anonymous principals have a part together, and the rest is for those with a credential (ARCP 1.1 §14). */
import { beforeEach, describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, TestClock } from "effect"
import { Agent, Job } from "../../src/agent/index.js"
import { anonymous, Authenticator, type AuthenticatorService, bearer, firstOf } from "../../src/auth/index.js"
import { Ids, PrincipalId } from "../../src/protocol/index.js"
import { LeasePolicy, type LimitsOptions } from "../../src/runtime/index.js"
import { MemoryStore } from "../../src/store/index.js"
import { makeStore, start, stores } from "./mortal.js"
import { allFeatures, barrier, dial, hello, knock, type Peer, run, submit } from "./peer.js"
import { resetGates, world } from "./world.js"

beforeEach(resetGates)

const features = allFeatures.filter((feature) => feature !== "heartbeat")

/** Tokens, or none. */
const either: Layer.Layer<Authenticator> = Layer.effect(
  Authenticator,
  Effect.map(anonymous, (way) => firstOf([bearer({ "alice-token": "alice", "bob-token": "bob" }), way]))
).pipe(Layer.provide(Ids.layer))

/** Says that it runs, then waits for its end. */
const waits = () => Effect.zipRight(Job.log("runs"), Effect.never)

const agents = Layer.mergeAll(
  Agent.untyped("waits", waits),
  Agent.untyped("pair", waits, { maxRunning: 2 }),
  Agent.untyped("single", waits, { maxRunning: 1 }),
  Agent.untyped("echo", (input) => Effect.succeed(input)),
  Agent.untyped("principal", () => Effect.map(Job, (job) => job.principalId))
)

const over = (limits: LimitsOptions, auth = either) =>
  world({ agents, auth, limits }).pipe(Layer.provide(LeasePolicy.layer({ allowed: () => undefined })))

const guest = hello({ token: "", features })
const alice = hello({ features })

/** Submits to an agent that waits; the job's id. */
const begin = (peer: Peer, agent = "waits") => Effect.map(submit(peer, agent), (accepted) => accepted.job_id!)

/** Whether a job has been reported to run, once all that was sent before has come. */
const runs = (peer: Peer, jobId: string) =>
  Effect.map(barrier(peer), () =>
    peer.events().some((frame) => frame.job_id === jobId && frame.payload.body?.message === "runs")
  )

const started = (peer: Peer, jobId: string) =>
  Effect.iterate(false, { while: (is) => !is, body: () => Effect.zipRight(Effect.yieldNow(), runs(peer, jobId)) })

const noRoom = { type: "session.error", payload: { code: "INTERNAL_ERROR", retryable: true } }

describe("§14 slots of running jobs", () => {
  it.scoped(
    "anonymous jobs beyond the share wait, others start; a slot of the share goes to the first that waits",
    () =>
      Effect.gen(function* () {
        const guests = [yield* guest, yield* guest, yield* guest, yield* guest]
        const jobs: Array<string> = []
        for (const peer of guests) jobs.push(yield* begin(peer))
        yield* started(guests[0]!, jobs[0]!)
        yield* started(guests[1]!, jobs[1]!)
        expect([yield* runs(guests[2]!, jobs[2]!), yield* runs(guests[3]!, jobs[3]!)]).toEqual([false, false])
        // Behind them in the queue, and not held up by them.
        const holder = yield* alice
        const own = [yield* begin(holder), yield* begin(holder), yield* begin(holder)]
        yield* started(holder, own[0]!)
        yield* started(holder, own[1]!)
        expect(yield* runs(holder, own[2]!)).toBe(false)
        // A slot of the others' part is not for anonymous jobs, which came before.
        yield* holder.send("job.cancel", { job_id: own[0]! })
        yield* started(holder, own[2]!)
        expect(yield* runs(guests[2]!, jobs[2]!)).toBe(false)
        yield* guests[1]!.send("job.cancel", { job_id: jobs[1]! })
        yield* started(guests[2]!, jobs[2]!)
        expect(yield* runs(guests[3]!, jobs[3]!)).toBe(false)
        yield* guests[0]!.send("job.cancel", { job_id: jobs[0]! })
        yield* started(guests[3]!, jobs[3]!)
      }).pipe(Effect.provide(over({ runningJobs: 4 })))
  )

  it.scoped("§7.3 of those of an agent they have their share too; a bound of one reserves nothing", () =>
    Effect.gen(function* () {
      const [one, two, holder] = [yield* guest, yield* guest, yield* alice]
      const first = yield* begin(one, "pair")
      const second = yield* begin(two, "pair")
      yield* started(one, first)
      const own = yield* begin(holder, "pair")
      yield* started(holder, own)
      expect(yield* runs(two, second)).toBe(false)
      yield* one.send("job.cancel", { job_id: first })
      yield* started(two, second)
      const only = yield* begin(one, "single")
      yield* started(one, only)
      const waiting = yield* begin(holder, "single")
      expect(yield* runs(holder, waiting)).toBe(false)
      yield* one.send("job.cancel", { job_id: only })
      yield* started(holder, waiting)
    }).pipe(Effect.provide(over({})))
  )

  it.scoped("where nobody can have a credential, nothing is reserved", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* guest, yield* guest]
      yield* started(one, yield* begin(one, "pair"))
      yield* started(two, yield* begin(two, "pair"))
    }).pipe(
      Effect.provide(
        over(
          {},
          Layer.provide(
            Layer.effect(
              Authenticator,
              Effect.map(anonymous, (way) => firstOf([way]))
            ),
            Ids.layer
          )
        )
      )
    )
  )

  it.scoped("a share of 100 reserves nothing", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* guest, yield* guest]
      yield* started(one, yield* begin(one, "pair"))
      yield* started(two, yield* begin(two, "pair"))
    }).pipe(Effect.provide(over({ anonymousShare: 100 })))
  )
})

describe("§14 the queue of pending jobs", () => {
  it.scoped("anonymous jobs fill their share of it, and are refused then; others wait in the rest", () =>
    Effect.gen(function* () {
      const guests = [yield* guest, yield* guest, yield* guest, yield* guest]
      const first = yield* begin(guests[0]!)
      yield* started(guests[0]!, first)
      yield* begin(guests[1]!)
      yield* begin(guests[2]!)
      expect((yield* submit(guests[3]!, "waits")).payload).toMatchObject({
        code: "INTERNAL_ERROR",
        retryable: true,
        message: "as many jobs of anonymous clients are waiting as may; present a token, or try again later"
      })
      const holder = yield* alice
      for (let n = 0; n < 3; n++) expect((yield* submit(holder, "waits")).type).toBe("job.accepted")
      expect((yield* submit(holder, "waits")).payload).toMatchObject({ code: "INTERNAL_ERROR" })
      // One of them starts, and there is room again.
      yield* guests[0]!.send("job.cancel", { job_id: first })
      yield* guests[0]!.terminal(first)
      yield* barrier(guests[0]!)
      expect((yield* submit(guests[3]!, "waits")).type).toBe("job.accepted")
    }).pipe(Effect.provide(over({ runningJobs: 2, pendingJobs: 4 })))
  )
})

describe("§14 sessions", () => {
  it.scoped("anonymous ones have their share, those that were dropped too; others find room", () =>
    Effect.gen(function* () {
      const dropped = yield* guest
      yield* dropped.drop
      yield* guest
      expect(yield* knock("", features)).toMatchObject(noRoom)
      expect((yield* knock("alice-token", features)).type).toBe("session.welcome")
      expect((yield* knock("bob-token", features)).type).toBe("session.welcome")
      expect(yield* knock("alice-token", features)).toMatchObject(noRoom)
    }).pipe(Effect.provide(over({ sessions: 4 })))
  )

  it.scoped("those of an earlier process count too", () =>
    Effect.gen(function* () {
      const { die, layer } = yield* makeStore(MemoryStore.layer)
      const limits = { sessions: 4 }
      const before = yield* start(layer, agents, limits, either)
      yield* Effect.provide(Effect.all([guest, guest]), before)
      yield* die
      const after = yield* start(layer, agents, limits, either)
      expect(yield* Effect.provide(knock("", features), after)).toMatchObject(noRoom)
      expect((yield* Effect.provide(knock("alice-token", features), after)).type).toBe("session.welcome")
    })
  )

  it.scoped("an idle one of theirs makes room for another; it is looked for once a second where there was none", () =>
    Effect.gen(function* () {
      const idle = yield* guest
      const works = yield* guest
      yield* submit(works, "waits")
      const holder = yield* alice
      yield* TestClock.adjust(9_500)
      expect(yield* knock("", features)).toMatchObject(noRoom)
      // By now one is idle. To find that, all sessions are looked at: a flood of hellos would have that done for each.
      yield* TestClock.adjust(700)
      expect(yield* knock("", features)).toMatchObject(noRoom)
      yield* TestClock.adjust(300)
      expect((yield* knock("", features)).type).toBe("session.welcome")
      expect((yield* idle.ended).code).toBe(1013)
      // None of another's went for it.
      yield* barrier(holder)
      yield* barrier(works)
    }).pipe(Effect.provide(over({ sessions: 4, idleSession: 10_000 })))
  )
})

describe.each(stores)("§14 ended jobs over %s", (_name, stored) => {
  it.scoped("many of anonymous principals take nothing of what is kept of others", () =>
    Effect.gen(function* () {
      const { layer, store } = yield* makeStore(stored())
      const runtime = yield* start(layer, agents, { retainEndedJobs: 10, sweepEvery: 10_000 }, either)
      yield* Effect.gen(function* () {
        const [holder, stranger] = [yield* alice, yield* guest]
        const own: Array<string> = []
        for (let n = 0; n < 5; n++) own.push((yield* run(holder, "echo", n)).job_id!)
        const theirs: Array<string> = []
        for (let n = 0; n < 40; n++) theirs.push((yield* run(stranger, "echo", n)).job_id!)
        yield* TestClock.adjust("10 seconds")
        yield* barrier(stranger)
        for (let n = 0; n < 100; n++) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        const kept = (ids: ReadonlyArray<string>) =>
          Effect.map(Effect.forEach(ids, store.job), (found) => found.filter(Option.isSome).length)
        expect([yield* kept(own), yield* kept(theirs)]).toEqual([5, 5])
        expect(Option.isSome(yield* store.job(theirs.at(-1)!))).toBe(true)
      }).pipe(Effect.provide(runtime))
    })
  )
})

/** An authenticator that lets anonymous clients choose their names. */
const naming: AuthenticatorService = {
  authenticate: ({ token }) => {
    const text = token === undefined ? "" : Redacted.value(token)
    return Effect.succeed(
      text === "alice-token"
        ? { id: PrincipalId("alice"), anonymous: false, claims: {} }
        : { id: PrincipalId(text), anonymous: true, claims: {} }
    )
  }
}

describe("§6.1 an anonymous principal under another's id", () => {
  it.scoped(
    "is not that one: it neither sees, cancels nor resumes what is the other's, and is known as anonymous",
    () =>
      Effect.gen(function* () {
        const real = yield* alice
        const jobId = yield* begin(real)
        yield* started(real, jobId)
        const false_ = yield* hello({ token: "alice", features })
        const list = yield* Effect.flatMap(false_.send("session.list_jobs", {}), false_.reply)
        expect(list.payload.jobs).toEqual([])
        expect(
          (yield* Effect.flatMap(false_.send("job.subscribe", { job_id: jobId }), false_.reply)).payload.code
        ).toBe("JOB_NOT_FOUND")
        expect((yield* Effect.flatMap(false_.send("job.cancel", { job_id: jobId }), false_.reply)).payload.code).toBe(
          "JOB_NOT_FOUND"
        )
        expect((yield* run(false_, "principal")).payload.result).toBe("anonymous:alice")
        yield* real.drop
        const thief = yield* dial
        const id = yield* thief.send("session.hello", {
          auth: { scheme: "bearer", token: "alice" },
          capabilities: { features },
          resume: { session_id: real.sessionId, resume_token: real.token, last_event_seq: 0 }
        })
        expect((yield* thief.reply(id)).payload.code).toBe("RESUME_WINDOW_EXPIRED")
      }).pipe(Effect.provide(over({}, Layer.succeed(Authenticator, naming))))
  )
})
